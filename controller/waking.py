"""What makes a controller look again: commits, the host, and the clock; and how soon the host may have it look.

All of it only asks. Whether anything is to be done is for the look to say, so that what is asked twice, too often or
for nothing costs a look and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

log = logging.getLogger(__name__)

Poke = Callable[[str], None]
"""Asks for a look; the text says why."""
Watch = Callable[[Callable[[str], None]], Awaitable[None]]
"""Runs until it is cancelled, and tells of each container that may have changed by its name; "" stands for all."""

STEP = 15
"""Milliseconds between two looks of the watch's thread: a commit is noticed after two; fewer cost an idle CPU more."""
SETTLE = 0.03
"""Seconds that signs are gathered for: the several signals of one stop come within some milliseconds."""
SHORTEST, LONGEST = 0.2, 1.0
"""Seconds between two looks that signs ask for; they double from the one to the other while signs go on."""
QUIET = 5.0
"""Seconds without a sign after which the next one is a first one again."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from: wall time, and seconds of uptime of a boot."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    uptime: Callable[[], float] = time.monotonic
    boot: str = ""


@dataclass
class Damper:
    """Makes of any number of signs a few looks: soon after the first, then ever more rarely, and after the last.

    A container that dies without end has the controller look once a `LONGEST`. `now` is in seconds; `later` runs what
    it is given after so many.
    """

    look: Callable[[], None]
    now: Callable[[], float]
    later: Callable[[float, Callable[[], None]], object]

    def __post_init__(self) -> None:
        self._looked = float("-inf")
        self._gap = SHORTEST
        self._due = False

    def sign(self) -> None:
        """Something may have changed; a look that began before does not count for it."""
        if self._due:
            return
        since = self.now() - self._looked
        wait = max(SETTLE, self._gap - since)
        self._gap = SHORTEST if since > QUIET else min(2 * self._gap, LONGEST)
        self._due = True
        self.later(wait, self._go)

    def _go(self) -> None:
        self._due = False
        self._looked = self.now()
        self.look()


@contextmanager
def alarm(poke: Poke, resync: float, daily: Callable[[], Awaitable[None]]) -> Iterator[Callable[[datetime], None]]:
    """Pokes every `resync` seconds or so, and runs `daily` once a day.

    What it yields has it poke at a time as well, instead of at the time that it was told before.
    """
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

    scheduler = AsyncIOScheduler(timezone=UTC)
    scheduler.add_job(poke, "interval", seconds=resync, jitter=resync / 10, args=["resync"])
    scheduler.add_job(daily, "interval", days=1)
    scheduler.start()

    def wake(at: datetime) -> None:
        once = {"id": "wake", "replace_existing": True, "misfire_grace_time": None}
        scheduler.add_job(poke, "date", run_date=at, args=["its time has come"], **once)

    try:
        yield wake
    finally:
        scheduler.shutdown(wait=False)


async def commits(folder: Path, poke: Poke, resync: float) -> None:
    """Poke when a ref in `folder`, the state repo's, moves; a folder that cannot be watched is tried again."""
    from watchfiles import awatch

    while True:
        try:
            async for _ in awatch(folder, watch_filter=None, debounce=STEP, step=STEP, recursive=True):
                poke("the state repo changed")
        except (OSError, RuntimeError) as error:
            log.warning("cannot watch %s: %s; a new commit is noticed within %.0f s", folder, error, resync)
        await asyncio.sleep(resync)


async def changes(listen: Watch, poke: Poke, busy: Callable[[], Container[str]]) -> None:
    """Poke when the host says that a container changed.

    A container that is `busy` changes because of what is being done to it, whose end is looked at in any case.
    """
    running = asyncio.get_running_loop()
    damper = Damper(partial(poke, "the host changed"), running.time, running.call_later)

    def changed(name: str) -> None:
        if name not in busy():
            damper.sign()

    await listen(changed)


class Poll:
    """Looks at a state repo on another machine now and then, beside the passes: one look at a time.

    `refresh` looks, in a thread, and says whether there is news; `pause` gives the seconds until the next look; `halt`
    ends one that is under way.
    """

    def __init__(self, refresh: Callable[[], bool], pause: Callable[[], float], halt: Callable[[], None]) -> None:
        self._refresh = refresh
        self._pause = pause
        self._halt = halt
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Look at once; asked while a look is under way, once more after it."""
        self._asked.set()

    async def watch(self, poke: Poke) -> None:
        """Look until it is cancelled, and poke when there is news."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), self._pause())
                self._asked.clear()
                if await asyncio.to_thread(self._refresh):
                    poke("the state repo on the other machine has news")
        finally:
            self._halt()


@asynccontextmanager
async def watching(*watches: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """These run side by side until the block ends. One that fails is told, and missed: the resync goes on without."""
    tasks = [asyncio.create_task(_watched(watch)) for watch in watches]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watched(watch: Callable[[], Awaitable[None]]) -> None:
    try:
        await watch()
    except Exception:
        log.exception("a watch failed; what it would have told of is noticed by the next resync")
