"""Rows about passes: what one costs over 100, 1,000 and 5,000 converged containers, beside the least it could cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.clocks import IMPORT, Spread, taken
from tests.bench.seed import Seeded, seed
from tests.bench.table import Row, compared
from tests.bench.workers import tailnet, worker

COUNTS = (100, 1_000, 5_000)
ROUNDS = 4
"""Times that everything is measured, one after the other, so that all of it meets the same noise."""
AT_ONCE = {100: 10, 1_000: 3, 5_000: 2}
"""Passes in one round."""
PROCESSES, GROWTH, IMPORTS = 8, 1.2, 5.0
"""The goals: processes of a pass; CPU per container at 5,000 by that at 100; CPU at 1,000 by that of an import."""


@dataclass
class Measured:
    """All that was measured of passes over `count` containers: each cold, warm and least pass as a worker tells it."""

    count: int
    cold: dict[str, float] = field(default_factory=dict)
    warm: list[dict[str, float]] = field(default_factory=list)
    least: list[dict[str, float]] = field(default_factory=list)
    peak: int = 0

    @property
    def cpu(self) -> Spread:
        """CPU seconds of a warm pass."""
        return Spread.of(one["cpu"] for one in self.warm)

    @property
    def wall(self) -> Spread:
        """Wall seconds of a warm pass."""
        return Spread.of(one["wall"] for one in self.warm)

    @property
    def floor(self) -> float:
        """CPU seconds of the least that a pass could be."""
        return Spread.of(one["cpu"] for one in self.least).median

    @property
    def processes(self) -> int:
        """The most processes that a warm pass started."""
        return int(max(one["processes"] for one in self.warm))


def measure(directory: Path, say: Callable[[str], None]) -> tuple[list[Row], list[str]]:
    """The rows on passes, and notes for below the table."""
    hosts = []
    for count in COUNTS:
        say(f"seeding a host with {count:,} containers")
        place = directory / str(count)
        place.mkdir()
        hosts.append(asyncio.run(seed(place, count)))
    say("passes")
    found, imports = _measured(hosts)
    with worker("memory") as bare:
        ours = bare.answer()["memory"]
    return _rows(found, imports, ours), _notes(found)


def _measured(hosts: Sequence[Seeded]) -> tuple[list[Measured], Spread]:
    """Passes over all hosts by turns, and what an import of pydantic took between them."""
    imports: list[float] = []
    workers: list[tuple[Measured, Any, Any]] = []
    with ExitStack() as stack:
        for host in hosts:
            url = stack.enter_context(tailnet(host.devices))
            passing = stack.enter_context(worker("passes", host.directory, host.count, url))
            floor = stack.enter_context(worker("floor", host.directory))
            floor.answer()
            workers.append((Measured(host.count, passing.answer()), passing, floor))
        for _ in range(ROUNDS):
            imports += [taken(IMPORT).cpu for _ in range(3)]
            for one, passing, floor in workers:
                answer = passing.rounds(AT_ONCE[one.count])
                one.warm += answer["rounds"]
                one.peak = answer["memory"]
                one.least += floor.rounds(3)["rounds"]
    return [one for one, _, _ in workers], Spread.of(imports)


def _rows(found: Sequence[Measured], imports: Spread, ours: int) -> list[Row]:
    few, some, many = found
    each = ", ".join(str(one.processes) for one in found)
    over = "over " + ", ".join(f"{one.count:,}" for one in found)
    most = max(one.processes for one in found)
    rows = [Row("processes of a pass", each, over, None, most, PROCESSES, f"≤ {PROCESSES}")]
    for one in found:
        beside = f"{one.floor * 1e3:,.0f} ms for the same output by cat"
        rows.append(
            compared(f"pass over {one.count:,}: CPU", one.cpu.shown(1e3, "ms"), beside, one.cpu.median / one.floor)
        )
    beside = f"{imports.shown(1e3, 'ms')} of import pydantic"
    name, shown = f"pass over {some.count:,}: CPU, by an import", some.cpu.shown(1e3, "ms")
    rows.append(compared(name, shown, beside, some.cpu.median / imports.median, IMPORTS))
    first = few.cpu.median / few.count
    for one, goal in ((some, None), (many, GROWTH)):
        spread = one.cpu / one.count
        beside = f"{first * 1e6:,.0f} µs at {few.count:,}"
        name = f"CPU per container at {one.count:,}"
        rows.append(compared(name, spread.shown(1e6, "µs"), beside, spread.median / first, goal))
    beside = f"{ours / 2**20:,.0f} MiB with our imports alone"
    rows.append(compared(f"peak memory at {many.count:,}", f"{many.peak / 2**20:,.0f} MiB", beside, many.peak / ours))
    return rows


def _notes(found: Sequence[Measured]) -> list[str]:
    cold = "; ".join(f"{one.count:,}: {one.cold['cpu']:.1f} s CPU, {one.cold['wall']:.1f} s" for one in found)
    wall = "; ".join(f"{one.count:,}: {one.wall.shown(1e3, 'ms')}" for one in found)
    return [
        f"the first pass of a new process with an empty store, every file parsed: {cold}",
        f"warm passes, wall: {wall}",
    ]
