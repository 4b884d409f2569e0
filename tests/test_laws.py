"""The laws of the planner (docs/design.md, "Plan"), each as a property of all worlds that `tests.worlds` can draw."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import assume, event, given
from hypothesis import strategies as st

from controller.observed import Known, MachineState, NotConfigured, Source, Unknown
from controller.plan import actions as a
from controller.plan.model import CauseKind, Lane, Plan
from controller.plan.planner import plan
from controller.plan.view import is_container_path
from controller.spec.state import DecisionKind
from tests.lab import (
    actions,
    approved,
    datasets,
    law,
    passed,
    planned,
    settled,
    steps_of,
    tokens,
)
from tests.world import POLICY, World
from tests.worlds import worlds


@law
@given(worlds())
def test_1_applying_a_plan_leaves_nothing_to_do_but_what_is_held_or_waits(world: World) -> None:
    first = planned(world)
    world = passed(world, first)
    second = planned(world)
    released = {name for hold in first.holds for name in hold.names}
    late = [step.action for lane in second.lanes if lane.key not in released for step in lane.steps]
    about_what_went = a.DeleteDevice | a.NoteDebt | a.Decided
    assert all(isinstance(action, about_what_went) for action in late), steps_of(second)
    world, quiet = settled(world)
    assert planned(passed(world, quiet)) == quiet


@law
@given(worlds())
def test_1_with_every_hold_approved_a_host_becomes_quiet_and_nothing_is_lost(world: World) -> None:
    before = tokens(world.observed)
    world, quiet = settled(world, approve=True)
    assert not quiet.holds
    purged = {d.argument for d in world.desired.decisions if d.kind is DecisionKind.PURGE}
    lost = before - tokens(world.observed)
    expired = {t for t in lost if t.startswith(POLICY.trash)}
    assert lost == expired, "data that was not in the trash is lost"
    event(f"lost {len(lost)}, purged {len(purged)}")


@law
@given(worlds(), st.randoms(use_true_random=False))
def test_2_the_order_of_what_is_put_in_does_not_matter(world: World, random: object) -> None:
    assert planned(world) == planned(shuffled(world, random))


def shuffled(world: World, random) -> World:
    def mixed(mapping):
        items = list(mapping.items())
        random.shuffle(items)
        return dict(items)

    desired, observed, memory = world.desired, world.observed, world.memory
    storage = observed.storage.value
    return replace(
        world,
        desired=replace(
            desired,
            containers=mixed(desired.containers),
            removed=mixed(desired.removed),
            tenants=mixed(desired.tenants),
        ),
        observed=replace(
            observed,
            machines=Known(mixed(observed.machines.value)),
            storage=Known(replace(storage, datasets=mixed(storage.datasets))),
            tailnet=Known(mixed(observed.tailnet.value)) if isinstance(observed.tailnet, Known) else observed.tailnet,
        ),
        memory=replace(
            memory,
            inventory=mixed(memory.inventory),
            backoff=mixed(memory.backoff),
            debts=mixed(memory.debts),
            adopted=mixed(memory.adopted),
        ),
    )


@law
@given(worlds())
def test_3_what_is_foreign_is_in_no_action(world: World) -> None:
    for made in (planned(world), planned(approved(world, planned(world)))):
        for lane in (*made.lanes, *(lane for hold in made.holds for lane in hold.lanes)):
            for step in lane.steps:
                assert not foreign(world, step.action), step


def foreign(world: World, action: a.Action) -> bool:
    """Whether an action is about what does not bear this appliance's marks, by rules of this test's own."""
    paths = [getattr(action, field, "") for field in ("dataset", "target")]
    name = getattr(action, "name", "")
    foreign_data = any(path and _foreign_data(world, path) for path in paths)
    if isinstance(action, a.DeleteDevice | a.NoteDebt):
        return foreign_data or _foreign_device(world, action.node_id)
    return foreign_data or (bool(name) and _foreign_machine(world, name))


def _foreign_data(world: World, path: str) -> bool:
    found = datasets(world).get(path.removesuffix("/workspace"))
    return found is not None and (found.marks.get("appliance") != POLICY.appliance or not found.marks.get("uid"))


def _foreign_machine(world: World, name: str) -> bool:
    assert isinstance(world.observed.machines, Known)
    machine = world.observed.machines.value.get(name)
    if machine is None or machine.state is MachineState.ABSENT:
        return False
    if machine.installed is None:
        remembered = any(entry.name == name for entry in world.memory.inventory.values())
        live = any(p.endswith("/" + name) and is_container_path(p, POLICY) for p in datasets(world))
        return not (remembered or live)
    document, adoption = machine.installed.document, world.memory.adopted.get(name)
    ours = document is not None and document.appliance == POLICY.appliance
    return not ours and not (adoption and adoption.system_path == machine.installed.system_path)


def _foreign_device(world: World, node: str) -> bool:
    if not isinstance(world.observed.tailnet, Known) or node not in world.observed.tailnet.value:
        return False
    device = world.observed.tailnet.value[node]
    recorded = {d.marks.get("node") for d in datasets(world).values()} | set(world.memory.debts)
    recorded |= {entry.node_id for entry in world.memory.inventory.values()}
    minted = {d.marks.get("key", "").split(":")[0] for d in datasets(world).values()}
    return POLICY.tag not in device.tags or not (node in recorded or device.key_id in minted)


@law
@given(worlds(), st.sampled_from(("git", "machines", "storage")), st.sampled_from((Unknown("x"), NotConfigured())))
def test_4_nothing_is_done_while_git_machines_or_storage_are_unknown(
    world: World, which: str, unknown: Unknown | NotConfigured
) -> None:
    desired: Source = unknown if which == "git" else Known(world.desired)
    observed = world.observed if which == "git" else replace(world.observed, **{which: unknown})
    made = plan(desired, observed, world.memory, world.now, world.policy)
    assert made.empty
    assert not made.holds
    assert made.waits[0].reason == "SourceUnknown"


@law
@given(worlds())
def test_4_an_unknown_tailnet_holds_up_nothing_and_itssteps_of_become_debts(world: World) -> None:
    with_tailnet = replace(world, observed=replace(world.observed, tailnet=Known({})))
    without = replace(world, observed=replace(world.observed, tailnet=Unknown("no answer")))
    made = planned(without)
    assert not [x for x in actions(made) if isinstance(x, a.Enrol)]
    assert not [x for x in actions(made) if isinstance(x, a.DeleteDevice) and x.node_id]
    moved = [{x.dataset for x in actions(planned(w)) if isinstance(x, a.ToTrash)} for w in (with_tailnet, without)]
    assert moved[0] == moved[1]
    after = passed(without, made)
    for lane in made.lanes:
        for step in lane.steps:
            if isinstance(step.action, a.ToTrash):
                node = datasets(world)[step.action.dataset].marks.get("node")
                assert not node or node in after.memory.debts


@law
@given(worlds())
def test_5_data_is_destroyed_only_by_trash_expiry_or_an_approved_purge(world: World) -> None:
    made = planned(world)
    _only_allowed_destruction(world, made, approvals=frozenset())
    agreed = approved(world, made)
    _only_allowed_destruction(agreed, planned(agreed), frozenset(hold.id for hold in made.holds))


def _only_allowed_destruction(world: World, made: Plan, approvals: frozenset[str]) -> None:
    purges = {d.commit for d in world.desired.decisions if d.kind is DecisionKind.PURGE and not d.delegate}
    for lane in made.lanes:
        for step in lane.steps:
            if not isinstance(step.action, a.DestroyTrash):
                continue
            piece = datasets(world)[step.action.dataset]
            assert piece.name.startswith(POLICY.trash + "/")
            if step.cause.kind is CauseKind.TRASH_EXPIRY:
                assert world.memory.clock_steady
                assert world.observed.clock == Known(True)
                assert piece.marks["trashed"] <= f"{world.now - POLICY.trash_for:%Y%m%dT%H%M%SZ}"
            else:
                assert step.cause.kind is CauseKind.DECISION
                assert step.cause.ref in purges
                assert approvals or _approves_something(world)


def _approves_something(world: World) -> bool:
    return any(d.kind is DecisionKind.APPROVE for d in world.desired.decisions)


@law
@given(worlds())
def test_7_what_could_lose_something_is_held(world: World) -> None:
    decisions = tuple(d for d in world.desired.decisions if d.kind is not DecisionKind.APPROVE)
    world = replace(world, desired=replace(world.desired, decisions=decisions))
    made = planned(world)
    removing = {entry.uid for entry in world.memory.inventory.values() if entry.removing}
    for lane in made.lanes:
        for step in lane.steps:
            assert step.cause.kind is not CauseKind.DECISION or not isinstance(step.action, a.DestroyTrash)
            if isinstance(step.action, a.MoveDataset):
                assert step.action.dataset.split("/")[2] == step.action.target.split("/")[2]
            if isinstance(step.action, a.ToTrash):
                assert lane.destroys, "data is put aside without an approval"
        if lane.destroys and lane.uid not in removing:
            wanted = world.desired.containers.get(lane.key)
            commit = wanted.revision if wanted else world.desired.removed[lane.key]
            assert commit not in world.desired.delegated
            assert not (wanted and wanted.spec and wanted.spec.host == "there")
    new = {lane.uid for lane in made.lanes if lane.destroys} - removing
    before = _uids(world)
    recent = {uid for uid, at in world.memory.destroys.items() if world.now - at < timedelta(hours=1)}
    if new:
        assert len(new | removing | recent) <= max(2, len(before | removing | recent) // 4)
        assert len(before) < 2 or before - new - removing


def _uids(world: World) -> set[str]:
    assert isinstance(world.observed.machines, Known)
    live = [d for p, d in datasets(world).items() if is_container_path(p, POLICY)]
    documents = [m.installed.document for m in world.observed.machines.value.values() if m.installed]
    return {d.marks["uid"] for d in live if d.marks.get("appliance") == POLICY.appliance} | {
        d.uid for d in documents if d and d.appliance == POLICY.appliance
    }


@law
@given(worlds())
def test_7_an_approval_is_of_exactly_what_was_held_and_a_new_commit_supersedes_it(world: World) -> None:
    held = planned(world).holds
    assume(held)
    agreed = planned(approved(world, planned(world)))
    assert not {hold.id for hold in held} & {hold.id for hold in agreed.holds}
    named = {name for hold in held for name in hold.names}
    wanted = {
        name: replace(w, revision="c-new") if name in named else w for name, w in world.desired.containers.items()
    }
    desired = replace(world.desired, containers=wanted, removed=dict.fromkeys(world.desired.removed, "c-new"))
    renewed = planned(
        replace(
            approved(world, planned(world)),
            desired=replace(
                desired, decisions=approved(world, planned(world)).desired.decisions, delegated=frozenset({"c-new"})
            ),
        )
    )
    for hold in renewed.holds:
        assert hold.id not in {one.id for one in held} or hold.refused


@law
@given(worlds())
def test_8_every_step_says_why_and_what_caused_it(world: World) -> None:
    made = planned(world)
    for lane in (*made.lanes, *(lane for hold in made.holds for lane in hold.lanes)):
        assert lane.steps
        for step in lane.steps:
            assert len(step.reason) > 5
            assert step.cause.ref or step.cause.kind in (CauseKind.ROUTINE, CauseKind.DECISION)
            if step.cause.kind is CauseKind.DECISION and not isinstance(step.action, a.TrustStore):
                assert step.cause.ref in {d.commit for d in world.desired.decisions}
            if step.cause.kind is CauseKind.REVISION:
                wanted = {w.revision for w in world.desired.containers.values()}
                assert step.cause.ref in wanted | set(world.desired.removed.values())


@law
@given(worlds(), st.booleans())
def test_9_a_clock_that_cannot_be_trusted_expires_and_schedules_nothing(world: World, jumped: bool) -> None:
    doubted = (
        replace(world, memory=replace(world.memory, clock_steady=False))
        if jumped
        else replace(world, observed=replace(world.observed, clock=Known(False)))
    )
    made = planned(doubted)
    for lane in made.lanes:
        for step in lane.steps:
            assert step.cause.kind not in (CauseKind.EXPIRY, CauseKind.SCHEDULE, CauseKind.TRASH_EXPIRY)
            assert not isinstance(step.action, a.DropSnapshot)
        assert not lane.destroys or lane.key not in doubted.desired.containers or _held_for_another_host(doubted, lane)


def _held_for_another_host(world: World, lane: Lane) -> bool:
    spec = world.desired.containers[lane.key].spec
    return bool(spec and spec.host == "there")
