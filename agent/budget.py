"""What each person may use of the model in a day, and what they prefer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic_ai.usage import RunUsage, UsageLimits

from agent.store import Store

REQUESTS = 300
TOKENS = 1_000_000
"""A person's model requests and tokens in a day (UTC)."""

PER_MESSAGE = UsageLimits(request_limit=12, tool_calls_limit=24, total_tokens_limit=120_000)
"""What one message may use."""


class Budget:
    """Usage by person and day."""

    def __init__(
        self, store: Store, now: Callable[[], float], *, requests: int = REQUESTS, tokens: int = TOKENS
    ) -> None:
        self._store = store
        self._now = now
        self._requests = requests
        self._tokens = tokens

    def spent_out(self, person: str) -> bool:
        """Whether a person has used up their day."""
        sql = "SELECT requests, tokens FROM spent WHERE person = ? AND day = ?"
        row = self._store.row(sql, person, self._day())
        return row is not None and (row["requests"] >= self._requests or row["tokens"] >= self._tokens)

    def spend(self, person: str, usage: RunUsage) -> None:
        """Count what a run used; also one that failed."""
        sql = (
            "INSERT INTO spent(person, day, requests, tokens) VALUES(?, ?, ?, ?) ON CONFLICT(person, day)"
            " DO UPDATE SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens"
        )
        self._store.rows(sql, person, self._day(), usage.requests, usage.total_tokens)

    def _day(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).date().isoformat()


class Preferences:
    """A person's own settings, by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, person: str, name: str, default: str = "") -> str:
        """What a person prefers."""
        row = self._store.row("SELECT value FROM preference WHERE person = ? AND name = ?", person, name)
        return row["value"] if row else default

    def all(self, person: str, prefix: str) -> dict[str, str]:
        """What is kept under names that begin so, by the rest of the name."""
        sql = "SELECT name, value FROM preference WHERE person = ? AND substr(name, 1, ?) = ?"
        rows = self._store.rows(sql, person, len(prefix), prefix)
        return {row["name"][len(prefix) :]: row["value"] for row in rows}

    def set(self, person: str, name: str, value: str) -> None:
        """Remember what a person prefers; nothing takes it away."""
        if not value:
            self._store.rows("DELETE FROM preference WHERE person = ? AND name = ?", person, name)
            return
        sql = "INSERT OR REPLACE INTO preference(person, name, value) VALUES(?, ?, ?)"
        self._store.rows(sql, person, name, value)
