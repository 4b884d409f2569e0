"""Judges a push to the state repo before git takes it: every commit in it, by the rules that the controller goes by.

It reads the objects that git keeps apart until the push is taken, writes nothing but the receive log, and keeps in
memory what it learned of the last commits, so that the next push costs what it brings and no more.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from controller.desired.files import Files
from controller.desired.identities import Identities
from controller.desired.points import Point, Site
from controller.desired.revision import at_revision
from controller.desired.walk import Judge, Walk, walk
from controller.errors import Blocked, Problem
from controller.gate.bounds import changes, oversized, since, unfit
from controller.gate.brief import Line, Side, brief
from controller.gate.push import Push, Update, misdirected
from controller.gate.risks import risks
from controller.git import Commit, Objects
from controller.git.process import Git
from controller.receive import Arrival, Found, note_arrival
from controller.spec.fields import FileKind
from controller.spec.parse import classify
from controller.spec.state import Library

_KEPT = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a push. It is refused if there are any `refusals`; `lines` are the plan in short.

    `mending` is how the pusher gets on, where that is the same for all refusals.
    """

    refusals: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    lines: tuple[Line, ...] = ()
    mending: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """Stands for the receive log while a push is judged: all that comes in comes in now, by whoever pushes."""

    key: str
    by: str
    now: datetime

    def find(self, commits: Collection[str]) -> Found:
        """The same arrival for all."""
        return Found(dict.fromkeys(commits, self.arrival(tuple(commits))))

    def mark(self) -> object:
        """Always the same."""
        return None

    def arrival(self, commits: tuple[str, ...]) -> Arrival:
        """The entry for the receive log."""
        return Arrival(commits, self.now, self.key, "" if self.key else self.by, "ssh" if self.key else "path")


@dataclass
class Gate:
    """The gate of the bare state repo at `path`.

    `library` tells the modules that there are now, `delegates` the agent's public keys; `host` names this appliance.
    `trash` tells whose data waits in the trash: it is asked where a tenant is removed.
    """

    path: Path
    branch: str
    library: Callable[[], Library]
    host: str | None = None
    delegates: Callable[[], Collection[str]] = tuple
    trash: Callable[[], Collection[str]] = frozenset
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _points: dict[str, Point] = field(default_factory=dict)
    _files: Files | None = None
    _site: Site | None = None
    _busy: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, push: Push) -> Answer:
        """Judge a push, and note who brought it if it may come in. Raises `Blocked` where that cannot be noted."""
        with self._busy:
            answer, commits, pending = self._judge(push)
        if not answer.refusals and commits:
            note_arrival(self.path, pending.arrival(tuple(commit.sha for commit in commits)))
        return answer

    def names(self, old: str, new: str) -> list[str]:
        """The containers whose files differ between two commits that are in."""
        (touched,) = Objects(Git(self.path)).differences([(old, new)])
        kinds = [classify(change.path) for change in touched]
        return sorted({stem for kind, stem, _ in kinds if kind is FileKind.SPEC})

    def _judge(self, push: Push) -> tuple[Answer, Sequence[Commit], Pending]:
        pending = Pending(push.key, push.by, self.now())
        wrong = tuple(misdirected(push.updates, self.branch))
        if wrong or not push.updates:
            return Answer(wrong, mending="nothing was taken"), (), pending
        (update,) = push.updates[:1]
        objects = Objects(Git(self.path, quarantine=quarantine(self.path, push.quarantine)))
        if not update.old:
            return Answer((_empty(self.path),)), (), pending
        commits = since(objects, update)
        refused = tuple(unfit(update, commits)) or tuple(oversized(objects, commits))
        if refused:
            return Answer(refused, mending="nothing of this push was taken"), (), pending
        files, site = self._reader(objects)
        start = self._point(objects, files, site, update.old)
        if start.unknown:
            return Answer((_unknown(update, start),)), (), pending
        identities = Identities(objects, pending, self.delegates())
        witness = identities.of(commits)
        trash = self.trash() if any(map(_removes_tenant, commits)) else ()
        court = Judge(witness.identify, trash, pending.now, strict=True)
        found = walk(start, commits, files, site, court)
        if found.refused is None and not found.point.unknown:
            self._keep(found.point, files)
        return self._answer(start, found, commits, pending, push), commits, pending

    def _reader(self, objects: Objects) -> tuple[Files, Site]:
        """What reads files: the same one as last time, unless the library has changed."""
        library = self.library()
        if self._files is None or self._site is None or self._site.library != library:
            self._points.clear()
            self._files, self._site = Files(objects, library), Site(library, self.host)
        self._files.objects = objects
        return self._files, self._site

    def _point(self, objects: Objects, files: Files, site: Site, sha: str) -> Point:
        """The state at a commit that is in the repository already."""
        if sha not in self._points:
            self._keep(at_revision(objects, files, site, sha), files)
        return self._points[sha]

    def _keep(self, point: Point, files: Files) -> None:
        self._points.pop(point.revision, None)
        self._points[point.revision] = point
        while len(self._points) > _KEPT:
            del self._points[next(iter(self._points))]
        files.forget([(path, row.oid) for known in self._points.values() for path, row in known.rows.items()])

    def _answer(self, start: Point, found: Walk, commits: Sequence[Commit], pending: Pending, push: Push) -> Answer:
        warnings = found.warnings
        if found.refused is not None:
            problems, refused = found.refused.problems, found.refused.commit
            return Answer(problems, warnings, mending=_mending(refused, commits, problems))
        if found.point.unknown or start.desired is None or found.point.desired is None:
            return Answer((_unknown(push.updates[0], found.point),), warnings)
        before, after = Side(start.desired, start.files), Side(found.point.desired, found.point.files)
        clashes, freezing = _aftermath(before, after)
        if clashes:
            return Answer(clashes, warnings, mending=_mending(commits[-1].sha, commits, clashes))
        warnings += freezing
        delegated = {path for path, row in found.point.rows.items() if row.delegate}
        gone = {name for name, row in found.point.removed.items() if row.delegate}
        names = {Path(path).stem for path in delegated} | gone
        warnings += tuple(risks(before, after, pending.now))
        lines = brief(before, after, found.point.decisions, pending.now, self.host, delegated=names)
        return Answer((), warnings, tuple(lines))


