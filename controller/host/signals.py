"""What systemd and machined say on the system bus: that a container has changed, and which.

It listens, and changes nothing. What it hears is a reason to look, never a fact: names are checked, all else is used
only to tell a change from a repetition. Whatever it misses, the resync finds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from controller.errors import Transient
from controller.host.installed import unit_of
from controller.observed.parse import plain

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

log = logging.getLogger(__name__)

Changed = Callable[[str], None]
"""Is told which container may have changed; an empty name: any of them."""

SYSTEMD, MACHINED, BUS = "org.freedesktop.systemd1", "org.freedesktop.machine1", "org.freedesktop.DBus"
UNITS = "/org/freedesktop/systemd1/unit"
RULES = (
    f"type='signal',sender='{SYSTEMD}',interface='{BUS}.Properties',member='PropertiesChanged',"
    f"path_namespace='{UNITS}',arg0='{SYSTEMD}.Unit'",
    f"type='signal',sender='{MACHINED}',interface='{MACHINED}.Manager'",
    f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{SYSTEMD}'",
    f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{MACHINED}'",
)
"""What the bus is asked to hand on. systemd's `UnitNew` and `JobNew` are not in it: a look itself causes them."""
STEADY = frozenset({"active", "inactive", "failed"})
"""Unit states that last. Between two of them a container is on its way, and there is nothing to be done."""
PATIENCE = 10.0
"""Seconds that connecting may take."""
SOONEST, LATEST = 0.2, 30.0
"""Seconds before a lost connection is made again; they double with each attempt that fails."""

_ESCAPED = re.compile(r"_([0-9a-f]{2})")
_REMEMBERED = 10_000


@dataclass
class Ear:
    """Makes out of one message after another which container has changed. No I/O.

    `owners` has the connections that systemd and machined speak from, by name: what others send does not count,
    although everybody may send anything to anybody.
    """

    owners: dict[str, str] = field(default_factory=dict)
    _states: dict[str, tuple[str, int]] = field(default_factory=dict)

    def hear(self, message: Message) -> str | None:
        """The container that a message is about; empty where systemd has come back, None where it is about none."""
        match message.member, message.sender:
            case "NameOwnerChanged", str(sender) if sender == BUS:
                return self._owned(message)
            case (("MachineNew" | "MachineRemoved"), sender) if sender and sender == self.owners.get(MACHINED):
                return _name(message.body[0]) if message.signature == "so" else None
            case "PropertiesChanged", sender if sender and sender == self.owners.get(SYSTEMD):
                return self._unit(message) if message.signature == "sa{sv}as" else None
        return None

    def _owned(self, message: Message) -> str | None:
        if message.signature != "sss":
            return None
        name, _, now = message.body
        self.owners[name] = now
        return "" if name == SYSTEMD and now else None

    def _unit(self, message: Message) -> str | None:
        """The container of a unit that is in another lasting state than when it was last heard of.

        systemd repeats itself, and a unit that was only loaded has never been in another state.
        """
        name = container_of(message.path or "")
        values = {key: value.value for key, value in message.body[1].items()}
        state, since = values.get("ActiveState"), values.get("StateChangeTimestamp", 0)
        fresh = (state, since) == ("inactive", 0)
        if name is None or state not in STEADY or fresh or self._states.get(name) == (state, since):
            return None
        if len(self._states) >= _REMEMBERED:
            self._states.clear()
        self._states[name] = (state, since)
        return name


def container_of(path: str) -> str | None:
    """The container of a unit's object path; None for all other paths."""
    folder, _, label = path.rpartition("/")
    unit = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), label)
    name = _name(unit.removeprefix("container@").removesuffix(".service"))
    return name if folder == UNITS and name and unit == unit_of(name) else None


def _name(text: object) -> str | None:
    """What may be a container's name."""
    try:
        unit_of(str(text))
    except ValueError:
        return None
    return str(text)


