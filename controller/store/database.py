"""The SQLite file: opened, checked, migrated, and written in transactions.

A file that is not a sound store of ours is `StoreUnreadable` and left as it is: never repaired, never emptied.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from controller.errors import Blocked, Transient
from controller.store.schema import (
    APPLICATION,
    MIGRATIONS,
    application_of,
    migrate,
    present_shape,
    shape_of,
    version_of,
)

BUSY_SECONDS = 10.0
"""How long a writer waits for another one."""


class StoreUnreadable(Blocked):
    """There is a store, and it cannot be read: nothing may be done until a person has looked."""


class Database:
    """One connection, safe to use from several threads; `transaction` groups what has to happen together."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._depth = 0

    def seen(self) -> int:
        """A number that changes when another connection has written."""
        return int(self.query("PRAGMA data_version")[0][0])

    def close(self) -> None:
        """Close the file; the store is of no use afterwards."""
        with self._lock:
            self._connection.close()

    def query(self, sql: str, *parameters: Any) -> list[Any]:
        """All rows of a SELECT."""
        with self._lock, translated(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def write(self, sql: str, *parameters: Any) -> None:
        """One statement, in the transaction under way or one of its own."""
        with self.transaction():
            self._connection.execute(sql, parameters)

    def write_many(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """One statement for each of `rows`, in one transaction."""
        if rows:
            with self.transaction():
                self._connection.executemany(sql, rows)

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All or nothing. With `durable` it is on the disk when the block ends, and so is all before it.

        Blocks nest: an inner one belongs to the outermost. A killed process loses no finished block, a power cut at
        most the last few that were not durable.
        """
        with self._lock, translated(self.path):
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0


def connect(path: Path, *, create: bool, readonly: bool) -> sqlite3.Connection | None:
    """Open a store and check it; None if there is none and `create` is false.

    Raises `StoreUnreadable` for a file that is not a sound store of this or an earlier version.
    """
    with translated(path):
        if not _is_there(path):
            if not create:
                return None
            _make(path)
        uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rw'}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _check(path, connection)
            if readonly and version_of(connection) < len(MIGRATIONS):
                raise StoreUnreadable(f"the store {path} has an older format", hint="start the controller once")
            if not readonly:
                os.chmod(path, 0o600)
                migrate(connection)
                connection.execute("PRAGMA journal_mode = WAL")
                _check_pages(path, connection)
            if shape_of(connection) != present_shape():
                raise _unreadable(path, "its tables are not those of this version of voxnix")
        except BaseException:
            connection.close()
            raise
        return connection


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Map what SQLite and the file system raise: busy or full goes away, anything else needs a person."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise Transient(f"the store {path} is busy", hint="another voxnix command is writing") from error
        if name.startswith("SQLITE_FULL"):
            raise Transient(f"the disk below {path} is full", hint="free some space") from error
        raise _unreadable(path, str(error)) from error
    except PermissionError as error:
        raise StoreUnreadable(f"the store {path} may not be read by this user", hint="run it as root") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error


def _is_there(path: Path) -> bool:
    """Whether there is anything at `path`; what may not be looked at is not absent."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _make(path: Path) -> None:
    """A new, empty store; it appears under its name only when it is complete."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection)
        finally:
            connection.close()
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _check(path: Path, connection: sqlite3.Connection) -> None:
    """Raise `StoreUnreadable` unless the file is one of ours, and not newer than we are."""
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    version = version_of(connection)
    if application_of(connection) != APPLICATION or version == 0:
        raise _unreadable(path, "it is not a voxnix store")
    if version > len(MIGRATIONS):
        hint = "use that version, or a newer one"
        raise StoreUnreadable(f"the store {path} was written by a newer voxnix (format {version})", hint=hint)


def _check_pages(path: Path, connection: sqlite3.Connection) -> None:
    answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise _unreadable(path, f"it is damaged: {answer}")


def _unreadable(path: Path, why: str) -> StoreUnreadable:
    return StoreUnreadable(
        f"the store {path} cannot be read: {why}",
        hint="put a backup in its place, or move it away: it is then rebuilt from the host's marks",
    )
