"""One message, one run of a model: with the tools, the person's context, limits, and an end that loses nothing.

Any model that pydantic-ai knows will do, or the grammar in its place. Whatever a model does, it can only call the
tools; whatever ends a run early, what was committed by then is told.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai import (
    Agent,
    AgentRunError,
    AgentStreamEvent,
    Conversation,
    DeferredToolRequests,
    DeferredToolResults,
    ModelMessage,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    RunContext,
    RunUsage,
    TextPart,
    TextPartDelta,
    ToolDenied,
    UsageLimitExceeded,
    UsageLimits,
    UserError,
    capture_run_messages,
)
from pydantic_ai.agent import EventStreamHandler
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.models import Model

from agent.budget import PER_MESSAGE
from agent.context import RULES, brief
from agent.conversation import aside, compact
from agent.desk import Desk
from agent.redact import framed, line, mask, visible
from agent.tools import TOOLSETS

log = logging.getLogger(__name__)

WITHIN = 120.0
"""Seconds that one message may take."""
TOOL_WITHIN = 60.0
ANSWER = 6000
"""Characters of a model's answer that are shown."""
SUPERSEDED = "The person said something else instead; this was not confirmed and not done."
CANCELLED = "The person said no: this was not done."


@dataclass(frozen=True, slots=True)
class Reply:
    """How a run ended: what to say, what waits for a confirmation by tool call, the conversation, what it used."""

    text: str
    conversation: Conversation
    calls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    usage: RunUsage = field(default_factory=RunUsage)
    failed: bool = False


Draft = Callable[[str], Awaitable[None]]
Runner = Agent[Desk, str | DeferredToolRequests]


def assistant() -> Runner:
    """The agent, without a model: each run brings its own."""

    def cut(messages: list[ModelMessage]) -> list[ModelMessage]:
        return compact(messages)

    found: Runner = Agent(
        deps_type=Desk,
        output_type=[str, DeferredToolRequests],
        toolsets=TOOLSETS,
        instructions=RULES,
        capabilities=[ProcessHistory(cut)],
        retries={"tools": 2, "output": 1},
        tool_timeout=TOOL_WITHIN,
        name="voxnix",
    )

    @found.instructions
    async def context(ctx: RunContext[Desk]) -> str:
        return "" if ctx.model.model_name == "grammar" else await brief(ctx.deps)

    return found


class Assistant:
    """Runs messages and answers to confirmations. It keeps nothing between them."""

    def __init__(self, *, limits: UsageLimits = PER_MESSAGE, within: float = WITHIN) -> None:
        self._agent = assistant()
        self._limits = limits
        self._within = within

    async def hear(self, desk: Desk, conversation: Conversation, model: Model, draft: Draft | None = None) -> Reply:
        """Answer the message that is on the desk. What was asked before it and not answered is withdrawn.

        With `draft` the answer is asked for piece by piece, and told as far as it is there.
        """
        pending = conversation.deferred_tool_requests
        denied = {call.tool_call_id: ToolDenied(SUPERSEDED) for call in pending.approvals} if pending else {}
        results = pending.build_results(approvals=denied) if pending else None
        return await self._run(desk, conversation, model, prompt(desk), results, draft)

    async def answer(
        self, desk: Desk, conversation: Conversation, model: Model, calls: Mapping[str, Mapping[str, Any]], yes: bool
    ) -> Reply | None:
        """Go on after a yes or no to `calls`, each with what was shown; None if nothing waits for it any more."""
        pending = conversation.deferred_tool_requests
        if pending is None or {call.tool_call_id for call in pending.approvals} != set(calls):
            return None
        given = {key: True if yes else ToolDenied(CANCELLED) for key in calls}
        metadata = {key: dict(meta) for key, meta in calls.items()}
        results = pending.build_results(approvals=given, metadata=metadata)
        return await self._run(desk, conversation, model, None, results)

    async def _run(
        self,
        desk: Desk,
        conversation: Conversation,
        model: Model,
        said: Sequence[str] | None,
        results: DeferredToolResults | None,
        draft: Draft | None = None,
    ) -> Reply:
        with capture_run_messages() as messages:
            try:
                done = await self._agent.run(
                    said,
                    conversation=conversation,
                    deferred_tool_results=results,
                    model=model,
                    deps=desk,
                    usage_limits=self._limits,
                    timeout=self._within,
                    event_stream_handler=drafting(draft) if draft else None,
                )
            except (AgentRunError, UserError, TimeoutError) as error:
                log.warning("a run ended early: %s", line(f"{type(error).__name__}: {error}", 400))
                text = early(desk, error)
                used = used_in(messages[len(conversation.messages) :])
                return Reply(text, aside(conversation, desk.heard.text, text), usage=used, failed=True)
        if isinstance(done.output, DeferredToolRequests):
            calls = {call.tool_call_id: done.output.metadata[call.tool_call_id] for call in done.output.approvals}
            return Reply(so_far(desk), done.conversation, calls, done.usage)
        return Reply(shown(done.output), done.conversation, usage=done.usage)


def shown(text: str) -> str:
    """A model's answer for people: masked, its beginning where it is long."""
    return mask(visible(text))[:ANSWER]


def drafting(draft: Draft) -> EventStreamHandler[Desk]:
    """Tells the text of an answer as it grows; what a tool is asked for is no answer."""

    async def handle(_: RunContext[Desk], events: AsyncIterable[AgentStreamEvent]) -> None:
        text = ""
        async for event in events:
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                text = event.part.content
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                text += event.delta.content_delta
            else:
                continue
            await draft(shown(text))

    return handle


def used_in(messages: Sequence[ModelMessage]) -> RunUsage:
    """What the model's answers among these messages cost."""
    used = RunUsage()
    for message in messages:
        if isinstance(message, ModelResponse):
            used.requests += 1
            used.incr(message.usage)
    return used


def prompt(desk: Desk) -> list[str]:
    """What a model is told of a message: the person's own words, and what they quote as material."""
    quoted = [framed("a message that they quote or forward", desk.heard.quoted)] if desk.heard.quoted else []
    return [mask(desk.heard.text[:8000]), *quoted]


def so_far(desk: Desk) -> str:
    """What was committed before a question, in words."""
    return "\n".join(f"{entry.subject}: committed as {entry.sha[:10]}" for entry in desk.sent if entry.sha)


def early(desk: Desk, error: Exception) -> str:
    """What to say of a run that did not come to its end."""
    if isinstance(error, UsageLimitExceeded):
        why = "I stopped: this took more steps than one message may"
    elif isinstance(error, TimeoutError) or "Timed" in type(error).__name__:
        why = "I stopped: this took too long"
    else:
        why = "The model did not answer as it should"
    done = so_far(desk)
    told = f"Until then I had committed:\n{done}" if done else "Nothing was changed."
    return f"{why}. {told}\n/commands work without a model: /help"
