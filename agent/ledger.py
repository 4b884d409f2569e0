"""What the agent sends to git, written down before it is sent: one row a commit. No git, no network.

A row's key is the `Chat-message` of its commit, and follows from the message and from what is asked for in it: asking
again for the same within one message finds the same row.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from agent.store import Store


class Stage(StrEnum):
    """How far a row has come."""

    BEGUN = "begun"
    """It is to be sent; whether it was is seen in git."""
    SENT = "sent"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    """The controller, or the push hook, refuses it; `detail` says why."""
    DROPPED = "dropped"
    """It never was sent, and will not be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit to be made: a file's new content (None: removed; no path: a decision alone), made on `base`.

    `name` is the container that it is about. `at` is when it was asked for, in seconds since 1970.
    """

    key: str
    chat: str
    message: str
    person: str
    author: str
    name: str
    subject: str
    base: str
    at: float
    path: str = ""
    content: bytes | None = None
    trailers: tuple[tuple[str, str], ...] = ()
    sha: str = ""
    stage: Stage = Stage.BEGUN
    detail: str = ""

    @property
    def removes(self) -> bool:
        """Whether it takes a container's file away."""
        return bool(self.path) and self.content is None


def key_of(chat: str, message: str, what: str) -> str:
    """The id of a commit: which message asked for it, and a digest of what; it tells nobody what was said."""
    digest = hashlib.sha256(json.dumps([chat, message, what]).encode()).hexdigest()
    place = hashlib.sha256(json.dumps([chat, message]).encode()).hexdigest()
    return f"{place[:16]}-{digest[:8]}"


class Ledger:
    """The rows, in the agent's store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, entry: Entry) -> Entry:
        """Write an entry down, or find the one that was written down before under its key."""
        self._store.rows(
            "INSERT OR IGNORE INTO outgoing(key, chat, message, person, subject, body, base, at)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            *(entry.key, entry.chat, entry.message, entry.person, entry.subject, _body(entry), entry.base, entry.at),
        )
        found = self.get(entry.key)
        assert found is not None
        return found

    def get(self, key: str) -> Entry | None:
        """The entry of a key."""
        row = self._store.row("SELECT * FROM outgoing WHERE key = ?", key)
        return _entry(row) if row else None

    def settle(self, entry: Entry, stage: Stage, *, sha: str = "", detail: str = "") -> Entry:
        """Note how far an entry has come."""
        done = replace(entry, stage=stage, sha=sha or entry.sha, detail=detail)
        sql = "UPDATE outgoing SET state = ?, sha = ?, detail = ? WHERE key = ?"
        self._store.rows(sql, str(stage), done.sha, detail, entry.key)
        return done

    def drop(self, entry: Entry) -> None:
        """Forget an entry that was not sent and never will be, so that the same may be asked for anew."""
        self._store.rows("DELETE FROM outgoing WHERE key = ? AND sha = ''", entry.key)

    def tell(self, key: str) -> None:
        """Note that the person has learned how it ended."""
        self._store.rows("UPDATE outgoing SET told = 1 WHERE key = ?", key)

    def of_message(self, chat: str, message: str) -> list[Entry]:
        """What one message led to, in order."""
        sql = "SELECT * FROM outgoing WHERE chat = ? AND message = ? ORDER BY at, rowid"
        return [_entry(row) for row in self._store.rows(sql, chat, message)]

    def untold(self) -> list[Entry]:
        """What nobody was told the end of: left over by a restart, in order."""
        sql = "SELECT * FROM outgoing WHERE told = 0 ORDER BY at, rowid"
        return [_entry(row) for row in self._store.rows(sql)]

    def tidy(self, before: float) -> None:
        """Forget what was told and is older than a moment. Git has it."""
        self._store.rows("DELETE FROM outgoing WHERE told = 1 AND at < ?", before)


def _body(entry: Entry) -> str:
    content = None if entry.content is None else base64.b64encode(entry.content).decode()
    value = {"author": entry.author, "name": entry.name, "path": entry.path, "content": content}
    return json.dumps({**value, "trailers": entry.trailers})


def _entry(row: Any) -> Entry:
    body = json.loads(row["body"])
    content = body["content"]
    return Entry(
        key=row["key"],
        chat=row["chat"],
        message=row["message"],
        person=row["person"],
        author=body["author"],
        name=body["name"],
        subject=row["subject"],
        base=row["base"],
        at=row["at"],
        path=body["path"],
        content=None if content is None else base64.b64decode(content),
        trailers=tuple((key, value) for key, value in body["trailers"]),
        sha=row["sha"],
        stage=Stage(row["state"]),
        detail=row["detail"],
    )
