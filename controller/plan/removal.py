"""How a container is removed: a lane that can be resumed at every step from what is there. Pure.

The order never changes: record node id → log out → stop, wait until gone → delete the tailnet device or note the
debt → remove the system → snapshot, move the dataset to the trash.
"""

from __future__ import annotations

from datetime import datetime

from controller.observed import Dataset, MachineState
from controller.plan.actions import (
    Action,
    ClearFailed,
    DeleteDevice,
    LogOut,
    NoteDebt,
    Pairs,
    RecordNode,
    RemoveSystem,
    Snapshot,
    Stop,
    ToTrash,
)
from controller.plan.model import Cause, Lane, LaneKind, Step
from controller.plan.view import View, snapshot_label, stamp


def removal(view: View, name: str, uid: str, dataset: Dataset | None, *, cause: Cause, why: str, now: datetime) -> Lane:
    """The lane that removes a container and keeps its data in the trash; no steps where nothing is left to do."""
    steps = [
        *_leave_tailnet_and_stop(view, name, uid, dataset, why),
        *_remove_system(view, name, why),
        *_keep_data(view, uid, dataset, why, now),
    ]
    return Lane(
        key=name,
        kind=LaneKind.CONTAINER,
        uid=uid,
        steps=tuple(Step(action, reason, cause) for action, reason in steps),
        revision=cause.ref,
        destroys=dataset is not None or view.machine(name).state is not MachineState.ABSENT,
    )


def leave_tailnet(view: View, name: str, uid: str, dataset: str, node: str, why: str) -> list[tuple[Action, str]]:
    """Delete a container's device, or owe it; nothing where there is none."""
    if not node or not view.tailnet:
        return []
    if view.devices is None:
        if node in view.memory.debts:
            return []
        return [(NoteDebt(uid, name, node, dataset), f"{why}; the control plane cannot be asked now")]
    if not view.on_our_tag(view.devices.get(node)):
        return []
    return [(DeleteDevice(uid, name, node, dataset), f"{why}; its tailnet device goes too")]


def _leave_tailnet_and_stop(
    view: View, name: str, uid: str, dataset: Dataset | None, why: str
) -> list[tuple[Action, str]]:
    machine = view.machine(name)
    entry = view.memory.inventory.get(uid)
    marks = dataset.marks if dataset else {}
    node = marks.get("node") or (entry.node_id if entry else "")
    if dataset is None and uid in view.live_uids:
        node = ""  # its data lives on under another name, and so does its node
    steps: list[tuple[Action, str]] = []
    up = machine.up
    unrecorded = not node and bool(marks.get("key")) and view.tailnet and dataset is not None
    if up and unrecorded and dataset and machine.state is MachineState.RUNNING:
        steps.append((RecordNode(name, uid, dataset.name), f"{why}; its tailnet node is noted first"))
    if up and (node or unrecorded) and machine.state is MachineState.RUNNING and view.tailnet:
        steps.append((LogOut(name), f"{why}; its tailnet node logs out"))
    if up:
        steps.append((Stop(name), why))
    path = dataset.name if dataset else ""
    steps += leave_tailnet(view, name, uid, path, node, why)
    if unrecorded and steps and isinstance(steps[0][0], RecordNode):
        steps.append((DeleteDevice(uid, name, "", path), f"{why}; its tailnet device goes too"))
    return steps


def _remove_system(view: View, name: str, why: str) -> list[tuple[Action, str]]:
    match view.machine(name).state:
        case MachineState.ABSENT:
            return []
        case MachineState.TOMBSTONE:
            return [(ClearFailed(name), f"{why}; its failed unit is forgotten")]
        case _:
            return [(RemoveSystem(name), f"{why}; files of the system go, data stays")]


def _keep_data(view: View, uid: str, dataset: Dataset | None, why: str, now: datetime) -> list[tuple[Action, str]]:
    if dataset is None:
        return []
    name = dataset.name.rsplit("/", 1)[1]
    days = view.policy.trash_for.days
    marks = (*whose(dataset), ("trashed", stamp(now)), ("trash-reason", why[:200]), ("aside", ""))
    return [
        (Snapshot(dataset.name, snapshot_label(now, "destroy")), "before the data moves to the trash"),
        (
            ToTrash(dataset.name, trash_path(view, name, uid, now), marks),
            f"{why}; the data stays in the trash for {days} days",
        ),
    ]


def whose(dataset: Dataset) -> Pairs:
    """Name and owner as the dataset's place says, should its marks have been left behind by a move cut short."""
    *_, owner, _, name = dataset.name.split("/")
    return (("name", name), ("owner", owner))


def trash_path(view: View, name: str, uid: str, now: datetime) -> str:
    """Where in the trash a container's dataset goes: name, uid and time, which no other piece of trash has."""
    return f"{view.policy.trash}/{name}-{uid[:8]}-{stamp(now)}"
