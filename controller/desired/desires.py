"""The state repo's desired state, pass after pass: fetch, judge what is new, remember what was accepted.

A pass in which nothing is new starts no process. The last accepted revision stands whatever happens to the state
repo. Never writes to the state repo. Blocks while git works: call it from a thread.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from controller.desired.files import Files
from controller.desired.identities import Witness, on_the_appliance
from controller.desired.points import Point, Site, settle
from controller.desired.reading import Reading, Refused
from controller.desired.revision import at_revision
from controller.desired.walk import Judge, walk
from controller.errors import Problem, Transient, VoxnixError
from controller.git import Blob, Commit, Mirror
from controller.git.mirror import FETCHED
from controller.git.process import GitFailed
from controller.observed import Known, Unknown
from controller.spec.model import ContainerSpec, Tenant
from controller.spec.resolve import LastGood
from controller.spec.state import Desired, Library
from controller.store import Accepted, Store

T = TypeVar("T")
_PENDING = Unknown("")
"""Stands in a reading until it is told: the state at the accepted revision."""


class Witnesses(Protocol):
    """Who tells who brought commits: `controller.desired.identities.Identities`, as a rule."""

    def of(self, commits: Sequence[Commit]) -> Witness:
        """Look these commits up."""
        ...

    def mark(self) -> object:
        """Differs whenever the same commits may have been brought by somebody else."""
        ...


class Anybody:
    """For a state repo to which only root can write: whoever brought a commit there is root."""

    def of(self, commits: Sequence[Commit]) -> Witness:
        """Root, whatever the commits."""
        del commits
        return Witness(on_the_appliance)

    def mark(self) -> object:
        """Always the same."""
        return None


class Desires:
    """Desired state for one appliance, from a mirror of the state repo and the store."""

    def __init__(
        self,
        mirror: Mirror,
        store: Store,
        library: Library,
        host: str | None = None,
        *,
        witnesses: Witnesses | None = None,
        trash: Callable[[], Collection[str]] = frozenset,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`witnesses` tell who brought a commit, by default root; `trash` whose data waits in the trash; `now` the
        time.
        """
        self._mirror = mirror
        self._store = store
        self._site = Site(library, host)
        self._files = Files(mirror, library, store)
        self._witnesses = witnesses or Anybody()
        self._trash = trash
        self._now = now
        self._point: Point | None = None
        self._judged: tuple[object, Reading] | None = None
        self._busy = threading.Lock()

    def read(self) -> Reading:
        """Desired state as it is now. What is new takes three processes, whatever the size of the repository.

        Raises `Blocked` when the store cannot be read; trouble with the state repo is told in the reading.
        """
        with self._busy:
            return self._read()

    def read_revision(self, revision: str) -> Desired | Unknown:
        """Desired state at a revision, as people name it, without accepting it; raises `BadInput` if there is none."""
        branch = re.escape(self._mirror.branch)
        sha = self._mirror.resolve(re.sub(rf"^(HEAD|{branch})(?=$|[~^@])", FETCHED, revision))
        with self._busy:
            point = at_revision(self._mirror, self._files, self._site, sha, present=self._accepted())
        if point.unknown or point.desired is None:
            return Unknown(point.unknown)
        return replace(point.desired, decisions=self._store.decisions())

    def _read(self) -> Reading:
        """Fetch, and judge what came; whatever fails, what was accepted stands."""
        tip, trouble = None, ""
        try:
            tip = self._mirror.fetch()
        except VoxnixError as error:
            trouble = str(error)
        try:
            point = self._accepted()
            if tip is not None:
                return self._judge(point, tip)
        except GitFailed as error:
            trouble = f"{error}; the mirror is made anew"
            self._mirror.start_over()
        except Transient as error:
            trouble = str(error)
        why = trouble or f"the state repo {self._mirror.source} has no branch {self._mirror.branch} yet"
        return self._told(Reading(_PENDING, trouble=why))

    def tidy(self) -> None:
        """Pack the mirror and drop what neither the accepted revision nor the last fetch needs. Slow: once a day."""
        accepted = self._store.revision
        if accepted:
            self._mirror.tidy(accepted)

    def _judge(self, point: Point | None, tip: str) -> Reading:
        """What the branch's tip amounts to; looked into once."""
        if point is not None and tip == point.revision:
            return self._told(Reading(_PENDING))
        of = (point.revision if point else None, frozenset(self._trash()), self._store.rewrites())
        key = (tip, *of, self._witnesses.mark())
        if self._judged is None or self._judged[0] != key:
            self._judged = (key, self._advance(point, tip))
        return self._told(self._judged[1])

    def _advance(self, point: Point | None, tip: str) -> Reading:
        """Judge what is between the accepted commit and the tip, and accept what may be."""
        if point is None or tip in self._store.rewrites():
            return self._begin(point, tip)
        commits = self._since(point.revision, tip)
        if not commits:
            return self._resume(point, tip)
        witness = self._witnesses.of(commits)
        court = Judge(witness.identify, frozenset(self._trash()), self._now())
        found = walk(point, commits, self._files, self._site, court)
        told = witness.problems + found.warnings
        if found.point.unknown:
            return Reading(Unknown(found.point.unknown), warnings=told, refused=found.refused)
        if found.accepted:
            self._accept(point, found.point)
        return Reading(_PENDING, found.accepted, told, found.refused)

    def _since(self, old: str, tip: str) -> tuple[Commit, ...]:
        """The commits since `old`; none where the tip does not go on from it.

        That `old` is not known counts only if a fresh copy of the state repo says so.
        """
        try:
            commits = self._mirror.commits(old, tip)
        except GitFailed:
            self._mirror.start_over()
            if self._mirror.fetch() != tip:
                raise
            try:
                commits = self._mirror.commits(old, tip)
            except GitFailed:
                return ()
        return commits if any(old in commit.parents for commit in commits) else ()

    def _resume(self, point: Point, tip: str) -> Reading:
        """A rewritten history: taken up where root accepted it as a new beginning, if that is in it."""
        for sha in self._store.rewrites():
            if sha != point.revision and self._since(sha, tip):
                begun = self._begin(point, sha)
                return self._advance(self._point, tip) if begun.accepted else begun
        return Reading(_PENDING, refused=_rewritten(point.revision, tip))

    def _begin(self, point: Point | None, tip: str) -> Reading:
        """Take a commit as the beginning: nothing before it is judged, and decisions before it are not run."""
        found = at_revision(self._mirror, self._files, self._site, tip, present=point)
        if found.unknown:
            return Reading.unknown(found.unknown)
        with self._store.transaction(durable=True):
            self._accept(None, found)
            self._store.begun(tip)
        return Reading(_PENDING, (self._mirror.show(tip),))

    def _accept(self, before: Point | None, after: Point) -> None:
        """Write down what is new; all of it if there is nothing before."""
        known = before or Point("", {}, {})
        self._files.save({path: Blob(row.mode, row.oid) for path, row in after.rows.items()})
        goods = {name: _good_text(good) for name, good in _new(known.last, after.last).items()}
        tenants = {name: tenant.model_dump_json() for name, tenant in _new(known.tenants, after.tenants).items()}
        self._store.accept(
            Accepted(
                after.revision,
                tree=_changes(known.rows, after.rows),
                removed=_changes(known.removed, after.removed),
                moves=_changes(known.moves, after.moves),
                last_good=goods | dict.fromkeys(known.last.keys() - after.last.keys()),
                tenants=tenants | dict.fromkeys(known.tenants.keys() - after.tenants.keys()),
                decisions=after.decisions,
                whole=before is None,
            )
        )
        self._point = replace(after, decisions=())

    def _accepted(self) -> Point | None:
        """The accepted point: as it is known, or as the store has it."""
        if self._point is None and (revision := self._store.revision) is not None:
            rows = self._store.tree()
            point = Point(
                revision,
                rows,
                self._files.read({path: Blob(row.mode, row.oid) for path, row in rows.items()}),
                removed=self._store.removed(),
                moves=self._store.moves(),
                last={name: _good(text) for name, text in self._store.last_good().items()},
                tenants={name: Tenant.model_validate_json(text) for name, text in self._store.tenants().items()},
            )
            self._point = settle(point, self._site)
        return self._point

    def _told(self, reading: Reading) -> Reading:
        """The reading with the state at the accepted revision and the decisions still to be carried out, if it lacks
        them.
        """
        if reading.desired is not _PENDING:
            return reading
        if self._point is None or self._point.desired is None:
            return replace(reading, desired=Unknown(reading.trouble or "nothing was accepted yet"))
        decisions = self._store.decisions()
        if self._point.desired.decisions != decisions:
            self._point = replace(self._point, desired=replace(self._point.desired, decisions=decisions))
        assert self._point.desired is not None
        return replace(reading, desired=Known(self._point.desired))


