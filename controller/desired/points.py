"""One point of history after the other: how the state at a commit follows from the state at its parent.

Pure: what was read of the files comes in. Last valid specs, removals and moves are carried along, so that several
commits fetched at once leave the same behind as if each had been seen alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from controller.admission import Snapshot
from controller.errors import Problem
from controller.git import Touched
from controller.observed import Unknown
from controller.spec.fields import FileKind
from controller.spec.model import Tenant
from controller.spec.parse import classify
from controller.spec.policy import identity_required
from controller.spec.resolve import LastGood, Memo, resolve
from controller.spec.result import FileResult
from controller.spec.state import Decision, Desired, Library
from controller.store import Removal, Row


@dataclass(frozen=True, slots=True)
class Site:
    """What is the same at every point: the library, this appliance's host name, and what was resolved before."""

    library: Library
    host: str | None = None
    memo: Memo = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """The state at one commit.

    `rows` and `files` by path; `desired` is the last one known, and `unknown` says why this very commit's is not.
    `last` and `tenants` are the last valid values by name and id, also of containers that were removed.
    """

    revision: str
    rows: Mapping[str, Row]
    files: Mapping[str, FileResult]
    desired: Desired | None = None
    unknown: str = ""
    removed: Mapping[str, Removal] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)
    last: Mapping[str, LastGood] = field(default_factory=dict)
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()

    def snapshot(self) -> Snapshot:
        """The state as admission sees it: the files of this commit, by the tenants who were last known."""
        if self.desired is None:
            return Snapshot(paths=self.rows.keys(), identity_required=identity_required(self.files.values()))
        values = {file.stem: file.values for file in self.files.values() if file.kind is FileKind.SPEC}
        wanted = self.desired.containers
        return Snapshot(
            tenants=self.desired.tenants,
            specs={name: found.spec for name, found in wanted.items() if found.spec is not None and name in values},
            values=values,
            paths=self.rows.keys(),
            problems=() if self.unknown else self._freezing(self.desired),
            identity_required=identity_required(self.files.values()),
        )

    def _freezing(self, desired: Desired) -> tuple[Problem, ...]:
        """What keeps files from having effect; that limits are exceeded is for admission to find."""
        found = {problem for file in self.files.values() for problem in file.problems}
        found.update(problem for problem in desired.problems if classify(problem.path)[0] is FileKind.TENANT)
        found.update(problem for wanted in desired.containers.values() for problem in wanted.frozen)
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A commit that comes in: its id, its time, and whether a delegate's key brought it."""

    sha: str
    at: datetime
    delegate: bool = False


def settle(point: Point, site: Site) -> Point:
    """Resolve a point's files, and carry last valid specs and tenants along. Says so if they tell nothing."""
    found = resolve(
        point.files,
        revision=point.revision,
        changed={path: row.commit for path, row in point.rows.items()},
        changed_at={path: row.at for path, row in point.rows.items()},
        last=point.last,
        last_tenants=point.tenants,
        library=site.library,
        host=site.host,
        removed={name: removal.commit for name, removal in point.removed.items()},
        moves=point.moves,
        memo=site.memo,
    )
    if isinstance(found, Unknown):
        return replace(point, unknown=found.why)
    return replace(
        point,
        desired=_told(found, point),
        unknown="",
        last=_last(point.last, found),
        tenants={**point.tenants, **found.tenants},
    )


def step(
    point: Point, arrival: Arrival, touched: tuple[Touched, ...], read: Mapping[str, FileResult], site: Site
) -> Point:
    """The point that a commit leads to: `touched` is what it changes below `state/`, `read` the new files by path."""
    rows, files = dict(point.rows), dict(point.files)
    for change in touched:
        if change.after is None:
            rows.pop(change.path, None)
            files.pop(change.path, None)
        else:
            rows[change.path] = Row(change.after.mode, change.after.oid, arrival.sha, arrival.at, arrival.delegate)
            files[change.path] = read[change.path]
    removed, moves, last = dict(point.removed), dict(point.moves), dict(point.last)
    kinds = {change.path: classify(change.path) for change in touched}
    for name in {stem for kind, stem, _ in kinds.values() if kind is FileKind.SPEC}:
        standing = [files[path] for path, (_, stem, _) in kinds.items() if stem == name and path in files]
        if not standing and not _stands(name, files):
            known = last.get(name)
            paused = known is not None and known.spec.paused
            removed[name] = Removal(arrival.sha, paused=paused, delegate=arrival.delegate)
            moves.pop(name, None)
        elif removed.pop(name, None) is not None:
            last.pop(name, None)
        elif (host := _left(last.get(name), files.get(f"state/{name}.yaml"))) is not None:
            moves[name] = host
    return settle(
        replace(point, revision=arrival.sha, rows=rows, files=files, removed=removed, moves=moves, last=last), site
    )


def _stands(name: str, files: Mapping[str, FileResult]) -> bool:
    """Whether some file stands for a container, perhaps one in a wrong place."""
    return any(file.stem == name and file.kind is FileKind.SPEC for file in files.values())


def _left(last: LastGood | None, file: FileResult | None) -> str | None:
    """The host that a container was on, if its file now names another one."""
    if last is None or file is None or not file.valid or last.spec.host is None:
        return None
    now = file.values.get("host")
    return last.spec.host if now is not None and now != last.spec.host else None


def _told(desired: Desired, point: Point) -> Desired:
    """Desired state with what only history knows of its removals and of who brought which commit."""
    brought = {removal.commit for removal in point.removed.values() if removal.delegate}
    brought |= {row.commit for row in point.rows.values() if row.delegate}
    return replace(
        desired,
        paused_when_removed=frozenset(name for name, removal in point.removed.items() if removal.paused),
        delegated=frozenset(brought),
    )


def _last(known: Mapping[str, LastGood], desired: Desired) -> dict[str, LastGood]:
    """The last valid spec of each container, this revision's included. What is equal stays the same object."""
    last = dict(known)
    for name, wanted in desired.containers.items():
        if wanted.frozen or wanted.spec is None:
            continue
        found = LastGood(wanted.spec, wanted.revision, wanted.digest, wanted.own, wanted.changed_at)
        had = last.get(name)
        same = had is not None and had.spec is wanted.spec and had.digest == wanted.digest
        if not same or (had is not None and had.revision != wanted.revision):
            last[name] = had if had == found and had is not None else found
    return last
