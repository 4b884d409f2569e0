"""What is observed of one container, told as the five conditions. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controller.observed import Dataset, Device, Known, Machine, MachineState, NotConfigured, Observed
from controller.plan.model import Policy, Reason
from controller.plan.view import is_container_path
from controller.spec.state import Wanted
from controller.status.model import Condition, ConditionType, Truth


@dataclass(frozen=True, slots=True)
class Facts:
    """One container's share of everything observed."""

    machine: Machine | None
    data: Dataset | None
    workspace: Dataset | None
    device: Device | None
    tailnet: Truth
    """Whether there is a tailnet; unknown where it did not answer."""
    known: bool
    """Whether machines and storage answered."""


class World:
    """Observed facts by container name."""

    def __init__(self, observed: Observed, policy: Policy) -> None:
        self.known = isinstance(observed.machines, Known) and isinstance(observed.storage, Known)
        self.machines = observed.machines.value if isinstance(observed.machines, Known) else {}
        self.datasets = observed.storage.value.datasets if isinstance(observed.storage, Known) else {}
        self.devices = observed.tailnet.value if isinstance(observed.tailnet, Known) else {}
        self.tailnet = Truth.TRUE if isinstance(observed.tailnet, Known) else Truth.UNKNOWN
        if isinstance(observed.tailnet, NotConfigured) or not policy.tag:
            self.tailnet = Truth.FALSE
        self.live = {
            path.rsplit("/", 1)[1]: d
            for path, d in sorted(self.datasets.items())
            if is_container_path(path, policy) and d.marks.get("appliance") == policy.appliance and d.marks.get("uid")
        }

    def facts(self, name: str) -> Facts:
        """What was observed of one container."""
        data = self.live.get(name)
        return Facts(
            machine=self.machines.get(name),
            data=data,
            workspace=self.datasets.get(f"{data.name}/workspace") if data else None,
            device=self.devices.get(data.marks.get("node", "")) if data else None,
            tailnet=self.tailnet,
            known=self.known,
        )


def conditions(facts: Facts, wanted: Wanted | None, power: str) -> tuple[Condition, ...]:
    """All five, by what was observed alone; `power` is what it should be now, empty where nothing says."""
    return (_valid(wanted), _storage(facts), _system(facts, wanted), _power(facts, power), _tailnet(facts, wanted))


def _valid(wanted: Wanted | None) -> Condition:
    if wanted and wanted.frozen:
        return Condition(ConditionType.VALID, Truth.FALSE, Reason.INVALID_FILE, str(wanted.frozen[0]))
    return Condition(ConditionType.VALID, Truth.TRUE, Reason.VALID)


def _storage(facts: Facts) -> Condition:
    kind = ConditionType.STORAGE
    if not facts.known:
        return Condition(kind, Truth.UNKNOWN, Reason.UNKNOWN_SOURCE)
    if facts.data is None:
        return Condition(kind, Truth.FALSE, Reason.CONVERGING, "its dataset is not there yet")
    if not facts.data.mounted or (facts.workspace and not facts.workspace.mounted):
        return Condition(kind, Truth.FALSE, Reason.NOT_MOUNTED, f"{facts.data.name} is not mounted")
    return Condition(kind, Truth.TRUE, Reason.MOUNTED)


def _system(facts: Facts, wanted: Wanted | None) -> Condition:
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


def _power(facts: Facts, wanted: str) -> Condition:
    kind = ConditionType.POWER
    if not facts.known:
        return Condition(kind, Truth.UNKNOWN, Reason.UNKNOWN_SOURCE)
    state = facts.machine.state if facts.machine else MachineState.ABSENT
    if wanted != "running" and state in (MachineState.STOPPED, MachineState.ABSENT, MachineState.FAILED):
        return Condition(kind, Truth.TRUE, Reason.STOPPED)
    reason, message = POWER.get(state, (Reason.DOWN, f"it is {state}"))
    right = reason is Reason.RUNNING and wanted != "stopped"
    return Condition(kind, Truth.TRUE if right else Truth.FALSE, reason, "" if right else message)


def _tailnet(facts: Facts, wanted: Wanted | None) -> Condition:
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