def _rewritten(accepted: str, tip: str) -> Refused:
    hint = f"push what goes on from {accepted[:12]}, or let root accept {tip[:12]} as a new beginning"
    message = f"the history was rewritten: {tip} does not follow from {accepted}, which was accepted last"
    return Refused(tip, (Problem(f"commit {tip[:10]}", 0, 0, message, "a branch that only grows", hint),), True)


def _new(before: Mapping[str, T], after: Mapping[str, T]) -> dict[str, T]:
    """What is added or different."""
    return {key: value for key, value in after.items() if before.get(key) is not value and before.get(key) != value}


def _changes(before: Mapping[str, T], after: Mapping[str, T]) -> dict[str, T | None]:
    """What is added or different, and None for what is gone."""
    return {**_new(before, after), **dict.fromkeys(before.keys() - after.keys())}


def _good_text(good: LastGood) -> str:
    """A last valid spec as the store keeps it."""
    at = good.changed_at.isoformat() if good.changed_at else None
    return json.dumps([good.spec.model_dump(mode="json"), good.revision, good.digest, good.own, at])


def _good(text: str) -> LastGood:
    """What `_good_text` wrote."""
    spec, revision, digest, own, at = json.loads(text)
    when = datetime.fromisoformat(at) if at else None
    return LastGood(ContainerSpec.model_validate(spec), revision, digest, own, when)
