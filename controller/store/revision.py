"""What was accepted from git: the revision, its tree, last good specs, decisions, and files read before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from controller.store.memory import DECISIONS_KEPT, Remembered, iso
from controller.store.records import Accepted, Removal, Row

if TYPE_CHECKING:
    from controller.spec.state import Decision

RESULTS_SPARE = 1_000
"""Results of files that are no longer in the tree, kept for reverts and for planning other revisions."""


class Revised(Remembered):
    """The accepted revision and all that belongs to it; it changes only as a whole, in `accept`."""

    @property
    def revision(self) -> str | None:
        """The commit that was accepted last; None: none yet."""
        return self._get("revision")

    def accept(self, accepted: Accepted) -> None:
        """Move to a newly accepted revision with all that it brings, at once."""
        with self.transaction(durable=True):
            tables = (
                ("tree", "path", {path: _values(row) for path, row in accepted.tree.items()}),
                ("removed", "name", {name: _removal(found) for name, found in accepted.removed.items()}),
                ("moves", "name", _single(accepted.moves)),
                ("last_good", "name", _single(accepted.last_good)),
                ("tenants", "id", _single(accepted.tenants)),
            )
            for table, key, changes in tables:
                self._change(table, key, changes, whole=accepted.whole)
            for decision in accepted.decisions:
                self._add_decision(decision)
            self._put("revision", accepted.revision)
            self._kept = None

    def tree(self) -> dict[str, Row]:
        """The files of the accepted revision, by path."""
        return {
            path: Row(mode, oid, sha, datetime.fromisoformat(at), bool(delegate))
            for path, mode, oid, sha, at, delegate in self.query("SELECT * FROM tree ORDER BY path")
        }

    def removed(self) -> dict[str, Removal]:
        """Containers that history had and the accepted revision has not, by name."""
        rows = self.query("SELECT * FROM removed ORDER BY name")
        return {name: Removal(sha, bool(paused), bool(delegate)) for name, sha, paused, delegate in rows}

    def moves(self) -> dict[str, str]:
        """Containers whose `host` has changed, and the host they were on before."""
        return dict(self.query("SELECT * FROM moves ORDER BY name"))

    def last_good(self) -> dict[str, str]:
        """The last valid spec of each container, as JSON text."""
        return dict(self.query("SELECT * FROM last_good ORDER BY name"))

    def tenants(self) -> dict[str, str]:
        """The last valid file of each tenant, as JSON text."""
        return dict(self.query("SELECT * FROM tenants ORDER BY id"))

    def decisions(self) -> tuple[Decision, ...]:
        """What was decided and not yet carried out, in the order of the commits."""
        from controller.spec.state import Decision, DecisionKind

        columns = "kind, argument, sha, at, by, admin, detail, delegate"
        return tuple(
            Decision(
                DecisionKind(kind), argument, sha, datetime.fromisoformat(at), by, bool(admin), detail, bool(robot)
            )
            for kind, argument, sha, at, by, admin, detail, robot in self.query(
                f"SELECT {columns} FROM decisions WHERE NOT done ORDER BY position"  # noqa: S608 - fixed words
            )
        )

    def forget_decisions(self, now: datetime) -> None:
        """Drop decisions too old to matter, done or not."""
        self._remember("DELETE FROM decisions WHERE at < ?", iso(now - DECISIONS_KEPT))

    def accept_rewrite(self, sha: str, by: str, reason: str, at: datetime) -> None:
        """Root takes `sha` as a new beginning, whatever the history before it."""
        values = (sha, by, reason, iso(at))
        self._remember("REPLACE INTO rewrites VALUES (?, ?, ?, ?)", *values, durable=True)

    def rewrites(self) -> tuple[str, ...]:
        """The commits that root has taken as new beginnings and that were not begun with yet, the latest first."""
        return tuple(sha for (sha,) in self.query("SELECT sha FROM rewrites ORDER BY at DESC, sha"))

    def begun(self, sha: str) -> None:
        """A new beginning was made with `sha`: it does not count a second time."""
        self._remember("DELETE FROM rewrites WHERE sha = ?", sha)

    def results(self, reader: str) -> dict[tuple[str, str], str]:
        """What `reader` (a version of parser and modules) made of each (blob id, path), as JSON text."""
        rows = self.query("SELECT oid, path, value FROM results WHERE reader = ?", reader)
        return {(oid, path): value for oid, path, value in rows}

    def put_results(self, reader: str, results: Mapping[tuple[str, str], str]) -> None:
        """Keep what was read; what other readers made of files is dropped."""
        with self.transaction():
            self.write("DELETE FROM results WHERE reader <> ?", reader)
            rows = [(oid, path, reader, value) for (oid, path), value in results.items()]
            self.write_many("REPLACE INTO results VALUES (?, ?, ?, ?)", rows)

    def trim_results(self, keep: Collection[tuple[str, str]]) -> int:
        """Drop results beyond those in `keep`, once there are `RESULTS_SPARE` too many; how many were dropped."""
        known = [tuple(row) for row in self.query("SELECT oid, path FROM results")]
        spare = sorted(set(known) - set(keep))
        if len(spare) <= RESULTS_SPARE:
            return 0
        self.write_many("DELETE FROM results WHERE oid = ? AND path = ?", spare)
        return len(spare)

    def _change(self, table: str, key: str, changes: Mapping[str, tuple[object, ...] | None], *, whole: bool) -> None:
        """Replace, add and drop rows of one of the tables named above."""
        if whole:
            self.write(f"DELETE FROM {table}")  # noqa: S608 - a name from `accept`
        gone = [(name,) for name, values in changes.items() if values is None]
        self.write_many(f"DELETE FROM {table} WHERE {key} = ?", gone)  # noqa: S608
        rows = [(name, *values) for name, values in changes.items() if values is not None]
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.write_many(f"REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608

    def _add_decision(self, decision: Decision) -> None:
        """Remember a decision; one that is known already stays as it is, carried out or not."""
        self.write(
            "INSERT OR IGNORE INTO decisions"
            " SELECT ?, coalesce(max(position), 0) + 1, ?, ?, ?, ?, ?, ?, ?, 0 FROM decisions",
            decision.commit,
            str(decision.kind),
            decision.argument,
            decision.detail,
            iso(decision.at),
            decision.by,
            decision.admin,
            decision.delegate,
        )


def _values(row: Row | None) -> tuple[object, ...] | None:
    return None if row is None else (row.mode, row.oid, row.commit, iso(row.at), row.delegate)


def _removal(found: Removal | None) -> tuple[object, ...] | None:
    return None if found is None else (found.commit, found.paused, found.delegate)


def _single(changes: Mapping[str, str | None]) -> dict[str, tuple[object, ...] | None]:
    return {name: None if value is None else (value,) for name, value in changes.items()}
