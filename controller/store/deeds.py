"""What commits led to, for as long as it may still change: their deeds, and what is published of them already."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from controller.store.memory import iso
from controller.store.revision import Revised

if TYPE_CHECKING:
    from controller.audit.note import Deed, Held

DEEDS_KEPT = 20_000
COMMITS_KEPT = 1_000
"""Commits whose notes may still change."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What is known about one commit besides its deeds. `written` tells the note that was published last."""

    commit: str
    held: tuple[Held, ...] = ()
    waits: tuple[tuple[str, str], ...] = ()
    refused: str = ""
    written: str = ""


class Deeds(Revised):
    """Deeds are written when they are done; what is noted of a commit, when its note is made."""

    def done(self, deed: Deed) -> None:
        """An action has ended. One that is done over again after a failure counts as the same, tried again."""
        same = (deed.commit, deed.container, deed.kind, deed.reason)
        with self.transaction():
            number, began, tries = self.query(
                "SELECT max(id), began, tries FROM deeds AS one"
                " WHERE sha = ?1 AND container = ?2 AND kind = ?3 AND reason = ?4 AND EXISTS"
                " (SELECT 1 FROM deeds WHERE sha = ?1 AND container = ?2 AND error <> '' AND id >= one.id)",
                *same,
            )[0]
            if number is not None:
                self.write("DELETE FROM deeds WHERE id = ?", number)
            self.write(
                "INSERT INTO deeds (sha, container, kind, reason, began, ended, error, hint, tries)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(*same, began or iso(deed.began), iso(deed.ended), deed.error, deed.hint, deed.tries + (tries or 0)),
            )
            self.write("DELETE FROM deeds WHERE id <= (SELECT max(id) FROM deeds) - ?", DEEDS_KEPT)

    def deeds(self, commits: Collection[str]) -> Mapping[str, tuple[Deed, ...]]:
        """What was done because of each of these commits, in the order in which it ended."""
        from controller.audit.note import Deed

        at = datetime.fromisoformat
        found: dict[str, list[Deed]] = {sha: [] for sha in commits}
        rows = self.query(
            "SELECT sha, container, kind, reason, began, ended, error, hint, tries FROM deeds"
            " WHERE sha IN (SELECT value FROM json_each(?)) ORDER BY id",
            json.dumps(list(commits)),
        )
        for sha, container, kind, reason, began, ended, *rest in rows:
            found[sha].append(Deed(sha, container, kind, reason, at(began), at(ended), *rest))
        return {sha: tuple(done) for sha, done in found.items()}

    def noted(self) -> Mapping[str, Noted]:
        """The commits whose notes may still change, the oldest first."""
        from controller.audit.note import Held

        rows = self.query("SELECT sha, held, waits, refused, written FROM noted ORDER BY id")
        return {
            sha: Noted(
                sha,
                tuple(Held(one, why, tuple(names), waiting) for one, why, names, waiting in json.loads(held)),
                tuple((name, why) for name, why in json.loads(waits)),
                refused,
                written,
            )
            for sha, held, waits, refused, written in rows
        }

    def note(self, rows: Sequence[Noted]) -> None:
        """Keep what is known about commits; those before the last `COMMITS_KEPT` are forgotten."""
        values = [
            (
                row.commit,
                json.dumps([[hold.id, hold.reason, hold.names, hold.waits] for hold in row.held]),
                json.dumps(row.waits),
                row.refused,
                row.written,
            )
            for row in rows
        ]
        with self.transaction():
            self.write_many(
                "INSERT INTO noted (sha, held, waits, refused, written) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (sha) DO UPDATE SET held = excluded.held, waits = excluded.waits,"
                " refused = excluded.refused, written = excluded.written",
                values,
            )
            old = "FROM noted WHERE id <= (SELECT max(id) FROM noted) - ?"
            self.write(f"DELETE FROM deeds WHERE sha IN (SELECT sha {old})", COMMITS_KEPT)  # noqa: S608 - fixed words
            self.write(f"DELETE {old}", COMMITS_KEPT)

    def done_by(self) -> frozenset[str]:
        """The commits that something was done because of."""
        return frozenset(sha for (sha,) in self.query("SELECT DISTINCT sha FROM deeds"))
