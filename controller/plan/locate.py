"""Where a container's data is: live, elsewhere on this host, in the trash, missing, or not made yet. Pure.

This is the question on which people's data depends, so it has one answer, in one place: a dataset that is known to
have existed is never made anew in silence.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from controller.observed import Dataset
from controller.plan.holds import fresh, may_decide
from controller.plan.view import Trash, View
from controller.spec.model import ContainerSpec
from controller.spec.state import Decision, DecisionKind, Desired, Wanted


@dataclass(frozen=True, slots=True)
class Live:
    """Where it should be."""

    dataset: Dataset


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """On this host under another name (`renamed`) or another owner: it is to be moved."""

    dataset: Dataset
    renamed: bool


@dataclass(frozen=True, slots=True)
class InTrash:
    """In the trash, to be taken back, as `uid`; `decision` is the commit that asked for this piece, if one did."""

    trash: Trash
    uid: str
    decision: str = ""


@dataclass(frozen=True, slots=True)
class PutAside:
    """A rollback of data moved it to the trash and was cut short: the rollback has to go on."""

    trash: Trash
    decision: Decision


@dataclass(frozen=True, slots=True)
class Missing:
    """Known to have existed, and neither live nor in the trash."""

    uid: str


@dataclass(frozen=True, slots=True)
class Occupied:
    """Its place is taken by something that is not ours, or by two datasets of ours at once."""

    what: str


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Never made: a new one gets this uid."""

    uid: str


Place = Live | Elsewhere | InTrash | PutAside | Missing | Occupied | Nowhere


def locate(view: View, wanted: Wanted, spec: ContainerSpec, desired: Desired, now: datetime) -> Place:
    """Find the data of a container that is wanted on this host."""
    path = view.policy.dataset(spec.owner, wanted.name)
    if path in view.live:
        return _alone(view, view.live[path])
    if path in view.storage.datasets:
        return Occupied(f"dataset {path} does not bear this appliance's marks")
    others = view.by_name.get(wanted.name, [])
    if others:
        if len(others) > 1:
            return Occupied("several datasets of that name: " + ", ".join(d.name for d in others))
        return Elsewhere(others[0], renamed=False)
    if spec.renamed_from and (old := _renamed(view, wanted.name, spec, spec.renamed_from, desired)):
        return old
    return _absent(view, wanted, spec, desired, now)


def fresh_uid(view: View, wanted: Wanted, before: str = "") -> str:
    """The uid of a container that is made now, of the commit that asked for it; `before`: the uid of lost data."""
    text = f"{view.policy.appliance}\n{wanted.name}\n{wanted.revision}\n{before}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def known_uid(view: View, name: str) -> str:
    """The uid under which this name is known to have had data here; empty if it never had."""
    entry = view.entries.get(name)
    if entry:
        return entry.uid
    installed = view.machine(name).installed
    document = installed.document if installed else None
    return document.uid if document and document.appliance == view.policy.appliance else ""


def restore_for(view: View, name: str, owner: str, desired: Desired, now: datetime) -> tuple[Trash, Decision] | None:
    """The piece of trash that a pending decision wants back as this container of this owner, if one does."""
    for piece, decision in restores(view, desired, now):
        if piece.owner == owner and (decision.detail or piece.name) == name:
            return piece, decision
    return None


def restores(view: View, desired: Desired, now: datetime) -> list[tuple[Trash, Decision]]:
    """The decisions to restore that are still to be carried out, each with the piece of trash that it names."""
    pieces = {piece.id: piece for piece in view.trash}
    pending = [
        (pieces[d.argument], d)
        for d in desired.decisions
        if d.kind is DecisionKind.RESTORE
        and d.argument in pieces
        and fresh(d, now)
        and d.commit not in view.memory.decided
    ]
    return [(piece, d) for piece, d in pending if not unlawful(piece, d, desired)]


