"""The reconcile loop: look, plan, converge, publish; again whenever a commit, the clock or a person gives cause.

It holds no decision of its own. One pass runs at a time, triggers that come meanwhile are one more pass, and lanes run
on beside passes. Killed at any moment, the next start finds in the store and on the host all that it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import secrets
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controller.converge import Act, Converger, Moment, Progress
from controller.desired import Desires, Reading
from controller.errors import Blocked, VoxnixError
from controller.observed import Known, Observed, Source, Unknown
from controller.plan.clock import Instant, tick
from controller.plan.fold import Learned, learn
from controller.plan.memory import Memory
from controller.plan.model import Plan, Policy, Reason
from controller.plan.planner import plan
from controller.plan.view import View, is_container_path
from controller.publish import Look, Publisher, refusal
from controller.spec.state import Desired
from controller.status import Outcome, after
from controller.store import Store

log = logging.getLogger(__name__)

SETTLED = frozenset({Reason.PAUSED, Reason.ELSEWHERE, Reason.EXPIRED, Reason.NO_TAILNET, Reason.IN_TRASH})
"""Waits that are as somebody wanted it: they do not keep a host from being converged."""
STEP = 15
"""Milliseconds between two looks of the watch's thread: a commit is noticed after two; fewer cost an idle CPU more."""
ROUNDS = 20
"""Passes that one `converge` makes at most."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How `Controller.converge` ended: `converged` if nothing is left to do but what somebody wants left."""

    converged: bool
    plan: Plan


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from: wall time, and seconds of uptime of a boot."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    uptime: Callable[[], float] = time.monotonic
    boot: str = ""


