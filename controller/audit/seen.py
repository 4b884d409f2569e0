"""What a pass says about commits: which it still works for, which it holds, which it refused. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.audit.note import Held
from controller.observed import Known, Source
from controller.plan.model import Cause, CauseKind, Lane, Plan, Reason
from controller.spec.state import Desired

PASSING = frozenset(
    {Reason.BACKING_OFF, Reason.SUSPENDED, Reason.UNKNOWN_SOURCE, Reason.CLOCK_UNTRUSTED, Reason.ELSEWHERE}
)
"""Waits that say nothing about the commit."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pass says about commits: at which revision it is, and which commits it still works for.

    `held` and `waits` are by commit; `refused` is one that was not let in, and why.
    """

    revision: str = ""
    due: frozenset[str] = frozenset()
    held: Mapping[str, tuple[Held, ...]] = field(default_factory=dict)
    waits: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    refused: tuple[str, str] = ("", "")


def seen_of(source: Source[Desired], plan: Plan, refused: tuple[str, str] = ("", "")) -> Seen:
    """What desired state and the plan that follows from it say about commits."""
    if not isinstance(source, Known) or plan.blind:
        return Seen(refused=refused)
    desired = source.value
    held: dict[str, list[Held]] = {}
    for hold in plan.holds:
        for sha in _commits(hold.lanes):
            held.setdefault(sha, []).append(Held(hold.id, hold.reason, hold.names))
    return Seen(
        desired.revision,
        frozenset(_commits(plan.lanes)),
        {sha: tuple(holds) for sha, holds in held.items()},
        _waits(desired, plan),
        refused,
    )


def _waits(desired: Desired, plan: Plan) -> dict[str, tuple[tuple[str, str], ...]]:
    """What containers wait for, by the commit that last changed them."""
    found: dict[str, list[tuple[str, str]]] = {}
    for wait in plan.waits:
        wanted = desired.containers.get(wait.key)
        if wanted and wanted.revision and wait.reason not in PASSING:
            found.setdefault(wanted.revision, []).append((wait.key, wait.message))
    return {sha: tuple(waits) for sha, waits in found.items()}


def _commits(lanes: Iterable[Lane]) -> set[str]:
    """The commits that lanes carry out."""
    found = {commit_of(step.cause) for lane in lanes for step in lane.steps}
    return found - {""}


def commit_of(cause: Cause) -> str:
    """The commit that asked for a step; "" where none did: drift, schedules and the like are no commit's doing."""
    return cause.ref if cause.kind in (CauseKind.REVISION, CauseKind.DECISION) else ""
