"""Rows about many lanes at once: twenty new containers in one commit, on a host where every command takes 100 ms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.converge import BUILDS, Moment, Progress
from controller.git import StateRepo
from controller.host.sim import SimHost, create
from controller.loop import Controller
from controller.settings import Settings
from controller.wiring import controller
from tests.bench.clocks import Spread
from tests.bench.seed import SPEC, TENANTS, WHO
from tests.bench.table import Row, compared

CONTAINERS, LATENCY, GOAL = 20, 0.1, 1.15
ROUNDS = 2


@dataclass
class Watch:
    """When lanes began and ended, and how long their actions really ran, without waiting for their turn."""

    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    worked: dict[str, float] = field(default_factory=dict)
    builds: float = 0.0

    def tell(self, progress: Progress) -> None:
        """See `Converger.tell`."""
        key = progress.lane.key
        if progress.moment is Moment.BEGUN:
            self.began.setdefault(key, time.monotonic())
        elif progress.moment is Moment.LANE_DONE:
            self.ended[key] = time.monotonic()

    def over(self, act: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """`act`, timed by the container that the action names."""

        async def timed(action: Any) -> None:
            began = time.monotonic()
            await act(action)
            key = getattr(action, "name", "") or _owner(getattr(action, "dataset", ""))
            self.worked[key] = self.worked.get(key, 0.0) + time.monotonic() - began
            if type(action).__name__ == "Build":
                self.builds = max(self.builds, time.monotonic() - began)

        return timed


@dataclass(frozen=True, slots=True)
class Round:
    """One convergence, in seconds: all of it, its passes, the longest lane, and the most work in one lane."""

    wall: float
    passes: float
    lane: float
    work: float
    build: float
    commands: int


def _owner(dataset: str) -> str:
    parts = dataset.split("/")
    return parts[4] if len(parts) > 4 else "storage"


def measure(directory: Path) -> tuple[list[Row], list[str]]:
    """The rows, and notes on them."""
    rounds = []
    for number in range(ROUNDS):
        place = directory / f"lanes-{number}"
        place.mkdir()
        rounds.append(asyncio.run(_converged(place)))
    wall = Spread.of(one.wall for one in rounds).shown(1, "s")
    ratio = Spread.of(one.wall / (one.passes + one.lane) for one in rounds).median
    no_wait = Spread.of(one.wall / (one.passes + one.work) for one in rounds).median
    last = rounds[-1]
    lane = f"{last.lane:.2f} s longest lane + {last.passes:.2f} s of passes"
    work = f"{last.work:.2f} s of work in one lane + {last.passes:.2f} s of passes"
    rows = [
        compared(f"{CONTAINERS} new containers, {LATENCY * 1e3:.0f} ms a command", wall, lane, ratio, GOAL),
        compared("  the same, without waits for a turn", wall, work, no_wait),
    ]
    note = (
        f"a lane goes from its first step to its end, the wait for one of {BUILDS} build slots included: here "
        f"{last.lane - last.work:.2f} s, at {last.build * 1e3:.0f} ms a build; {last.commands:,} commands in all"
    )
    return rows, [note]


async def _converged(directory: Path) -> Round:
    repo = StateRepo.init(directory / "state.git", {**TENANTS, "state/first.yaml": SPEC.encode()}, WHO)
    host: SimHost = create(directory / "box")
    settings = Settings(state=str(repo.path), host=f"sim:{directory / 'box'}", name="box")
    watch = Watch()
    async with controller(settings, run=host, tell=watch.tell) as found:
        await found.converge()
        names = [f"c{number:02d}" for number in range(CONTAINERS)]
        repo.commit({f"state/{name}.yaml": SPEC.encode() for name in names}, "Twenty containers", WHO)
        host.configure(latencies={"default": LATENCY})
        before = host.commands
        found._converger.act = watch.over(found.act)
        began = time.monotonic()
        passes, settled = await _with_passes(found)
        wall = time.monotonic() - began
        assert settled.converged, settled.plan
    host.close()
    lanes = {key: watch.ended[key] - watch.began[key] for key in names}
    work = max(watch.worked[name] for name in names)
    return Round(wall, passes, max(lanes.values()), work, watch.builds, host.commands - before)


async def _with_passes(found: Controller) -> tuple[float, Any]:
    """Converge; how long its passes took, all together, and how it ended."""
    spent = 0.0
    once = found.once

    async def timed() -> Any:
        nonlocal spent
        began = time.monotonic()
        try:
            return await once()
        finally:
            spent += time.monotonic() - began

    found.once = timed  # type: ignore[method-assign]
    settled = await found.converge()
    return spent, settled
