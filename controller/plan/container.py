"""What is to be done about one container that git wants. Pure.

`decide` looks at one container at a time, in the order of the questions it asks: may we act at all, is it here, is its
time up, where is its data — and only then what its system, power, limits and tailnet device need (`upkeep`).
"""

from __future__ import annotations

from dataclasses import replace

from controller.observed import Dataset, MachineState
from controller.plan.actions import Decided, Deliver, Start, Stop
from controller.plan.data import ground, home_quota
from controller.plan.draft import Context, Draft, Verdict
from controller.plan.holds import Ask, fresh, may_decide, under_way
from controller.plan.locate import InTrash, Live, Nowhere, Occupied, Place, PutAside, known_uid, locate
from controller.plan.model import Cause, CauseKind, Reason, Wait
from controller.plan.power import expired, wanted_power
from controller.plan.removal import removal
from controller.plan.site import Ground, Site
from controller.plan.snapshots import daily, routine
from controller.plan.upkeep import upkeep
from controller.spec.model import ContainerSpec
from controller.spec.state import DecisionKind, Wanted


def decide(ctx: Context, wanted: Wanted, *, install: bool = True) -> Verdict:
    """Decide about one container. `install=False` leaves a roll-out of its system for later."""
    spec = wanted.spec
    if wanted.frozen or spec is None:
        return _frozen(ctx, wanted, spec)
    if spec.paused:
        return _waiting(wanted, Reason.PAUSED, "paused by its spec; nothing is done to it")
    if _for_another_host(ctx, spec):
        return _elsewhere(ctx, wanted, spec)
    if not ctx.view.ours(wanted.name) and not ctx.view.adopted(wanted.name):
        return _waiting(
            wanted,
            Reason.FOREIGN,
            f"a container named {wanted.name} is here already and was not made by voxnix",
            f"choose another name, or bring it under this spec: voxnix adopt {wanted.name}",
        )
    if expired(spec, ctx.now) and ctx.trusted and not _of_another_owner(ctx, wanted, spec):
        return _expired(ctx, wanted, spec)
    return _wanted(ctx, wanted, spec, install=install)


def _waiting(wanted: Wanted, reason: Reason, message: str, hint: str = "") -> Verdict:
    return Verdict(waits=(Wait(wanted.name, reason, message, None, hint),))


def _for_another_host(ctx: Context, spec: ContainerSpec) -> bool:
    return bool(spec.host and ctx.view.policy.host and spec.host != ctx.view.policy.host)


def _of_another_owner(ctx: Context, wanted: Wanted, spec: ContainerSpec) -> bool:
    """Whether the data is still another tenant's: a new owner's spec may not expire it before it is handed over."""
    path = ctx.view.policy.dataset(spec.owner, wanted.name)
    return any(dataset.name != path for dataset in ctx.view.by_name.get(wanted.name, []))


def _frozen(ctx: Context, wanted: Wanted, spec: ContainerSpec | None) -> Verdict:
    """An invalid file changes nothing: what ran by the last valid spec is only started again if it went down."""
    problem = wanted.frozen[0] if wanted.frozen else None
    message = str(problem) if problem else "there never was a valid spec"
    waits = (Wait(wanted.name, Reason.INVALID_FILE, message, None, "correct the file and commit"),)
    if spec is None or spec.paused or _for_another_host(ctx, spec):
        return Verdict(waits=waits)
    stays = bool(spec.schedule) or spec.power == "stopped" or expired(spec, ctx.now)
    power = "" if stays else "running"
    dataset = ctx.view.live.get(ctx.view.policy.dataset(spec.owner, wanted.name))
    if dataset is None:
        return Verdict(waits=waits, power=power)
    draft = Draft(wanted.name, dataset.marks["uid"], wanted.revision, Cause(CauseKind.DRIFT, "down"))
    if ctx.trusted:
        daily(ctx.view, draft, dataset, dataset.name, ctx.now)
    if not stays:
        _start_again(ctx, draft, wanted, spec, dataset)
    return Verdict(lane=draft.lane(), waits=waits, power=power)


