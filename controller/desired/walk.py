"""From the accepted commit to the tip of the branch, each step judged.

A commit is let in if it follows from one that is in by a change that whoever brought it may make, judged by the
tenants of the commit before it. So a merge answers for all that it brings in, as seen from a parent that is in: a
member may merge the main line into their own work (seen from the main line, that adds only their own), but not
another's work into the main line. What a branch's people were allowed to do when it began, before the accepted
commit, is never asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from controller.admission import NOBODY, Change, Touch, Verdict, decision_of, judge
from controller.desired.files import Files
from controller.desired.identities import Identify
from controller.desired.points import Arrival, Point, Site, step
from controller.desired.reading import Refused
from controller.errors import Problem
from controller.git import Commit, Touched
from controller.spec.result import FileResult
from controller.spec.state import Decision


@dataclass(frozen=True, slots=True)
class Judge:
    """What a judgement needs besides the commits: who is who, whose data is in the trash, and the time now.

    With `strict`, for a push that can still be mended, a file that does not validate refuses its commit.
    """

    identify: Identify
    trash: Collection[str]
    now: datetime
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Walk:
    """How far the commits were let in: `point`, the commits `accepted` on the way, and what stopped them."""

    point: Point
    accepted: tuple[Commit, ...] = ()
    warnings: tuple[Problem, ...] = ()
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A commit that is in: the state at it, what admission had to say, and the decision that it brings."""

    point: Point
    warnings: tuple[Problem, ...] = ()
    decision: Decision | None = None


def walk(start: Point, commits: Sequence[Commit], files: Files, site: Site, court: Judge) -> Walk:
    """Go from `start` along `commits` (parents before children, the last one is the tip), as far as they are let in.

    At most one process, for the files that were not seen before.
    """
    read = _read(commits, files)
    pending = Counter(parent for commit in commits for parent in commit.parents)
    points = {start.revision: start}
    entries: dict[str, _Entry] = {}
    best, refused = start, None
    for commit in commits:
        found = _enter(points, commit, read, site, court)
        if isinstance(found, Verdict):
            refused = refused or Refused(commit.sha, found.refusals)
        elif found is not None:
            points[commit.sha] = best = found.point
            entries[commit.sha] = replace(found, point=start)
        for parent in commit.parents:
            pending[parent] -= 1
            if not pending[parent]:
                points.pop(parent, None)
    line = _behind(best.revision, commits)
    inside = [(commit, entries[commit.sha]) for commit in line if commit.sha in entries]
    told = [problem for _, entry in inside for problem in entry.warnings]
    told += [problem for commit in line if commit.sha not in entries for problem in _ignored(commit)]
    decisions = tuple(entry.decision for _, entry in inside if entry.decision is not None)
    return Walk(
        replace(best, decisions=decisions),
        tuple(commit for commit, _ in inside),
        tuple(told),
        None if best.revision == commits[-1].sha else refused,
    )


def _behind(tip: str, commits: Sequence[Commit]) -> list[Commit]:
    """Those of `commits` that `tip` has, itself included, in their order."""
    wanted = {tip}
    found = []
    for commit in reversed(commits):
        if commit.sha in wanted:
            wanted.update(commit.parents)
            found.append(commit)
    return found[::-1]


def _ignored(commit: Commit) -> Iterator[Problem]:
    """A decision on a branch that was merged without having been judged itself."""
    change = Change(commit.sha, message=commit.message, trailers=commit.trailers)
    if decision_of(change, NOBODY, commit.at) is not None:
        message = "this decision does not count: it was made on an older state and merged in"
        yield Problem(f"commit {commit.sha[:10]}", 0, 0, message, "", "decide again on top of the present state")


def _enter(
    points: Mapping[str, Point],
    commit: Commit,
    read: Mapping[tuple[str, str], FileResult],
    site: Site,
    court: Judge,
) -> _Entry | Verdict | None:
    """Let a commit in by one of its parents that are in; None if none is, or else the first parent's verdict."""
    refused: Verdict | None = None
    for parent in commit.parents:
        if parent in points:
            found = _follow(points[parent], commit, parent, read, site, court)
            if isinstance(found, _Entry):
                return found
            refused = refused or found
    return refused


def _follow(
    before: Point,
    commit: Commit,
    parent: str,
    read: Mapping[tuple[str, str], FileResult],
    site: Site,
    court: Judge,
) -> _Entry | Verdict:
    """Where one commit leads from one of its parents, or why it is refused."""
    touched = commit.against(parent)
    ours = tuple(change for change in touched if change.path.startswith("state/"))
    results = {change.path: read[change.after.oid, change.path] for change in ours if change.after}
    change = Change(commit.sha, tuple(map(_touch, touched)), commit.message, commit.trailers)
    was = before.snapshot()
    refused: Verdict | None = None
    for identity in court.identify(commit, was):
        arrival = Arrival(commit.sha, min(identity.at or commit.at, court.now), identity.delegate)
        after = step(before, arrival, ours, results, site)
        verdict = judge(change, identity, was, after.snapshot(), trash=court.trash, strict=court.strict)
        if verdict.allowed:
            return _Entry(after, verdict.warnings, decision_of(change, identity, arrival.at))
        refused = refused or verdict
    assert refused is not None
    return refused


def _read(commits: Sequence[Commit], files: Files) -> dict[tuple[str, str], FileResult]:
    """Every file that any of the commits brings, by blob id and path, in one go."""
    entries = {
        (change.path, change.after): None
        for commit in commits
        for side in (commit.merged or (commit.changes,))
        for change in side
        if change.after is not None and change.path.startswith("state/")
    }
    pairs = list(entries)
    return {(blob.oid, path): result for (path, blob), result in zip(pairs, files.read_each(pairs), strict=True)}


def _touch(change: Touched) -> Touch:
    before, after = change.before, change.after
    return Touch(change.path, before.mode if before else None, after.mode if after else None)
