"""Law 6, for every kind of lane: cut after any step, it is taken up again from what is there, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.observed import Known, MachineState
from controller.plan import actions as a
from controller.plan.model import Lane
from controller.plan.view import is_container_path
from tests.lab import (
    approved,
    datasets,
    later,
    law,
    passed,
    planned,
    settled,
    tokens,
)
from tests.world import POLICY, World
from tests.worlds import worlds

ORDER = (a.RecordNode, a.LogOut, a.Stop, a.DeleteDevice, a.NoteDebt, a.RemoveSystem, a.ClearFailed, a.Snapshot)
RANK = {kind: rank for rank, kind in enumerate((*ORDER, a.ToTrash))}


@law
@given(worlds(calm=True), st.sampled_from((timedelta(0), timedelta(seconds=7), timedelta(hours=2))))
def test_6_a_removal_keeps_its_order_and_is_resumed_wherever_it_was_cut(world: World, delay: timedelta) -> None:
    world = approved(world, planned(world))
    made, known = planned(world), tokens(world.observed)
    for lane in made.lanes:
        if not lane.destroys:
            continue
        _in_order(lane)
        whole, _ = settled(passed(world, replace(made, lanes=(lane,))))
        for cut in range(1, len(lane.steps)):
            part = later(passed(world, replace(made, lanes=(lane,)), {lane.key: cut}), delay)
            again = [one for one in planned(part).lanes if one.key == lane.key]
            assert again or _gone(part, lane), f"cut after {lane.steps[cut - 1]}"
            for one in again:
                _in_order(one)
            rest, _ = settled(part)
            assert _gone(rest, lane)
            assert tokens(rest.observed) & known == tokens(whole.observed) & known


def _in_order(lane: Lane) -> None:
    ranks = [RANK[type(step.action)] for step in lane.steps]
    assert ranks == sorted(ranks), lane
    assert not isinstance(lane.steps[-1].action, a.Snapshot)


def _gone(world: World, lane: Lane) -> bool:
    assert isinstance(world.observed.machines, Known)
    machine = world.observed.machines.value.get(lane.key)
    live = [d.marks for path, d in datasets(world).items() if is_container_path(path, POLICY)]
    ours = [marks for marks in live if (marks.get("uid"), marks.get("appliance")) == (lane.uid, POLICY.appliance)]
    return not ours and (machine is None or machine.state is MachineState.ABSENT)


@law
@given(worlds(calm=True), st.booleans(), st.sampled_from((timedelta(0), timedelta(seconds=7), timedelta(hours=2))))
def test_6_every_other_lane_too_is_resumed_wherever_it_was_cut(world: World, approve: bool, delay: timedelta) -> None:
    world = approved(world, planned(world)) if approve else world
    made = planned(world)
    for lane in made.lanes:
        alone = replace(made, lanes=(replace(lane, after=None),))
        if lane.destroys or (not _prepared(world) and any(isinstance(s.action, a.CreateDataset) for s in lane.steps)):
            continue
        for cut in range(1, len(lane.steps)):
            part = passed(world, alone, {lane.key: cut})
            _nothing_lost(world, part)
            rest, _ = settled(later(part, delay))
            _nothing_lost(part, rest)
            assert _shape(rest, lane) == _shape(settled(later(world, delay))[0], lane), lane.steps[cut - 1]


def _prepared(world: World) -> bool:
    assert isinstance(world.observed.storage, Known)
    return world.observed.storage.value.prepared


def _nothing_lost(before: World, after: World) -> None:
    lost = tokens(before.observed) - tokens(after.observed)
    assert all(token.startswith(POLICY.trash) for token in lost), lost


def _shape(world: World, lane: Lane) -> tuple[object, object]:
    """What became of a lane's container, without names that hold a time."""
    assert isinstance(world.observed.machines, Known)
    machine = world.observed.machines.value.get(lane.key)
    live = {p: d for p, d in datasets(world).items() if p.startswith(POLICY.users) and f"/{lane.key}" in p}
    seen = (machine.state, machine.installed) if machine and machine.state is not MachineState.ABSENT else None
    return seen, {p: (d.marks.get("uid"), d.refquota) for p, d in live.items()}
