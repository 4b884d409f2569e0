"""What was said so far, for each person and chat: kept in the agent's store, over after idle time, erased on request.

What is old is cut off at the words of a person, so that a tool's call and its answer never part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from pydantic import ValidationError
from pydantic_ai import Conversation, ConversationTypeAdapter, ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.messages import TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.usage import RunUsage

from agent.answers import names_of
from agent.store import Store

log = logging.getLogger(__name__)

IDLE = 2 * 3600.0
"""Seconds of silence after which a conversation is over."""
TURNS = 20
"""Requests of a person that are remembered."""
CHARACTERS = 60_000
"""Roughly what a model is told of the past at most."""


class Conversations:
    """Conversations by person and chat. `now` is in seconds since 1970."""

    def __init__(self, store: Store, now: Callable[[], float], *, idle: float = IDLE) -> None:
        self._store = store
        self._now = now
        self._idle = idle

    def load(self, person: str, chat: str) -> Conversation:
        """The conversation as it stands, or a new one. Its usage begins anew, for limits are per request."""
        sql = "SELECT body, touched FROM conversation WHERE person = ? AND chat = ?"
        row = self._store.row(sql, person, chat)
        if row is None or self._now() - row["touched"] > self._idle:
            return Conversation()
        try:
            found = ConversationTypeAdapter.validate_json(row["body"])
        except ValidationError:
            log.warning("a conversation could not be read, and begins anew")
            return Conversation()
        return replace(found, usage=RunUsage())

    def save(self, person: str, chat: str, conversation: Conversation) -> None:
        """Keep a conversation, compacted."""
        kept = replace(conversation, messages=compact(conversation.messages))
        body = ConversationTypeAdapter.dump_json(kept)
        sql = "INSERT OR REPLACE INTO conversation(person, chat, body, touched) VALUES(?, ?, ?, ?)"
        self._store.rows(sql, person, chat, body, self._now())

    def forget(self, person: str, chat: str) -> None:
        """Erase a conversation, and what was asked in it, from the file."""
        with self._store.transaction():
            self._store.rows("DELETE FROM conversation WHERE person = ? AND chat = ?", person, chat)
            self._store.rows("DELETE FROM confirmation WHERE person = ? AND chat = ?", person, chat)
            self._store.rows("DELETE FROM outgoing WHERE person = ? AND chat = ? AND told = 1", person, chat)
        self._store.forget()

    def tidy(self) -> None:
        """Erase what is over."""
        self._store.rows("DELETE FROM conversation WHERE touched < ?", self._now() - self._idle)
        self._store.forget()


def compact(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """The newest turns that fit; a turn begins with a person's words, and the newest one is always whole."""
    starts = [index for index, message in enumerate(messages) if _begins(message)]
    if not starts:
        return list(messages)
    kept = starts[-1]
    for start in reversed(starts[-TURNS:]):
        if sum(map(_weight, messages[start:])) > CHARACTERS:
            break
        kept = start
    return list(messages[kept:])


def _begins(message: ModelMessage) -> bool:
    if not isinstance(message, ModelRequest):
        return False
    kinds = {type(part) for part in message.parts}
    return UserPromptPart in kinds and ToolReturnPart not in kinds


def _weight(message: ModelMessage) -> int:
    return sum(len(str(getattr(part, "content", "") or getattr(part, "args", ""))) for part in message.parts)


def aside(conversation: Conversation, said: str, answered: str) -> Conversation:
    """The conversation with a turn that a model did not bring to its end; calls that stood open are closed."""
    turn: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart(said)]), ModelResponse(parts=[TextPart(answered)])]
    messages = [*conversation.messages, *_closing(conversation.messages), *turn]
    return replace(conversation, messages=messages, deferred_tool_requests=None)


def _closing(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """Answers for calls that got none: no provider takes a call without its answer."""
    parts = [part for message in messages for part in message.parts]
    answered = {part.tool_call_id for part in parts if isinstance(part, ToolReturnPart)}
    open_ = [part for part in parts if isinstance(part, ToolCallPart) and part.tool_call_id not in answered]
    closed = [ToolReturnPart(part.tool_name, "This was not done.", part.tool_call_id) for part in open_]
    return [ModelRequest(parts=closed)] if closed else []


def last_named(messages: Sequence[ModelMessage]) -> str:
    """The container that the newest tool call was about; empty if none was."""
    for message in reversed(messages):
        for part in reversed(message.parts):
            if isinstance(part, ToolCallPart) and (found := names_of(part.args_as_dict())):
                return found
    return ""
