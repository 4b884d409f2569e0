"""News that nobody asked for: a container that went down, and came back. One message an incident, edited to its end.

What flaps is one incident; quiet hours hold messages back, and what is over by then is told no more. What somebody
just asked for is no news: its own message shows it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from agent.appliance import Appliance, Json
from agent.budget import Preferences
from agent.person import Surface
from agent.redact import line
from agent.told import trouble, usable
from controller.cli.text import span
from controller.errors import VoxnixError

log = logging.getLogger(__name__)

WRONG = ("degraded", "frozen", "held")
GRACE = 30.0
"""Seconds that something has to be wrong before it is news: most of it heals sooner."""
CALM = 600.0
"""Seconds of health after which an incident is over; what goes wrong before that is the same one."""
EVERY = 5.0
_OPEN = "incident:"


@dataclass(frozen=True, slots=True)
class Incident:
    """One container's trouble: since when, what, in which messages by chat it is told, since when it is healed."""

    since: float
    why: str
    messages: tuple[tuple[str, str], ...] = ()
    healed: float | None = None


def step(status: Json | None, incident: Incident | None, now: float) -> Incident | None:
    """What a container's incident is after a look; None: there is none (any more). Pure."""
    wrong = status is not None and status["phase"] in WRONG
    if wrong and status is not None:
        why = trouble(status) or str(status["phase"])
        return replace(incident, healed=None, why=why) if incident else Incident(now, why)
    if incident is None or not incident.messages:
        return None
    if incident.healed is None:
        return replace(incident, healed=now)
    return None if now - incident.healed > CALM else incident


def text_of(name: str, incident: Incident, status: Json | None) -> str:
    """What a message on an incident says."""
    if incident.healed is None and status is not None and status["phase"] == "held":
        return f"{name} is held: {line(incident.why)}. “approve {name}” lets it go on, if that is yours to say."
    if incident.healed is None:
        return f"{name} is not well: {line(incident.why)}. “why is {name} down” tells more."
    lasted = span(incident.healed - incident.since)
    now = usable(status) if status else f"{name} is gone"
    return f"{name} was not well for {lasted} ({line(incident.why)}). Now: {now}"


def quiet(hours: str, now: datetime) -> bool:
    """Whether `22-7` (UTC) has this moment in it."""
    first, _, last = hours.partition("-")
    if not (first.isdigit() and last.isdigit()):
        return False
    begin, end, hour = int(first) % 24, int(last) % 24, now.astimezone(UTC).hour
    return begin <= hour < end if begin <= end else hour >= begin or hour < end


class News:
    """Looks now and then, and tells. `chats` has where each person is told, by tenant id; `busy` what is asked for.

    `quiet_hours` are those of everybody who has said nothing else.
    """

    def __init__(
        self,
        appliance: Appliance,
        preferences: Preferences,
        surface: Surface,
        chats: Callable[[str], Sequence[str]],
        *,
        busy: Callable[[], Collection[str]] = frozenset,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        quiet_hours: str = "",
    ) -> None:
        self._quiet = quiet_hours
        self._appliance = appliance
        self._preferences = preferences
        self._surface = surface
        self._chats = chats
        self._busy = busy
        self._now = now

    async def run(self, every: float = EVERY) -> None:
        """Look until cancelled; a look that fails is tried again."""
        while True:
            try:
                await self.look()
            except VoxnixError as error:
                log.info("no news now: %s", error)
            await asyncio.sleep(every)

    async def look(self) -> None:
        """One look at everything."""
        document = await self._appliance.status()
        statuses = {one["name"]: one for one in document["containers"]}
        known = self._open()
        for name in sorted({*statuses, *known} - set(self._busy())):
            await self._look_at(name, statuses.get(name), known.get(name))

    async def _look_at(self, name: str, status: Json | None, before: tuple[str, Incident] | None) -> None:
        owner = str(status["owner"]) if status else before[0] if before else ""
        old = before[1] if before else None
        now = self._now()
        incident = step(status, old, now.timestamp())
        if incident is not None:
            incident = await self._tell(name, owner, status, old, incident, now)
        self._preferences.set("", _OPEN + name, json.dumps([owner, asdict(incident)]) if incident else "")

    async def _tell(
        self, name: str, owner: str, status: Json | None, old: Incident | None, incident: Incident, now: datetime
    ) -> Incident:
        """Send a message once an incident is old enough, or edit it when it turned."""
        text = text_of(name, incident, status)
        if incident.messages:
            if old is not None and (old.healed is None) != (incident.healed is None):
                for chat, message in incident.messages:
                    await self._surface.edit(chat, message, text)
            return incident
        hours = self._preferences.get(owner, "quiet", self._quiet)
        if now.timestamp() - incident.since < GRACE or quiet(hours, now):
            return incident
        sent = [(chat, await self._surface.send(chat, text)) for chat in self._chats(owner)]
        return replace(incident, messages=tuple(sent))

    def _open(self) -> Mapping[str, tuple[str, Incident]]:
        found = {}
        for name, value in self._preferences.all("", _OPEN).items():
            if value:
                owner, fields = json.loads(value)
                fields["messages"] = tuple((chat, message) for chat, message in fields["messages"])
                found[name] = (owner, Incident(**fields))
        return found
