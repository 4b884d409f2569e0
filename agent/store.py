"""The agent's own memory: one SQLite file with conversations, confirmations, budgets and what was sent to git.

What was sent is written down before it is sent, so that a crash neither loses nor doubles a commit. What is deleted
is overwritten (`secure_delete`): a forgotten conversation is gone from the file too.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controller.errors import Blocked

VERSION = 1
_SCHEMA = """
CREATE TABLE outgoing(
  key TEXT PRIMARY KEY, chat TEXT NOT NULL, message TEXT NOT NULL, person TEXT NOT NULL, subject TEXT NOT NULL,
  body TEXT NOT NULL, base TEXT NOT NULL, at REAL NOT NULL,
  sha TEXT NOT NULL DEFAULT '', state TEXT NOT NULL DEFAULT 'begun', detail TEXT NOT NULL DEFAULT '',
  told INTEGER NOT NULL DEFAULT 0);
CREATE TABLE confirmation(
  token TEXT PRIMARY KEY, person TEXT NOT NULL, chat TEXT NOT NULL, calls TEXT NOT NULL, message TEXT NOT NULL,
  shown TEXT NOT NULL, until REAL NOT NULL, answer TEXT NOT NULL DEFAULT '');
CREATE TABLE conversation(
  person TEXT NOT NULL, chat TEXT NOT NULL, body BLOB NOT NULL, touched REAL NOT NULL, PRIMARY KEY(person, chat));
CREATE TABLE spent(
  person TEXT NOT NULL, day TEXT NOT NULL, requests INTEGER NOT NULL, tokens INTEGER NOT NULL,
  PRIMARY KEY(person, day));
CREATE TABLE preference(
  person TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(person, name));
"""


class Store:
    """The file at `path`; ":memory:" for tests. Short statements from any thread, one at a time."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.RLock()
        if path != ":memory:":
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;")
            self._migrate(str(path))
        except sqlite3.Error as error:
            raise Blocked(f"the agent's store {path} cannot be opened: {error}") from error
        if path != ":memory:":
            Path(path).chmod(0o600)

    def _migrate(self, path: str) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise Blocked(f"the agent's store {path} was written by a newer voxnix")
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """What a statement answers; it is durable when this returns."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row that a statement answers."""
        found = self.rows(sql, *values)
        return found[0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Several statements, all or none."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def forget(self) -> None:
        """Empty the write-ahead log into the file, so that what was deleted is nowhere any more."""
        with self._lock:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Done with the file."""
        with self._lock:
            self._db.close()