def unlawful(piece: Trash, decision: Decision, desired: Desired) -> str:
    """Why a decision to restore this piece can never be carried out, or nothing."""
    if not may_decide(decision, piece.owner):
        return f"{decision.by} may not decide on {piece.owner}'s trash"
    wanted = desired.containers.get(decision.detail or piece.name)
    if wanted and wanted.spec and wanted.spec.owner != piece.owner:
        return f"{wanted.name} is {wanted.spec.owner}'s, the trash is {piece.owner}'s"
    return ""


def _alone(view: View, dataset: Dataset) -> Place:
    """A live dataset, unless a second one claims the same uid."""
    twins = view.by_uid[dataset.marks["uid"]]
    if len(twins) > 1:
        return Occupied(f"datasets {' and '.join(d.name for d in twins)} bear the same uid")
    return Live(dataset)


def _renamed(view: View, name: str, spec: ContainerSpec, old: str, desired: Desired) -> Place | None:
    """The live data of a former name; none for a container that has had data under its present name since."""
    dataset = view.live.get(view.policy.dataset(spec.owner, old))
    if dataset is None or known_uid(view, name) not in ("", dataset.marks["uid"]):
        return None
    if old in desired.containers:
        return Occupied(f"{old}, its former name, is still a container of its own")
    if not view.ours(old):
        return Occupied(f"a container named {old} is here that voxnix did not make")
    place = _alone(view, dataset)
    return Elsewhere(dataset, renamed=True) if isinstance(place, Live) else place


def _absent(view: View, wanted: Wanted, spec: ContainerSpec, desired: Desired, now: datetime) -> Place:
    """Nothing is live: what a decision names comes first, then what was under way, then what trash there is."""
    asked = restore_for(view, wanted.name, spec.owner, desired, now)
    if asked:
        piece, decision = asked
        gave_way = [t.uid for t in view.trash if t.decision == decision.commit and t.uid not in view.live_uids]
        uid = gave_way[0] if gave_way else _uid_for(view, piece, wanted.name, decision.commit)
        return InTrash(piece, uid, decision.commit)
    uid = known_uid(view, wanted.name)
    mine = [t for t in view.trash if uid and t.uid == uid]
    for piece in reversed(mine):
        if piece.decision and piece.decision not in view.memory.decided and piece.owner == spec.owner:
            return _put_aside(view, piece, wanted, desired)
    if uid and not any(t.restorable for t in mine):
        return Missing(uid)
    back = _latest(view, wanted.name, spec, desired, now) if spec.workspace.restore == "latest" else None
    return InTrash(back, _uid_for(view, back, back.name, wanted.revision)) if back else Nowhere(fresh_uid(view, wanted))


def _put_aside(view: View, piece: Trash, wanted: Wanted, desired: Desired) -> Place:
    """Data was moved aside for other data that never came: the rollback goes on, anything else is undone."""
    decision = next((d for d in desired.decisions if d.commit == piece.decision), None)
    if decision and decision.kind is DecisionKind.ROLLBACK_DATA and decision.detail in piece.dataset.snapshots:
        return PutAside(piece, decision)
    return InTrash(piece, _uid_for(view, piece, wanted.name, wanted.revision))


def _latest(view: View, name: str, spec: ContainerSpec, desired: Desired, now: datetime) -> Trash | None:
    """What a container that comes back finds: its own latest trash, else that of its former name."""
    promised = {p.id for p, d in restores(view, desired, now) if (d.detail or p.name) != name}
    free = [t for t in view.trash if t.restorable and t.owner == spec.owner and t.id not in promised]
    former = spec.renamed_from if spec.renamed_from not in desired.containers else None
    found = [t for t in free if t.name == name] or [t for t in free if former and t.name == former]
    return found[-1] if found else None


def _uid_for(view: View, trash: Trash, name: str, commit: str) -> str:
    """The trash's own uid; one derived from the commit that asked for it where another container has that uid."""
    if trash.name == name and trash.uid not in view.live_uids:
        return trash.uid
    return hashlib.sha256(f"{trash.uid}\n{commit}".encode()).hexdigest()[:16]
