"""What the simulated host remembers beside its files: one SQLite database that several processes share.

Every command reads and writes in transactions of its own, short and never held across a wait, so that a process
killed at any instant leaves a state that the next command can go on from. This module knows tables, not tools.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from controller.errors import BadInput

VERSION = 1
DATABASE = "sim.db"

_SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE pools (name TEXT PRIMARY KEY, size INTEGER NOT NULL, other INTEGER NOT NULL, health TEXT NOT NULL);
CREATE TABLE datasets (name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, created REAL NOT NULL, origin INTEGER);
CREATE TABLE props (id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (id, key)) WITHOUT ROWID;
CREATE TABLE snapshots (id INTEGER PRIMARY KEY AUTOINCREMENT, dataset TEXT NOT NULL, name TEXT NOT NULL,
    created REAL NOT NULL, size INTEGER NOT NULL, UNIQUE (dataset, name));
CREATE TABLE units (name TEXT PRIMARY KEY, active TEXT NOT NULL, sub TEXT NOT NULL, result TEXT NOT NULL,
    restarts INTEGER NOT NULL, exit_status INTEGER NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
    until REAL, since REAL NOT NULL, leader INTEGER NOT NULL, binds TEXT NOT NULL,
    memory_max TEXT NOT NULL, cpu_quota TEXT NOT NULL, tasks_max TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (id INTEGER PRIMARY KEY, unit TEXT NOT NULL, inside INTEGER NOT NULL, time REAL NOT NULL,
    line TEXT NOT NULL);
CREATE INDEX journal_unit ON journal (unit, id);
CREATE TABLE auth_keys (id TEXT PRIMARY KEY, secret TEXT NOT NULL, tags TEXT NOT NULL, reusable INTEGER NOT NULL,
    ephemeral INTEGER NOT NULL, preauthorized INTEGER NOT NULL, created REAL NOT NULL, expires REAL NOT NULL,
    used INTEGER NOT NULL, revoked REAL, description TEXT NOT NULL);
CREATE TABLE devices (node_id TEXT PRIMARY KEY, number INTEGER NOT NULL, label TEXT NOT NULL UNIQUE,
    hostname TEXT NOT NULL, tags TEXT NOT NULL, machine_key TEXT NOT NULL UNIQUE, node_key TEXT NOT NULL,
    key_id TEXT NOT NULL, ephemeral INTEGER NOT NULL, created REAL NOT NULL, expires REAL, last_seen REAL NOT NULL,
    container TEXT NOT NULL);
CREATE TABLE tokens (token TEXT PRIMARY KEY, expires REAL NOT NULL);
CREATE TABLE faults (id INTEGER PRIMARY KEY, rule TEXT NOT NULL, seen INTEGER NOT NULL, struck INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the simulated host behaves. All times in seconds.

    `latencies` by program and verb (`systemctl start`), by program (`zfs`), or `default`. `boots` by container name
    or `default`: seconds until READY, or `crash` (the first process dies at once), or `hang` (never ready, so that
    every start times out). `modules`: the names that `nix-build` knows; None asks the library's own folder, and takes
    any name where there is none.
    """

    latencies: Mapping[str, float] = field(default_factory=dict)
    boots: Mapping[str, float | str] = field(default_factory=dict)
    stop_seconds: float = 0.0
    start_timeout: float = 60.0
    restart_seconds: float = 0.1
    template: bool = True
    """Whether the host has `container@.service`, which makes absent units look loaded."""
    clock_synchronised: bool = True
    log_commands: bool = False
    modules: tuple[str, ...] | None = None
    tailnet_up: bool = True
    """Whether the control plane can be reached, by HTTP and from inside containers."""
    tailnet_patience: float = 60.0
    """The most that `tailscale` waits for a control plane that is away, whatever its own timeout."""
    tailnet_domain: str = "tail.sim"
    tailnet_tags: tuple[str, ...] | None = None
    """The tags that the tailnet's policy knows; None takes any."""
    device_key_ids: bool = False
    """Whether listed devices name the auth key they enrolled with (Headscale does, Tailscale does not)."""


class State:
    """The database of one simulated host. Cheap to make; connects when first used."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def create(cls, directory: Path) -> State:
        """Make the database of a new host; raises `BadInput` where there is one already."""
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / DATABASE).exists():
            raise BadInput(f"{directory} holds a simulated host already")
        draft = directory / f"{DATABASE}.new"
        draft.unlink(missing_ok=True)
        connection = sqlite3.connect(draft)
        connection.executescript(f"{_SCHEMA}PRAGMA user_version = {VERSION};")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        draft.rename(directory / DATABASE)
        return cls(directory)

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection, in autocommit mode."""
        if self._connection is None:
            path = self.directory / DATABASE
            if not path.is_file():
                raise BadInput(
                    f"{self.directory} holds no simulated host",
                    hint="make one with `python -m controller.host.sim DIR --create`",
                )
            self._connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA synchronous = OFF")
        return self._connection

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of one query."""
        return self.connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """The first row of one query."""
        found: sqlite3.Row | None = self.connection.execute(sql, values).fetchone()
        return found

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that other processes wait for: all of it, or none. Nests into the outer one."""
        connection = self.connection
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def next(self, counter: str) -> int:
        """Count one up, across processes; the first is 1."""
        with self.write() as db:
            found = db.execute(
                "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (counter,),
            ).fetchone()
        return int(found[0])

    def count(self, counter: str) -> int:
        """How far a counter has come."""
        found = self.row("SELECT value FROM counters WHERE name = ?", counter)
        return int(found[0]) if found else 0

    def settings(self) -> Settings:
        """The settings as they are now; another process may have changed them."""
        stored = {row["key"]: json.loads(row["value"]) for row in self.rows("SELECT * FROM settings")}
        return Settings(**{key: _frozen(value) for key, value in stored.items()}) if stored else _DEFAULTS

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Change some settings, for every process that shares the host."""
        unknown = set(changes) - {each.name for each in fields(Settings)}
        if unknown:
            raise BadInput(f"no such setting of the simulated host: {', '.join(sorted(unknown))}")
        values = asdict(replace(Settings(), **changes))
        with self.write() as db:
            for key in changes:
                db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(values[key])))


_DEFAULTS = Settings()


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
