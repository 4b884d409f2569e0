"""The store: what is remembered, what was accepted, and what is published for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, overload

from controller.store.database import connect
from controller.store.deeds import Deeds
from controller.store.memory import iso
from controller.store.records import Event

EVENTS_KEPT = 10_000
_COLUMNS = "at, kind, message, severity, container, revision, cause, id"


class Store(Deeds):
    """One `store.db`. Opened with `Store.open`; a context manager that closes it."""

    _published: tuple[int, dict[str, str]] | None = None
    created = False
    """Whether `open` has just made it."""

    @overload
    @classmethod
    def open(cls, path: Path, *, create: Literal[True]) -> Store: ...
    @overload
    @classmethod
    def open(cls, path: Path, *, create: bool = False, readonly: bool = False) -> Store | None: ...

    @classmethod
    def open(cls, path: Path, *, create: bool = False, readonly: bool = False) -> Store | None:
        """Open the store at `path`; None if there is none and `create` is false.

        Raises `StoreUnreadable` for anything there that is not a sound store of this or an earlier version.
        """
        absent = not path.exists()
        connection = connect(path, create=create, readonly=readonly)
        if connection is None:
            return None
        store = cls(path, connection)
        store.created = absent
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(
        self,
        rows: Mapping[str, str],
        *,
        gone: Iterable[str] = (),
        summary: str | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Publish what a pass found, in one transaction: status rows (JSON text by container), of which only the
        changed ones are written; `gone` ones are dropped; the row on the pass as a whole; and events.
        """
        with self._lock:
            known = self._rows()
            changed = [(name, value) for name, value in rows.items() if known.get(name) != value]
            dropped = [(name,) for name in gone if name in known and name not in rows]
            with self.transaction():
                self.write_many("REPLACE INTO status VALUES (?, ?)", changed)
                self.write_many("DELETE FROM status WHERE name = ?", dropped)
                if summary is not None and summary != self.summary():
                    self._put("summary", summary)
                self.record(events)
            known.update(changed)
            for (name,) in dropped:
                del known[name]
            if self._depth:
                self._published = None

    def statuses(self) -> dict[str, str]:
        """The status row of each container, by name, as JSON text."""
        return dict(self.query("SELECT name, value FROM status ORDER BY name"))

    def status(self, name: str) -> str | None:
        """One container's status row."""
        rows = self.query("SELECT value FROM status WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def summary(self) -> str | None:
        """The row on the last pass as a whole, as JSON text."""
        return self._get("summary")

    def record(self, events: Sequence[Event]) -> None:
        """Append events; the oldest beyond `EVENTS_KEPT` are dropped."""
        if not events:
            return
        rows = [
            (iso(event.at), event.kind, event.message, event.severity, event.container, event.revision, event.cause)
            for event in events
        ]
        with self.transaction():
            self.write_many(
                "INSERT INTO events (at, kind, message, severity, container, revision, cause)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            self.write("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", EVENTS_KEPT)

    def events(self, *, after: int | None = None, container: str | None = None, limit: int = 100) -> tuple[Event, ...]:
        """At most `limit` events, oldest first: the next ones after that with id `after`, or else the newest."""
        what = ["id > ?"] if after is not None else []
        what += ["container = ?"] if container is not None else []
        given = [value for value in (after, container) if value is not None]
        where = f"WHERE {' AND '.join(what)}" if what else ""
        order = "ASC" if after is not None else "DESC"
        query = f"SELECT {_COLUMNS} FROM events {where} ORDER BY id {order} LIMIT ?"  # noqa: S608 - fixed words
        rows = self.query(query, *given, limit)
        rows = rows if after is not None else rows[::-1]
        return tuple(Event(datetime.fromisoformat(at), *words) for at, *words in rows)

    def last_event(self) -> int:
        """The id of the newest event; 0 without any."""
        return int(self.query("SELECT coalesce(max(id), 0) FROM events")[0][0])

    def get(self, key: str) -> object:
        """A small value that a caller keeps under a key of its own; None if there is none."""
        return json.loads(self._get(f"note:{key}") or "null")

    def put(self, key: str, value: object) -> None:
        """Keep a small JSON value under a key of the caller's own."""
        self._put(f"note:{key}", json.dumps(value))

    def _rows(self) -> dict[str, str]:
        """The status rows as they were last written, by us or anybody."""
        version = self.seen()
        if self._published is None or self._published[0] != version:
            self._published = (version, self.statuses())
        return self._published[1]
