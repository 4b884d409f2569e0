"""Confirmations: questions drawn by code, each good for one answer by one person in one chat, for a short while.

A token says nothing and is random. It is used up by the same statement that finds it, so that a second press finds
nothing; a press by anybody else uses nothing up. What was answered stays noted until it is carried out.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.person import Button, Heard
from agent.store import Store

LIFE = 900.0
"""Seconds that a question stands."""
YES, NO = "y", "n"


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: by tool call, what was shown and what it was about. `heard` is the message that led to it."""

    token: str
    person: str
    heard: Heard
    calls: Mapping[str, Mapping[str, Any]]
    shown: str = ""

    @property
    def text(self) -> str:
        """The cards of all calls, one below the other."""
        return "\n\n".join(str(call["shown"]) for call in self.calls.values())

    @property
    def buttons(self) -> list[Button]:
        """Yes and no."""
        return [Button("Confirm", f"{YES}{self.token}"), Button("Cancel", f"{NO}{self.token}")]


class Stale(Exception):
    """A press that does not count; the text says why, for the one who pressed."""


class Approvals:
    """Open questions, in the agent's store. One a person and chat: a newer one takes the older one's place."""

    def __init__(self, store: Store, now: Callable[[], float], *, life: float = LIFE) -> None:
        self._store = store
        self._now = now
        self._life = life

    def open(self, person: str, heard: Heard, calls: Mapping[str, Mapping[str, Any]]) -> Question:
        """A new question."""
        found = Question(secrets.token_urlsafe(18), person, heard, calls)
        said = {"chat": heard.chat, "id": heard.id, "text": heard.text}
        self.supersede(person, heard.chat)
        self._store.rows(
            "INSERT INTO confirmation(token, person, chat, calls, message, shown, until) VALUES(?, ?, ?, ?, ?, '', ?)",
            *(found.token, person, heard.chat, json.dumps(calls), json.dumps(said), self._now() + self._life),
        )
        return found

    def shown(self, question: Question, message: str) -> None:
        """Note in which message the question is shown."""
        self._store.rows("UPDATE confirmation SET shown = ? WHERE token = ?", message, question.token)

    def supersede(self, person: str, chat: str) -> str:
        """Withdraw what is asked of a person in a chat; the message that shows it, empty if nothing was asked."""
        sql = "DELETE FROM confirmation WHERE person = ? AND chat = ? AND answer = '' RETURNING shown"
        row = self._store.row(sql, person, chat)
        return str(row["shown"]) if row else ""

    def take(self, data: str, person: str, chat: str) -> tuple[Question, bool]:
        """The question that a press answers, used up by that, and whether the answer is yes. Raises `Stale`."""
        answer, token = data[:1], data[1:]
        if answer not in (YES, NO):
            raise Stale("This button is not mine.")
        sql = (
            "UPDATE confirmation SET answer = ? WHERE token = ? AND person = ? AND chat = ? AND answer = '' RETURNING *"
        )
        row = self._store.row(sql, answer, token, person, chat)
        if row is None:
            other = self._store.row("SELECT person, answer FROM confirmation WHERE token = ?", token)
            if other is not None and not other["answer"]:
                raise Stale("Only the person who asked can answer this.")
            raise Stale("This was answered, or is over.")
        if row["until"] < self._now():
            self.finish(token)
            raise Stale("This question is too old. Ask again if you still want it.")
        return _question(row), answer == YES

    def finish(self, token: str) -> None:
        """What was answered is carried out, or never will be."""
        self._store.rows("DELETE FROM confirmation WHERE token = ?", token)

    def interrupted(self) -> list[Question]:
        """What was answered and not carried out: left over by a restart."""
        return [_question(row) for row in self._store.rows("SELECT * FROM confirmation WHERE answer != ''")]

    def pending(self, person: str, chat: str) -> str:
        """The token of what is asked of a person in a chat now; empty if nothing is."""
        sql = "SELECT token FROM confirmation WHERE person = ? AND chat = ? AND until >= ? AND answer = ''"
        row = self._store.row(sql, person, chat, self._now())
        return str(row["token"]) if row else ""


def _question(row: Any) -> Question:
    said = json.loads(row["message"])
    heard = Heard(said["chat"], said["id"], said["text"])
    return Question(row["token"], row["person"], heard, json.loads(row["calls"]), row["shown"])
