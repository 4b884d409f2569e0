"""Steps that put a container's data in place: made, taken back, moved, rolled back or exchanged. Pure.

Present data is never overwritten: what has to give way moves to the trash whole.
"""

from __future__ import annotations

from controller.observed import Dataset, MachineState
from controller.plan.actions import (
    CloneBack,
    CreateDataset,
    Decided,
    FromTrash,
    LogOut,
    Mark,
    MoveDataset,
    RemoveSystem,
    Snapshot,
    Stop,
    ToTrash,
)
from controller.plan.draft import Context, Draft
from controller.plan.holds import Ask, fresh, may_decide
from controller.plan.locate import (
    Elsewhere,
    InTrash,
    Live,
    Missing,
    Nowhere,
    Occupied,
    Place,
    PutAside,
    fresh_uid,
    restore_for,
)
from controller.plan.model import Cause, CauseKind, Reason
from controller.plan.removal import leave_tailnet, trash_path, whose
from controller.plan.site import Ground
from controller.plan.view import Trash, snapshot_label, stamp
from controller.spec.model import ContainerSpec
from controller.spec.state import Decision, DecisionKind, Wanted

NO_NODE = (("node", ""), ("tailnet", ""), ("key", ""), ("minted", ""))
"""What comes back from the trash is enrolled anew."""
THROWN = ("trashed", "trash-reason", "aside")
"""Marks that a dataset bears in the trash only."""


def ground(ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, place: Place) -> tuple[Ask | None, Ground]:
    """Put the data in place, as steps; what it will be like is the ground for all further steps."""
    storage = ctx.view.storage.datasets
    match place:
        case Live(dataset=dataset):
            draft.uid = dataset.marks["uid"]
            return _live(ctx, draft, wanted, spec, place)
        case Elsewhere(dataset=dataset):
            draft.uid = dataset.marks["uid"]
            return _move(ctx, draft, wanted, spec, place), Ground(dataset, ctx.view.child(dataset.name))
        case PutAside(trash=piece, decision=decision):
            draft.uid = piece.uid
            return None, _clone(ctx, draft, wanted, spec, piece.dataset, piece.dataset.name, decision)
        case InTrash(trash=piece):
            _take_back(ctx, draft, wanted, spec, place)
            return None, Ground(piece.dataset, storage.get(f"{piece.dataset.name}/workspace"))
        case Missing(uid=lost):
            _create(ctx, draft, wanted, spec, fresh_uid(ctx.view, wanted, lost))
            return _missing(draft, wanted, "its dataset", lost), Ground()
        case Nowhere(uid=uid):
            _create(ctx, draft, wanted, spec, uid)
            return None, Ground()
        case Occupied():
            raise AssertionError("an occupied place is refused before")


def _create(ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, uid: str) -> None:
    marks = (*_identity(ctx, wanted, spec, uid), ("created", stamp(ctx.now)))
    if ctx.view.adopted(wanted.name):
        marks = (*marks, ("adopting", "yes"))
    path = ctx.view.policy.dataset(spec.owner, wanted.name)
    draft.uid = uid
    draft.add(CreateDataset(path, marks, home_quota(ctx, spec)), "new container: a dataset for its data")


def home_quota(ctx: Context, spec: ContainerSpec) -> int:
    """The most that home, root and var/lib together may hold: the owner's storage limit, 0 for none."""
    tenant = ctx.desired.tenants.get(spec.owner)
    return (tenant.limits.storage or 0) if tenant else 0


def _identity(ctx: Context, wanted: Wanted, spec: ContainerSpec, uid: str) -> tuple[tuple[str, str], ...]:
    return (
        ("appliance", ctx.view.policy.appliance),
        ("uid", uid),
        ("name", wanted.name),
        ("owner", spec.owner),
    )


def _take_back(ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, place: InTrash) -> None:
    draft.uid = place.uid
    path = ctx.view.policy.dataset(spec.owner, wanted.name)
    at = f"{place.trash.at:%Y-%m-%d %H:%M} UTC" if place.trash.at else "an unknown time"
    marks = (*_identity(ctx, wanted, spec, place.uid), *NO_NODE)
    cause = Cause(CauseKind.DECISION, place.decision) if place.decision else None
    reason = f"its files come back from the trash of {at}"
    if ctx.view.machine(wanted.name).up:
        draft.add(Stop(wanted.name), "its data is about to be put in place", cause)
    draft.add(FromTrash(place.trash.dataset.name, path, marks), reason, cause)
    if place.decision:
        draft.add(Decided(place.decision), "the decision to restore is carried out", cause)


