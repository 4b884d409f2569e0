"""Every rule of the planner as a case: what is wanted, what is there, and what is to be done and why.

The cases are in `tests/cases/plan/`; each is also carried out on the model host, after which nothing may be left to do
but what the case says (`then`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.observed import Known
from controller.plan.model import Plan
from controller.plan.planner import plan
from controller.spec.state import Decision, DecisionKind
from tests.lab import apply
from tests.scene import Scene, span
from tests.world import World

CASES = Path(__file__).parent / "cases" / "plan"


def _cases() -> list[Any]:
    return [
        pytest.param(case, id=f"{path.stem}: {case['case']}")
        for path in sorted(CASES.glob("*.yaml"))
        for case in yaml.safe_load(path.read_text())
    ]


@pytest.mark.parametrize("case", _cases())
def test_case(case: dict[str, Any]) -> None:
    world = Scene(case).world()
    if "approved_by" in case:
        world = _approved(world, case["approved_by"], span(case.get("approved", "0s")))
    made = _plan(world)
    assert _told(made, case.get("plan", {})) == case.get("plan", {})
    assert _named(made.holds, lambda hold: (", ".join(hold.names), hold.reason), case.get("holds", {}))
    assert sorted((w.key, str(w.reason)) for w in made.waits) == _pairs(case.get("waits", {}))
    assert list(made.foreign) == case.get("foreign", [])
    assert [text.split(" ")[0] for text in made.stale] == case.get("stale", [])
    causes = {lane.key: [str(step.cause.kind) for step in lane.steps] for lane in made.lanes}
    for key, cause in case.get("causes", {}).items():
        assert cause in causes[key]
    if not made.empty:
        observed, memory = apply(made, world.observed, world.memory, world.desired, world.policy, world.now)
        quiet = _plan(replace(world, observed=observed, memory=memory))
        assert _told(quiet, case.get("then", {})) == case.get("then", {})


def _plan(world: World) -> Plan:
    return plan(Known(world.desired), world.observed, world.memory, world.now, world.policy)


def _approved(world: World, by: str, ago: timedelta) -> World:
    """All that is held, approved of by a person, or `agent` for alice's delegate."""
    delegate = by == "agent"
    who, admin = ("alice", False) if delegate else (by, by != "bob")
    said = tuple(
        Decision(DecisionKind.APPROVE, hold.id, f"a-{hold.id}", world.now - ago, who, admin, delegate=delegate)
        for hold in _plan(world).holds
    )
    return replace(world, desired=replace(world.desired, decisions=(*world.desired.decisions, *said)))


def _told(made: Plan, expected: dict[str, list[str]]) -> dict[str, list[str]]:
    """The plan in the words of the case: each step by the action's name, with the reason where the case gives one."""
    told = {}
    for lane in made.lanes:
        said = expected.get(lane.key, [])
        told[lane.key] = [_step(step, said[i] if i < len(said) else "") for i, step in enumerate(lane.steps)]
        if lane.after and any(text.startswith("after ") for text in said):
            told[lane.key] = [f"after {lane.after}"] + [
                _step(step, said[i + 1] if i + 1 < len(said) else "") for i, step in enumerate(lane.steps)
            ]
    return told


def _step(step: Any, said: str) -> str:
    name = type(step.action).__name__
    _, _, reason = said.partition(": ")
    return said if said.split(":", maxsplit=1)[0] == name and reason in step.reason else f"{name}: {step.reason}"


def _named(found: Any, tell: Any, expected: dict[str, str]) -> bool:
    told = dict(map(tell, found))
    assert sorted(told) == sorted(expected), told
    for key, part in expected.items():
        assert part in told[key]
    return True


def _pairs(waits: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted((key, one) for key, said in waits.items() for one in ([said] if isinstance(said, str) else said))
