"""The tables, as a list of migrations: the version of a store is how many of them it has been through. Pure.

A migration is never changed once it has been released; a change is a new one at the end.
"""

from __future__ import annotations

import sqlite3

APPLICATION = 0x766F786E
"""SQLite's application id of our files: "voxn"."""

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE inventory (
        uid TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL,
        system TEXT NOT NULL, node_id TEXT NOT NULL, power TEXT NOT NULL, removing TEXT
    ) WITHOUT ROWID;
    CREATE TABLE backoff (
        lane TEXT PRIMARY KEY, attempts INTEGER NOT NULL, next_at TEXT NOT NULL, message TEXT NOT NULL,
        revision TEXT NOT NULL, step TEXT NOT NULL, hint TEXT NOT NULL, blocked INTEGER NOT NULL,
        roll_out TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE debts (
        node_id TEXT PRIMARY KEY, uid TEXT NOT NULL, name TEXT NOT NULL, since TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE decisions (
        sha TEXT PRIMARY KEY, position INTEGER NOT NULL, kind TEXT NOT NULL, argument TEXT NOT NULL,
        detail TEXT NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL, admin INTEGER NOT NULL,
        delegate INTEGER NOT NULL, done INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE destroys (uid TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE adoptions (
        name TEXT PRIMARY KEY, system_path TEXT NOT NULL, by TEXT NOT NULL, at TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE rewrites (
        sha TEXT PRIMARY KEY, by TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE tree (
        path TEXT PRIMARY KEY, mode TEXT NOT NULL, oid TEXT NOT NULL, sha TEXT NOT NULL,
        at TEXT NOT NULL, delegate INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE removed (
        name TEXT PRIMARY KEY, sha TEXT NOT NULL, paused INTEGER NOT NULL, delegate INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE moves (name TEXT PRIMARY KEY, host TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE last_good (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE tenants (id TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE results (
        oid TEXT NOT NULL, path TEXT NOT NULL, reader TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (oid, path)
    ) WITHOUT ROWID;
    CREATE TABLE status (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
        severity TEXT NOT NULL, container TEXT NOT NULL, revision TEXT NOT NULL, cause TEXT NOT NULL
    );
    CREATE INDEX events_of ON events (container, id);
    """,
    """
    CREATE TABLE deeds (
        id INTEGER PRIMARY KEY AUTOINCREMENT, sha TEXT NOT NULL, container TEXT NOT NULL, kind TEXT NOT NULL,
        reason TEXT NOT NULL, began TEXT NOT NULL, ended TEXT NOT NULL, error TEXT NOT NULL, hint TEXT NOT NULL,
        tries INTEGER NOT NULL
    );
    CREATE INDEX deeds_of ON deeds (sha, container, id);
    CREATE TABLE noted (
        id INTEGER PRIMARY KEY AUTOINCREMENT, sha TEXT NOT NULL UNIQUE, held TEXT NOT NULL, waits TEXT NOT NULL,
        refused TEXT NOT NULL, written TEXT NOT NULL
    );
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a store, an empty one included, to the present version; each step is all or nothing."""
    for version in range(version_of(connection), len(MIGRATIONS)):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{MIGRATIONS[version]}\n"
            f"PRAGMA user_version = {version + 1};\nPRAGMA application_id = {APPLICATION};\nCOMMIT;"
        )


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations a store has been through."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def application_of(connection: sqlite3.Connection) -> int:
    """Whose file it says it is."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0])


def shape_of(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Names and definitions of all tables and indexes, to compare two stores by."""
    query = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    return [(name, " ".join(sql.split())) for name, sql in connection.execute(query)]


def present_shape() -> list[tuple[str, str]]:
    """The shape that a store of the present version has."""
    connection = sqlite3.connect(":memory:")
    try:
        migrate(connection)
        return shape_of(connection)
    finally:
        connection.close()
