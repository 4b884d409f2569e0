"""Who is talking, and through what: the two things that a surface (a terminal, a chat service) has to provide.

Pure values and protocols. Nothing in the core knows a surface by name, and nobody's id or role ever comes from what
they say: a surface finds the `Person` by itself, from what it has checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Person:
    """A tenant at a keyboard. `id` is the tenant's, `role` (`admin` or `member`) as the accepted revision has it."""

    id: str
    name: str
    role: str = "member"

    @property
    def admin(self) -> bool:
        """Whether they may look at other people's containers. What they change through the agent is their own."""
        return self.role == "admin"


@dataclass(frozen=True, slots=True)
class Heard:
    """One message. `chat` and `id` are the surface's own: together they name it, and become the `Chat-message`.

    `quoted` is text that the message quotes or forwards: material, never the person's own word.
    """

    chat: str
    id: str
    text: str
    quoted: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """Something to press. `token` comes back with the press; it means nothing by itself."""

    label: str
    token: str


class Surface(Protocol):
    """What the core needs to answer. Text is plain; what a surface cannot show whole, it cuts."""

    async def send(self, chat: str, text: str) -> str:
        """Say something in a chat; the id by which the message can be edited."""
        ...

    async def edit(self, chat: str, message: str, text: str) -> None:
        """Put another text into a message that was sent. Buttons that it had are gone."""
        ...

    async def ask(self, chat: str, text: str, buttons: Sequence[Button]) -> str:
        """Say something with buttons below it; the message's id. A press is told to `Talk.press`."""
        ...

    async def busy(self, chat: str) -> None:
        """Show that an answer is on its way, where that can be shown. Must not raise."""
        ...


@runtime_checkable
class Drafts(Protocol):
    """What a surface may be besides: one that shows an answer while it is being written."""

    async def draft(self, chat: str, text: str) -> None:
        """Show an answer as far as it is written; `Surface.send` follows with the whole. Must not raise."""
        ...
