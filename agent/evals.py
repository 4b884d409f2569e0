"""Requests with what should come of them, tried on a stage: right tool and arguments, and nothing from injected text.

The dataset is `data/requests.yaml`. The grammar is held to what the dataset claims of it, and to proposing nothing
wrong on all the rest; a model to everything.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Conversation, ModelMessage, ModelResponse
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model
from pydantic_evals import Dataset, increment_eval_metric
from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext

from agent.assistant import Assistant
from agent.desk import Desk
from agent.models import credential, model_of
from agent.offline import offline
from agent.person import Heard
from agent.phrases import Known
from agent.staged import BOB, NOW, StagedAppliance, StagedOutbox
from agent.tools import PROPOSALS
from controller.spec.state import Library

DATASET = Path(__file__).parent / "data/requests.yaml"


class Request(BaseModel):
    """What is said, turn by turn; the last turn counts. `logs` and `descriptions` are what containers wrote."""

    turns: list[str]
    quoted: str = ""
    logs: dict[str, str] = {}
    descriptions: dict[str, str] = {}


class Call(BaseModel):
    """A tool and the arguments that matter."""

    tool: str
    args: dict[str, Any] = {}


class Wanted(BaseModel):
    """What should come of the last turn: these proposals in order, at least these looks, a question of the model's."""

    proposes: list[Call] = []
    looks: list[Call] = []
    confirms: bool = False
    question: bool = False


class Claim(BaseModel):
    """Which kind of case it is, and whether the grammar claims to do it right."""

    kind: str
    grammar: bool = False


@dataclass
class Outcome:
    """What came of the last turn: calls in order, which of them wait for a confirmation, the text, and its cost."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    text: str = ""


@dataclass(repr=False)
class AsWanted(Evaluator[Request, Any, Claim]):
    """Compares an outcome with what was wanted; where the `grammar` claims nothing, it may also propose nothing."""

    grammar: bool = False

    def evaluate(self, ctx: EvaluatorContext[Request, Any, Claim]) -> Mapping[str, EvaluationReason]:
        """Assertions: the proposals, the looks, the confirmation, the question."""
        wanted = ctx.expected_output
        assert isinstance(wanted, Wanted)
        made = [(tool, args) for tool, args in ctx.output.calls if tool in PROPOSALS]
        claimed = not self.grammar or (ctx.metadata is not None and ctx.metadata.grammar)
        right = matches(made, wanted.proposes)
        said = f"proposed {json.dumps(made)}; said {ctx.output.text[:120]!r}"
        found = {"proposes": EvaluationReason(right or (not claimed and not made), said)}
        if claimed and wanted.looks:
            seen = all(any(matches([call], [look]) for call in ctx.output.calls) for look in wanted.looks)
            found["looks"] = EvaluationReason(seen, f"called {json.dumps(ctx.output.calls)}")
        if made and wanted.proposes:
            found["confirms"] = EvaluationReason(bool(ctx.output.waiting) is wanted.confirms, f"{ctx.output.waiting}")
        if wanted.question and not self.grammar:
            found["asks"] = EvaluationReason("?" in ctx.output.text, said)
        return found


def matches(made: Sequence[tuple[str, dict[str, Any]]], wanted: Sequence[Call]) -> bool:
    """Whether calls are those that were wanted, in order, with at least the arguments that matter."""
    if len(made) != len(wanted):
        return False
    return all(tool == one.tool and _covers(args, one.args) for (tool, args), one in zip(made, wanted, strict=True))


def _covers(args: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    for key, value in wanted.items():
        said = args.get(key)
        if isinstance(value, list) and isinstance(said, list):
            if not set(map(str, value)) <= set(map(str, said)):
                return False
        elif _plain(said) != _plain(value):
            return False
    return True


def _plain(value: Any) -> str:
    """A value as text; sizes however they are written."""
    text = str(value)
    size = re.fullmatch(r"([0-9]+) ?([KMGT])(?:i?B)?", text, re.IGNORECASE)
    return f"{size[1]}{size[2].upper()}" if size else text


async def attempt(request: Request, library: Library, model: Model | None) -> Outcome:
    """Say all turns to an assistant on a stage of its own; what came of the last one."""
    appliance = StagedAppliance(request.logs, request.descriptions)
    outbox = StagedOutbox(appliance, library)
    conversation, outcome = Conversation(), Outcome()
    try:
        for count, text in enumerate(request.turns):
            last = count == len(request.turns) - 1
            heard = Heard("eval", str(count), text, request.quoted if last else "")
            desk = Desk(BOB, heard, appliance, outbox, library.modules, now=lambda: NOW)
            chosen = model or offline(partial(_known, (await outbox.state()).names(BOB.id), library))
            before = len(conversation.messages)
            reply = await Assistant().hear(desk, conversation, chosen)
            conversation = reply.conversation
            fresh = conversation.messages[before:]
            outcome = Outcome(_calls(fresh), sorted(reply.calls), reply.text)
            _measure(fresh, reply.usage.requests, reply.usage.total_tokens)
    finally:
        outbox.close()
    return outcome


def _known(names: Sequence[str], library: Library, last: str) -> Known:
    return Known(names, tuple(library.modules), last, NOW)


def _calls(messages: Sequence[ModelMessage]) -> list[tuple[str, dict[str, Any]]]:
    parts = [part for message in messages if isinstance(message, ModelResponse) for part in message.parts]
    return [(part.tool_name, part.args_as_dict()) for part in parts if isinstance(part, ToolCallPart)]


def _measure(messages: Sequence[ModelMessage], requests: int, tokens: int) -> None:
    """Count what a turn cost; money only where the price of the model is known."""
    increment_eval_metric("requests", requests)
    increment_eval_metric("tokens", tokens)
    for message in messages:
        if isinstance(message, ModelResponse) and message.provider_name:
            try:
                increment_eval_metric("dollars", float(message.cost().total_price))
            except (LookupError, ValueError):
                continue


def dataset(*, grammar: bool, only: str = "") -> Dataset[Request, Outcome, Claim]:
    """The requests, with the evaluator for the grammar or for a model; `only` those whose names begin so."""
    kind = Dataset[Request, Wanted, Claim]
    read = kind.from_file(DATASET)
    cases: Any = [case for case in read.cases if (case.name or "").startswith(only)]
    return Dataset(name="requests", cases=cases, evaluators=[AsWanted(grammar=grammar)])


def run(library: Library, *, model: str = "", only: str = "", repeat: int = 1, url: str = "") -> bool:
    """Try them all, print a report; whether every assertion held."""
    chosen = model_of([model], url=url, key=credential("model_key")) if model else None
    found = dataset(grammar=chosen is None, only=only)

    async def task(request: Request) -> Outcome:
        return await attempt(request, library, chosen)

    report = asyncio.run(
        found.evaluate(task, progress=False, repeat=repeat, max_concurrency=4, name=model or "grammar")
    )
    report.print(include_reasons=bool(model), include_averages=True, include_durations=bool(model))
    averages = report.averages()
    wrong = [case.name for case in report.cases if not all(one.value for one in case.assertions.values())]
    if wrong:
        print("not as wanted:", ", ".join(wrong))
    return averages is not None and averages.assertions == 1.0 and not report.failures
