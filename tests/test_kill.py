"""The controller is killed before, within and after every host command of a scenario; the next one finishes the job."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.plan import actions
from controller.plan.model import Reason
from tests.box import Box, FakeClock
from tests.chaos import scenario
from tests.chaos.killing import Case, CountingHost, Start, cases, finish, settle, side_by_side, strike
from tests.chaos.virtual import run

pytestmark = pytest.mark.kill


@dataclass(frozen=True)
class Leg:
    """One step of the scenario: the host before it, how it ends if nobody is killed, and every kill of it."""

    name: str
    start: Start
    expected: dict[str, Any]
    cases: tuple[Case, ...]
    commands: int
    loose: bool


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A place in memory where there is one: the hosts are copied thousands of times."""
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="voxnix-kill-", dir=shared if os.access(shared, os.W_OK) else None))
    yield place
    shutil.rmtree(place, ignore_errors=True)


def test_every_kill_is_survived(scratch: Path) -> None:
    began = time.monotonic()
    legs, acted = travel(scratch)
    assert not scenario.covered(acted, actions.Action)
    jobs = [(leg, case) for leg in legs for case in leg.cases]

    def job(leg: Leg, case: Case) -> Any:
        def strikes(place: Path) -> dict[str, Any]:
            outcome, problems = strike(leg.start, case, place, leg.expected, loose=leg.loose)
            return {"outcome": outcome, "problems": problems}

        return strikes

    results = side_by_side([job(leg, case) for leg, case in jobs], scratch, os.cpu_count() or 1)
    killed, survived, troubles = Counter[str](), Counter[str](), []
    for (leg, case), result in zip(jobs, results, strict=True):
        killed[leg.name] += result["outcome"] == "killed"
        survived[leg.name] += result["outcome"] == "killed" and not result["problems"]
        if result["problems"]:
            troubles.append(f"{leg.name}; {case}\n  " + "\n  ".join(result["problems"]))
    report(legs, killed, survived, time.monotonic() - began)
    assert not troubles, f"{len(troubles)} of {len(jobs)} kills\n" + "\n".join(troubles[:40])
    assert sum(killed.values()) == len(jobs)


def travel(scratch: Path) -> tuple[list[Leg], set[str]]:
    """Go through the scenario once, unharmed, and keep the host as it was before each step."""
    home = scratch / "home"
    clock = FakeClock()
    box = Box(home, clock, library=home / "nix")
    scenario.library(box)
    scenario.begin(box)
    legs: list[Leg] = []
    acted: set[str] = set()
    for number, step in enumerate(scenario.STEPS):
        clock.pass_(timedelta(minutes=5))
        passing = lambda seconds: clock.pass_(timedelta(seconds=seconds))  # noqa: E731
        run(step.prepare(box), passing)
        box.host.close()
        start = Start(scratch / f"step-{number}", FakeClock(clock.wall, clock.up, clock.boot))
        shutil.copytree(home, start.directory, symlinks=True)
        counting = Box(home, clock, host_type=CountingHost, library=home / "nix")
        before = counting.host.commands
        run(settle(counting, acted.add), passing)
        counted = counting.host
        assert isinstance(counted, CountingHost)
        found = tuple(cases(counted, before))
        commands = len(counted.words)
        counted.close()
        expected = run(finish(box), passing)
        assert not unwell(expected), (step.name, unwell(expected))
        legs.append(Leg(step.name, start, expected, found, commands, step.loose))
    return legs, acted


def unwell(expected: dict[str, Any]) -> list[Any]:
    """What is not at rest in a portrait of an appliance to which nothing happened."""
    plan = expected["plan"]
    waits = [wait for wait in plan["waits"] if wait[1] in (Reason.BACKING_OFF, Reason.BLOCKED)]
    return [*plan["lanes"], *plan["holds"], *plan["stale"], *waits]


def report(legs: list[Leg], killed: Counter[str], survived: Counter[str], seconds: float) -> None:
    """The table that `make test-kill` prints."""
    print(f"\n{'step':<52} {'commands':>8} {'kills':>6} {'survived':>8}")
    for leg in legs:
        print(f"{leg.name:<52} {leg.commands:>8} {killed[leg.name]:>6} {survived[leg.name]:>8}")
    print(f"kills: {sum(killed.values())}, survived: {sum(survived.values())} ({seconds:.0f} s)")
