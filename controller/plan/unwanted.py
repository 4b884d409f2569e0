"""Containers of ours that no spec names any more: each is removed, held or kept, and why. Pure."""

from __future__ import annotations

from controller.observed import Dataset
from controller.plan.draft import Context
from controller.plan.holds import Ask, under_way
from controller.plan.leftovers import Leftovers
from controller.plan.locate import known_uid
from controller.plan.model import Cause, CauseKind, Lane, Reason, Wait
from controller.plan.power import expired
from controller.plan.removal import removal
from controller.plan.view import View
from controller.spec.state import Desired


def unwanted(ctx: Context) -> Leftovers:
    """Every container of ours that git does not want any more."""
    view = ctx.view
    machines = {name for name in view.machines if view.ours(name)}
    names = (set(view.by_name) | machines | set(view.entries)) - set(ctx.desired.containers) - _renamed_away(ctx)
    lanes: list[Lane] = []
    asks: list[Ask] = []
    waits: list[Wait] = []
    for name in sorted(names):
        datasets = view.by_name.get(name, [])
        if len(datasets) > 1 or not view.ours(name):
            waits.append(Wait(name, Reason.FOREIGN, "its removal waits: what bears its name is not all ours"))
            continue
        dataset = datasets[0] if datasets else None
        lane = _removal(ctx, name, dataset)
        if not lane.destroys:
            lanes += [lane] if lane.steps else []
        elif wait := _keeps(ctx, name, dataset):
            waits.append(wait)
        elif (ask := _ask(ctx, name, dataset, lane)) and lane.uid not in under_way(view.memory):
            asks.append(ask)
        else:
            lanes.append(lane)
    return Leftovers(tuple(lanes), tuple(asks), tuple(waits))


def document_uid(view: View, name: str) -> str:
    """The uid that the installed system of that name was built for; empty where there is none."""
    installed = view.machine(name).installed
    return installed.document.uid if installed and installed.document else ""


def _removal(ctx: Context, name: str, dataset: Dataset | None) -> Lane:
    commit = ctx.desired.removed.get(name, "")
    cause = Cause(CauseKind.REVISION, commit) if commit else Cause(CauseKind.DRIFT, "in no commit")
    why = "its spec was removed" if commit else "no spec names it"
    uid = dataset.marks["uid"] if dataset else (document_uid(ctx.view, name) or known_uid(ctx.view, name))
    return removal(ctx.view, name, uid, dataset, cause=cause, why=why, now=ctx.now)


def _keeps(ctx: Context, name: str, dataset: Dataset | None) -> Wait | None:
    """Why a container is not removed though its spec is gone: its tenant is in doubt, or it was perhaps renamed."""
    desired, owner = ctx.desired, _owner(ctx.view, name, dataset)
    if owner not in desired.tenants or owner in desired.frozen_tenants:
        hint = f"bring back or correct state/tenants/{owner}.yaml"
        return Wait(name, Reason.OWNER_MISSING, f"its owner {owner} is not a valid tenant", hint=hint)
    successor = _unread_successor(desired, desired.removed.get(name, ""))
    if successor:
        said = f"it may have been renamed: the same commit brought {successor}, which cannot be read"
        return Wait(name, Reason.INVALID_FILE, said, hint=f"correct state/{successor}.yaml and commit")
    return None


def _owner(view: View, name: str, dataset: Dataset | None) -> str:
    """Whose container it is that goes, by its data, else by its system, else by what is remembered."""
    if dataset:
        return dataset.name.split("/")[-3]
    installed, entry = view.machine(name).installed, view.entries.get(name)
    if installed and installed.document:
        return installed.document.owner
    return entry.owner if entry else ""


def _unread_successor(desired: Desired, commit: str) -> str:
    """A container whose file, in the commit that removed another one, never was valid: it may be the renamed one."""
    unread = (w.name for w in desired.containers.values() if w.spec is None and commit and w.revision == commit)
    return min(unread, default="")


def _renamed_away(ctx: Context) -> set[str]:
    """Old names whose data still has to move to the new name: that lane, not a removal, deals with them."""
    by_name = ctx.view.by_name
    specs = [w.spec for w in ctx.desired.containers.values() if w.spec and w.name not in by_name]
    going = [spec for spec in specs if not (ctx.trusted and not spec.paused and expired(spec, ctx.now))]
    return {spec.renamed_from for spec in going if spec.renamed_from and spec.renamed_from in by_name}


def _ask(ctx: Context, name: str, dataset: Dataset | None, lane: Lane) -> Ask | None:
    """Why one removal by itself waits for an approval, if it does."""
    size, owner = dataset.used if dataset else 0, _owner(ctx.view, name, dataset)
    commit = ctx.desired.removed.get(name, "")
    if not commit:
        said = f"{name} is here, and no commit that voxnix has seen asked for its removal"
        return Ask("remove what no commit removed", (lane,), said, ("",), admin=True, bytes=size)
    if name in ctx.desired.paused_when_removed:
        said = f"{name} was paused when its spec was removed"
        return Ask("remove though paused", (lane,), said, (commit,), owner=owner, bytes=size)
    if commit in ctx.desired.delegated:
        said = f"a delegate asks for the removal of {name}"
        return Ask("remove for a delegate", (lane,), said, (commit,), owner=owner, bytes=size)
    return None
