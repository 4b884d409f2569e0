"""An event loop on virtual time: when nothing is left to do, the next timer is due at once.

Waiting costs nothing and depends on nothing: a command that hangs for its ten minutes is over immediately, and the
clock of the test has moved on by ten minutes. While a thread works, or data is on its way, time stands still.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
GRACE = 0.003
"""Real seconds that loopback traffic may take before waiting for it counts as having nothing to do."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Asks for events as ever, but lets virtual time pass instead of real time."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return list(found)
        if timeout is None or self.loop.working:
            return list(super().select(None))
        found = super().select(GRACE) if len(self.get_map()) > 1 else []
        if not found:
            self.loop.advance(timeout)
        return list(found)


class VirtualLoop(asyncio.SelectorEventLoop):
    """`passing` is told of every virtual second that goes by."""

    def __init__(self, passing: Callable[[float], None] = lambda _: None) -> None:
        self.working = 0
        self._virtual = 0.0
        self._passing = passing
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._virtual += seconds
        self._passing(seconds)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        self.working += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: asyncio.Future[Any]) -> None:
        self.working -= 1


def run(main: Coroutine[Any, Any, T], passing: Callable[[float], None] = lambda _: None) -> T:
    """`asyncio.run` on virtual time."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(passing)) as runner:
        return runner.run(main)
