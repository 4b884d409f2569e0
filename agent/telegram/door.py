"""Who is heard on Telegram: people whose chats the tenants of the accepted revision name. Strangers meet silence.

The last accepted tenants count while the controller is away: nothing newer can have been accepted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from agent.people import chats, person, speakers
from agent.person import Person
from agent.redact import line
from controller.errors import VoxnixError
from controller.spec.model import Tenant

log = logging.getLogger(__name__)

FRESH = 1.0
"""Seconds for which a look at the accepted revision is good."""
PATIENCE = 2.0
"""Seconds that a message waits for such a look; then who was known counts."""
SOON = 0.3
"""Seconds that a message waits for names to be known."""
EVERY = 3600.0
"""Seconds between two notes on one stranger."""
NOTES = 6
"""Notes on strangers in an hour, all together."""
REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the accepted revision says: tenants, and the names of containers."""

    revision: str
    tenants: Mapping[str, Tenant]
    names: frozenset[str] = frozenset()


@dataclass
class Door:
    """Knows people by chat. `look` finds what is accepted, given what was known; it may raise."""

    look: Callable[[Accepted | None], Awaitable[Accepted]]
    groups: Collection[int] = ()
    fresh: float = FRESH
    now: Callable[[], float] = time.monotonic
    known: Accepted | None = None
    _people: Mapping[int, Person] = field(default_factory=dict)
    _at: float = float("-inf")
    _looking: asyncio.Task[None] | None = None

    async def refresh(self, patience: float = PATIENCE) -> None:
        """Look, unless that was done just now; wait no longer for it than `patience` seconds."""
        if self._looking is None:
            if self.now() - self._at < self.fresh:
                return
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait({self._looking}, timeout=patience)

    async def _look(self) -> None:
        try:
            found = await self.look(self.known)
            if self.known is None or found.revision != self.known.revision:
                self.known, self._people = found, speakers(found.tenants)
            self._at = self.now()
        except VoxnixError as error:
            log.info("who is heard stays as it was: %s", error)
        finally:
            self._looking = None

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def speaker(self, user: int) -> Person | None:
        """Who an account is. A group never speaks for anybody; who writes in it does."""
        return self._people.get(user) if user > 0 else None

    def allowed(self, chat: int) -> bool:
        """Whether a chat may be used: people's own, and groups that the settings name."""
        return chat > 0 or chat in self.groups

    def person(self, tenant: str) -> Person | None:
        """A tenant by id."""
        return person(self.known.tenants, tenant) if self.known else None

    def chats(self, tenant: str) -> list[str]:
        """Where a tenant is told news."""
        return [one for one in chats(self.known.tenants, tenant) if self.allowed(int(one))] if self.known else []

    async def names(self) -> Collection[str]:
        """The names of containers, as far as they are known soon."""
        await self.refresh(SOON)
        return self.known.names if self.known else ()

    def admins(self) -> list[str]:
        """The admins' own chats."""
        return [str(chat) for chat, who in self._people.items() if who.admin and chat > 0]


class Strangers:
    """When a stranger is worth a note: once an hour each, a few an hour in all, and no more than so many remembered."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._noted: OrderedDict[int, float] = OrderedDict()
        self._recent: list[float] = []

    def note(self, chat: int) -> bool:
        """Whether to tell of a chat now; it counts as told."""
        now = self._now()
        self._recent = [at for at in self._recent if now - at < EVERY]
        if now - self._noted.get(chat, float("-inf")) < EVERY or len(self._recent) >= NOTES:
            return False
        self._noted[chat] = now
        self._noted.move_to_end(chat)
        while len(self._noted) > REMEMBERED:
            self._noted.popitem(last=False)
        self._recent.append(now)
        return True


def stranger_note(chat: int, name: str, *, group: bool) -> str:
    """What admins are told. The name is the stranger's own choice."""
    who = f"“{line(name, 60)}”"
    if group:
        return f"Somebody spoke to me in a group that is not allowed: chat {chat}, {who}. I said nothing."
    return (
        f"Somebody I do not know wrote to me: chat {chat}, who goes by {who}. I said nothing. If you know them,"
        f" `telegram: [{chat}]` in their file under state/tenants lets them in."
    )