def _start_again(ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, dataset: Dataset) -> None:
    """Start what is installed, if it is down and all its data is there."""
    machine = ctx.view.machine(wanted.name)
    child = ctx.view.child(dataset.name) if spec.has_workspace else None
    mounts = [d for d in (dataset, child) if d]
    down = machine.state in (MachineState.STOPPED, MachineState.FAILED) and ctx.view.ours(wanted.name)
    if not down or not all(d.mounted for d in mounts) or (spec.has_workspace and child is None):
        return
    if machine.runtime is None:
        draft.add(Deliver(wanted.name, spec.owner, spec.secrets), "its run-time files are gone")
    paths = tuple(d.name for d in mounts)
    draft.add(Start(wanted.name, paths), "it went down; its last valid spec wants it running")


def _elsewhere(ctx: Context, wanted: Wanted, spec: ContainerSpec) -> Verdict:
    """A spec for another host never destroys: what is here is stopped, and handed over when an admin says so."""
    view, name = ctx.view, wanted.name
    there = Wait(name, Reason.ELSEWHERE, f"its spec is for host {spec.host}")
    held = view.by_name.get(name, [])
    absent = not held and view.machine(name).state is MachineState.ABSENT
    if absent or len(held) > 1 or not view.ours(name):
        return Verdict(waits=(there,))
    dataset = held[0] if held else None
    uid = dataset.marks["uid"] if dataset else known_uid(view, name)
    cause, why = Cause(CauseKind.REVISION, wanted.revision), f"moves to {spec.host}"
    draft = Draft(name, uid, wanted.revision, cause)
    if view.machine(name).up:
        draft.add(Stop(name), f"it {why}; nothing may write to its data here any more")
    ask = Ask(
        act=f"hand over to {spec.host}",
        lanes=(removal(view, name, uid, dataset, cause=cause, why=why, now=ctx.now),),
        reason=f"{name} {why}: it is stopped here; once its data is there, approve to remove it here",
        bases=(wanted.revision,),
        admin=True,
        bytes=dataset.used if dataset else 0,
        meanwhile=draft.lane(),
    )
    return Verdict(ask=ask, waits=(there,))


def _expired(ctx: Context, wanted: Wanted, spec: ContainerSpec) -> Verdict:
    view, name = ctx.view, wanted.name
    dataset = view.live.get(view.policy.dataset(spec.owner, name))
    uid = dataset.marks["uid"] if dataset else known_uid(view, name)
    cause = Cause(CauseKind.EXPIRY, f"{spec.expires:%Y-%m-%d %H:%M %Z}")
    wait = Wait(name, Reason.EXPIRED, f"its time was up on {spec.expires:%Y-%m-%d %H:%M %Z}")
    lane = removal(view, name, uid, dataset, cause=cause, why="its time is up", now=ctx.now)
    if not lane.steps or not view.ours(name):
        return Verdict(waits=(wait,))
    if lane.destroys and wanted.revision in ctx.desired.delegated and uid not in under_way(view.memory):
        said = f"the time of {name} is up, which a delegate set"
        size = dataset.used if dataset else 0
        ask = Ask("expire for a delegate", (lane,), said, (wanted.revision,), owner=spec.owner, bytes=size)
        return Verdict(ask=ask, waits=(wait,))
    return Verdict(lane=lane, waits=(wait,))


def _wanted(ctx: Context, wanted: Wanted, spec: ContainerSpec, *, install: bool) -> Verdict:
    view, now = ctx.view, ctx.now
    power = wanted_power(spec, wanted.revision, wanted.changed_at, now, trusted=ctx.trusted)
    wakes = tuple(at for at in (power.next, spec.expires) if at and at > now)
    word = "" if power.running is None else "running" if power.running else "stopped"
    place = locate(view, wanted, spec, ctx.desired, now)
    uses = frozenset({place.trash.id} if isinstance(place, InTrash | PutAside) else ())
    cause = Cause(CauseKind.REVISION, wanted.revision)
    draft = Draft(wanted.name, getattr(place, "uid", ""), wanted.revision, cause)
    if expired(spec, now) and not ctx.trusted:
        draft.wait(Reason.CLOCK_UNTRUSTED, "its time is up, but the clock cannot be trusted now")
    if not _may_go_on(ctx, draft, wanted, spec, place):
        return Verdict(waits=tuple(draft.waits), uses=uses, power=word)
    ask, under = ground(ctx, draft, wanted, spec, place)
    site = Site.of(view, wanted, spec, draft.uid, under, home_quota(ctx, spec))
    site.up = site.up and not any(isinstance(s.action, Stop) and s.action.name == wanted.name for s in draft.steps)
    if ctx.trusted:
        routine(view, draft, site, now)
    _restart(ctx, draft, wanted, site)
    if site.in_place or not _lost_workspace(spec, under):
        upkeep(view, draft, wanted, spec, site, power, now, install=install)
    lane = draft.lane()
    if ask and lane:
        ask = replace(ask, lanes=(lane,))
        if ask.alone:
            return _meanwhile(ctx, wanted, spec, ask, install=install)
        return Verdict(None, ask, tuple(draft.waits), uses, word, wakes)
    return Verdict(lane, None, tuple(draft.waits), uses, word, wakes)