def _missing(draft: Draft, wanted: Wanted, what: str, which: str) -> Ask:
    """Ask to make `what` anew; `which` tells this loss from an earlier one, so that no approval counts twice."""
    draft.wait(
        Reason.MISSING,
        f"{what} existed and is gone; it is not made anew by itself",
        hint="bring it back (pool not imported? `voxnix trash list`), or approve the hold to begin empty",
    )
    return Ask(
        act=f"begin empty: {what} {which}",
        lanes=(),
        reason=f"{wanted.name}: {what} is missing; approve to begin with an empty one",
        bases=(wanted.revision,),
        admin=True,
    )


def _move(ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, place: Elsewhere) -> Ask | None:
    """A renamed container, or one whose owner changed: its dataset moves, and an owner change is held."""
    view, old = ctx.view, place.dataset
    old_name = old.name.rsplit("/", 1)[1]
    why = f"renamed from {old_name}" if place.renamed else f"handed to {spec.owner}"
    for name in dict.fromkeys((old_name, wanted.name)):
        if view.machine(name).up:
            draft.add(Stop(name), f"{why}; its data is about to move")
    if place.renamed and view.machine(old_name).state is not MachineState.ABSENT:
        draft.add(RemoveSystem(old_name), f"{why}; the system under the old name goes")
    draft.add(Snapshot(old.name, snapshot_label(ctx.now, "system")), "before the data moves")
    path = view.policy.dataset(spec.owner, wanted.name)
    draft.add(MoveDataset(old.name, path, _identity(ctx, wanted, spec, draft.uid)), f"{why}; data comes along")
    if place.renamed:
        return None
    return Ask(
        act=f"owner {old.marks.get('owner', '?')} to {spec.owner}",
        lanes=(),
        reason=f"{wanted.name} would change its owner from {old.marks.get('owner', '?')} to {spec.owner}",
        bases=(wanted.revision,),
        admin=True,
        bytes=old.used,
    )


def _live(ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, place: Live) -> tuple[Ask | None, Ground]:
    """Pending decisions about a container whose data is in place: rollback of its data, or other data restored."""
    _mend(draft, place.dataset)
    for decision in ctx.desired.decisions:
        if decision.commit in ctx.view.memory.decided or not fresh(decision, ctx.now):
            continue
        mine = decision.argument == draft.uid and may_decide(decision, spec.owner)
        if decision.kind is DecisionKind.ROLLBACK_DATA and mine:
            return _rollback(ctx, draft, wanted, spec, place, decision)
    asked = restore_for(ctx.view, wanted.name, spec.owner, ctx.desired, ctx.now)
    if asked:
        return _exchange(ctx, draft, wanted, spec, place, *asked)
    child = ctx.view.child(place.dataset.name)
    ask, made = None, place.dataset.marks.get("workspace", "")
    if spec.has_workspace and child is None and made:
        ask = _missing(draft, wanted, "its workspace", made)
    return ask, Ground(place.dataset, child)


def _mend(draft: Draft, dataset: Dataset) -> None:
    """Correct the marks that a move to this place left behind when it was cut short."""
    for key, value in (*whose(dataset), *((key, "") for key in THROWN)):
        if dataset.marks.get(key, "") != value:
            draft.add(Mark(dataset.name, key, value), "its marks do not fit its place", Cause(CauseKind.DRIFT, "marks"))


def _rollback(
    ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, place: Live, decision: Decision
) -> tuple[Ask | None, Ground]:
    """Data goes back to a snapshot: the present dataset moves to the trash whole, a new one is made of the snapshot."""
    cause = Cause(CauseKind.DECISION, decision.commit)
    untouched = Ground(place.dataset, ctx.view.child(place.dataset.name))
    if place.dataset.marks.get("decision") == decision.commit or _put_aside_by(ctx, decision):
        if place.dataset.origin.startswith(ctx.view.policy.trash + "/"):
            source, marks = place.dataset.origin.partition("@")[0], tuple(place.dataset.marks.items())
            again = CloneBack(source, decision.detail, place.dataset.name, marks)
            draft.add(again, "it still leans on what was put aside", cause)
        draft.add(Decided(decision.commit), "the data is back at the snapshot already", cause)
        return None, untouched
    if decision.detail not in place.dataset.snapshots:
        draft.add(Decided(decision.commit), f"there is no snapshot {decision.detail}; nothing is done", cause)
        return None, untouched
    why = f"data goes back to {decision.detail}"
    aside = _put_aside(ctx, draft, wanted, place, decision, why)
    ground = _clone(ctx, draft, wanted, spec, place.dataset, aside, decision)
    ask = Ask(
        act=f"rollback to {decision.detail}",
        lanes=(),
        reason=f"{wanted.name}: {why}; the present state is kept in the trash",
        bases=(decision.commit,),
        owner=spec.owner,
        bytes=place.dataset.used,
        alone=True,
    )
    return ask, ground


