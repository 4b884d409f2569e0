"""`plan`: from desired, observed and remembered to the ordered actions that make them one. Pure, total, deterministic.

Nothing is planned while git, machines or storage are unknown. What could lose something is held back here, in one
place, after everything has been decided and before anything is returned.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from controller.observed import Known, NotConfigured, Observed, Source, Unknown
from controller.plan.actions import (
    CloneBack,
    CreateDataset,
    DeleteDevice,
    DestroyTrash,
    FromTrash,
    MoveDataset,
    PrepareStorage,
    ToTrash,
    TrustStore,
)
from controller.plan.container import decide
from controller.plan.draft import Context, Verdict
from controller.plan.holds import Ask, settle, too_many, under_way
from controller.plan.leftovers import Leftovers, aimless, devices, expired_trash, purges
from controller.plan.memory import Memory
from controller.plan.model import (
    EVERYTHING,
    Cause,
    CauseKind,
    Hold,
    Lane,
    LaneKind,
    Plan,
    Policy,
    Reason,
    Step,
    Wait,
)
from controller.plan.unwanted import document_uid, unwanted
from controller.plan.upkeep import rolls_out
from controller.plan.view import View
from controller.spec.state import Desired, Wanted

PLACES = CreateDataset | ToTrash | FromTrash | MoveDataset | CloneBack
"""Actions that put a dataset below users or trash."""


LONGEST = timedelta(minutes=15)
"""The longest that a failed lane waits; a wait that would end later was noted before the clock went back."""


@dataclass(slots=True)
class _Gathered:
    """Everything decided so far in one call of `plan`."""

    lanes: list[Lane] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    wakes: list[datetime] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    power: dict[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()

    def verdict(self, name: str, verdict: Verdict) -> None:
        """Take in what was decided about one container."""
        if verdict.lane:
            self.lanes.append(verdict.lane)
        if verdict.ask:
            self.asks.append(verdict.ask)
        if verdict.power:
            self.power[name] = verdict.power
        self.waits += verdict.waits
        self.wakes += verdict.wakes
        self.used |= verdict.uses

    def leftovers(self, found: Leftovers) -> None:
        """Take in what was decided about things that no spec stands behind."""
        self.lanes += found.lanes
        self.asks += found.asks
        self.waits += found.waits
        self.wakes += found.wakes
        self.stale = found.stale or self.stale


def plan(desired: Source[Desired], observed: Observed, memory: Memory, now: datetime, policy: Policy) -> Plan:
    """The ordered actions, each with its reason, that would make `observed` equal `desired`.

    `now` is an aware datetime. Equal inputs give equal plans; the order of mappings does not matter.
    """
    if not isinstance(desired, Known):
        return _nothing("", "desired state: " + _why(desired))
    view = View.of(observed, memory, policy)
    if isinstance(view, Unknown):
        return _nothing(desired.value.revision, view.why)
    trusted = memory.clock_steady and isinstance(observed.clock, Known) and observed.clock.value
    ctx = Context(view, desired.value, now, trusted)
    got = _Gathered()
    _containers(ctx, got)
    got.leftovers(unwanted(ctx))
    got.leftovers(expired_trash(ctx, got.used))
    going = {s.action.dataset for lane in got.lanes for s in lane.steps if isinstance(s.action, DestroyTrash)}
    got.leftovers(purges(ctx, got.used, going))
    got.leftovers(aimless(ctx))
    lanes = [*got.lanes, *(lane for ask in got.asks for lane in ask.lanes)]
    busy = {s.action.node_id for lane in lanes for s in lane.steps if isinstance(s.action, DeleteDevice)}
    got.leftovers(devices(ctx, busy))
    _approvals(ctx, got)
    _bulk(ctx, got)
    _after_rebuild(ctx, got)
    _backoff(ctx, got)
    _suspension(ctx, got)
    _order(ctx, got)
    wakes = [*got.wakes, *(w.until for w in got.waits if w.until)]
    return Plan(
        revision=ctx.desired.revision,
        lanes=tuple(sorted(got.lanes, key=lambda lane: (lane.kind is not LaneKind.HOST, lane.key))),
        holds=tuple(sorted(got.holds, key=lambda hold: hold.id)),
        waits=tuple(sorted(got.waits, key=lambda w: (w.key, w.reason, w.message))),
        foreign=view.foreign(),
        stale=tuple(sorted(got.stale)),
        power=got.power,
        wake=min((at for at in wakes if at > now), default=None),
    )


def _why(source: Unknown | NotConfigured) -> str:
    return source.why if isinstance(source, Unknown) else "not configured"


def _nothing(revision: str, why: str) -> Plan:
    return Plan(revision, waits=(Wait(EVERYTHING, Reason.UNKNOWN_SOURCE, f"nothing is done while unknown: {why}"),))


def _containers(ctx: Context, got: _Gathered) -> None:
    """Every container that git wants; systems that change for no commit of theirs roll out one at a time."""
    wanted_ones = ctx.desired.containers.values()
    rolling = [w for w in wanted_ones if _rolls(ctx, w)]
    failed = sorted(w.name for w in wanted_ones if _failed_roll_out(ctx, w))
    for name, wanted in sorted(ctx.desired.containers.items()):
        stopped = bool(failed) and name not in failed and wanted in rolling
        got.verdict(name, decide(ctx, wanted, install=not stopped))
        if stopped:
            message = (
                f"the roll-out stopped at {failed[0]}, which failed; its system stays as it is until that is mended"
            )
            got.waits.append(Wait(name, Reason.ROLL_OUT_STOPPED, message, hint=f"voxnix status {failed[0]}"))


def _rolls(ctx: Context, wanted: Wanted) -> bool:
    if wanted.spec is None or wanted.frozen or wanted.spec.paused:
        return False
    dataset = ctx.view.live.get(ctx.view.policy.dataset(wanted.spec.owner, wanted.name))
    return dataset is not None and rolls_out(ctx.view.machine(wanted.name), wanted, dataset.marks["uid"])


def _failed_roll_out(ctx: Context, wanted: Wanted) -> bool:
    """Whether the very system that is wanted has failed in a roll-out, before or after it was installed."""
    failure = ctx.view.memory.backoff.get(wanted.name)
    at_work = wanted.spec is not None and not wanted.frozen and not wanted.spec.paused
    return at_work and failure is not None and failure.roll_out == wanted.digest


def _approvals(ctx: Context, got: _Gathered) -> None:
    for ask in got.asks:
        lanes, hold = settle(ask, ctx.desired.decisions, ctx.now)
        keys = {lane.key for lane in lanes}
        got.lanes = [lane for lane in got.lanes if lane.key not in keys] + list(lanes)
        if hold:
            got.holds.append(hold)
            got.lanes += [ask.meanwhile] if ask.meanwhile else []


def _bulk(ctx: Context, got: _Gathered) -> None:
    """Law 7: too many removals at once, or the last container's, wait together."""
    view = ctx.view
    running = under_way(view.memory)
    new = [lane for lane in got.lanes if lane.destroys and lane.uid not in running]
    documents = {document_uid(view, name) for name in view.machines if view.ours(name)} - {""}
    why = too_many(new, view.memory, frozenset(set(view.live_uids) | documents), ctx.now)
    if not why:
        return
    sizes = sum(view.live_uids[lane.uid].used for lane in new if lane.uid in view.live_uids)
    ask = Ask("remove many", tuple(new), why, tuple(lane.revision for lane in new), admin=True, bytes=sizes)
    _, hold = settle(ask, ctx.desired.decisions, ctx.now)
    if hold:
        got.lanes = [lane for lane in got.lanes if lane not in new]
        got.holds.append(hold)