@dataclass
class Controller:
    """One appliance's controller. `observe` looks at the host, `act` carries out one action."""

    store: Store
    desires: Desires
    observe: Callable[[Iterable[str]], Coroutine[Any, Any, Observed]]
    act: Act
    policy: Policy
    clock: Clock = Clock()
    tell: Callable[[Progress], None] = lambda _: None
    jitter: Callable[[], float] = random.random
    resync: float = 60.0

    def __post_init__(self) -> None:
        self._converger = Converger(self.act, self._settle, self._progress)
        self._passing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._publisher = Publisher(self.store, self.clock.now)
        self.last: Look | None = None

    async def begin(self) -> None:
        """Give a new store its appliance's identity, or take it from the marks of the host that a lost one left."""
        if self.policy.appliance:
            return
        if self.store.appliance is None:
            observed = await self.observe(())
            known, marks = _marks(observed, self.policy)
            if not known:
                raise Blocked(
                    "the store is new and the host cannot be looked at, so it is not known whether this appliance "
                    "had containers before",
                    hint="run `voxnix doctor`",
                )
            if len(marks) > 1:
                raise Blocked(f"the pool bears the marks of several appliances: {', '.join(sorted(marks))}")
            if marks:
                self.store.rebuilt = self.clock.now().isoformat()
                self._publisher.tell(
                    "rebuilt", "the store was lost; it is rebuilt from the marks on the host", "warning"
                )
            self.store.appliance = next(iter(marks), None) or secrets.token_hex(8)
        self.policy = replace(self.policy, appliance=self.store.appliance or "")

    async def look(self, revision: str | None = None) -> Look:
        """Look at the world and plan, changing nothing; at `revision` instead of the accepted one, if given."""
        await self.begin()
        async with self._passing:
            observed, reading = await self._both(revision)
        now = self._tick(write=False)
        memory = self.store.memory(clock_steady=now.steady)
        planned = plan(reading.desired, observed, memory, now.wall, self.policy)
        return Look(reading.desired, observed, memory, planned, now.wall, reading.trouble or refusal(reading))

    async def _both(self, revision: str | None) -> tuple[Observed, Reading]:
        """Look at the host while git is read; both have ended when it returns, or raises what one of them raised."""
        looking = asyncio.create_task(self.observe(self._names()))
        try:
            reading = await asyncio.to_thread(self._read, revision)
        except BaseException:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            raise
        return await looking, reading

    def _read(self, revision: str | None) -> Reading:
        """The accepted revision, after taking in what is new; or another one, accepting nothing."""
        if revision is None:
            return self.desires.read()
        found = self.desires.read_revision(revision)
        return Reading(found if isinstance(found, Unknown) else Known(found))

    async def once(self) -> Plan:
        """One pass: look, plan, start what can run, publish. Lanes go on after it has returned."""
        async with self._passing:
            with _uncollected():
                return await self._pass()

    async def _pass(self) -> Plan:
        observed, reading = await self._both(None)
        now = self._tick(write=True)
        memory = self.store.memory(clock_steady=now.steady)
        planned = plan(reading.desired, observed, memory, now.wall, self.policy)
        self._learn(reading.desired, observed, memory, planned, now.wall)
        with self.store.transaction(durable=True):
            for lane in planned.lanes:
                if lane.destroys and lane.uid:
                    self.store.destroying(lane.uid, now.wall)
        self._converger.start(planned)
        self.last = Look(reading.desired, observed, memory, planned, now.wall)
        self._publisher.publish(reading, self.last, self.policy)
        return planned

    async def converge(self) -> Settled:
        """Passes and lanes until nothing more can be done now."""
        await self.begin()
        planned = await self.once()
        for _ in range(ROUNDS):
            if not planned.lanes and not self._converger.busy:
                break
            await self._converger.wait()
            planned = await self.once()
        await self._converger.wait()
        waiting = [wait for wait in planned.waits if wait.reason not in SETTLED]
        return Settled(planned.empty and not planned.holds and not waiting, planned)

    async def stop(self) -> None:
        """Cancel what runs; the next start resumes it."""
        await self._converger.stop()
        self._publisher.flush()

    def poke(self, reason: str = "asked to") -> None:
        """Ask for a pass soon; asked several times before it begins, it is still one."""
        log.debug("a pass: %s", reason)
        self._wanted.set()

    async def run(self, watch: Path | None = None) -> None:
        """Converge until SIGTERM or SIGINT. `watch` is the folder of the state repo's refs, where it is local."""
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        scheduler = AsyncIOScheduler(timezone=UTC)
        scheduler.add_job(self.poke, "interval", seconds=self.resync, jitter=self.resync / 10, args=["resync"])
        scheduler.add_job(self._tidy, "interval", days=1)
        with _signals(self._stopping.set):
            await self.begin()
            scheduler.start()
            watching = asyncio.create_task(self._watch(watch)) if watch else None
            self._publisher.tell("started", "the controller started")
            try:
                await self._passes(scheduler)
            finally:
                scheduler.shutdown(wait=False)
                if watching:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
                await self._converger.stop()
                self._publisher.tell("stopped", "the controller stopped")
                self._publisher.flush()

    def halt(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    async def _passes(self, scheduler: object) -> None:
        self._wanted.set()
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                wanted = asyncio.create_task(self._wanted.wait())
                await asyncio.wait({wanted, stopping}, return_when=asyncio.FIRST_COMPLETED)
                wanted.cancel()
                if self._stopping.is_set():
                    return
                self._wanted.clear()
                planned = await self._safely()
                if planned and planned.wake:
                    _wake(scheduler, planned.wake, self.poke)
        finally:
            stopping.cancel()

    async def _safely(self) -> Plan | None:
        """A pass of the daemon: an error of it is told, and it is tried again by the clock."""
        try:
            return await self.once()
        except Exception as error:
            log.exception("a pass failed")
            self._publisher.tell("pass failed", str(error) or repr(error), "error")
            self._publisher.flush()
            return None

    async def _watch(self, folder: Path) -> None:
        """Poke when a ref of the state repo moves. Whatever the watch misses, the resync finds."""
        from watchfiles import awatch

        while True:
            try:
                async for _ in awatch(folder, watch_filter=None, debounce=STEP, step=STEP, recursive=True):
                    self.poke("the state repo changed")
            except (OSError, RuntimeError) as error:
                log.warning("cannot watch %s: %s; a new commit is noticed within %.0f s", folder, error, self.resync)
            await asyncio.sleep(self.resync)

    async def _tidy(self) -> None:
        """Keep the mirror small; a failure is told, and tried again in a day."""
        async with self._passing:
            try:
                await asyncio.to_thread(self.desires.tidy)
            except VoxnixError as error:
                log.warning("the mirror could not be tidied: %s", error)

    def _names(self) -> frozenset[str]:
        entries = self.store.memory().inventory.values()
        return self._wanted_names() | {entry.name for entry in entries}

    def _wanted_names(self) -> frozenset[str]:
        """The containers that the accepted revision names, as far as is known before it is read again."""
        if self.last and isinstance(self.last.desired, Known):
            return frozenset(self.last.desired.value.containers)
        paths = [Path(path) for path in self.store.tree()]
        return frozenset(path.stem for path in paths if path.parent == Path("state") and path.stem != "defaults")

    def _tick(self, *, write: bool) -> Instant:
        before = self.store.last_pass
        instant = tick(before, self.clock.now(), self.clock.uptime(), self.clock.boot)
        if write:
            self.store.passed(instant)
        return instant

    def _learn(
        self, desired: Source[Desired], observed: Observed, memory: Memory, planned: Plan, now: datetime
    ) -> None:
        view = View.of(observed, memory, self.policy)
        if not isinstance(desired, Known) or isinstance(view, Unknown):
            return
        learned = learn(view, desired.value, planned, now)
        if learned == Learned():
            return
        busy = self._converger.busy
        with self.store.transaction(durable=True):
            for entry in learned.put:
                self.store.put_entry(entry)
            for uid in learned.drop:
                if memory.inventory[uid].name not in busy:
                    self.store.drop_entry(uid)
            for node in learned.settled:
                self.store.forget_debt(node)
            for key in learned.calm:
                self.store.succeeded(key)

    def _settle(self, outcome: Outcome) -> None:
        """Remember how a lane ended."""
        key = outcome.lane.key
        previous = self.store.memory().backoff.get(key)
        failure = after(outcome, previous, self.clock.now(), self.jitter())
        if failure:
            self.store.failed(key, failure)
        elif previous:
            self.store.succeeded(key)
        self._publisher.settled(outcome)

    def _progress(self, progress: Progress) -> None:
        self._publisher.progress(progress)
        if progress.moment is Moment.LANE_DONE:
            self.poke(f"{progress.lane.key} is through")
        self.tell(progress)


def _marks(observed: Observed, policy: Policy) -> tuple[bool, set[str]]:
    """Whether the host could be looked at, and whose marks it bears."""
    if not isinstance(observed.storage, Known) or not isinstance(observed.machines, Known):
        return False, set()
    datasets = observed.storage.value.datasets.values()
    placed = [d for d in datasets if is_container_path(d.name, policy) or d.name.startswith(policy.trash + "/")]
    return True, {d.marks["appliance"] for d in placed if d.marks.get("appliance")}


def _wake(scheduler: object, at: datetime, poke: Callable[[str], None]) -> None:
    """Have the scheduler poke at `at`, instead of at any earlier choice."""
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    assert isinstance(scheduler, AsyncIOScheduler)
    scheduler.add_job(
        poke, "date", run_date=at, args=["its time has come"], id="wake", replace_existing=True, misfire_grace_time=None
    )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: a pass over thousands makes no cycles, and looking for some is a fifth of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT end the loop in good order."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
