"""Phases and conditions as people read them, and how failures are remembered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Blocked, Transient, VoxnixError, Waiting
from controller.observed import Known, Unknown
from controller.plan.actions import Build, Start, Stop
from controller.plan.memory import Backoff
from controller.plan.model import Cause, CauseKind, Lane, LaneKind, Reason, Step
from controller.plan.planner import plan
from controller.status import (
    ConditionType,
    ContainerStatus,
    Outcome,
    Phase,
    Truth,
    after,
    assess,
)
from tests.lab import law
from tests.scene import Scene, span
from tests.world import NOW, World
from tests.worlds import worlds


def told(world: World, previous: dict[str, ContainerStatus] | None = None) -> dict[str, ContainerStatus]:
    made = plan(Known(world.desired), world.observed, world.memory, world.now, world.policy)
    found = assess(world.desired, world.observed, world.memory, made, world.policy, previous or {}, world.now)
    return {status.name: status for status in found}


def scene(**case: object) -> World:
    return Scene(case).world()


def condition(status: ContainerStatus, kind: ConditionType) -> tuple[Truth, Reason]:
    found = next(c for c in status.conditions if c.type is kind)
    return found.status, found.reason


WEB = {"web": "running"}
PHASES = {
    "as it should be": (Phase.READY, {"want": {"dev": {}}, "have": {"dev": "running"}}),
    "stopped as it should be": (Phase.READY, {"want": {"dev": {"power": "stopped"}}, "have": {"dev": "stopped"}}),
    "about to be made": (Phase.CONVERGING, {"want": {"dev": {}}}),
    "starting": (Phase.CONVERGING, {"want": {"dev": {}}, "have": {"dev": "starting"}}),
    "going down": (Phase.CONVERGING, {"want": {"dev": {}}, "have": {"dev": "stopping"}}),
    "paused": (Phase.PAUSED, {"want": {"dev": {"paused": True}}, "have": {"dev": "failed"}}),
    "frozen": (Phase.FROZEN, {"want": {"dev": {"_frozen": True}}, "have": {"dev": "running"}}),
    "held": (Phase.HELD, {"want": {"dev": {"owner": "bob"}}, "have": {"dev": {"owner": "alice"}}}),
    "crash loop": (Phase.DEGRADED, {"want": {"dev": {}}, "have": {"dev": "looping"}}),
    "a full pool": (Phase.DEGRADED, {"want": {"dev": {}}, "full": 95}),
    "failed": (
        Phase.DEGRADED,
        {
            "want": {"dev": {"power": "stopped"}},
            "have": {"dev": "running"},
            "remember": {"backoff": {"dev": {"message": "no space"}}},
        },
    ),
    "a newer commit than the failure": (
        Phase.CONVERGING,
        {
            "want": {"dev": {"power": "stopped", "_revision": "c-2"}},
            "have": {"dev": "running"},
            "remember": {"backoff": {"dev": {"message": "no space"}}},
        },
    ),
    "a failure that came about all the same": (
        Phase.READY,
        {
            "want": {"dev": {"power": "stopped"}},
            "have": {"dev": "stopped"},
            "remember": {"backoff": {"dev": {"message": "no answer from systemd"}}},
        },
    ),
    "suspended with something to do": (
        Phase.DEGRADED,
        {
            "want": {"dev": {"power": "stopped"}},
            "have": {"dev": "running"},
            "remember": {"suspended": "work"},
        },
    ),
    "being removed": (
        Phase.REMOVING,
        {"want": {"web": {}}, "have": {"dev": "running", **WEB}, "removed": {"dev": "c-rm"}},
    ),
    "its removal held": (Phase.HELD, {"want": {"web": {}}, "have": {"dev": "running", **WEB}}),
    "its removal failed": (
        Phase.REMOVING,
        {
            "want": {"web": {}},
            "have": {"dev": "running", **WEB},
            "removed": {"dev": "c-rm"},
            "remember": {"backoff": {"dev": {"revision": "c-rm"}}},
        },
    ),
    "on another host": (Phase.READY, {"want": {"dev": {"host": "there"}}}),
    "its time up and gone": (Phase.READY, {"want": {"dev": {"expires": "2026-11-01T00:00:00Z"}}}),
    "without the tailnet that it asks for": (
        Phase.DEGRADED,
        {"want": {"dev": {"modules": ["tailscale"]}}, "have": {"dev": {"node": "none"}}, "tailnet": "none"},
    ),
}


@pytest.mark.parametrize(("phase", "case"), PHASES.values(), ids=PHASES)
def test_phase(phase: Phase, case: dict[str, object]) -> None:
    assert told(scene(**case))["dev"].phase is phase


def test_every_phase_has_a_case() -> None:
    assert {phase for phase, _ in PHASES.values()} == set(Phase)


CONDITIONS = {
    "valid": (ConditionType.VALID, Truth.FALSE, Reason.INVALID_FILE, {"_frozen": True}, "running"),
    "mounted": (ConditionType.STORAGE, Truth.TRUE, Reason.MOUNTED, {}, "running"),
    "unmounted": (ConditionType.STORAGE, Truth.FALSE, Reason.NOT_MOUNTED, {}, {"data": "unmounted"}),
    "missing": (ConditionType.STORAGE, Truth.FALSE, Reason.MISSING, {}, {"data": False}),
    "foreign data is not told as ours": (
        *(ConditionType.STORAGE, Truth.FALSE, Reason.CONVERGING),
        {},
        {"data": "foreign", "machine": "absent", "remembered": False},
    ),
    "outdated": (ConditionType.SYSTEM, Truth.FALSE, Reason.OUTDATED, {"modules": ["git"]}, {"modules": []}),
    "current": (ConditionType.SYSTEM, Truth.TRUE, Reason.CURRENT, {}, "running"),
    "not installed": (ConditionType.SYSTEM, Truth.FALSE, Reason.NOT_INSTALLED, {}, "absent"),
    "running": (ConditionType.POWER, Truth.TRUE, Reason.RUNNING, {}, "running"),
    "down": (ConditionType.POWER, Truth.FALSE, Reason.DOWN, {}, "failed"),
    "stopped": (ConditionType.POWER, Truth.TRUE, Reason.STOPPED, {"power": "stopped"}, "stopped"),
    "running though it should not": (ConditionType.POWER, Truth.FALSE, Reason.RUNNING, {"power": "stopped"}, "running"),
    "crash loop": (ConditionType.POWER, Truth.FALSE, Reason.CRASH_LOOP, {}, "looping"),
    "no secret": (ConditionType.POWER, Truth.FALSE, Reason.SECRET_MISSING, {"secrets": ["token"]}, "stopped"),
    "not on a tailnet": (ConditionType.TAILNET, Truth.TRUE, Reason.NOT_ON_TAILNET, {}, "running"),
    "enrolled": (ConditionType.TAILNET, Truth.TRUE, Reason.ENROLLED, {"modules": ["tailscale"]}, "running"),
    "not enrolled": (
        *(ConditionType.TAILNET, Truth.FALSE, Reason.NOT_ENROLLED),
        {"modules": ["tailscale"]},
        {"node": "deleted"},
    ),
    "elsewhere": (ConditionType.POWER, Truth.TRUE, Reason.ELSEWHERE, {"host": "there"}, "stopped"),
}


@pytest.mark.parametrize(("kind", "truth", "reason", "spec", "have"), CONDITIONS.values(), ids=CONDITIONS)
def test_condition(kind: ConditionType, truth: Truth, reason: Reason, spec: object, have: object) -> None:
    assert condition(told(scene(want={"dev": spec}, have={"dev": have}))["dev"], kind) == (truth, reason)


def test_what_is_unknown_is_told_as_unknown() -> None:
    status = told(scene(want={"dev": {}}, have={"dev": "running"}, unknown=["storage"]))["dev"]
    assert condition(status, ConditionType.STORAGE) == (Truth.UNKNOWN, Reason.UNKNOWN_SOURCE)
    assert status.machine == "running"
    assert status.phase is Phase.DEGRADED


def test_a_failure_is_told_in_the_condition_of_its_step_with_the_tools_own_words() -> None:
    world = scene(want={"dev": {"power": "stopped"}}, have={"dev": "running"})
    failure = Backoff(3, NOW + timedelta(minutes=1), "nix said no", "c-dev", step="Build", hint="look", blocked=True)
    status = told(replace(world, memory=replace(world.memory, backoff={"dev": failure})))["dev"]
    found = next(c for c in status.conditions if c.type is ConditionType.SYSTEM)
    assert (found.status, found.reason, found.message, found.hint) == (
        *(Truth.FALSE, Reason.BLOCKED),
        *("nix said no", "look"),
    )
    assert (status.attempts, status.retry_at) == (3, failure.next_at)


def test_a_condition_keeps_the_moment_since_when_it_is_so() -> None:
    world = scene(want={"dev": {}}, have={"dev": "running"})
    first = told(world)
    later = told(replace(world, now=world.now + timedelta(hours=1)), first)
    assert [c.since for c in later["dev"].conditions] == [NOW] * 5
    down = scene(want={"dev": {}}, have={"dev": "stopped"}, later="2h")
    changed = {c.type: c.since for c in told(down, first)["dev"].conditions}
    assert changed[ConditionType.POWER] == NOW + span("2h")
    assert changed[ConditionType.STORAGE] == NOW


@law
@given(worlds())
def test_every_container_that_git_wants_has_five_conditions_and_a_phase(world: World) -> None:
    found = told(world)
    assert set(found) >= set(world.desired.containers)
    for status in found.values():
        assert [c.type for c in status.conditions] == list(ConditionType)
        if status.phase is Phase.READY:
            assert all(c.status is Truth.TRUE for c in status.conditions)
    told(replace(world, observed=replace(world.observed, machines=Unknown("x"))))


def lane(*actions: object, kind: CauseKind = CauseKind.REVISION, revision: str = "c1", roll_out: str = "") -> Lane:
    steps = tuple(Step(action, "because", Cause(kind, revision)) for action in actions)  # type: ignore[arg-type]
    return Lane("dev", LaneKind.CONTAINER, "u", steps, revision, roll_out=roll_out)


def delay(failure: Backoff | None) -> float:
    assert failure is not None
    return (failure.next_at - NOW).total_seconds()


def failed(previous: Backoff | None, error: VoxnixError | None = None, **more: object) -> Backoff | None:
    outcome = Outcome(lane(Build("dev", "d", "{}"), **more), "Build", error or Transient("no"))  # type: ignore[arg-type]
    return after(outcome, previous, NOW, 1.0)


def test_a_success_forgets_all_failures() -> None:
    assert after(Outcome(lane(Stop("dev"))), failed(None), NOW, 0.5) is None


def test_backoff_doubles_from_a_second_to_a_quarter_of_an_hour() -> None:
    failure, delays = None, []
    for _ in range(14):
        failure = failed(failure)
        delays.append(delay(failure))
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_jitter_spreads_over_the_upper_half(attempts: int, jitter: float) -> None:
    previous = Backoff(attempts, NOW, "no", "c1")
    whole = min(900.0, 2.0 ** min(attempts, 20))
    found = delay(after(Outcome(lane(Stop("dev")), "Stop", Transient("no")), previous, NOW, jitter))
    assert whole / 2 <= found + 1e-5
    assert found <= whole + 1e-5


def test_another_commit_counts_from_one_again() -> None:
    previous = failed(failed(None))
    again = failed(previous, revision="c2")
    assert again is not None
    assert (again.attempts, delay(again)) == (1, 1.0)


def test_what_is_blocked_is_tried_rarely_and_says_so() -> None:
    found = failed(None, Blocked("no key", hint="make one"))
    assert found is not None
    assert (delay(found), found.blocked, found.message, found.hint, found.step) == (
        *(900.0, True, "no key"),
        *("make one", "Build"),
    )


def test_what_waits_is_looked_at_again_soon() -> None:
    found = failed(None, Waiting("no secret token"))
    assert found is not None
    assert (delay(found), found.blocked) == (1.0, False)


def test_a_container_that_dies_again_and_again_is_not_started_in_a_tight_loop() -> None:
    started = Outcome(lane(Start("dev", ()), kind=CauseKind.DRIFT))
    first = after(started, None, NOW, 1.0)
    second = after(started, first, NOW, 1.0)
    assert (delay(first), delay(second)) == (1.0, 2.0)
    assert first is not None
    assert not first.message, "it is no failure"
    assert after(Outcome(lane(Start("dev", ()))), None, NOW, 1.0) is None, "the first start is no healing"


def test_a_roll_out_is_remembered_through_retries_of_its_later_steps() -> None:
    first = failed(None, roll_out="d2")
    again = after(Outcome(lane(Start("dev", ())), "Start", Transient("no")), first, NOW, 1.0)
    assert again is not None
    assert again.roll_out == "d2"
    assert failed(again, revision="c1").roll_out == "d2"  # type: ignore[union-attr]
