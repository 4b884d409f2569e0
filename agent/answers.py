"""What tools answer with, and the forms of their arguments. A failure ends one call, not the whole run."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Annotated, Any

from pydantic import Field
from pydantic_ai import RunContext, ToolFailed, ToolReturn

from agent.desk import Desk
from agent.redact import framed, harmless
from controller.errors import InvalidFiles, VoxnixError
from controller.spec.model import NAME_PATTERN

Ctx = RunContext[Desk]
Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$", description="The container's name.")]
Module = Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,63}$")]
Modules = Annotated[list[Module], Field(max_length=40)]
Size = Annotated[str, Field(pattern="^ ?[0-9]{1,6} ?[KMGTkmgt]i?[Bb]?$", description="A size such as 512M or 10G.")]
Text = Annotated[str, Field(max_length=500)]
Cron = Annotated[str, Field(max_length=100, description='Five cron fields, such as "0 8 * * 1-5".')]
Lines = Annotated[int, Field(ge=1, le=200)]


def answer(text: str, *, foreign: str = "") -> ToolReturn[str]:
    """A tool's answer: framed for the model where it holds foreign text, and as it is for people."""
    return ToolReturn(framed(foreign, text) if foreign else text, metadata={"shown": harmless(text)})


async def told_of(work: Awaitable[ToolReturn[str]]) -> ToolReturn[str]:
    """Failures that a person is told in one message become a failed call, not the end of the run."""
    try:
        return await work
    except InvalidFiles as error:
        raise ToolFailed("that cannot be: " + harmless("\n".join(map(_plain, error.problems)), 1500)) from error
    except VoxnixError as error:
        raise ToolFailed(harmless(str(error), 1500)) from error


def _plain(problem: Any) -> str:
    parts = [problem.message, f"expected {problem.expected}" if problem.expected else "", problem.hint]
    return "; ".join(part for part in parts if part)


def names_of(args: str | dict[str, Any] | None) -> str:
    """The container that a call is about, from its arguments; empty if there is none."""
    try:
        found = json.loads(args) if isinstance(args, str) else args
    except ValueError:
        return ""
    return str(found.get("name") or "") if isinstance(found, dict) else ""
