"""Whole passes over the model host, as the controller's loop makes them, and the settings that laws are tried with.

`VOXNIX_LAW_EXAMPLES` asks for more, and then random, worlds; without it, the same ones are drawn every time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, Phase, settings

from controller.observed import Dataset, Known, Observed
from controller.plan import actions as a
from controller.plan.fold import learn
from controller.plan.memory import Memory
from controller.plan.model import Lane, Plan, Policy
from controller.plan.planner import plan
from controller.plan.view import View
from controller.spec.state import Decision, DecisionKind, Desired
from tests.model import Host
from tests.world import World

EXAMPLES = int(os.environ.get("VOXNIX_LAW_EXAMPLES", "0"))
law = settings(
    max_examples=EXAMPLES or 80,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if "VOXNIX_LAW_SHRINK" in os.environ else [])],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
PASSES = 8
"""Passes after which a host has to be quiet."""


def planned(world: World) -> Plan:
    return plan(Known(world.desired), world.observed, world.memory, world.now, world.policy)


def passed(world: World, made: Plan, cut: dict[str, int] | None = None) -> World:
    observed, memory = apply(made, world.observed, world.memory, world.desired, world.policy, world.now, cut=cut)
    return replace(world, observed=observed, memory=memory)


def later(world: World, by: timedelta) -> World:
    return replace(world, now=world.now + by)


def approved(world: World, made: Plan) -> World:
    """The world in which root has approved of all that is held, by commits."""
    decisions = tuple(
        Decision(DecisionKind.APPROVE, hold.id, f"approve-{hold.id}", world.now, detail="") for hold in made.holds
    )
    return replace(world, desired=replace(world.desired, decisions=(*world.desired.decisions, *decisions)))


def settled(world: World, *, approve: bool = False) -> tuple[World, Plan]:
    """The world after passes until nothing is left to do or to learn."""
    for _ in range(PASSES):
        made = planned(world)
        if approve and made.holds:
            world = approved(world, made)
            made = planned(world)
        world = passed(world, made)
        if planned(world) == made and not made.lanes and not (approve and made.holds):
            return world, made
    raise AssertionError(f"not quiet after {PASSES} passes: {steps_of(planned(world))}")


def steps_of(made: Plan) -> list[tuple[str, str, str]]:
    return [(lane.key, repr(step.action), step.reason) for lane in made.lanes for step in lane.steps]


def datasets(world: World) -> dict[str, Dataset]:
    assert isinstance(world.observed.storage, Known)
    return dict(world.observed.storage.value.datasets)


def actions(made: Plan) -> list[a.Action]:
    return [step.action for lane in made.lanes for step in lane.steps]


def apply(
    plan: Plan,
    observed: Observed,
    memory: Memory,
    desired: Desired,
    policy: Policy,
    now: datetime,
    *,
    cut: Mapping[str, int] | None = None,
) -> tuple[Observed, Memory]:
    """The host and the memory after a pass: what was observed is learned, then every lane runs to its end.

    `cut` ends the named lanes after so many steps, as a killed controller would; all lanes that come later do not
    begin then.
    """
    host = Host.of(observed, begun(plan, observed, memory, desired, policy, now), policy, now)
    for lane in in_order(plan.lanes):
        stop = (cut or {}).get(lane.key)
        for step in lane.steps[:stop]:
            host.act(step.action)
        if stop is not None and stop < len(lane.steps):
            break
    return host.seen(observed), host.memory


def begun(plan: Plan, observed: Observed, memory: Memory, desired: Desired, policy: Policy, now: datetime) -> Memory:
    """What is remembered when the lanes of a pass begin: the fold of what was seen, and which removals begin."""
    view = View.of(observed, memory, policy)
    if isinstance(view, View):
        learned = learn(view, desired, plan, now)
        inventory = {uid: entry for uid, entry in memory.inventory.items() if uid not in learned.drop}
        inventory |= {entry.uid: entry for entry in learned.put}
        debts = {node: debt for node, debt in memory.debts.items() if node not in learned.settled}
        backoff = {key: failed for key, failed in memory.backoff.items() if key not in learned.calm}
        memory = replace(memory, inventory=inventory, debts=debts, backoff=backoff)
    for lane in plan.lanes:
        if lane.destroys and lane.uid:
            entry = memory.inventory.get(lane.uid)
            inventory = dict(memory.inventory)
            if entry and entry.removing is None:
                inventory[lane.uid] = replace(entry, removing=now)
            memory = replace(memory, inventory=inventory, destroys={lane.uid: now, **memory.destroys})
    return memory


def in_order(lanes: Sequence[Lane]) -> list[Lane]:
    """The lanes, each after the one it waits for."""
    keys, done, left, ordered = {lane.key for lane in lanes}, set[str](), list(lanes), []
    while left:
        ready = [lane for lane in left if lane.after is None or lane.after in done or lane.after not in keys]
        assert ready, "lanes that wait for each other"
        ordered += ready
        done |= {lane.key for lane in ready}
        left = [lane for lane in left if lane not in ready]
    return ordered


def tokens(observed: Observed) -> frozenset[str]:
    """The contents of all datasets."""
    assert isinstance(observed.storage, Known)
    return frozenset(d.marks["token"] for d in observed.storage.value.datasets.values() if "token" in d.marks)
