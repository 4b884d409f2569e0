"""The way of one command, or one request to the tailnet, through the simulated host.

It is counted and recorded, takes its time, and meets the fault that was ordered for it. What it does is not known
here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from controller.host.sim.command import Answer, World
from controller.host.sim.faults import Faults, garbled
from controller.host.sim.state import Settings
from controller.host.sim.tools import mutates, words_of

LOG = "commands.jsonl"
Interrupt = Callable[[], None] | None
Effect = Callable[[Interrupt], Awaitable[Answer]]
"""What a command does; it calls what it is given, if anything, between two of its steps."""


class Passage:
    """One command under way. `die` ends the caller; `meanwhile` runs a second writer's command."""

    def __init__(
        self,
        world: World,
        words: tuple[str, ...],
        *,
        die: Callable[[], None],
        meanwhile: Callable[[tuple[str, ...]], Awaitable[object]],
    ) -> None:
        self._world = world
        self._words = words
        self._die_now = die
        self._meanwhile = meanwhile
        self._recorded = False
        self._settings = world.state.settings()
        with world.state.write():
            self.number = world.state.next("commands")
            self._fault = Faults(world.state).strike(words)

    async def through(self, effect: Effect) -> Answer:
        """Run `effect` with the latency and the fault that it is due."""
        code: int | None = None
        try:
            answer = await self._answer(effect)
            code = answer.code
        finally:
            self._record(code)
        return answer

    async def _answer(self, effect: Effect) -> Answer:
        fault = self._fault
        mode = fault.mode if fault else ""
        pause = latency(self._settings, self._words) / 2
        if mode == "die-before":
            self._die()
        if pause:
            await self._world.sleep(pause)
        if fault is not None and mode == "fail":
            return Answer(fault.code, "", fault.stderr)
        if fault is not None and mode == "meanwhile":
            await self._meanwhile(fault.argv)
        while mode == "hang":
            await self._world.sleep(3600)
        answer = await effect(self._after(fault.step) if fault is not None and mode == "die-during" else None)
        if mode in ("die-during", "die-after"):
            self._die()
        if pause:
            await self._world.sleep(pause)
        return replace(answer, out=garbled(answer.out, self.number)) if mode == "garble" else answer

    def _after(self, steps: int) -> Callable[[], None]:
        """What dies when it is called for the `steps`-th time."""
        left = iter(range(steps - 1, -1, -1))

        def step() -> None:
            if next(left, 1) == 0:
                self._die()

        return step

    def _die(self) -> None:
        self._record(None)
        self._die_now()

    def _record(self, code: int | None) -> None:
        """Write the command down, once, if the host is told to."""
        if self._recorded or not self._settings.log_commands:
            return
        self._recorded = True
        entry = {
            "n": self.number,
            "time": self._world.now(),
            "argv": self._words,
            "code": code,
            "mutating": mutates(self._words),
        }
        file = os.open(self._world.directory / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, (json.dumps(entry, ensure_ascii=False) + "\n").encode())
        finally:
            os.close(file)


def latency(settings: Settings, words: tuple[str, ...]) -> float:
    """The latency of a command in seconds: by program and verb, by program, or the default."""
    if not settings.latencies:
        return 0.0
    program, verb = words_of(words)
    for key in (f"{program} {verb}", program, "default"):
        if key in settings.latencies:
            return float(settings.latencies[key])
    return 0.0
