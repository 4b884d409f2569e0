"""Status: typed conditions, reasons and phases, and how the outcome of a lane is remembered. Pure.

A status says what is so and why; it never decides what to do. Each reason has a row in docs/status.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from controller.errors import Blocked, VoxnixError
from controller.observed import Dataset, Device, Known, Machine, MachineState, NotConfigured, Observed
from controller.plan.memory import Backoff, Memory
from controller.plan.model import Lane, Plan, Policy, Reason, Wait
from controller.spec.state import Desired, Wanted

SCHEMA = 1
"""Version of the status document; a reader that meets a higher one says so instead of guessing."""
FIRST_RETRY, LAST_RETRY = 1.0, 900.0
"""Seconds of backoff after the first failure and at the most."""


class ConditionType(StrEnum):
    """The five statements made about every container."""

    VALID = "Valid"
    STORAGE = "Storage"
    SYSTEM = "System"
    POWER = "Power"
    TAILNET = "Tailnet"


class Phase(StrEnum):
    """One word for a container as a whole."""

    READY = "ready"
    CONVERGING = "converging"
    DEGRADED = "degraded"
    HELD = "held"
    FROZEN = "frozen"
    PAUSED = "paused"
    REMOVING = "removing"


class Truth(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One typed statement about a container: `since` when it became so, `revision` the commit it was judged by."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str = ""
    hint: str = ""
    since: datetime | None = None
    revision: str = ""


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """All that is published about one container. Sizes in bytes; `retry_at` when a failed lane is tried again."""

    name: str
    uid: str = ""
    owner: str = ""
    phase: Phase = Phase.CONVERGING
    power: str = ""
    machine: str = ""
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[str, ...] = ()
    tailnet_name: str = ""
    tailnet_addresses: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    home_used: int = 0
    home_quota: int = 0
    workspace_used: int = 0
    workspace_quota: int = 0
    snapshots: tuple[str, ...] = ()
    hold: str = ""
    retry_at: datetime | None = None
    attempts: int = 0
    expires: datetime | None = None
    description: str = ""
    revision: str = ""


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

WHOLE = (Reason.PAUSED, Reason.SUSPENDED, Reason.BACKING_OFF, Reason.BLOCKED, Reason.UNKNOWN_SOURCE)


@dataclass(frozen=True, slots=True)
class _Facts:
    """One container's share of everything observed."""

    machine: Machine | None
    data: Dataset | None
    workspace: Dataset | None
    device: Device | None
    tailnet: Truth
    """Whether there is a tailnet; unknown where it did not answer."""
    known: bool
    """Whether machines and storage answered."""


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
    world = _Index(observed, policy)
    leaving = {key for key, lane in lanes.items() if lane.destroys} | set(holds) & world.live.keys()
    names = sorted(set(desired.containers) | leaving)
    return tuple(
        _one(
            name, desired, world, memory, waits.get(name, []), lanes.get(name), holds.get(name, ""), plan, previous, now
        )
        for name in names
    )


class _Index:
    """Observed facts by container name."""

    def __init__(self, observed: Observed, policy: Policy) -> None:
        self.policy = policy
        self.known = isinstance(observed.machines, Known) and isinstance(observed.storage, Known)
        self.machines = observed.machines.value if isinstance(observed.machines, Known) else {}
        self.datasets = observed.storage.value.datasets if isinstance(observed.storage, Known) else {}
        self.devices = observed.tailnet.value if isinstance(observed.tailnet, Known) else {}
        self.tailnet = Truth.TRUE if isinstance(observed.tailnet, Known) else Truth.UNKNOWN
        if isinstance(observed.tailnet, NotConfigured) or not policy.tag:
            self.tailnet = Truth.FALSE
        prefix = policy.users + "/"
        self.live = {
            path.rsplit("/", 1)[1]: d
            for path, d in self.datasets.items()
            if path.startswith(prefix) and path.count("/") == prefix.count("/") + 2
        }

    def facts(self, name: str) -> _Facts:
        """What was observed of one container."""
        data = self.live.get(name)
        return _Facts(
            machine=self.machines.get(name),
            data=data,
            workspace=self.datasets.get(f"{data.name}/workspace") if data else None,
            device=self.devices.get(data.marks.get("node", "")) if data else None,
            tailnet=self.tailnet,
            known=self.known,
        )


