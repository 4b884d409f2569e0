"""How fast may be spoken, and in what order: one at a time in a chat, and no chat waits for another.

Telegram lets a bot say about one message a second in a chat, twenty a minute in a group, thirty a second in all.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

REMEMBERED = 1_000


@dataclass
class Pace:
    """Seconds between messages: `chat` in one chat, `group` in a group, `overall` in all together."""

    chat: float = 1.05
    group: float = 3.1
    overall: float = 0.04
    now: Callable[[], float] = time.monotonic
    _locks: OrderedDict[str, asyncio.Lock] = field(default_factory=OrderedDict)
    _free: dict[str, float] = field(default_factory=dict)
    _next: float = 0.0

    @asynccontextmanager
    async def turn(self, chat: str) -> AsyncIterator[None]:
        """While inside, nobody else speaks in this chat; who comes first is first."""
        lock = self._locks.setdefault(chat, asyncio.Lock())
        self._locks.move_to_end(chat)
        async with lock:
            try:
                yield
            finally:
                self._tidy()

    async def wait(self, chat: str) -> None:
        """Wait until something may be said in a chat."""
        if (due := self._free.get(chat, 0.0) - self.now()) > 0:
            await asyncio.sleep(due)
        now = self.now()
        slot = self._next = max(now, self._next + self.overall)
        if slot > now:
            await asyncio.sleep(slot - now)

    def said(self, chat: str) -> None:
        """Something was said in a chat just now, as the server has seen it."""
        self._free[chat] = self.now() + (self.group if chat.startswith("-") else self.chat)

    def _tidy(self) -> None:
        """Forget chats that are silent."""
        now = self.now()
        for chat in list(self._locks)[: max(0, len(self._locks) - REMEMBERED)]:
            if not self._locks[chat].locked() and self._free.get(chat, 0.0) <= now:
                del self._locks[chat]
                self._free.pop(chat, None)


class Turns:
    """Who is dealt with next in a chat. A place is taken at once, without waiting, so that order is that of arrival."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}

    @property
    def chats(self) -> list[int]:
        """The chats in which something is under way."""
        return list(self._waiting)

    def take(self, chat: int) -> tuple[int, asyncio.Future[None]]:
        """How many are before, and the place: it is done when one's turn is there."""
        queue = self._waiting.setdefault(chat, deque())
        place = asyncio.get_running_loop().create_future()
        queue.append(place)
        if len(queue) == 1:
            place.set_result(None)
        return len(queue) - 1, place

    def leave(self, chat: int, place: asyncio.Future[None]) -> None:
        """One is through, or does not wait any longer."""
        queue = self._waiting[chat]
        queue.remove(place)
        if not queue:
            del self._waiting[chat]
        elif not queue[0].done():
            queue[0].set_result(None)
