"""What is to be done about things that no spec stands behind: trash, devices, decisions without an object. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from controller.observed import Device, MachineState
from controller.plan.actions import Decided, DeleteDevice, DestroyTrash
from controller.plan.draft import Context
from controller.plan.holds import Ask, fresh, may_decide
from controller.plan.locate import restores, unlawful
from controller.plan.model import Cause, CauseKind, Lane, LaneKind, Reason, Step, Wait
from controller.plan.view import Trash, View
from controller.spec.state import Decision, DecisionKind


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Lanes to run, holds to ask for, waits, and the moments at which more is due."""

    lanes: tuple[Lane, ...] = ()
    asks: tuple[Ask, ...] = ()
    waits: tuple[Wait, ...] = ()
    wakes: tuple[datetime, ...] = ()
    stale: tuple[str, ...] = ()


def expired_trash(ctx: Context, used: Collection[str]) -> Leftovers:
    """Trash whose time is up goes; never what is about to be restored, nor what a frozen or paused spec may want."""
    used = {*used, *(piece.id for piece, _ in restores(ctx.view, ctx.desired, ctx.now))}
    lanes, waits, wakes = [], [], []
    for piece in ctx.view.trash:
        if piece.at is None:
            continue
        due = piece.at + ctx.view.policy.trash_for
        if due > ctx.now:
            wakes.append(due)
        elif piece.id in used or _kept_for_someone(ctx, piece):
            continue
        elif not ctx.trusted:
            waits.append(_wait(piece, Reason.CLOCK_UNTRUSTED, "its time is up, but the clock cannot be trusted now"))
        else:
            cause = Cause(CauseKind.TRASH_EXPIRY, f"{due:%Y-%m-%d %H:%M} UTC")
            why = f"in the trash since {piece.at:%Y-%m-%d}; its {ctx.view.policy.trash_for.days} days are up"
            lanes.append(_trash_lane(piece, (Step(DestroyTrash(piece.dataset.name), why, cause),)))
    return Leftovers(tuple(lanes), waits=tuple(waits), wakes=tuple(wakes))


def _kept_for_someone(ctx: Context, piece: Trash) -> bool:
    desired = ctx.desired
    if piece.owner not in desired.tenants or piece.owner in desired.frozen_tenants:
        return True
    wanted = desired.containers.get(piece.name)
    return bool(wanted and (wanted.frozen or (wanted.spec and wanted.spec.paused)))


def purges(ctx: Context, used: Collection[str], going: Collection[str]) -> Leftovers:
    """Decisions to purge: each is held until someone with a key of their own approves of it.

    What a container is about to take back (`used`, ids) stays; what goes anyway (`going`, datasets) is left to that.
    """
    lanes, asks, waits = [], [], []
    for decision in _pending(ctx, DecisionKind.PURGE):
        found = [t for t in ctx.view.trash if decision.argument in (t.uid, t.id)]
        allowed = all(may_decide(decision, piece.owner) for piece in found) and not decision.delegate
        if not found or not allowed:
            said = "nothing of that uid is in the trash" if not found else f"{decision.by} may not purge this"
            lanes.append(_decided(decision, said))
            continue
        taken = [piece for piece in found if piece.id in used]
        waits += [_wait(piece, Reason.IN_TRASH, f"{piece.name} takes it back, so it is not purged") for piece in taken]
        left = [piece for piece in found if piece.dataset.name not in going]
        if left and not taken:
            asks.append(_purge(decision, left))
            going = {*going, *(piece.dataset.name for piece in left)}
    return Leftovers(tuple(lanes), tuple(asks), tuple(waits))


def _purge(decision: Decision, pieces: list[Trash]) -> Ask:
    cause = Cause(CauseKind.DECISION, decision.commit)
    steps = [Step(DestroyTrash(p.dataset.name), f"purge asked for by {decision.by}", cause) for p in pieces]
    steps.append(Step(Decided(decision.commit), "the purge is carried out", cause))
    ids = " and ".join(piece.id for piece in pieces)
    owners = {piece.owner for piece in pieces}
    return Ask(
        act=f"purge {ids}",
        lanes=(Lane(f"purge:{decision.commit[:12]}", LaneKind.TRASH, pieces[0].uid, tuple(steps), decision.commit),),
        reason=f"trash {ids} ({pieces[0].owner}'s {pieces[0].name}) would be gone for good",
        bases=(decision.commit,),
        owner=pieces[0].owner,
        admin=len(owners) > 1,
        personal=True,
        bytes=sum(piece.dataset.used for piece in pieces),
    )