def _one(  # noqa: PLR0913, PLR0917 - see assess
    name: str,
    desired: Desired,
    world: _Index,
    memory: Memory,
    waits: list[Wait],
    lane: Lane | None,
    hold: str,
    plan: Plan,
    previous: Mapping[str, ContainerStatus],
    now: datetime,
) -> ContainerStatus:
    wanted = desired.containers.get(name)
    spec = wanted.spec if wanted else None
    facts = world.facts(name)
    failure = memory.backoff.get(name)
    power = plan.power.get(name, "")
    fresh = (
        _valid(wanted),
        _storage(facts),
        _system(facts, wanted),
        _power(facts, power),
        _tailnet(facts, wanted),
    )
    conditions = _explained(fresh, waits, failure)
    old = previous.get(name)
    revision = wanted.revision if wanted else desired.revision
    conditions = tuple(_dated(c, old, revision, now) for c in conditions)
    marks = facts.data.marks if facts.data else {}
    quota = facts.workspace.refquota if facts.workspace else 0
    return ContainerStatus(
        name=name,
        uid=marks.get("uid", ""),
        owner=spec.owner if spec else marks.get("owner", ""),
        phase=_phase(wanted, conditions, waits, lane, hold, failure),
        power=power,
        machine=str(facts.machine.state) if facts.machine else "absent" if facts.known else "unknown",
        conditions=conditions,
        addresses=facts.machine.addresses if facts.machine else (),
        tailnet_name=facts.device.name if facts.device else "",
        tailnet_addresses=facts.device.addresses if facts.device else (),
        modules=spec.modules if spec else (),
        home_used=facts.data.used - (facts.workspace.used if facts.workspace else 0) if facts.data else 0,
        home_quota=facts.data.refquota if facts.data else 0,
        workspace_used=facts.workspace.referenced if facts.workspace else 0,
        workspace_quota=quota,
        snapshots=facts.data.snapshots[-10:] if facts.data else (),
        hold=hold,
        retry_at=failure.next_at if failure and waits else None,
        attempts=failure.attempts if failure else 0,
        expires=spec.expires if spec else None,
        description=spec.description if spec else "",
        revision=revision,
    )


def _valid(wanted: Wanted | None) -> Condition:
    if wanted and wanted.frozen:
        return Condition(ConditionType.VALID, Truth.FALSE, Reason.INVALID_FILE, str(wanted.frozen[0]))
    return Condition(ConditionType.VALID, Truth.TRUE, Reason.VALID)


def _storage(facts: _Facts) -> Condition:
    kind = ConditionType.STORAGE
    if not facts.known:
        return Condition(kind, Truth.UNKNOWN, Reason.UNKNOWN_SOURCE)
    if facts.data is None:
        return Condition(kind, Truth.FALSE, Reason.CONVERGING, "its dataset is not there yet")
    if not facts.data.mounted or (facts.workspace and not facts.workspace.mounted):
        return Condition(kind, Truth.FALSE, Reason.NOT_MOUNTED, f"{facts.data.name} is not mounted")
    return Condition(kind, Truth.TRUE, Reason.MOUNTED)


def _system(facts: _Facts, wanted: Wanted | None) -> Condition:
    kind = ConditionType.SYSTEM
    if not facts.known:
        return Condition(kind, Truth.UNKNOWN, Reason.UNKNOWN_SOURCE)
    installed = facts.machine.installed if facts.machine else None
    if installed is None:
        return Condition(kind, Truth.FALSE, Reason.NOT_INSTALLED, "its system is not installed")
    if wanted and (installed.document is None or installed.document.digest != wanted.digest):
        return Condition(kind, Truth.FALSE, Reason.OUTDATED, "its system is not the one that its spec asks for")
    return Condition(kind, Truth.TRUE, Reason.CURRENT)


POWER: dict[MachineState, tuple[Reason, str]] = {
    MachineState.STARTING: (Reason.STARTING, "it is starting"),
    MachineState.STOPPING: (Reason.STOPPING, "it is shutting down"),
    MachineState.RESTARTING: (Reason.CRASH_LOOP, "it keeps failing to start"),
    MachineState.FAILED: (Reason.DOWN, "systemd has given up on it"),
    MachineState.RUNNING: (Reason.RUNNING, "it is running"),
}


def _power(facts: _Facts, wanted: str) -> Condition:
    kind = ConditionType.POWER
    if not facts.known:
        return Condition(kind, Truth.UNKNOWN, Reason.UNKNOWN_SOURCE)
    state = facts.machine.state if facts.machine else MachineState.ABSENT
    if wanted != "running" and state in (MachineState.STOPPED, MachineState.ABSENT, MachineState.FAILED):
        return Condition(kind, Truth.TRUE, Reason.STOPPED)
    reason, message = POWER.get(state, (Reason.DOWN, f"it is {state}"))
    right = reason is Reason.RUNNING and wanted != "stopped"
    return Condition(kind, Truth.TRUE if right else Truth.FALSE, reason, "" if right else message)


