"""Hand each action to the driver that can carry it out. It decides nothing, and keeps nothing.

What is remembered rather than done (debts, decisions carried out) goes to the ledger, which is the store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from controller.errors import Blocked, Transient
from controller.host.machines import Machines
from controller.host.nixos import Systems
from controller.host.storage import Storage
from controller.host.tailnet import Enrolment
from controller.observed import StorageFacts
from controller.plan import actions
from controller.plan.actions import Action


class Ledger(Protocol):
    """Where what is to be remembered goes."""

    def owe(self, uid: str, name: str, node_id: str) -> None:
        """A device is still to be deleted."""
        ...

    def paid(self, node_id: str) -> None:
        """A device is gone."""
        ...

    def decided(self, commit: str) -> None:
        """A decision has been carried out."""
        ...

    def trust(self, token: str) -> None:
        """An admin approved of going on with a rebuilt store."""
        ...


class Hands:
    """Carries out actions on one host."""

    def __init__(
        self, machines: Machines, storage: Storage, systems: Systems, enrolment: Enrolment | None, ledger: Ledger
    ) -> None:
        self._machines = machines
        self._storage = storage
        self._enrolment = enrolment
        self._ledger = ledger
        self._nodes: dict[str, str] = {}
        self._verbs: dict[type[Any], Callable[[Any], Awaitable[None]]] = {
            actions.PrepareStorage: storage.prepare,
            actions.CreateDataset: storage.create,
            actions.SetQuota: storage.set_quota,
            actions.Mark: storage.mark,
            actions.Mount: storage.mount,
            actions.Snapshot: storage.snapshot,
            actions.DropSnapshot: storage.drop_snapshot,
            actions.ToTrash: self._moved(storage.trash.put),
            actions.FromTrash: self._moved(storage.trash.take),
            actions.MoveDataset: self._moved(storage.trash.move),
            actions.CloneBack: self._moved(storage.trash.clone_back),
            actions.DestroyTrash: storage.trash.destroy,
            actions.CopyIn: storage.copy_in,
            actions.Build: systems.build,
            actions.Install: systems.install,
            actions.RemoveSystem: systems.remove,
            actions.ClearFailed: machines.clear_failed,
            actions.Deliver: machines.deliver,
            actions.SetResources: machines.set_resources,
            actions.Start: self._start,
            actions.Stop: machines.stop,
            actions.Enrol: self._enrol,
            actions.RecordNode: self._record_node,
            actions.LogOut: self._log_out,
            actions.DeleteDevice: self._delete_device,
            actions.NoteDebt: self._note_debt,
            actions.Decided: self._decided,
            actions.TrustStore: self._trust,
        }

    async def act(self, action: Action) -> None:
        """Carry one action out. Raises `Transient`, `Waiting` or `Blocked` where that is not possible."""
        await self._verbs[type(action)](action)

    def _moved(self, move: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """A verb that moves a container's data, done only while that container is down."""

        async def verb(action: Any) -> None:
            for dataset in {action.dataset, action.target}:
                if "/containers/" in dataset:
                    await self._machines.expect_down(dataset.rpartition("/")[2])
            await move(action)

        return verb

    async def _start(self, action: actions.Start) -> None:
        await self._storage.ready(action.datasets)
        await self._machines.start(action)

    def know(self, storage: StorageFacts) -> None:
        """Learn from a fresh look which node ids are recorded for which uids."""
        recorded = (dataset.marks for dataset in storage.datasets.values())
        self._nodes = {marks["node"]: marks["uid"] for marks in recorded if "node" in marks and "uid" in marks}

    async def _enrol(self, action: actions.Enrol) -> None:
        node_id = await self._tailnet().enrol(action, self._nodes)
        await self._bind(node_id, action.uid, action.dataset)

    async def _record_node(self, action: actions.RecordNode) -> None:
        node_id = await self._tailnet().record_node(action, self._nodes)
        if node_id:
            await self._bind(node_id, action.uid, action.dataset)

    async def _bind(self, node_id: str, uid: str, dataset: str) -> None:
        """A node is one container's: of two that claim it at the same moment, the second is not believed."""
        if self._nodes.setdefault(node_id, uid) != uid:
            await self._storage.mark(actions.Mark(dataset, "node", ""))
            raise Transient(f"node {node_id} was recorded for another container meanwhile")

    async def _log_out(self, action: actions.LogOut) -> None:
        await self._tailnet().log_out(action)

    async def _delete_device(self, action: actions.DeleteDevice) -> None:
        """Delete a device; where the control plane cannot be had, owe it and go on."""
        node_id = action.node_id
        if not node_id and action.dataset:
            node_id = (await self._storage.marks(action.dataset)).get("node", "")
        try:
            await self._tailnet().delete_device(action, self._nodes)
        except (Transient, Blocked):
            if node_id:
                self._ledger.owe(action.uid, action.name, node_id)
            return
        self._ledger.paid(node_id)

    async def _note_debt(self, action: actions.NoteDebt) -> None:
        self._ledger.owe(action.uid, action.name, action.node_id)

    async def _decided(self, action: actions.Decided) -> None:
        self._ledger.decided(action.commit)

    async def _trust(self, action: actions.TrustStore) -> None:
        self._ledger.trust(action.token)

    def _tailnet(self) -> Enrolment:
        if self._enrolment is None:
            raise Blocked("this appliance has no tailnet configured", hint="set [tailnet] in the configuration")
        return self._enrolment