def _put_aside_by(ctx: Context, decision: Decision) -> bool:
    """Whether trash bears witness that a decision about data that is live now was carried out before."""
    return any(piece.decision == decision.commit for piece in ctx.view.trash)


def _exchange(
    ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, place: Live, piece: Trash, decision: Decision
) -> tuple[Ask | None, Ground]:
    """Another piece of trash takes the place of live data, which moves to the trash whole."""
    why = f"its data is exchanged for trash {decision.argument}"
    cause = Cause(CauseKind.DECISION, decision.commit)
    if _put_aside_by(ctx, decision):
        draft.add(Decided(decision.commit), "the data was exchanged already", cause)
        return None, Ground(place.dataset, ctx.view.child(place.dataset.name))
    _put_aside(ctx, draft, wanted, place, decision, why, node=place.dataset.marks.get("node", ""))
    path = ctx.view.policy.dataset(spec.owner, wanted.name)
    marks = (*_identity(ctx, wanted, spec, draft.uid), *NO_NODE)
    draft.add(FromTrash(piece.dataset.name, path, marks), why, cause)
    draft.add(Decided(decision.commit), "the decision to restore is carried out", cause)
    ask = Ask(
        act=f"exchange for {decision.argument}",
        lanes=(),
        reason=f"{wanted.name}: {why}; the present state is kept in the trash",
        bases=(decision.commit,),
        owner=spec.owner,
        bytes=place.dataset.used,
        alone=True,
    )
    return ask, Ground(piece.dataset, ctx.view.storage.datasets.get(f"{piece.dataset.name}/workspace"))


def _put_aside(
    ctx: Context, draft: Draft, wanted: Wanted, place: Live, decision: Decision, why: str, node: str = ""
) -> str:
    """Present data goes to the trash, and with it its tailnet node, unless other data takes the node over."""
    cause = Cause(CauseKind.DECISION, decision.commit)
    path, machine = place.dataset.name, ctx.view.machine(wanted.name)
    target = trash_path(ctx.view, wanted.name, draft.uid, ctx.now)
    if machine.state is MachineState.RUNNING and node and ctx.view.tailnet:
        draft.add(LogOut(wanted.name), f"{why}; its tailnet node logs out", cause)
    if machine.up:
        draft.add(Stop(wanted.name), why, cause)
    for action, reason in leave_tailnet(ctx.view, wanted.name, draft.uid, path, node, why):
        draft.add(action, reason, cause)
    draft.add(Snapshot(path, snapshot_label(ctx.now, "rollback")), f"before {why}", cause)
    thrown = (("trashed", stamp(ctx.now)), ("trash-reason", why[:200]), ("aside", decision.commit))
    marks = (*whose(place.dataset), *thrown)
    draft.add(ToTrash(path, target, marks), "the present state is kept in the trash", cause)
    return target


def _clone(
    ctx: Context,
    draft: Draft,
    wanted: Wanted,
    spec: ContainerSpec,
    data: Dataset,
    source: str,
    decision: Decision,
) -> Ground:
    """A new dataset from a snapshot of `data`, which is, or by then will be, at `source` in the trash."""
    cause = Cause(CauseKind.DECISION, decision.commit)
    path = ctx.view.policy.dataset(spec.owner, wanted.name)
    child = ctx.view.storage.datasets.get(f"{data.name}/workspace")
    kept = child if child and decision.detail in child.snapshots else None
    marks = (
        *_identity(ctx, wanted, spec, draft.uid),
        ("created", stamp(ctx.now)),
        ("decision", decision.commit),
        *((key, data.marks[key]) for key in ("node", "key", "minted") if key in data.marks),
        *((("workspace", data.marks.get("workspace") or stamp(ctx.now)),) if kept else ()),
    )
    draft.add(CloneBack(source, decision.detail, path, marks), f"a new dataset from {decision.detail}", cause)
    draft.add(Decided(decision.commit), "the rollback is carried out", cause)
    return Ground(data, kept, cloned=True)
