"""Run a plan: lanes side by side, the steps of each in order, under limits and deadlines.

It decides nothing: a step that fails ends its lane, and its outcome is handed back. What a killed controller left half
done is found again by the next pass, because every action checks the world before and after.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from controller.errors import Transient, VoxnixError
from controller.plan.actions import Action
from controller.plan.model import Lane, Plan, Step
from controller.status import Outcome

log = logging.getLogger(__name__)

Act = Callable[[Action], Awaitable[None]]
"""Carries one action out, idempotently; raises a `VoxnixError` where it cannot."""

DEADLINES: Mapping[str, float] = {
    "Build": 3600.0,
    "CopyIn": 3600.0,
    "DestroyTrash": 900.0,
    "Start": 360.0,
    "Stop": 180.0,
    "RemoveSystem": 180.0,
    "Enrol": 120.0,
    "LogOut": 20.0,
    "RecordNode": 20.0,
}
"""Seconds an action may take; all others have `DEADLINE`."""
DEADLINE = 60.0
BUILDS, OTHERS = 2, 32
"""How many builds, and how many other actions, run at a time."""
WAITING = ""
"""What a lane does that waits for another one to end."""
PREEMPTIBLE = frozenset({"Build", WAITING})
"""What leaves nothing behind when cancelled: a newer commit does not wait for it."""


class Moment(StrEnum):
    """The moments of a step and a lane that progress is told about."""

    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    LANE_DONE = "lane done"


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of a convergence. `seconds` is how long the step took; `index` counts steps from 0."""

    moment: Moment
    lane: Lane
    step: Step | None = None
    index: int = 0
    seconds: float = 0.0
    error: VoxnixError | None = None


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[bool]
    lane: Lane
    action: str = WAITING


@dataclass
class Converger:
    """The lanes that are running. `settle` is called with each lane's outcome, `tell` with every moment of progress."""

    act: Act
    settle: Callable[[Outcome], None]
    tell: Callable[[Progress], None] = lambda _: None
    builds: int = BUILDS
    others: int = OTHERS
    deadlines: Mapping[str, float] = field(default_factory=lambda: DEADLINES)
    _running: dict[str, _Running] = field(default_factory=dict)
    _results: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._building = asyncio.Semaphore(self.builds)
        self._acting = asyncio.Semaphore(self.others)

    @property
    def busy(self) -> frozenset[str]:
        """The keys of the lanes that are running."""
        return frozenset(self._running)

    def start(self, plan: Plan) -> list[Lane]:
        """Start the plan's lanes that are not running yet; those that are started.

        `plan` is the whole one, with the lanes that run already: a running lane that is not in it any more, or behind
        which there is another commit by now, is cancelled if it only builds or waits.
        """
        self._results = {key: ok for key, ok in self._results.items() if key in self._running}
        if not plan.blind:
            self._preempt({lane.key: lane for lane in plan.lanes})
        rolling = [key for key, running in self._running.items() if running.lane.roll_out]
        fresh = [lane for lane in plan.lanes if lane.key not in self._running]
        for lane in fresh:
            before = {lane.after} if lane.after else set(rolling if lane.roll_out else ())
            task = asyncio.create_task(self._lane(lane, before), name=f"lane {lane.key}")
            self._running[lane.key] = _Running(task, lane)
            task.add_done_callback(partial(self._ended, lane))
        return fresh

    async def wait(self) -> None:
        """Until no lane is running."""
        while self._running:
            await asyncio.wait([running.task for running in self._running.values()])

    async def stop(self) -> None:
        """Cancel all lanes and wait until their processes are gone; the next pass resumes them."""
        for running in self._running.values():
            running.task.cancel()
        await self.wait()

    def _preempt(self, lanes: Mapping[str, Lane]) -> None:
        for key, running in self._running.items():
            lane = lanes.get(key)
            superseded = lane is None or running.lane.revision != lane.revision
            if superseded and running.action in PREEMPTIBLE:
                log.info("%s: it is not what is wanted any more, so its lane is stopped", key)
                running.task.cancel()

    async def _lane(self, lane: Lane, before: Iterable[str]) -> bool:
        try:
            return await self._predecessors(before) and await self._steps(lane)
        except Exception:
            log.exception("%s: what its lane did could not be remembered", lane.key)
            return False

    def _ended(self, lane: Lane, task: asyncio.Task[bool]) -> None:
        """Whatever became of a lane, even one that was cancelled before it began, it does not run any more."""
        self._results[lane.key] = not task.cancelled() and task.exception() is None and task.result()
        del self._running[lane.key]
        self.tell(Progress(Moment.LANE_DONE, lane))

    async def _predecessors(self, keys: Iterable[str]) -> bool:
        """Wait for the lanes that have to succeed first; where one failed, this one is left to a later pass."""
        before = {key: self._running[key].task for key in keys if key in self._running}
        if before:
            await asyncio.wait(before.values())
        return all(self._results.get(key, True) for key in keys)

    async def _steps(self, lane: Lane) -> bool:
        for index, step in enumerate(lane.steps):
            name = type(step.action).__name__
            self._running[lane.key].action = name
            began = time.monotonic()
            self.tell(Progress(Moment.BEGUN, lane, step, index))
            error = await self._attempt(step.action, name)
            seconds = time.monotonic() - began
            if error:
                self.tell(Progress(Moment.FAILED, lane, step, index, seconds, error))
                self.settle(Outcome(lane, name, error))
                return False
            self.tell(Progress(Moment.DONE, lane, step, index, seconds))
        self.settle(Outcome(lane))
        return True

    async def _attempt(self, action: Action, name: str) -> VoxnixError | None:
        deadline = self.deadlines.get(name, DEADLINE)
        try:
            async with self._building if name == "Build" else self._acting, asyncio.timeout(deadline):
                await self.act(action)
        except TimeoutError:
            return Transient(f"{name} did not end within {deadline:.0f} s")
        except VoxnixError as error:
            return error
        except Exception as error:
            log.exception("%s failed in a way it never should", name)
            return Transient(f"{name}: internal error: {error!r}", hint="this is a defect of voxnix; its log has more")
        return None
