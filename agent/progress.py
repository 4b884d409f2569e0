"""What became of commits, as text that changes until it is settled: it ends in what is usable now, or what failed.

It reads the published status and events, and decides nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from agent.appliance import Appliance, Away, Json
from agent.ledger import Entry, Stage
from agent.outbox import Outbox
from agent.person import Person
from agent.redact import harmless, line
from agent.told import trouble, usable
from controller.cli.text import day, size

LOOK_EVERY = 0.25
WITHIN = 1800.0
"""Seconds after which a change that is still under way is left to `/show`."""

_DONE = {
    "CreateDataset": "storage",
    "FromTrash": "data back from the trash",
    "CloneBack": "data from the snapshot",
    "SetQuota": "quota",
    "Install": "system",
    "SetResources": "limits",
    "Start": "started",
    "Enrol": "on the tailnet",
    "Stop": "stopped",
    "RemoveSystem": "system removed",
    "ToTrash": "data in the trash",
}
"""Events of steps that are done, in a word or two."""
_APPROVE = "Voxnix-Approve"


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be said of one container, and whether that is the last word."""

    text: str
    settled: bool


class Progress:
    """Follows commits of one person."""

    def __init__(
        self, appliance: Appliance, outbox: Outbox, *, every: float = LOOK_EVERY, within: float = WITHIN
    ) -> None:
        self._appliance = appliance
        self._outbox = outbox
        self._every = every
        self._within = within

    async def follow(self, person: Person, entries: Sequence[Entry]) -> AsyncIterator[str]:
        """The text on all of them, whenever it changes, until all is settled."""
        current = list(entries)
        told = ""
        deadline = time.monotonic() + self._within
        while True:
            late = time.monotonic() > deadline
            current = [await self._outbox.verdict(one) if one.stage is Stage.SENT else one for one in current]
            lines = await self._lines(person, current)
            text = "\n".join(one.text for one in lines)
            if late:
                text += "\nThis takes long; “/list” shows how it stands."
            if text != told:
                told = text
                yield text
            if late or all(one.settled for one in lines):
                return
            await asyncio.sleep(self._every)

    async def _lines(self, person: Person, entries: Sequence[Entry]) -> list[Line]:
        """A line for each container, and for each commit that was not taken."""
        lines = [failed(one) for one in entries if one.stage in (Stage.REFUSED, Stage.DROPPED, Stage.BEGUN)]
        taken: dict[str, list[Entry]] = {}
        for one in entries:
            if one.stage is Stage.SENT:
                lines.append(Line(f"… {one.subject}: committed, waiting for the controller", False))
            elif one.stage is Stage.ACCEPTED:
                taken.setdefault(one.name, []).append(one)
        try:
            document = await self._appliance.status() if taken else {}
        except Away:
            return [*lines, Line("… the controller does not answer now; what was committed is kept", False)]
        for name, some in taken.items():
            events = await self._appliance.events(name)
            lines.append(line_of(name, some, document, events, person))
        return lines


def failed(entry: Entry) -> Line:
    """What to say of a commit that had no effect."""
    if entry.stage is Stage.REFUSED:
        return Line(f"✗ {entry.subject}: refused. {harmless(entry.detail, 1000)}", True)
    why = f" {line(entry.detail)}" if entry.detail else ""
    return Line(
        f"✗ {entry.subject}: this was not written, and nothing was changed.{why} Say it again if it holds.", True
    )


def line_of(name: str, entries: Sequence[Entry], document: Json, events: Sequence[Json], person: Person) -> Line:
    """What is to be said of a container after these commits, which the controller took. Pure."""
    status = next((one for one in document["containers"] if one["name"] == name), None)
    removes = [one.removes for one in entries if one.path]
    gone = bool(removes) and removes[-1]
    hold = next((one for one in document["holds"] if name in one["names"]), None)
    if hold is not None and not _about_to_go(hold, entries, document):
        return _held(name, hold, person)
    steps = _steps(entries, events)
    if status is None:
        return _gone(name, document, person) if gone or not _wanted(entries) else Line(f"… {name}: beginning", False)
    phase = status["phase"]
    if gone or phase in ("removing", "converging"):
        wrong = trouble(status) if status.get("attempts") else ""
        if wrong and status.get("attempts", 0) > 2:
            return Line(f"✗ {name}: {wrong}; it is tried again by itself. “why is {name} down” tells more.", True)
        return Line(f"… {name}: {'removing' if gone else 'on its way'}{steps}", False)
    if phase == "ready":
        return Line(f"✓ {usable(status)}", True)
    if phase == "paused":
        return Line(f"‖ {name} is paused: nothing is done to it until “resume {name}”", True)
    hints = [one["hint"] for one in status["conditions"] if one["status"] != "True" and one.get("hint")]
    hint = f" → {line(hints[0])}" if hints else ""
    return Line(f"✗ {name} is {phase}: {trouble(status) or 'see its status'}{hint}", True)


def _about_to_go(hold: Json, entries: Sequence[Entry], document: Json) -> bool:
    """Whether a hold is approved already, in a commit that the published status does not know of yet."""
    del document
    return not hold.get("refused") and any((_APPROVE, hold["id"]) in one.trailers for one in entries)


def _wanted(entries: Sequence[Entry]) -> bool:
    return any(one.path and one.content is not None for one in entries)


def _gone(name: str, document: Json, person: Person) -> Line:
    mine = [one for one in document["trash"] if one["name"] == name and one["owner"] == person.id]
    if not mine:
        return Line(f"✓ {name} is removed", True)
    newest: Mapping[str, object] = max(mine, key=lambda one: str(one["since"]))
    amount, until = size(int(str(newest["bytes"]))), day(str(newest["until"]))
    return Line(f"✓ {name} is removed · {amount} in the trash until {until} · “restore {name}” brings it back", True)


def _held(name: str, hold: Json, person: Person) -> Line:
    reason = line(hold["reason"], 300)
    if hold.get("refused"):
        reason += f" ({line(hold['refused'])})"
    mine = hold["owner"] == person.id and not hold["admin"] and not hold.get("personal") and hold["names"] == [name]
    who = f"say “approve {name}”" if mine else f"an admin says `voxnix approve {hold['id']}`"
    return Line(f"‖ {name} is held: {reason}. To go on, {who}.", True)


def _steps(entries: Sequence[Entry], events: Sequence[Json]) -> str:
    """The steps that these commits led to and that are done."""
    shas = {one.sha for one in entries}
    words = [_DONE[one["kind"]] for one in events if one["revision"] in shas and one["kind"] in _DONE]
    return "".join(f" · {word} ✓" for word in dict.fromkeys(words))
