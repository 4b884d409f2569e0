"""What the laws do not name and users rely on: hands off means hands off, and lanes never meet."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from controller.observed import Known, Observed, StorageFacts
from controller.plan import actions as a
from controller.plan.memory import Memory
from controller.plan.model import LaneKind
from controller.plan.planner import plan
from controller.spec.state import DecisionKind, Desired
from tests.lab import actions, approved, datasets, law, passed, planned
from tests.scene import Scene
from tests.world import NOW, POLICY, World
from tests.worlds import worlds


@law
@given(worlds())
def test_lanes_that_run_side_by_side_touch_different_things(world: World) -> None:
    for made in (planned(world), planned(approved(world, planned(world)))):
        assert len({lane.key for lane in made.lanes}) == len(made.lanes)
        touched: dict[str, str] = {}
        for lane in made.lanes:
            for thing in {thing for step in lane.steps for thing in _things(step.action)}:
                assert touched.setdefault(thing, lane.key) == lane.key, thing


def _things(action: a.Action) -> list[str]:
    paths = [getattr(action, field, "").removesuffix("/workspace") for field in ("dataset", "target")]
    name = getattr(action, "name", "")
    about_machine = name and not isinstance(action, a.DeleteDevice | a.NoteDebt)
    node = getattr(action, "node_id", "")
    return [*filter(None, paths), *([f"machine {name}"] if about_machine else []), *([f"node {node}"] if node else [])]


@law
@given(worlds())
def test_paused_frozen_and_suspended_mean_hands_off(world: World) -> None:
    made = planned(world)
    if world.memory.suspended:
        assert made.empty
    for lane in made.lanes:
        wanted = world.desired.containers.get(lane.key) if lane.kind is LaneKind.CONTAINER else None
        if wanted is None:
            continue
        if wanted.frozen:
            assert all(isinstance(s.action, a.Start | a.Deliver | a.Snapshot) for s in lane.steps)
        else:
            assert wanted.spec is not None
            assert not wanted.spec.paused


@law
@given(worlds())
def test_a_rebuilt_store_destroys_nothing_until_an_admin_has_looked(world: World) -> None:
    decisions = tuple(d for d in world.desired.decisions if d.kind is not DecisionKind.APPROVE)
    desired = replace(world.desired, decisions=decisions)
    made = planned(replace(world, desired=desired, memory=replace(world.memory, rebuilt="2026-11-23")))
    assert not [action for action in actions(made) if isinstance(action, a.ToTrash | a.DestroyTrash)]
    assert not [lane for lane in made.lanes if lane.destroys or lane.kind is LaneKind.DEVICE]


def test_an_empty_host_and_an_empty_state_give_an_empty_plan() -> None:
    observed = Observed(Known({}), Known(StorageFacts(10, 90, True, {})), Known({}), Known(True), Known({}))
    made = plan(Known(Desired("c", {}, {})), observed, Memory(), NOW, POLICY)
    assert (made.empty, made.holds, made.waits, made.wake) == (True, (), (), None)


def test_data_that_was_once_put_aside_by_half_is_found_again_after_its_removal() -> None:
    have = {"dev": {"marks": {"aside": "r-cut", "trashed": "20261101T000000Z"}}, "web": "running"}
    removed = passed_scene(want={"web": {}}, have=have, removed={"dev": "c-rm"})
    back = Scene({"want": {"dev": {"power": "stopped"}, "web": {}}}).world().desired
    again = planned(replace(removed, desired=back))
    assert any(isinstance(action, a.FromTrash) for action in actions(again))


def test_what_comes_back_from_the_trash_bears_no_old_device() -> None:
    piece = {"name": "dev", "marks": {"node": "n-9", "key": "k-9:1", "tailnet": "dev,ssh,tag:vox"}}
    spec = {"power": "stopped", "modules": ["tailscale"]}
    back = passed_scene(want={"dev": spec}, trash=[piece], unknown=["tailnet"])
    marks = datasets(back)[POLICY.dataset("alice", "dev")].marks
    assert not {"node", "key", "tailnet", "trashed"} & set(marks)


def passed_scene(**case: object) -> World:
    world = Scene(case).world()
    return passed(world, planned(world))