def _lost_workspace(spec: ContainerSpec, under: Ground) -> bool:
    """Whether data that is about to be put in place has lost its workspace: only there is asked what to do about it."""
    lost = under.data is not None and under.child is None and not under.cloned
    return spec.has_workspace and lost and bool(under.data and under.data.marks.get("workspace"))


def _meanwhile(ctx: Context, wanted: Wanted, spec: ContainerSpec, ask: Ask, *, install: bool) -> Verdict:
    """All that a container needs beside an act that waits for approval."""
    about_data = (DecisionKind.ROLLBACK_DATA, DecisionKind.RESTORE)
    others = tuple(d for d in ctx.desired.decisions if d.kind not in about_data)
    usual = _wanted(replace(ctx, desired=replace(ctx.desired, decisions=others)), wanted, spec, install=install)
    return replace(usual, lane=None, ask=replace(ask, meanwhile=usual.lane))


def _may_go_on(ctx: Context, draft: Draft, wanted: Wanted, spec: ContainerSpec, place: Place) -> bool:
    """Whether the container's place and data allow of anything; says what is in the way."""
    if isinstance(place, Occupied):
        draft.wait(Reason.FOREIGN, place.what, hint="look at `zfs list`; voxnix does not touch it")
        return False
    made_here = isinstance(place, Nowhere) or (isinstance(place, Live) and "adopting" in place.dataset.marks)
    if not ctx.view.ours(wanted.name) and not made_here:
        said = f"container {wanted.name} cannot be adopted: there is other data of that name"
        draft.wait(Reason.FOREIGN, said, hint="choose another name for one of them, or `restore: never`")
        return False
    local = isinstance(place, Nowhere) or (isinstance(place, InTrash) and not place.decision)
    if local and wanted.moved_from and spec.workspace.restore != "never":
        draft.wait(
            Reason.AWAITS_DATA,
            f"moved here from {wanted.moved_from}; its data is not here yet",
            hint="bring the data over, restore what is in the trash here, or begin empty with "
            "`workspace: {restore: never}`",
        )
        return False
    return not isinstance(place, Nowhere) or _has_room(ctx, draft)


def _has_room(ctx: Context, draft: Draft) -> bool:
    """Whether something new may be made: not on a full pool."""
    full = ctx.view.storage.fullness
    if full > ctx.view.policy.pool_limit:
        draft.wait(
            Reason.POOL_FULL,
            f"pool {ctx.view.policy.pool} is {full:.0%} full; nothing new is made above "
            f"{ctx.view.policy.pool_limit:.0%}",
            hint="free space: voxnix trash list",
        )
        return False
    return True


def _restart(ctx: Context, draft: Draft, wanted: Wanted, site: Site) -> None:
    """A pending decision to restart: stopped here, started again by what power asks for."""
    for decision in ctx.desired.decisions:
        asked = decision.kind is DecisionKind.RESTART and decision.argument == draft.uid
        done = decision.commit in ctx.view.memory.decided or not fresh(decision, ctx.now)
        if not asked or done or not may_decide(decision, site.path.split("/")[-3]):
            continue
        cause = Cause(CauseKind.DECISION, decision.commit)
        if site.up:
            draft.add(Stop(wanted.name), f"restart asked for by {decision.by}", cause)
            site.up = False
        draft.add(Decided(decision.commit), "the restart goes on with the start", cause)
