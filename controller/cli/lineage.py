"""One state file through its history: the commits that touched it, and what it said before and after each.

Follows a container back through its former names. Reads git in batches, whatever the number of commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.audit import Facts, Source, Version, origins, read_state
from controller.spec.result import FileResult

if TYPE_CHECKING:
    from controller.git import Blob, Commit, Objects

FAR = 10_000
"""Commits that are looked through at most."""
NAMES = 16
"""Former names that are followed at most."""
BYTES = 64 * 2**10
"""Most that a state file may have; a longer one is cut, which makes it an invalid one."""
PLAIN = ("100644", "100755")
"""Modes of files that count."""


class Versions:
    """Versions of state files, each read once."""

    def __init__(self, repo: Objects) -> None:
        self._repo = repo
        self._data: dict[str, bytes] = {}
        self._results: dict[tuple[str, str], FileResult] = {}

    def fetch(self, commits: Iterable[Commit], *others: Blob | None) -> None:
        """Read all that these commits changed below `state/`, and other files, in one go."""
        blobs = [blob for c in commits for t in c.changes if _ours(t.path) for blob in (t.before, t.after)]
        blobs += others
        oids = {blob.oid for blob in blobs if blob is not None and blob.mode in PLAIN} - self._data.keys()
        if oids:
            self._data |= self._repo.blobs(sorted(oids), limit=BYTES)

    def read(self, path: str, blob: Blob | None) -> FileResult | None:
        """One version of a file; None where it was not there, or was no plain file."""
        if blob is None or blob.mode not in PLAIN:
            return None
        key = (path, blob.oid)
        if key not in self._results:
            self._results[key] = read_state(path, self._data.get(blob.oid, b""))
        return self._results[key]


@dataclass(frozen=True, slots=True)
class Lineage:
    """A file's versions, the oldest first, and the commits behind them, those of former names included."""

    path: str
    versions: tuple[Version, ...]
    commits: tuple[Commit, ...]
    former: tuple[str, ...] = ()

    @property
    def present(self) -> FileResult | None:
        """What the file says now, readable or not; None if it is not there any more."""
        return self.versions[-1].after if self.versions else None


def lineage(repo: Objects, versions: Versions, head: str, path: str, *, seen: Sequence[str] = ()) -> Lineage:
    """The history of the file at `path` up to `head`. One process for the log and one for all versions, per name."""
    commits = tuple(reversed(repo.log(head, path, limit=FAR)))
    versions.fetch(commits)
    found: list[Version] = []
    older: tuple[Commit, ...] = ()
    former: tuple[str, ...] = ()
    for commit in commits:
        for touched in commit.changes:
            if touched.path != path:
                continue
            before, after = versions.read(path, touched.before), versions.read(path, touched.after)
            inherited: Facts = {}
            name = _taken_over(before, after)
            if name and f"state/{name}.yaml" not in (path, *seen) and len(seen) < NAMES:
                parent = lineage(repo, versions, commit.sha, f"state/{name}.yaml", seen=(*seen, path))
                inherited = _last_facts(parent)
                older, former = (*parent.commits, *older), (*former, name, *parent.former)
            source = Source(commit.sha, path)
            found.append(Version(source, before, after, joined=len(commit.parents) > 1, inherited=inherited))
    return Lineage(path, tuple(found), _unique((*older, *commits)), former)


def _taken_over(before: FileResult | None, after: FileResult | None) -> str:
    """The former name that a new file takes over from."""
    if before is not None or after is None or not after.valid:
        return ""
    return str(after.values.get("renamed_from") or "")


def _last_facts(parent: Lineage) -> Facts:
    """Who set what a former file said last, before it went."""
    while parent.versions and parent.versions[-1].after is None:
        parent = Lineage(parent.path, parent.versions[:-1], parent.commits)
    return {(o.field, o.value): o.source for o in origins(parent.versions)[0] if o.source}


def _unique(commits: Iterable[Commit]) -> tuple[Commit, ...]:
    return tuple({commit.sha: commit for commit in commits}.values())


def _ours(path: str) -> bool:
    return path.startswith("state/")
