"""The status of every container: observed facts, explained by what waits, what is held and what failed. Pure.

It says what is so and why; it never decides what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from controller.observed import Observed
from controller.plan.memory import Backoff, Memory
from controller.plan.model import Lane, Plan, Policy, Reason, Wait
from controller.spec.state import Desired, Wanted
from controller.status.conditions import World, conditions
from controller.status.model import Condition, ConditionType, ContainerStatus, Phase, Truth

GROUP: dict[Reason, ConditionType] = {
    Reason.INVALID_FILE: ConditionType.VALID,
    Reason.OWNER_MISSING: ConditionType.VALID,
    Reason.MISSING: ConditionType.STORAGE,
    Reason.NOT_MOUNTED: ConditionType.STORAGE,
    Reason.POOL_FULL: ConditionType.STORAGE,
    Reason.QUOTA_BELOW_USE: ConditionType.STORAGE,
    Reason.AWAITS_DATA: ConditionType.STORAGE,
    Reason.FOREIGN: ConditionType.SYSTEM,
    Reason.ROLL_OUT_STOPPED: ConditionType.SYSTEM,
    Reason.SECRET_MISSING: ConditionType.POWER,
    Reason.CRASH_LOOP: ConditionType.POWER,
    Reason.STARTING: ConditionType.POWER,
    Reason.STOPPING: ConditionType.POWER,
    Reason.ELSEWHERE: ConditionType.POWER,
    Reason.EXPIRED: ConditionType.POWER,
    Reason.CLOCK_UNTRUSTED: ConditionType.POWER,
    Reason.NO_TAILNET: ConditionType.TAILNET,
}
"""Which condition a wait is told in; waits of other reasons concern the container as a whole."""

STEPS: dict[str, ConditionType] = {
    **dict.fromkeys(("Build", "Install", "RemoveSystem", "ClearFailed"), ConditionType.SYSTEM),
    **dict.fromkeys(("Start", "Stop", "Deliver", "SetResources"), ConditionType.POWER),
    **dict.fromkeys(("Enrol", "RecordNode", "LogOut", "DeleteDevice", "NoteDebt"), ConditionType.TAILNET),
}
"""Which condition a failed step is told in; all other steps concern storage."""

SETTLED_ELSEWHERE = (Reason.ELSEWHERE, Reason.EXPIRED)
"""Waits of containers that are not to be on this host: that nothing of them is here is as it should be."""


@dataclass(frozen=True, slots=True)
class _Case:
    """All that is said of one container in a pass."""

    wanted: Wanted | None
    waits: tuple[Wait, ...]
    lane: Lane | None
    hold: str
    failure: Backoff | None
    power: str

    @property
    def reasons(self) -> frozenset[Reason]:
        """Why something is not done."""
        return frozenset(wait.reason for wait in self.waits)

    @property
    def failed(self) -> bool:
        """Whether a lane failed, what it was for is still to be done, and no newer commit is being carried out."""
        if not self.failure or not self.failure.message:
            return False
        if self.lane:
            return self.lane.revision == self.failure.revision
        return bool(self.waits)


def assess(
    desired: Desired,
    observed: Observed,
    memory: Memory,
    plan: Plan,
    policy: Policy,
    previous: Mapping[str, ContainerStatus],
    now: datetime,
) -> tuple[ContainerStatus, ...]:
    """The status of every container that git wants, or that is still being removed, by name."""
    waits: dict[str, list[Wait]] = {}
    for wait in plan.waits:
        waits.setdefault(wait.key, []).append(wait)
    lanes = {lane.key: lane for lane in plan.lanes}
    holds = {name: hold.id for hold in plan.holds for name in hold.names}
    world = World(observed, policy)
    here = world.live.keys() | world.machines.keys()
    leaving = {key for key, lane in lanes.items() if lane.destroys} | ((holds.keys() | waits.keys()) & here)
    statuses = []
    for name in sorted(set(desired.containers) | leaving):
        case = _Case(
            wanted=desired.containers.get(name),
            waits=tuple(waits.get(name, ())),
            lane=lanes.get(name),
            hold=holds.get(name, ""),
            failure=memory.backoff.get(name),
            power=plan.power.get(name, ""),
        )
        statuses.append(_status(name, case, world, previous.get(name), desired.revision, now))
    return tuple(statuses)


def _status(
    name: str, case: _Case, world: World, before: ContainerStatus | None, head: str, now: datetime
) -> ContainerStatus:
    spec = case.wanted.spec if case.wanted else None
    facts = world.facts(name)
    revision = case.wanted.revision if case.wanted else head
    told = _explained(conditions(facts, case.wanted, case.power), case)
    told = tuple(_dated(condition, before, revision, now) for condition in told)
    marks = facts.data.marks if facts.data else {}
    failure = case.failure
    return ContainerStatus(
        name=name,
        uid=marks.get("uid", ""),
        owner=spec.owner if spec else marks.get("owner", ""),
        phase=_phase(case, told),
        power=case.power,
        machine=str(facts.machine.state) if facts.machine else "absent" if facts.known else "unknown",
        conditions=told,
        addresses=facts.machine.addresses if facts.machine else (),
        tailnet_name=facts.device.name if facts.device else "",
        tailnet_addresses=facts.device.addresses if facts.device else (),
        modules=spec.modules if spec else (),
        home_used=facts.data.used - (facts.workspace.used if facts.workspace else 0) if facts.data else 0,
        home_quota=facts.data.refquota if facts.data else 0,
        workspace_used=facts.workspace.referenced if facts.workspace else 0,
        workspace_quota=facts.workspace.refquota if facts.workspace else 0,
        snapshots=facts.data.snapshots[-10:] if facts.data else (),
        hold=case.hold,
        retry_at=failure.next_at if failure and case.waits else None,
        attempts=failure.attempts if failure else 0,
        expires=spec.expires if spec else None,
        description=spec.description if spec else "",
        revision=revision,
    )


def _explained(found: tuple[Condition, ...], case: _Case) -> tuple[Condition, ...]:
    """Put what waits and what failed into the condition that it concerns."""
    told = {c.type: c for c in found}
    for wait in case.waits:
        if wait.reason in SETTLED_ELSEWHERE:
            for kind in (ConditionType.STORAGE, ConditionType.SYSTEM, ConditionType.TAILNET):
                told[kind] = replace(told[kind], status=Truth.TRUE, reason=wait.reason, message="", hint="")
        if wait.reason in GROUP:
            status = Truth.TRUE if wait.reason in SETTLED_ELSEWHERE else Truth.FALSE
            at = told[GROUP[wait.reason]]
            told[at.type] = replace(at, status=status, reason=wait.reason, message=wait.message, hint=wait.hint)
    if case.failed and case.failure:
        failure = case.failure
        kind = STEPS.get(failure.step, ConditionType.STORAGE)
        reason = Reason.BLOCKED if failure.blocked else Reason.FAILED
        told[kind] = replace(told[kind], status=Truth.FALSE, reason=reason, message=failure.message, hint=failure.hint)
    return tuple(told[c.type] for c in found)


def _dated(told: Condition, old: ContainerStatus | None, revision: str, now: datetime) -> Condition:
    """Keep the moment since when a condition has been as it is."""
    since: datetime | None = now
    for before in old.conditions if old else ():
        if before.type is told.type and before.status is told.status and before.reason is told.reason:
            since = before.since
    return Condition(told.type, told.status, told.reason, told.message, told.hint, since, revision)


def _phase(case: _Case, told: tuple[Condition, ...]) -> Phase:
    lane, reasons = case.lane, case.reasons
    if Reason.PAUSED in reasons:
        return Phase.PAUSED
    if case.hold:
        return Phase.HELD
    if (lane and lane.destroys) or case.wanted is None:
        return Phase.REMOVING
    if case.wanted.frozen:
        return Phase.FROZEN
    if case.failed:
        return Phase.DEGRADED
    if lane or Reason.STARTING in reasons or Reason.STOPPING in reasons:
        return Phase.CONVERGING
    if any(c.status is not Truth.TRUE for c in told) or Reason.SUSPENDED in reasons:
        return Phase.DEGRADED
    return Phase.READY