def quarantine(repository: Path, folder: str) -> Path | None:
    """The folder of new objects that git named, if it is one of this repository's; None where it named none.

    Raises `Blocked` for any other: nobody gets files read from elsewhere.
    """
    if not folder:
        return None
    place = Path(os.path.realpath(folder))
    if place.parent != Path(os.path.realpath(repository / "objects")) or not place.is_dir():
        raise Blocked("git keeps the new objects of this push in a place that is not the state repo's")
    return place


def _removes_tenant(commit: Commit) -> bool:
    return any(change.after is None and "tenants/" in change.path for change in changes(commit))


def _aftermath(before: Side, after: Side) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """What was not wrong before: in tenants' files taken together, and in files that the push has not touched.

    The former refuses it, since keys stand for one tenant only; the latter freezes containers, and is told.
    """
    fresh = sorted(set(after.desired.problems) - set(before.desired.problems))
    clashes = tuple(problem for problem in fresh if classify(problem.path)[0] is FileKind.TENANT)
    same = {path for path, file in after.files.items() if before.files.get(path) is file}
    return clashes, tuple(problem for problem in fresh if problem.path in same)


def _mending(refused: str, commits: Sequence[Commit], problems: Sequence[Problem]) -> str:
    """How the pusher mends a refused commit; where the commit itself is the trouble, the problems say it."""
    if refused == commits[-1].sha and all(problem.path == f"commit {refused[:10]}" for problem in problems):
        return "nothing of this push was taken"
    if len(commits) == 1 or refused == commits[-1].sha:
        return "mend it, `git commit --amend`, push again; nothing of this push was taken"
    return f"mend commit {refused[:10]} (`git rebase -i {refused[:10]}~`), push again; nothing of this push was taken"


def _unknown(update: Update, point: Point) -> Problem:
    message = f"this says nothing that can be followed: {point.unknown}"
    hint = "look at what `git show --stat` says was removed"
    return Problem(f"commit {update.new[:10]}", 0, 0, message, "a tenant and its containers below `state/`", hint)


def _empty(path: Path) -> Problem:
    return Problem(path.name, 0, 0, "nothing was ever committed here", "", "`voxnix init DIR` makes a state repo")
