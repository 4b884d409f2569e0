"""Lanes side by side: order, limits, deadlines, predecessors, pre-emption, failures and a clean stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from controller.converge import Converger, Moment, Progress
from controller.errors import Blocked, Transient
from controller.observed import Unknown
from controller.plan.actions import Action, Build, Start, Stop
from controller.plan.model import Cause, CauseKind, Lane, LaneKind, Plan, Reason, Step, Wait
from controller.plan.planner import plan
from controller.status import Outcome


@dataclass
class Hands:
    """An `act` that notes what it was asked, and blocks on what the test tells it to."""

    begun: list[Action] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    cancelled: list[Action] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)
    most: int = 0

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    async def act(self, action: Action) -> None:
        name = getattr(action, "name", "")
        self.begun.append(action)
        self.most = max(self.most, len(self.begun) - len(self.done) - len(self.cancelled))
        try:
            if name in self.gates:
                await self.gates[name].wait()
            if name in self.errors:
                raise self.errors[name]
        except asyncio.CancelledError:
            self.cancelled.append(action)
            raise
        self.done.append(action)


class Run:
    """A converger with its hands, and what it told."""

    def __init__(self, **limits: object) -> None:
        self.hands = Hands()
        self.outcomes: list[Outcome] = []
        self.told: list[Progress] = []
        self.converger = Converger(self.hands.act, self.outcomes.append, self.told.append, **limits)  # type: ignore[arg-type]

    async def until(self, true: Callable[[], bool]) -> None:
        for _ in range(100):
            if true():
                return
            await asyncio.sleep(0)
        raise AssertionError("it did not come to that")


@pytest.fixture
async def run():
    made = Run()
    yield made
    await made.converger.stop()
    assert not made.converger.busy


def lane(key: str, *actions: Action, revision: str = "c1", after: str | None = None, roll_out: str = "") -> Lane:
    cause = Cause(CauseKind.REVISION, revision)
    steps = tuple(Step(action, "because", cause) for action in actions or (Stop(key),))
    return Lane(key, LaneKind.CONTAINER, f"u-{key}", steps, revision, after, roll_out=roll_out)


def made(*lanes: Lane, waits: tuple[Wait, ...] = ()) -> Plan:
    return Plan("c-head", lanes, waits=waits)


def build(name: str) -> Build:
    return Build(name, "d", "{}")


async def test_the_steps_of_a_lane_run_in_order_and_its_outcome_is_handed_back(run: Run) -> None:
    run.converger.start(made(lane("dev", Stop("dev"), build("dev"), Start("dev", ()))))
    await run.converger.wait()
    assert [type(action).__name__ for action in run.hands.done] == ["Stop", "Build", "Start"]
    assert [(outcome.lane.key, outcome.error) for outcome in run.outcomes] == [("dev", None)]
    moments = [progress.moment for progress in run.told]
    assert moments == [Moment.BEGUN, Moment.DONE] * 3 + [Moment.LANE_DONE]


async def test_lanes_run_side_by_side(run: Run) -> None:
    run.hands.gate("slow")
    run.converger.start(made(lane("slow"), lane("quick")))
    await run.until(lambda: run.converger.busy == {"slow"})
    assert run.hands.done == [Stop("quick")]


async def test_an_empty_plan_is_no_work(run: Run) -> None:
    assert run.converger.start(made()) == []
    await run.converger.wait()
    assert not run.told


async def test_a_failed_step_ends_its_lane_only(run: Run) -> None:
    run.hands.errors["dev"] = Blocked("no space left on device", hint="make room")
    run.converger.start(made(lane("dev", Stop("dev"), Start("dev", ())), lane("web")))
    await run.converger.wait()
    assert {outcome.lane.key: outcome.error and outcome.error.what for outcome in run.outcomes} == {
        "dev": "no space left on device",
        "web": None,
    }
    assert [type(action).__name__ for action in run.hands.begun if action.name == "dev"] == ["Stop"]


async def test_an_exception_that_should_never_be_is_a_failure_too(run: Run) -> None:
    run.hands.errors["dev"] = ZeroDivisionError("oops")
    run.converger.start(made(lane("dev")))
    await run.converger.wait()
    assert isinstance(run.outcomes[0].error, Transient)
    assert "ZeroDivisionError" in run.outcomes[0].error.what


async def test_an_outcome_that_cannot_be_remembered_ends_the_lane_and_no_more() -> None:
    hands = Hands()

    def settle(outcome: Outcome) -> None:
        raise OSError("disk full")

    converger = Converger(hands.act, settle)
    converger.start(made(lane("dev"), lane("web", after="dev")))
    await converger.wait()
    assert not converger.busy
    assert hands.done == [Stop("dev")]


async def test_a_step_that_takes_too_long_fails() -> None:
    run = Run(deadlines={"Stop": 0.01})
    run.hands.gate("dev")
    run.converger.start(made(lane("dev")))
    await run.converger.wait()
    assert run.outcomes[0].error
    assert "did not end within" in run.outcomes[0].error.what
    assert run.hands.cancelled == [Stop("dev")]


async def test_builds_and_other_actions_have_limits_of_their_own() -> None:
    run = Run(builds=2, others=3)
    names = [f"b{i}" for i in range(6)]
    for name in names:
        run.hands.gate(name)
    run.converger.start(made(*(lane(name, build(name)) for name in names), lane("web")))
    await run.until(lambda: len(run.hands.begun) == 3)
    assert [type(a).__name__ for a in run.hands.begun] == ["Build", "Build", "Stop"]
    for name in names:
        run.hands.gates[name].set()
    await run.converger.wait()
    assert len(run.hands.done) == 7


async def test_a_deadline_begins_when_the_limit_lets_the_action_run() -> None:
    run = Run(builds=1, deadlines={"Build": 0.05})
    run.hands.gate("a")
    run.converger.start(made(lane("a", build("a")), lane("b", build("b"))))
    await run.converger.wait()
    assert {outcome.lane.key: outcome.error is None for outcome in run.outcomes} == {"a": False, "b": True}


async def test_a_lane_waits_for_the_one_before_it(run: Run) -> None:
    gate = run.hands.gate("first")
    run.converger.start(made(lane("first"), lane("second", after="first")))
    await run.until(lambda: bool(run.hands.begun))
    assert run.hands.begun == [Stop("first")]
    gate.set()
    await run.converger.wait()
    assert run.hands.done == [Stop("first"), Stop("second")]


async def test_after_a_failure_the_next_one_is_left_to_a_later_pass(run: Run) -> None:
    run.hands.errors["first"] = Transient("no")
    run.converger.start(made(lane("first"), lane("second", after="first")))
    await run.converger.wait()
    assert run.hands.begun == [Stop("first")]
    assert [outcome.lane.key for outcome in run.outcomes] == ["first"]


async def test_a_lane_that_runs_is_not_started_again(run: Run) -> None:
    run.hands.gate("dev")
    run.converger.start(made(lane("dev")))
    await run.until(lambda: bool(run.hands.begun))
    assert run.converger.start(made(lane("dev"), lane("web"))) == [lane("web")]


async def test_a_roll_out_waits_for_the_container_that_is_still_at_it(run: Run) -> None:
    gate = run.hands.gate("a")
    run.converger.start(made(lane("a", roll_out="d1")))
    await run.until(lambda: bool(run.hands.begun))
    run.converger.start(made(lane("a", roll_out="d1"), lane("b", roll_out="d2"), lane("c")))
    await run.until(lambda: Stop("c") in run.hands.done)
    assert Stop("b") not in run.hands.begun
    gate.set()
    await run.converger.wait()
    assert run.hands.done == [Stop("c"), Stop("a"), Stop("b")]


async def test_a_roll_out_stops_with_the_container_that_failed(run: Run) -> None:
    gate = run.hands.gate("a")
    run.hands.errors["a"] = Transient("no")
    run.converger.start(made(lane("a", roll_out="d1")))
    await run.until(lambda: bool(run.hands.begun))
    run.converger.start(made(lane("a", roll_out="d1"), lane("b", roll_out="d2")))
    gate.set()
    await run.converger.wait()
    assert Stop("b") not in run.hands.begun


async def test_a_newer_commit_stops_a_build_of_the_older(run: Run) -> None:
    run.hands.gate("dev")
    run.converger.start(made(lane("dev", build("dev"))))
    await run.until(lambda: bool(run.hands.begun))
    run.converger.start(made(lane("dev", build("dev"), revision="c2")))
    await run.converger.wait()
    assert run.hands.cancelled == [build("dev")]
    assert not run.outcomes, "to be cancelled is no failure"
    assert run.told[-1].moment is Moment.LANE_DONE
    run.hands.gates["dev"].set()
    run.converger.start(made(lane("dev", build("dev"), revision="c2")))
    await run.converger.wait()
    assert run.hands.done == [build("dev")]


async def test_the_same_commit_stops_nothing(run: Run) -> None:
    gate = run.hands.gate("dev")
    run.converger.start(made(lane("dev", build("dev"))))
    await run.until(lambda: bool(run.hands.begun))
    run.converger.start(made(lane("dev", build("dev"))))
    gate.set()
    await run.converger.wait()
    assert run.hands.done == [build("dev")]


async def test_what_is_not_a_build_is_never_stopped_half_way(run: Run) -> None:
    gate = run.hands.gate("dev")
    run.converger.start(made(lane("dev")))
    await run.until(lambda: bool(run.hands.begun))
    run.converger.start(made(lane("dev", revision="c2")))
    run.converger.start(made())
    gate.set()
    await run.converger.wait()
    assert run.hands.done == [Stop("dev")]


async def test_a_build_that_nobody_wants_any_more_is_stopped(run: Run) -> None:
    run.hands.gate("dev")
    run.converger.start(made(lane("dev", build("dev"))))
    await run.until(lambda: bool(run.hands.begun))
    run.converger.start(made(waits=(Wait("dev", Reason.PAUSED, "paused"),)))
    await run.converger.wait()
    assert run.hands.cancelled == [build("dev")]


async def test_a_lane_that_only_waits_is_stopped_by_a_newer_commit(run: Run) -> None:
    gate = run.hands.gate("a")
    run.converger.start(made(lane("a"), lane("b", after="a")))
    await run.until(lambda: bool(run.hands.begun))
    run.converger.start(made(lane("a"), lane("b", revision="c2", after="a")))
    await run.until(lambda: run.converger.busy == {"a"})
    gate.set()
    await run.converger.wait()
    assert run.hands.done == [Stop("a")]


async def test_a_pass_that_could_see_nothing_stops_no_build(run: Run) -> None:
    gate = run.hands.gate("dev")
    run.converger.start(made(lane("dev", build("dev"))))
    await run.until(lambda: bool(run.hands.begun))
    blind = plan(Unknown("no git"), *([None] * 4))  # type: ignore[arg-type]
    assert blind.blind
    run.converger.start(blind)
    gate.set()
    await run.converger.wait()
    assert run.hands.done == [build("dev")]


async def test_stop_cancels_and_waits_until_all_are_gone() -> None:
    run = Run()
    for name in ("a", "b"):
        run.hands.gate(name)
    run.converger.start(made(lane("a"), lane("b"), lane("c", after="a")))
    await run.until(lambda: len(run.hands.begun) == 2)
    await run.converger.stop()
    assert not run.converger.busy
    assert len(run.hands.cancelled) == 2
    assert not run.outcomes


async def test_a_lane_that_is_cancelled_before_it_began_is_gone_too(run: Run) -> None:
    run.converger.start(made(lane("a"), lane("b")))
    run.converger.start(made(lane("a", revision="c2")))
    await run.converger.stop()
    assert not run.hands.begun
    assert not run.converger.busy


async def test_stop_waits_for_an_action_that_cleans_up_after_itself() -> None:
    reaped = asyncio.Event()

    async def act(_: Action) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            reaped.set()

    converger = Converger(act, lambda _: None)
    converger.start(made(lane("dev")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await converger.stop()
    assert reaped.is_set()
