"""The reconcile loop: look, plan, converge, publish; again whenever a commit, the clock or a person gives cause.

It holds no decision of its own. One pass runs at a time, triggers that come meanwhile are one more pass, and lanes run
on beside passes. Killed at any moment, the next start finds in the store and on the host all that it needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from controller.converge import Act, Converger, Moment, Progress
from controller.desired import Desires, Reading
from controller.errors import VoxnixError
from controller.identity import appliance_of
from controller.observed import Known, Observed, Unknown
from controller.plan.clock import tick
from controller.plan.fold import Learned, learn
from controller.plan.model import Plan, Policy, Reason
from controller.plan.planner import plan
from controller.plan.view import View
from controller.process import ended_by_signals, uncollected
from controller.publish import Look, Publisher, refusal
from controller.status import Outcome, after
from controller.store import Store
from controller.waking import Clock, Poll, Watch, alarm, changes, commits, watching

log = logging.getLogger(__name__)

SETTLED = frozenset({Reason.PAUSED, Reason.ELSEWHERE, Reason.EXPIRED, Reason.NO_TAILNET, Reason.IN_TRASH})
"""Waits that are as somebody wanted it: they do not keep a host from being converged."""
ROUNDS = 20
"""Passes that one `converge` makes at most."""
AGAIN = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds before a fresh controller tries once more to read the newest commit, before it acts on an older one."""


@dataclass(frozen=True, slots=True)
class Settled:
    """How `Controller.converge` ended: `converged` if nothing is left to do but what somebody wants left."""

    converged: bool
    plan: Plan


@dataclass
class Controller:
    """One appliance's controller. `observe` looks at the host, `act` carries out one action."""

    store: Store
    desires: Desires
    observe: Callable[[Iterable[str]], Coroutine[Any, Any, Observed]]
    act: Act
    policy: Policy
    clock: Clock = field(default_factory=Clock)
    tell: Callable[[Progress], None] = lambda _: None
    jitter: Callable[[], float] = random.random
    resync: float = 60.0
    listen: Watch | None = None
    """What hears from the host, while `run` runs, which container has changed."""
    poll: Poll | None = None
    """What looks at a state repo on another machine, while `run` runs."""
    looked: Callable[[Look, Reading], None] = lambda *_: None

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
            marked = appliance_of(await self.observe(()), self.policy)
            if marked:
                self.store.rebuilt = self.clock.now().isoformat()
                self._publisher.tell(
                    "rebuilt", "the store was lost; it is rebuilt from the marks on the host", "warning"
                )
            self.store.appliance = marked or secrets.token_hex(8)
        self.policy = replace(self.policy, appliance=self.store.appliance or "")

    async def look(self, revision: str | None = None) -> Look:
        """Look at the world and plan, changing nothing; at `revision` instead of the accepted one, if given."""
        await self.begin()
        async with self._passing:
            return (await self._looked(revision, write=False))[0]

    async def _newest(self) -> tuple[Look, Reading]:
        """What a pass acts on.

        A commit that cannot be read now may take back what the last accepted one asks for. A fresh controller, which
        has not acted on that one yet, tries for some seconds more before it does: a git that a killed controller left
        behind has ended by then. If that is in vain, what was accepted stands, as in any other pass.
        """
        now = asyncio.get_running_loop().time
        end = now() + sum(AGAIN)
        look, reading = await self._looked(None, write=True)
        for pause in AGAIN if self.last is None else ():
            if not (reading.trouble and look.plan.lanes) or now() > end or self._stopping.is_set():
                break
            log.info("the newest commit cannot be read yet, so it is tried again: %s", reading.trouble)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            look, reading = await self._looked(None, write=True)
        return look, reading

    async def _looked(self, revision: str | None, *, write: bool) -> tuple[Look, Reading]:
        """A look, and the reading behind it; with `write`, the clock of the last pass is set."""
        observed, reading = await self._both(revision)
        now = tick(self.store.last_pass, self.clock.now(), self.clock.uptime(), self.clock.boot)
        if write:
            self.store.passed(now)
        memory = self.store.memory(clock_steady=now.steady)
        planned = plan(reading.desired, observed, memory, now.wall, self.policy)
        trouble = reading.trouble or refusal(reading)
        return Look(reading.desired, observed, memory, planned, now.wall, trouble), reading

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
            with uncollected():
                return await self._pass()

    async def _pass(self) -> Plan:
        look, reading = await self._newest()
        self._learn(look)
        with self.store.transaction(durable=True):
            for lane in look.plan.lanes:
                if lane.destroys and lane.uid:
                    self.store.destroying(lane.uid, look.now)
        self._converger.start(look.plan)
        self.last = look
        self._publisher.publish(reading, look, self.policy)
        self.looked(look, reading)
        return look.plan

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

    def ask(self) -> None:
        """Somebody asks for a pass, and for a look at the state repo at once, wherever that is."""
        if self.poll:
            self.poll.ask()
        self.poke()

    async def run(self, watch: Path | None = None) -> None:
        """Converge until SIGTERM or SIGINT. `watch` is the folder of the state repo's refs, where it is local."""
        watches = [partial(commits, watch, self.poke, self.resync)] if watch else []
        watches += [partial(changes, self.listen, self.poke, lambda: self._converger.busy)] if self.listen else []
        watches += [partial(self.poll.watch, self.poke)] if self.poll else []
        with ended_by_signals(self._stopping.set):
            await self.begin()
            try:
                with alarm(self.poke, self.resync, self._tidy) as wake:
                    async with watching(*watches):
                        self._publisher.tell("started", "the controller started")
                        await self._passes(wake)
            finally:
                await self._converger.stop()
                self._publisher.tell("stopped", "the controller stopped")
                self._publisher.flush()

    def halt(self) -> None:
        """Make `run` return."""
        self._stopping.set()

    async def _passes(self, wake: Callable[[datetime], None]) -> None:
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
                    wake(planned.wake)
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

    async def _tidy(self) -> None:
        """Keep the mirror small; a failure is told, and tried again in a day."""
        async with self._passing:
            try:
                await asyncio.to_thread(self.desires.tidy)
            except VoxnixError as error:
                log.warning("the mirror could not be tidied: %s", error)

    def _names(self) -> frozenset[str]:
        """The containers to look for: all that were installed here, and all that are wanted, as known so far."""
        installed = {entry.name for entry in self.store.memory().inventory.values()}
        if self.last and isinstance(self.last.desired, Known):
            return frozenset(installed | self.last.desired.value.containers.keys())
        paths = [Path(path) for path in self.store.tree()]
        wanted = {path.stem for path in paths if path.parent == Path("state") and path.stem != "defaults"}
        return frozenset(installed | wanted)

    def _learn(self, look: Look) -> None:
        """Remember what a look showed."""
        view = View.of(look.observed, look.memory, self.policy)
        if not isinstance(look.desired, Known) or isinstance(view, Unknown):
            return
        learned = learn(view, look.desired.value, look.plan, look.now)
        if learned == Learned():
            return
        busy = self._converger.busy
        with self.store.transaction(durable=True):
            for entry in learned.put:
                self.store.put_entry(entry)
            for uid in learned.drop:
                if look.memory.inventory[uid].name not in busy:
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
