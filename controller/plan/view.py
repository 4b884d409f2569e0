"""The world as the planner looks at it: what is ours, by name and by uid, and what is foreign. Pure.

Only what bears this appliance's mark is ours: ZFS properties set on the dataset itself, our document in an installed
system, our own tag on a tailnet device. For half-removed machines, which can bear no mark, the inventory decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from controller.observed import (
    Dataset,
    Device,
    Known,
    Machine,
    NotConfigured,
    Observed,
    StorageFacts,
    Unknown,
)
from controller.observed.facts import MachineState
from controller.plan.memory import Entry, Memory
from controller.plan.model import Policy

STAMP = "%Y%m%dT%H%M%SZ"
"""How a moment is written in snapshot labels and trash ids (UTC)."""
_STAMPED = re.compile(r"[0-9]{8}T[0-9]{6}Z")

LAST_YEAR = 9000

ABSENT = Machine("")


@dataclass(frozen=True, slots=True)
class Trash:
    """One dataset in the trash. `at` is None where its mark cannot be read: such trash never expires.

    `decision` is the commit of the rollback or restore that put it aside; empty for what a removal left.
    """

    id: str
    dataset: Dataset
    uid: str
    name: str
    owner: str
    at: datetime | None
    decision: str

    @property
    def restorable(self) -> bool:
        """Whether a spec that comes back finds it; what a rollback or restore put aside is asked for by its id."""
        return not self.decision and self.at is not None


@dataclass(frozen=True)
class View:
    """What one pass can see; made only when machines and storage are known."""

    machines: Mapping[str, Machine]
    storage: StorageFacts
    devices: Mapping[str, Device] | None
    """None: the tailnet is unknown in this pass."""
    tailnet: bool
    secrets: Mapping[str, frozenset[str]] | None
    memory: Memory
    policy: Policy

    @staticmethod
    def of(observed: Observed, memory: Memory, policy: Policy) -> View | Unknown:
        """The view, or why there is none."""
        machines, storage, tailnet, secrets = (
            observed.machines,
            observed.storage,
            observed.tailnet,
            observed.secrets,
        )
        if not isinstance(machines, Known):
            return Unknown("machines: " + (machines.why if isinstance(machines, Unknown) else "not configured"))
        if not isinstance(storage, Known):
            return Unknown("storage: " + (storage.why if isinstance(storage, Unknown) else "not configured"))
        devices: Mapping[str, Device] | None = {}
        if isinstance(tailnet, Known):
            devices = tailnet.value
        elif isinstance(tailnet, Unknown):
            devices = None
        return View(
            machines.value,
            storage.value,
            devices,
            bool(policy.tag) and not isinstance(tailnet, NotConfigured),
            secrets.value if isinstance(secrets, Known) else None,
            memory,
            policy,
        )

    @cached_property
    def live(self) -> dict[str, Dataset]:
        """Our containers' datasets by path; the name is the last part of the path."""
        return {d.name: d for d in self.storage.datasets.values() if self._is_live(d)}

    @cached_property
    def by_name(self) -> dict[str, list[Dataset]]:
        """Our containers' datasets by container name, whoever owns them."""
        index: dict[str, list[Dataset]] = {}
        for path, dataset in sorted(self.live.items()):
            index.setdefault(path.rsplit("/", 1)[1], []).append(dataset)
        return index

    @cached_property
    def by_uid(self) -> dict[str, list[Dataset]]:
        """Our containers' datasets by uid, sorted by path: one each, unless a dataset was copied with its marks."""
        index: dict[str, list[Dataset]] = {}
        for _, dataset in sorted(self.live.items()):
            index.setdefault(dataset.marks["uid"], []).append(dataset)
        return index

    @cached_property
    def live_uids(self) -> dict[str, Dataset]:
        """Our containers' datasets by uid."""
        return {d.marks["uid"]: d for _, d in sorted(self.live.items())}

    @cached_property
    def trash(self) -> tuple[Trash, ...]:
        """Our trash, oldest first."""
        found = [self._trash(d) for d in self.storage.datasets.values() if self._is_trash(d)]
        return tuple(sorted(found, key=lambda t: (t.at is not None, t.at or datetime.min, t.id)))

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """The inventory by name; of several of one name, the one not being removed."""
        ordered = sorted(
            self.memory.inventory.values(), key=lambda e: (e.removing is None, e.uid in self.live_uids, e.uid)
        )
        return {entry.name: entry for entry in ordered}

    @cached_property
    def bound(self) -> dict[str, str]:
        """Node ids that live containers stand behind, and the uid behind each."""
        return {d.marks["node"]: uid for uid, d in self.live_uids.items() if d.marks.get("node")}

    @cached_property
    def origins(self) -> frozenset[str]:
        """Snapshots (`dataset@label`) that a clone depends on, which cannot be destroyed."""
        return frozenset(d.origin for d in self.storage.datasets.values() if d.origin)

    def machine(self, name: str) -> Machine:
        """The machine of that name, absent if there is none."""
        return self.machines.get(name, ABSENT)

    def child(self, dataset: str) -> Dataset | None:
        """The workspace of a container's dataset."""
        return self.storage.datasets.get(f"{dataset}/workspace")

    def ours(self, name: str) -> bool:
        """Whether what is there under this name, if anything is, is ours to act on."""
        machine = self.machine(name)
        match machine.state:
            case MachineState.ABSENT:
                return True
            case MachineState.PARTIAL | MachineState.ORPHAN | MachineState.TOMBSTONE:
                return name in self.entries or name in self.by_name
            case _:
                document = machine.installed.document if machine.installed else None
                return document is not None and document.appliance == self.policy.appliance

    def adopted(self, name: str) -> bool:
        """Whether root agreed that this very foreign machine becomes ours."""
        machine, adoption = self.machine(name), self.memory.adopted.get(name)
        return bool(adoption and machine.installed and machine.installed.system_path == adoption.system_path)

    def on_our_tag(self, device: Device | None) -> bool:
        """Whether the control plane shows this device under this appliance's own tag."""
        return device is not None and bool(self.policy.tag) and self.policy.tag in device.tags

    def foreign(self) -> tuple[str, ...]:
        """What does not bear our marks, where ours would be: listed, never touched."""
        machines = [
            f"machine {name}"
            for name, machine in self.machines.items()
            if machine.state is not MachineState.ABSENT and not self.ours(name) and not self.adopted(name)
        ]
        datasets = [f"dataset {d.name}" for d in self.storage.datasets.values() if self._is_foreign(d)]
        return tuple(sorted(machines + datasets))

    def _marked(self, dataset: Dataset) -> bool:
        return dataset.marks.get("appliance") == self.policy.appliance and bool(dataset.marks.get("uid"))

    def _is_live(self, dataset: Dataset) -> bool:
        return is_container_path(dataset.name, self.policy) and self._marked(dataset)

    def _is_trash(self, dataset: Dataset) -> bool:
        parent, _, _ = dataset.name.rpartition("/")
        return parent == self.policy.trash and self._marked(dataset)

    def _is_foreign(self, dataset: Dataset) -> bool:
        in_place = is_container_path(dataset.name, self.policy)
        in_trash = dataset.name.rpartition("/")[0] == self.policy.trash
        return (in_place or in_trash) and not self._marked(dataset)

    def _trash(self, dataset: Dataset) -> Trash:
        marks = dataset.marks
        return Trash(
            id=dataset.name.rsplit("/", 1)[1],
            dataset=dataset,
            uid=marks["uid"],
            name=marks.get("name", ""),
            owner=marks.get("owner", ""),
            at=moment(marks.get("trashed", "")),
            decision=marks.get("aside", ""),
        )


def is_container_path(dataset: str, policy: Policy) -> bool:
    """Whether a dataset is where a container's would be: `POOL/users/OWNER/containers/NAME`."""
    parts = dataset.removeprefix(policy.users + "/").split("/")
    return dataset.startswith(policy.users + "/") and len(parts) == 3 and parts[1] == "containers"


def stamp(at: datetime) -> str:
    """A moment as it is written in snapshot labels and trash ids."""
    return at.astimezone(UTC).strftime(STAMP)


def moment(text: str) -> datetime | None:
    """The moment that `stamp` wrote, or None for anything else, and for years that no time can be added to."""
    if not _STAMPED.fullmatch(text):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.year < LAST_YEAR else None


def snapshot_label(at: datetime, why: str) -> str:
    """The label of a snapshot of ours: `voxnix-20261224T180000Z-system`."""
    return f"voxnix-{stamp(at)}-{why}"


def snapshot_time(label: str) -> tuple[datetime, str] | None:
    """When and why one of our snapshots was taken; None for a snapshot that is not ours."""
    prefix, _, rest = label.partition("-")
    at, _, why = rest.partition("-")
    when = moment(at)
    return (when, why) if prefix == "voxnix" and when and why else None