def _after_rebuild(ctx: Context, got: _Gathered) -> None:
    """After the store was lost, what destroys waits until an admin has approved of going on, once."""
    token = ctx.view.memory.rebuilt
    if not token:
        return
    risky = [lane for lane in got.lanes if _destructive(lane)]
    if not risky:
        return
    gate = Lane(
        "host:store", LaneKind.HOST, "", (Step(TrustStore(token), "an admin approved", Cause(CauseKind.DECISION)),)
    )
    reason = "the store was lost and made again; destructive actions wait until an admin has looked once"
    ask = Ask(f"go on after rebuild {token}", (gate,), reason, (token,), admin=True)
    lanes, hold = settle(ask, ctx.desired.decisions, ctx.now)
    if hold:
        got.lanes = [lane for lane in got.lanes if lane not in risky]
        got.holds.append(replace(hold, lanes=tuple(risky)))
    got.lanes += lanes


def _destructive(lane: Lane) -> bool:
    """Whether a lane takes away what the lost store might have told to keep."""
    takes = any(isinstance(step.action, ToTrash | DestroyTrash) for step in lane.steps)
    return takes or lane.destroys or lane.kind is LaneKind.DEVICE


def _backoff(ctx: Context, got: _Gathered) -> None:
    """A lane that failed waits its time, unless another commit is behind it now."""
    ready = []
    for lane in got.lanes:
        failure = ctx.view.memory.backoff.get(lane.key)
        same = (
            failure is not None
            and failure.revision == lane.revision
            and (not lane.roll_out or failure.roll_out == lane.roll_out)
        )
        waits = failure is not None and ctx.now < failure.next_at <= ctx.now + LONGEST
        if failure is None or not same or not waits:
            ready.append(lane)
            continue
        reason = Reason.BLOCKED if failure.blocked else Reason.BACKING_OFF
        message = failure.message or "it went down again soon after it was started"
        got.waits.append(Wait(lane.key, reason, message, failure.next_at, failure.hint))
    got.lanes = ready


def _suspension(ctx: Context, got: _Gathered) -> None:
    suspended = ctx.view.memory.suspended
    if suspended is None:
        return
    message = f"suspended by {suspended.by}: {suspended.reason}"
    got.waits += [Wait(lane.key, Reason.SUSPENDED, message, hint="voxnix resume") for lane in got.lanes]
    got.lanes = []


def _order(ctx: Context, got: _Gathered) -> None:
    """What must come first: the pool prepared before data is made; one container of a roll-out after another."""
    lanes = sorted(got.lanes, key=lambda lane: lane.key)
    placed = [lane for lane in lanes if any(isinstance(s.action, PLACES) for s in lane.steps)]
    if not ctx.view.storage.prepared and (placed or ctx.view.live) and ctx.view.memory.suspended is None:
        step = Step(PrepareStorage(), "the pool's place for users and trash is not in order", Cause(CauseKind.ROUTINE))
        first = Lane("host:storage", LaneKind.HOST, "", (step,))
        lanes = [first] + [replace(lane, after=first.key) if lane in placed else lane for lane in lanes]
    previous: str | None = None
    ordered = []
    for lane in lanes:
        ordered.append(replace(lane, after=previous) if lane.roll_out and previous and not lane.after else lane)
        previous = lane.key if lane.roll_out else previous
    got.lanes = ordered
