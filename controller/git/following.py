"""A state repo on another machine, followed: fetched beside the passes, so that no pass waits for somebody's network.

A pass gets what came last, at once. One fetch runs at a time, each within its bounds; while the other machine is away
they become rarer, and one sentence says since when and why.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from controller.errors import Transient, VoxnixError
from controller.git.access import Access
from controller.git.mirror import PATIENCE, Mirror

POLL = 60.0
"""Seconds between two fetches, unless the settings say otherwise."""
FIRST, LONGEST = 5.0, 900.0
"""Seconds after which a fetch is tried again: after the first failure, and at most."""
SPREAD = 0.2
"""The part of a pause by which it may be shorter or longer."""
BEGIN, WAIT = 5.0, 20.0
"""Seconds that passes themselves may spend on fetching, until it has succeeded once, and that one fetch of theirs may
take where something was fetched before: containers wait for it."""


def pause(poll: float, failures: int, jitter: float) -> float:
    """Seconds until the next fetch, after so many failures in a row; `jitter` is from 0 to 1."""
    usual = min(LONGEST, FIRST * 2 ** min(failures - 1, 20)) if failures else poll
    return usual * (1 - SPREAD + 2 * SPREAD * jitter)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often is fetched: every `poll` seconds or so. `jitter` gives numbers from 0 to 1, `now` the time."""

    poll: float = POLL
    jitter: Callable[[], float] = lambda: 0.5
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Followed(Mirror):
    """A `Mirror` whose `fetch` answers from what `refresh` has brought; `refresh` is called by whoever keeps the time.

    Until a fetch has succeeded once, `fetch` tries itself, for some seconds: who has just started waits for that.
    """

    def __init__(
        self,
        path: Path,
        source: str,
        *,
        branch: str = "main",
        access: Access | None = None,
        patience: float = PATIENCE,
        rhythm: Rhythm | None = None,
    ) -> None:
        super().__init__(path, source, branch=branch, access=access, patience=patience)
        self._usual = patience
        self._rhythm = rhythm or Rhythm()
        self._busy = threading.RLock()
        self._forget()
        self._failures = 0
        self._since: datetime | None = None
        self.trouble = ""
        """Why the branch could not be fetched the last time, and since when; empty where it could."""

    def _forget(self) -> None:
        self._tip: str | None = None
        self._seen = False
        self._spent = 0.0

    def fetch(self) -> str | None:
        """The commit that the branch was at when it was last seen, also while it cannot be seen.

        Raises `Transient` where it was not seen yet.
        """
        if not self._seen and self._spent < BEGIN:
            self.refresh(WAIT if self.fetched() else self._usual)
        if self.trouble and not self._seen:
            raise Transient(self.trouble)
        return self._tip

    def refresh(self, within: float | None = None) -> bool:
        """Fetch now, and remember what came of it; whether that is news. Blocks, for `within` seconds at most."""
        with self.alone():
            self.patience = self._usual if within is None else min(within, self._usual)
            before = self._tip, self.trouble
            began = time.monotonic()
            try:
                self._tip = super().fetch()
            except VoxnixError as error:
                self._failures += 1
                self._since = self._since or self._rhythm.now()
                self.trouble = f"{error}. So since {self._since:%Y-%m-%d %H:%M} UTC; the revision accepted last stands"
            else:
                self._seen, self._failures, self._since, self.trouble = True, 0, None, ""
            self._spent += time.monotonic() - began
            return before != (self._tip, self.trouble)

    def pause(self) -> float:
        """Seconds until the next fetch is due."""
        return pause(self._rhythm.poll, self._failures, self._rhythm.jitter())

    def halt(self) -> None:
        """End what talks to the other machine just now, if anything does; it counts as having failed."""
        if self._busy.acquire(blocking=False):
            self._busy.release()
        else:
            self.git.stop.set()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nothing else fetches into this copy meanwhile, or tidies it."""
        with self._busy:
            self.git.stop.clear()
            yield

    def tidy(self, accepted: str) -> None:
        """As `Mirror.tidy`; not while something comes in."""
        with self.alone():
            super().tidy(accepted)

    def start_over(self) -> None:
        """As `Mirror.start_over`; the next `fetch` fetches."""
        with self.alone():
            super().start_over()
            self._forget()
