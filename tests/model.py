"""A pure model of a host: carries the actions of a plan out on observed facts, as drivers and loop would.

It is stricter than any real host: data is never moved under a running machine, nothing starts that is not installed
and mounted, nothing is installed over a container whose files were not copied. What breaks that raises `Broken`, which
is a defect of the plan. Every dataset bears a `token` mark for its content, so that a test sees where data went.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from controller.observed import (
    Dataset,
    Device,
    Document,
    Installed,
    Known,
    Machine,
    Observed,
    StorageFacts,
    UnitFacts,
)
from controller.plan import actions as a
from controller.plan.memory import Debt, Memory
from controller.plan.model import Policy
from controller.plan.tailnet import tailnet_mark

UP = UnitFacts(active="active", sub="running")
THROWN = ("trashed", "trash-reason", "aside", "decision")
"""Marks that being in the trash puts on a dataset, and that taking it back drops."""


class Broken(AssertionError):
    """The plan asked for what no careful host would do."""


@dataclass
class Host:
    """The facts of one host and what is remembered of it, being changed by actions."""

    machines: dict[str, Machine]
    storage: StorageFacts
    datasets: dict[str, Dataset]
    devices: dict[str, Device] | None
    memory: Memory
    policy: Policy
    now: datetime
    built: dict[str, Document] = field(default_factory=dict)
    destroyed: list[str] = field(default_factory=list)

    @staticmethod
    def of(observed: Observed, memory: Memory, policy: Policy, now: datetime) -> Host:
        """The host that was observed; machines and storage have to be known."""
        assert isinstance(observed.machines, Known)
        assert isinstance(observed.storage, Known)
        devices = dict(observed.tailnet.value) if isinstance(observed.tailnet, Known) else None
        storage = observed.storage.value
        return Host(dict(observed.machines.value), storage, dict(storage.datasets), devices, memory, policy, now)

    def seen(self, before: Observed) -> Observed:
        """What is observed of the host now."""
        storage = replace(self.storage, datasets=self.datasets)
        tailnet = before.tailnet if self.devices is None else Known(self.devices)
        return replace(before, machines=Known(self.machines), storage=Known(storage), tailnet=tailnet)

    def act(self, action: a.Action) -> None:
        """Carry one action out."""
        getattr(self, "_" + type(action).__name__.lower())(action)

    def _machine(self, name: str) -> Machine:
        return self.machines.get(name, Machine(name))

    def _down(self, dataset: str) -> None:
        name = dataset.rsplit("/", 1)[1]
        if self._machine(name).up:
            raise Broken(f"{dataset} is moved while {name} is up")

    def _existing(self, name: str) -> Dataset:
        if name not in self.datasets:
            raise Broken(f"there is no dataset {name}")
        return self.datasets[name]

    def _marked(self, name: str, marks: Sequence[tuple[str, str]]) -> None:
        kept = {**self._existing(name).marks, **dict(marks)}
        self.datasets[name] = replace(self.datasets[name], marks={k: v for k, v in kept.items() if v})

    def _renamed(self, old: str, new: str, *, mounted: bool) -> None:
        self._existing(old)
        if new in self.datasets:
            raise Broken(f"{new} is there already")
        for path in [p for p in self.datasets if p == old or p.startswith(old + "/")]:
            to = new + path.removeprefix(old)
            self.datasets[to] = replace(self.datasets.pop(path), name=to, mounted=mounted, mountpoint=f"/{to}")

    def _preparestorage(self, _: a.PrepareStorage) -> None:
        self.storage = replace(self.storage, prepared=True)

    def _createdataset(self, action: a.CreateDataset) -> None:
        marks, found = dict(action.marks), self.datasets.get(action.dataset)
        if found is None:
            if not self.storage.prepared:
                raise Broken("data is made before the pool is prepared")
            token = f"{action.dataset}@{self.now:%s}"
            made = Dataset(action.dataset, refquota=action.refquota, mountpoint=f"/{action.dataset}")
            self.datasets[action.dataset] = replace(made, marks={**marks, "token": token})
        elif marks.get("uid") != found.marks.get("uid"):
            raise Broken(f"{action.dataset} is there already and is another's")
        self.datasets[action.dataset] = replace(self.datasets[action.dataset], refquota=action.refquota)

    def _setquota(self, action: a.SetQuota) -> None:
        found = self._existing(action.dataset)
        if 0 < action.refquota < found.referenced:
            raise Broken("a quota below what is used")
        self.datasets[action.dataset] = replace(found, refquota=action.refquota)

    def _mark(self, action: a.Mark) -> None:
        self._marked(action.dataset, ((action.key, action.value),))

    def _mount(self, action: a.Mount) -> None:
        self.datasets[action.dataset] = replace(self._existing(action.dataset), mounted=True)

    def _snapshot(self, action: a.Snapshot) -> None:
        self._existing(action.dataset)
        for path in (action.dataset, f"{action.dataset}/workspace"):
            found = self.datasets.get(path)
            if found and action.label not in found.snapshots:
                self.datasets[path] = replace(found, snapshots=(*found.snapshots, action.label))

    def _dropsnapshot(self, action: a.DropSnapshot) -> None:
        found = self._existing(action.dataset)
        kept = tuple(label for label in found.snapshots if label != action.label)
        self.datasets[action.dataset] = replace(found, snapshots=kept)

    def _totrash(self, action: a.ToTrash) -> None:
        self._down(action.dataset)
        if not self._existing(action.dataset).snapshots:
            raise Broken("data goes to the trash without a snapshot")
        self._marked(action.dataset, action.marks)
        self._renamed(action.dataset, action.target, mounted=False)

    def _fromtrash(self, action: a.FromTrash) -> None:
        self._down(action.target)
        self._renamed(action.dataset, action.target, mounted=True)
        self._marked(action.target, ((key, "") for key in THROWN))
        self._marked(action.target, action.marks)

    def _movedataset(self, action: a.MoveDataset) -> None:
        self._down(action.dataset)
        self._down(action.target)
        self._renamed(action.dataset, action.target, mounted=True)
        self._marked(action.target, action.marks)

    def _cloneback(self, action: a.CloneBack) -> None:
        self._down(action.target)
        if action.target in self.datasets:
            raise Broken(f"{action.target} is there already")
        for end in ("", "/workspace"):
            source = self.datasets.get(action.dataset + end)
            if source is None or action.label not in source.snapshots:
                if not end:
                    raise Broken(f"{action.dataset} has no snapshot {action.label}")
                continue
            marks = dict(action.marks) if not end else dict(source.marks)
            token = f"{source.marks.get('token', '')}@{action.label}"
            path, kept = action.target + end, source.snapshots[: source.snapshots.index(action.label) + 1]
            self.datasets[path] = replace(
                source,
                name=path,
                mounted=True,
                mountpoint=f"/{path}",
                marks={**{k: v for k, v in marks.items() if v}, "token": token},
                snapshots=kept,
            )
            left = tuple(label for label in source.snapshots if label not in kept)
            self.datasets[source.name] = replace(source, snapshots=left, origin=f"{path}@{action.label}")

    def _destroytrash(self, action: a.DestroyTrash) -> None:
        if not action.dataset.startswith(self.policy.trash + "/"):
            raise Broken(f"{action.dataset} is not trash")
        for path in [p for p in self.datasets if p == action.dataset or p.startswith(action.dataset + "/")]:
            self.destroyed.append(self.datasets.pop(path).marks.get("token", ""))

    def _copyin(self, action: a.CopyIn) -> None:
        machine = self._machine(action.name)
        if machine.up:
            raise Broken(f"{action.name} is copied while it is up")
        self._marked(action.dataset, (("copied", machine.installed.system_path if machine.installed else ""),))

    def _build(self, action: a.Build) -> None:
        said: dict[str, Any] = json.loads(action.document)
        self.built[action.name] = Document(**{key: said[key] for key in Document.__dataclass_fields__})

    def _install(self, action: a.Install) -> None:
        machine, document = self._machine(action.name), self.built.get(action.name)
        if document is None or document.digest != action.digest:
            raise Broken(f"{action.name} is installed without having been built")
        if machine.up:
            raise Broken(f"{action.name} is changed while it is up")
        before = machine.installed
        if before and (before.document is None or before.document.appliance != self.policy.appliance):
            copied = {d.marks.get("copied") for p, d in self.datasets.items() if p.endswith("/" + action.name)}
            if before.system_path not in copied:
                raise Broken(f"the files of the foreign container {action.name} were not copied")
        unit = replace(machine.unit, active="inactive", sub="dead", result="success", restarts=0)
        path = f"/nix/store/{action.digest}-{action.name}"
        self.machines[action.name] = replace(
            machine, name=action.name, installed=Installed(path, document), partial=False, unit=unit
        )

    def _deliver(self, action: a.Deliver) -> None:
        given = {ref.rsplit("/", 1)[-1]: "current" for ref in action.secrets}
        self.machines[action.name] = replace(self._machine(action.name), name=action.name, runtime=given)

    def _setresources(self, action: a.SetResources) -> None:
        machine = self._machine(action.name)
        unit = replace(machine.unit, memory_max=action.memory, cpu_quota=action.cpus, tasks_max=action.tasks)
        self.machines[action.name] = replace(machine, unit=unit)

    def _start(self, action: a.Start) -> None:
        machine = self._machine(action.name)
        if machine.installed is None or machine.partial or machine.runtime is None:
            raise Broken(f"{action.name} is started, but not whole")
        for path in action.datasets:
            if not self._existing(path).mounted:
                raise Broken(f"{action.name} is started on {path}, which is not mounted")
        unit = replace(machine.unit, active="active", sub="running", restarts=0)
        self.machines[action.name] = replace(machine, unit=unit, registered=True, addresses=("10.0.0.2",))

    def _stop(self, action: a.Stop) -> None:
        machine = self._machine(action.name)
        unit = replace(machine.unit, active="inactive", sub="dead", job=False)
        self.machines[action.name] = replace(machine, unit=unit, registered=False, addresses=())

    def _removesystem(self, action: a.RemoveSystem) -> None:
        machine = self._machine(action.name)
        if machine.up:
            raise Broken(f"the system of {action.name} is removed while it is up")
        if machine.installed and (
            machine.installed.document is None or machine.installed.document.appliance != self.policy.appliance
        ):
            raise Broken(f"the foreign system {action.name} is removed")
        self.machines.pop(action.name, None)

    def _clearfailed(self, action: a.ClearFailed) -> None:
        self.machines.pop(action.name, None)

    def _enrol(self, action: a.Enrol) -> None:
        if self.devices is None:
            raise Broken("enrolment while the tailnet is unknown")
        if not self._machine(action.name).up:
            raise Broken(f"{action.name} enrols, but is not up")
        node = action.previous
        known = self.devices.get(node)
        if known is None or self.policy.tag not in known.tags:
            node = f"n-{action.uid}-{len(self.devices)}"
            self.devices[node] = Device(node, action.hostname, action.hostname, action.tags, key_id=f"k-{node}")
            self._marked(action.dataset, (("key", f"k-{node}:1"),))
        asked = tailnet_mark(action.hostname, ssh=action.ssh, tags=action.tags)
        self._marked(action.dataset, (("node", node), ("tailnet", asked)))

    def _recordnode(self, action: a.RecordNode) -> None:
        key = self._existing(action.dataset).marks.get("key", "").split(":")[0]
        for node, device in (self.devices or {}).items():
            if device.key_id == key and self.policy.tag in device.tags:
                self._marked(action.dataset, (("node", node),))

    def _logout(self, _: a.LogOut) -> None:
        """Proves nothing and changes nothing that a controller could see."""

    def _deletedevice(self, action: a.DeleteDevice) -> None:
        node = action.node_id
        if not node and action.dataset:
            node = self._existing(action.dataset).marks.get("node", "")
        if self.devices is None:
            self._owe(action.uid, action.name, node)
            return
        if node in self.devices and self.policy.tag not in self.devices[node].tags:
            raise Broken(f"device {node} is not under this appliance's tag")
        self.devices.pop(node, None)
        debts = {key: debt for key, debt in self.memory.debts.items() if key != node}
        self.memory = replace(self.memory, debts=debts)

    def _notedebt(self, action: a.NoteDebt) -> None:
        self._owe(action.uid, action.name, action.node_id)

    def _owe(self, uid: str, name: str, node: str) -> None:
        if node:
            debt = self.memory.debts.get(node) or Debt(uid, name, node, self.now)
            self.memory = replace(self.memory, debts={**self.memory.debts, node: debt})

    def _decided(self, action: a.Decided) -> None:
        self.memory = replace(self.memory, decided=self.memory.decided | {action.commit})

    def _truststore(self, _: a.TrustStore) -> None:
        self.memory = replace(self.memory, rebuilt="")