def _tailnet(facts: _Facts, wanted: Wanted | None) -> Condition:
    kind = ConditionType.TAILNET
    if not wanted or not wanted.spec or not wanted.spec.on_tailnet:
        return Condition(kind, Truth.TRUE, Reason.NOT_ON_TAILNET)
    if facts.tailnet is Truth.FALSE:
        return Condition(kind, Truth.FALSE, Reason.NO_TAILNET, "this appliance has no tailnet configured")
    if facts.tailnet is Truth.UNKNOWN:
        return Condition(kind, Truth.UNKNOWN, Reason.UNKNOWN_SOURCE, "the tailnet did not answer")
    if facts.device is None:
        stopped = facts.machine is None or not facts.machine.up
        return Condition(kind, Truth.TRUE if stopped else Truth.FALSE, Reason.NOT_ENROLLED, "it has no device there")
    running = facts.machine is not None and facts.machine.state is MachineState.RUNNING
    if facts.device.online is False and running:
        return Condition(kind, Truth.FALSE, Reason.OFFLINE, "its device is not connected")
    return Condition(kind, Truth.TRUE, Reason.ENROLLED)


def _explained(conditions: tuple[Condition, ...], waits: list[Wait], failure: Backoff | None) -> tuple[Condition, ...]:
    """Put what waits and what failed into the condition that it concerns."""
    told = {c.type: c for c in conditions}
    for wait in waits:
        kind = GROUP.get(wait.reason)
        if kind:
            status = Truth.TRUE if wait.reason in (Reason.ELSEWHERE, Reason.EXPIRED) else Truth.FALSE
            told[kind] = replace(told[kind], status=status, reason=wait.reason, message=wait.message, hint=wait.hint)
    if failure and failure.message:
        kind = STEPS.get(failure.step, ConditionType.STORAGE)
        reason = Reason.BLOCKED if failure.blocked else Reason.FAILED
        told[kind] = replace(told[kind], status=Truth.FALSE, reason=reason, message=failure.message, hint=failure.hint)
    return tuple(told[c.type] for c in conditions)


def _dated(condition: Condition, old: ContainerStatus | None, revision: str, now: datetime) -> Condition:
    """Keep the moment since when a condition has been as it is."""
    before = next((c for c in old.conditions if c.type is condition.type), None) if old else None
    same = before is not None and (before.status, before.reason) == (condition.status, condition.reason)
    return replace(condition, since=before.since if same and before else now, revision=revision)


def _phase(
    wanted: Wanted | None,
    conditions: tuple[Condition, ...],
    waits: list[Wait],
    lane: Lane | None,
    hold: str,
    failure: Backoff | None,
) -> Phase:
    reasons = {wait.reason for wait in waits}
    if Reason.PAUSED in reasons:
        return Phase.PAUSED
    if hold:
        return Phase.HELD
    if (lane and lane.destroys) or wanted is None:
        return Phase.REMOVING
    if wanted.frozen:
        return Phase.FROZEN
    if failure and failure.message:
        return Phase.DEGRADED
    if lane or Reason.STARTING in reasons or Reason.STOPPING in reasons:
        return Phase.CONVERGING
    if any(c.status is not Truth.TRUE for c in conditions) or Reason.SUSPENDED in reasons:
        return Phase.DEGRADED
    return Phase.READY


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a lane ended: `step` is the name of the action that failed, `error` what it said; None for success."""

    lane: Lane
    step: str = ""
    error: VoxnixError | None = None


def after(outcome: Outcome, previous: Backoff | None, now: datetime, jitter: float) -> Backoff | None:
    """What is remembered of a lane's outcome: nothing after a success, growing backoff (1 s … 15 min) after failures.

    `jitter` in 0 … 1 spreads retries over the upper half of the delay. A container that was started again because it
    went down keeps a silent backoff, so that one which dies at once is not started in a tight loop.
    """
    if outcome.error is None and not _healed(outcome.lane):
        return None
    attempts = (previous.attempts if previous else 0) + 1
    if previous and previous.revision != outcome.lane.revision:
        attempts = 1
    blocked = isinstance(outcome.error, Blocked)
    delay = LAST_RETRY if blocked else min(LAST_RETRY, FIRST_RETRY * 2 ** min(attempts - 1, 20))
    return Backoff(
        attempts=attempts,
        next_at=now + timedelta(seconds=delay * (0.5 + jitter / 2)),
        message=outcome.error.what if outcome.error else "",
        hint=outcome.error.hint if outcome.error else "",
        revision=outcome.lane.revision,
        step=outcome.step,
        blocked=blocked,
        roll_out=outcome.lane.roll_out if outcome.error else "",
    )


def _healed(lane: Lane) -> bool:
    return any(step.action.__class__.__name__ == "Start" and step.cause.kind == "drift" for step in lane.steps)