def aimless(ctx: Context) -> Leftovers:
    """Decisions about what is not there, or by someone who may not: recorded as done, so that they never run late."""
    lanes, waits = [], []
    for decision in _pending(ctx, DecisionKind.RESTART, DecisionKind.ROLLBACK_DATA):
        dataset = ctx.view.live_uids.get(decision.argument)
        aside = any(t.decision == decision.commit for t in ctx.view.trash)
        owner = dataset.name.split("/")[-3] if dataset else ""
        if dataset is None and not aside:
            lanes.append(_decided(decision, f"there is no container with uid {decision.argument}"))
        elif dataset is not None and not may_decide(decision, owner):
            lanes.append(_decided(decision, f"{decision.by} may not decide on {owner}'s container"))
    for decision in _pending(ctx, DecisionKind.RESTORE):
        piece = next((t for t in ctx.view.trash if t.id == decision.argument), None)
        name = decision.detail or (piece.name if piece else "")
        if piece is None:
            lanes.append(_decided(decision, f"there is no trash {decision.argument}"))
        elif why := unlawful(piece, decision, ctx.desired):
            lanes.append(_decided(decision, why))
        elif name not in ctx.desired.containers:
            waits.append(
                Wait(
                    f"trash:{piece.id}",
                    Reason.IN_TRASH,
                    f"to be restored as {name}, for which there is no spec yet",
                    hint=f"commit state/{name}.yaml with owner {piece.owner}",
                )
            )
    return Leftovers(tuple(lanes), waits=tuple(waits))


def devices(ctx: Context, busy: Collection[str]) -> Leftovers:
    """Debts, and stale nodes that are proven to be ours; others under our tag are listed. `busy`: node ids in lanes."""
    view = ctx.view
    if view.devices is None:
        owed = [
            Wait(
                f"device:{node}",
                Reason.UNKNOWN_SOURCE,
                f"{debt.name}'s tailnet device is still to be deleted",
            )
            for node, debt in sorted(view.memory.debts.items())
        ]
        return Leftovers(waits=tuple(owed))
    lanes, stale = [], []
    for node, device in sorted(view.devices.items()):
        if not view.on_our_tag(device) or node in view.bound or node in busy:
            continue
        debt = view.memory.debts.get(node)
        uid = debt.uid if debt else _proven(view, node, device)
        if uid and (debt or not _someone_behind(ctx, uid, view.devices)):
            cause = Cause(CauseKind.DEBT, node) if debt else Cause(CauseKind.DRIFT, "stale node")
            why = "owed since its container went" if debt else "no container stands behind it any more"
            action = DeleteDevice(uid, device.name, node)
            lanes.append(Lane(f"device:{node}", LaneKind.DEVICE, uid, (Step(action, why, cause),), node))
        elif not uid:
            stale.append(f"{device.name} (node {node}): under {view.policy.tag}, enrolled by none of our keys")
    return Leftovers(tuple(lanes), stale=tuple(stale))


def _proven(view: View, node: str, device: Device) -> str:
    """The uid for which we enrolled this device, where our own records or the control plane prove it."""
    for piece in view.trash:
        if piece.dataset.marks.get("node") == node:
            return piece.uid
    for entry in view.memory.inventory.values():
        if entry.node_id == node:
            return entry.uid
    if device.key_id is None:
        return ""
    minted = [d for d in view.storage.datasets.values() if d.marks.get("key", "").split(":")[0] == device.key_id]
    return minted[0].marks.get("uid", "") if minted else ""


def _someone_behind(ctx: Context, uid: str, listed: Mapping[str, Device]) -> bool:
    """Whether a device that no dataset records may still be that of a container with this uid.

    It may while the container is live without another device of its own, or is not wholly gone, or on its way back.
    """
    view, entry = ctx.view, ctx.view.memory.inventory.get(uid)
    if uid in view.live_uids:
        recorded = view.live_uids[uid].marks.get("node", "")
        return not view.on_our_tag(listed.get(recorded))
    if entry is None:
        return False
    return entry.name in ctx.desired.containers or view.machine(entry.name).state is not MachineState.ABSENT


def _pending(ctx: Context, *kinds: DecisionKind) -> list[Decision]:
    return [
        d
        for d in ctx.desired.decisions
        if d.kind in kinds and fresh(d, ctx.now) and d.commit not in ctx.view.memory.decided
    ]


def _decided(decision: Decision, why: str) -> Lane:
    step = Step(Decided(decision.commit), why, Cause(CauseKind.DECISION, decision.commit))
    return Lane(f"decision:{decision.commit[:12]}", LaneKind.HOST, "", (step,), decision.commit)


def _trash_lane(piece: Trash, steps: tuple[Step, ...], revision: str = "") -> Lane:
    return Lane(f"trash:{piece.id}", LaneKind.TRASH, piece.uid, steps, revision)


def _wait(piece: Trash, reason: Reason, message: str) -> Wait:
    return Wait(f"trash:{piece.id}", reason, message)