@dataclass
class Signals:
    """Listens on the system bus, or at `address`, for as long as there is one, and again when it has come back."""

    address: str | None = None
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def watch(self, changed: Changed) -> NoReturn:
        """Tell of every container that may have changed, until cancelled; and of all, whenever listening begins.

        That there is no bus, or none any more, is logged once.
        """
        now = asyncio.get_running_loop().time
        delay, away = SOONEST, False
        while True:
            began = now()
            try:
                async with listening(self.address, changed) as lost:
                    if away:
                        log.info("listening on the system bus again")
                    away = False
                    changed("")
                    await lost()
            except Transient as error:
                if not away:
                    log.warning("%s; until it is there, changes of the host are noticed by looking now and then", error)
                away = True
            delay = SOONEST if now() - began > LATEST else delay
            await self.pause(delay)
            delay = min(2 * delay, LATEST)


@asynccontextmanager
async def listening(address: str | None, changed: Changed) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A connection on which `changed` hears of containers; what it yields waits until it has to be made anew.

    Raises `Transient` where there is no bus, or no systemd on it; and so does the waiting, when the bus goes away.
    """
    from dbus_fast import BusType
    from dbus_fast.aio import MessageBus

    with _mapped("cannot listen on the system bus"):
        bus = MessageBus(bus_address=address, bus_type=BusType.SYSTEM, auth_timeout=PATIENCE)
    ear = Ear()

    def heard(message: Message) -> None:
        name = ear.hear(message)
        if name == "":
            bus.disconnect()
        elif name is not None:
            changed(name)

    async def lost() -> None:
        with _mapped("the system bus went away"):
            await _ended(bus)

    try:
        with _mapped("cannot listen on the system bus"):
            async with asyncio.timeout(PATIENCE):
                await bus.connect()
                bus.add_message_handler(heard)
                ear.owners = await _subscribed(bus) | ear.owners
        yield lost
    finally:
        if bus.connected:
            bus.disconnect()
            await _ended(bus)


async def _ended(bus: MessageBus) -> None:
    """Until a connection is over; raises what ended it, unless that was ourselves."""
    await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def _subscribed(bus: MessageBus) -> dict[str, str]:
    """Ask for the signals; who sends them. machined is only there while a machine is, systemd has to be."""
    for rule in RULES:
        await _call(bus, BUS, "/org/freedesktop/DBus", BUS, "AddMatch", rule)
    owners = {}
    for name, optional in ((SYSTEMD, ""), (MACHINED, f"{BUS}.Error.NameHasNoOwner")):
        said = await _call(bus, BUS, "/org/freedesktop/DBus", BUS, "GetNameOwner", name, fine=optional)
        owners[name] = said or ""
    manager = f"{SYSTEMD}.Manager"
    await _call(bus, SYSTEMD, "/org/freedesktop/systemd1", manager, "Subscribe", fine=f"{SYSTEMD}.AlreadySubscribed")
    return owners


async def _call(
    bus: MessageBus, to: str, path: str, interface: str, member: str, *text: str, fine: str = ""
) -> str | None:
    """The text that a call answers, if any; None where it fails in a way that is `fine`. Raises `Transient`."""
    from dbus_fast import Message, MessageType

    signature = "s" * len(text)
    asked = Message(destination=to, path=path, interface=interface, member=member, signature=signature, body=list(text))
    said = await bus.call(asked)
    answer = str(said.body[0]) if said.body else ""
    if said.message_type is not MessageType.ERROR:
        return answer
    if said.error_name == fine:
        return None
    raise Transient(f"{member} failed: {plain(answer or str(said.error_name))}")


@contextmanager
def _mapped(what: str) -> Iterator[None]:
    """Whatever the library raises, as `Transient`: its documentation names bare exceptions too."""
    try:
        yield
    except Transient as error:
        raise Transient(f"{what}: {error}") from error
    except Exception as error:
        said = plain(str(getattr(error, "strerror", None) or error))
        raise Transient(f"{what}: {said}" if said else what) from error
