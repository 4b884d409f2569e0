"""Measurements on this host, for the benchmark; each prints one JSON document.

measure.py record         # converge as `voxnix apply` does, and tell every command, when it ran, and for which lane
measure.py passes N       # N passes that find nothing to do, and N times their bare commands, side by side
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from controller.host.run import Processes, Result
from controller.plan.actions import Action
from controller.settings import load
from controller.wiring import controller

LANE: contextvars.ContextVar[str] = contextvars.ContextVar("LANE", default="")


class Recording:
    """Processes, and a list of what was run."""

    def __init__(self) -> None:
        self._processes = Processes()
        self.commands: list[dict[str, Any]] = []

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        began = time.monotonic()
        entry = {"argv": list(argv), "lane": LANE.get(), "began": began, "seconds": 0.0}
        self.commands.append(entry)
        result = await self._processes.run(argv, timeout=timeout, stdin=stdin)
        entry["seconds"] = time.monotonic() - began
        return result

    def interact(self, argv: Sequence[str]) -> int:
        return self._processes.interact(argv)


async def record() -> dict[str, Any]:
    """Converge, and tell what was run."""
    recording = Recording()
    async with controller(load({}), run=recording) as found:

        async def laned(action: Action) -> None:
            dataset = getattr(action, "dataset", "")
            LANE.set(getattr(action, "name", "") or (dataset.split("/") + [""] * 5)[4])
            await found.act(action)

        found._converger.act = laned
        began = time.monotonic()
        settled = await found.converge()
        seconds = time.monotonic() - began
    return {"seconds": seconds, "began": began, "converged": settled.converged, "commands": recording.commands}


async def passes(number: int) -> dict[str, Any]:
    """Passes that find nothing to do, and the commands of one, given at the same moments as in the pass."""
    recording = Recording()
    ours: list[float] = []
    bare: list[float] = []
    async with controller(load({}), run=recording) as found:
        settled = await found.converge()
        assert settled.converged, settled.plan
        recording.commands.clear()
        await found.once()
        commands = [tuple(entry["argv"]) for entry in recording.commands]
        for _ in range(number):
            began = time.perf_counter()
            await found.once()
            ours.append(time.perf_counter() - began)
            began = time.perf_counter()
            await asyncio.gather(*(recording.run(argv, timeout=60) for argv in commands))
            bare.append(time.perf_counter() - began)
    return {"passes": ours, "bare": bare, "commands": commands}


def main() -> int:
    """See above."""
    kind, *more = sys.argv[1:]
    found = asyncio.run(record() if kind == "record" else passes(int(more[0])))
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
