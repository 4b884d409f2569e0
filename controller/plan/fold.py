"""What a pass teaches: how memory changes by what was observed. Pure; `controller.store` writes it down."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.observed import MachineState
from controller.plan.memory import Entry, Memory
from controller.plan.model import Plan, Reason
from controller.plan.view import View
from controller.spec.state import Desired

CALM = timedelta(minutes=5)
"""How long a container must have been well for earlier failures to be forgotten."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Entries to put into or drop from the inventory, debts that are settled, backoff that is over."""

    put: tuple[Entry, ...] = ()
    drop: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()
    calm: tuple[str, ...] = ()


def learn(view: View, desired: Desired, plan: Plan, now: datetime) -> Learned:
    """Fold one pass's observations into the inventory.

    An entry stands for "its data existed here". It goes when nothing of the container is left outside the trash, and
    its data is where a removal put it or nobody wants it any more; so a dataset that vanished is still missed.
    """
    memory = view.memory
    leaving = {wait.key for wait in plan.waits if wait.reason in (Reason.EXPIRED, Reason.ELSEWHERE)}
    now_known = [_entry(view, desired, plan, uid, leaving) for uid in view.live_uids]
    put = [entry for entry in now_known if entry != memory.inventory.get(entry.uid)]
    drop = [uid for uid, entry in memory.inventory.items() if _gone(view, desired, entry)]
    busy = {lane.key for lane in plan.lanes} | {wait.key for wait in plan.waits}
    calm = [key for key, failed in memory.backoff.items() if key not in busy and now - failed.next_at > CALM]
    return Learned(tuple(put), tuple(sorted(drop)), tuple(sorted(_settled(view))), tuple(sorted(calm)))


def _entry(view: View, desired: Desired, plan: Plan, uid: str, leaving: Collection[str]) -> Entry:
    dataset = view.live_uids[uid]
    name = dataset.name.rsplit("/", 1)[1]
    known = view.memory.inventory.get(uid)
    installed = view.machine(name).installed
    document = installed.document if installed else None
    reached = view.machine(name).state
    power = known.power if known else ""
    if reached is MachineState.RUNNING and plan.power.get(name) == "running":
        power = "running"
    elif reached in (MachineState.STOPPED, MachineState.FAILED) and plan.power.get(name) == "stopped":
        power = "stopped"
    system = document.digest if document and document.uid == uid else (known.system if known else "")
    return Entry(
        uid=uid,
        name=name,
        owner=dataset.name.split("/")[-3],
        system=system,
        node_id=dataset.marks.get("node", ""),
        power=power,
        removing=known.removing if known and (name not in desired.containers or name in leaving) else None,
    )


def _gone(view: View, desired: Desired, entry: Entry) -> bool:
    if entry.uid in view.live_uids:
        return False
    machine = view.machine(entry.name)
    installed = machine.installed
    document = installed.document if installed else None
    still_there = document.uid == entry.uid if document else machine.up or machine.partial
    successor = any(uid != entry.uid for uid in _live_uids_named(view, entry.name))
    in_trash = any(piece.uid == entry.uid and piece.restorable for piece in view.trash)
    if _owes(view, entry.node_id):
        return False
    missed = entry.name in desired.containers and not successor and not in_trash
    return not missed and not still_there


def _owes(view: View, node: str) -> bool:
    """Whether an entry is all that tells of a device which is still to be deleted."""
    if not node or not view.tailnet or node in view.bound or node in view.memory.debts:
        return False
    return view.devices is None or view.on_our_tag(view.devices.get(node))


def _live_uids_named(view: View, name: str) -> list[str]:
    return [d.marks["uid"] for d in view.by_name.get(name, [])]


def _settled(view: View) -> list[str]:
    if view.devices is None:
        return []
    memory: Memory = view.memory
    return [node for node in memory.debts if node in view.bound or not view.on_our_tag(view.devices.get(node))]
