"""What is made of signals on the system bus, and how the bus is listened on: here on a bus of the test's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from dbus_fast import Message, MessageType, Variant

from controller.host.signals import BUS, MACHINED, PATIENCE, RULES, SYSTEMD, Ear, Signals, container_of
from controller.waking import watching
from tests.bus import Bus
from tests.chaos.virtual import run

UNIT = "/org/freedesktop/systemd1/unit/container_40{}_2eservice"
OWNERS = {SYSTEMD: ":1.0", MACHINED: ":1.3"}


def unit(state: str, since: int, name: str = "dev", sender: str = ":1.0") -> Message:
    """What systemd says of a unit; recorded from version 257, but for the properties that nothing is made of."""
    changed = {"ActiveState": Variant("s", state), "StateChangeTimestamp": Variant("t", since)}
    return signal(sender, UNIT.format(name), f"{BUS}.Properties", "PropertiesChanged", f"{SYSTEMD}.Unit", changed, [])


def machine(member: str, name: str = "dev", sender: str = ":1.3") -> Message:
    path = f"/org/freedesktop/machine1/machine/{name}"
    return signal(sender, "/org/freedesktop/machine1", f"{MACHINED}.Manager", member, name, path, signature="so")


def owner(name: str, old: str, new: str, sender: str = BUS) -> Message:
    return signal(sender, "/org/freedesktop/DBus", BUS, "NameOwnerChanged", name, old, new, signature="sss")


def signal(sender: str, path: str, interface: str, member: str, *body: object, signature: str = "sa{sv}as") -> Message:
    return Message(
        message_type=MessageType.SIGNAL,
        sender=sender,
        path=path,
        interface=interface,
        member=member,
        signature=signature,
        body=list(body),
        serial=99,
    )


def heard(*messages: Message) -> list[str | None]:
    ear = Ear(dict(OWNERS))
    return [ear.hear(message) for message in messages]


def test_a_container_that_ends_and_is_started_again_by_systemd() -> None:
    story = [("deactivating", 7), ("failed", 8), ("activating", 9), ("activating", 10), ("active", 11)]
    assert heard(*(unit(state, since) for state, since in story)) == [None, "dev", None, None, "dev"]


def test_what_systemd_repeats_is_heard_once() -> None:
    assert heard(unit("active", 5), unit("active", 5), unit("active", 6)) == ["dev", None, "dev"]


def test_a_unit_that_was_only_loaded_has_not_changed() -> None:
    assert heard(unit("inactive", 0), unit("inactive", 5)) == [None, "dev"]


def test_machines_that_come_and_go() -> None:
    assert heard(machine("MachineNew"), machine("MachineRemoved", "web")) == ["dev", "web"]


def test_only_systemd_and_machined_are_believed() -> None:
    assert heard(unit("failed", 5, sender=":1.66"), machine("MachineRemoved", sender=":1.66")) == [None, None]
    assert heard(unit("failed", 5, sender=":1.3"), owner(SYSTEMD, ":1.0", ":1.66", sender=":1.66")) == [None, None]
    assert Ear().hear(machine("MachineNew")) is None


def test_machined_comes_and_goes_with_its_machines() -> None:
    new = machine("MachineNew", sender=":1.9")
    assert heard(owner(MACHINED, ":1.3", ""), new, owner(MACHINED, "", ":1.9"), new) == [None, None, None, "dev"]


def test_when_systemd_comes_back_anything_may_have_changed() -> None:
    assert heard(owner(SYSTEMD, ":1.0", ""), owner(SYSTEMD, "", ":1.9")) == [None, ""]


def test_text_that_is_no_containers_name_is_not_passed_on() -> None:
    names = ["", "../x", "a b", "x\n", "-x", "dév", "x" * 65]
    assert heard(*(machine("MachineNew", name) for name in names if name.isascii() and " " not in name)) == [None] * 5


def test_messages_of_another_shape_mean_nothing() -> None:
    odd = [
        signal(":1.3", "/org/freedesktop/machine1", f"{MACHINED}.Manager", "MachineNew", 5, signature="u"),
        signal(":1.0", UNIT.format("dev"), f"{BUS}.Properties", "PropertiesChanged", "x", signature="s"),
        signal(BUS, "/org/freedesktop/DBus", BUS, "NameOwnerChanged", SYSTEMD, signature="s"),
        signal(":1.0", "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager", "UnitNew", "a", "/b", signature="so"),
    ]
    assert heard(*odd) == [None] * len(odd)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (UNIT.format("dev"), "dev"),
        (UNIT.format("my_2dbox"), "my-box"),
        (UNIT.format("a_5fb"), "a_b"),
        ("/org/freedesktop/systemd1/unit/dev_2eservice", None),
        ("/org/freedesktop/systemd1/unit/container_40_2eservice", None),
        ("/org/freedesktop/systemd1/unit/container_40a_2fb_2eservice", None),
        ("/org/freedesktop/systemd1/unit/container_40dev_2emount", None),
        ("/org/freedesktop/systemd1/job/container_40dev_2eservice", None),
        ("", None),
    ],
)
def test_the_container_of_a_path(path: str, name: str | None) -> None:
    assert container_of(path) == name


class Listener:
    """A watch that runs, what it told, and how long it paused before each new attempt."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.pauses: list[float] = []
        self._more = asyncio.Event()

    def tell(self, name: str) -> None:
        self.told.append(name)
        self._more.set()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._more.set()
        await asyncio.sleep(0.001)

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not true():
                self._more.clear()
                await self._more.wait()

    async def hears(self, *names: str) -> None:
        """Wait until just that was told, and forget it."""
        await self.until(lambda: self.told == list(names))
        self.told.clear()

    async def tries(self, times: int) -> None:
        """Wait until so many attempts came to nothing."""
        await self.until(lambda: len(self.pauses) >= times)


@asynccontextmanager
async def listening(bus: Bus) -> AsyncIterator[Listener]:
    listener = Listener()
    async with watching(partial(Signals(bus.address, listener.pause).watch, listener.tell)):
        yield listener


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    made = Bus(tmp_path / "bus")
    await made.up()
    yield made
    if made.path.exists():
        await made.down()


async def test_all_is_looked_at_when_listening_begins_and_then_what_changed(bus: Bus) -> None:
    async with listening(bus) as listener:
        await listener.hears("")
        assert bus.rules == list(RULES)
        bus.say(unit("active", 4, "nothing-of-ours".replace("-", "_2d")))
        bus.say(unit("deactivating", 5))
        bus.say(unit("failed", 6))
        await listener.hears("nothing-of-ours", "dev")


async def test_the_environment_may_say_where_the_bus_is(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    listener = Listener()
    async with watching(partial(Signals(pause=listener.pause).watch, listener.tell)):
        await listener.hears("")


async def test_listening_changes_nothing(bus: Bus) -> None:
    async with listening(bus) as listener:
        await listener.hears("")
    assert {call.split()[0] for call in bus.called} == {"Hello", "AddMatch", "GetNameOwner", "Subscribe"}


async def test_a_bus_that_is_restarted_is_listened_on_again(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with listening(bus) as listener:
        await listener.hears("")
        await bus.down()
        await listener.tries(3)
        await bus.up()
        await listener.hears("")
        bus.say(unit("failed", 5))
        await listener.hears("dev")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert listener.pauses[:3] == [0.2, 0.4, 0.8]


async def test_no_bus_at_all_is_said_once_and_tried_ever_more_rarely(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(Bus(tmp_path / "none")) as listener:
        await listener.tries(12)
    assert listener.pauses[:10] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert listener.told == []
    [record] = caplog.records
    assert "No such file or directory" in record.message


async def test_a_bus_without_systemd_is_as_good_as_none(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    bus.systemd = False
    async with listening(bus) as listener:
        await listener.tries(2)
        assert listener.told == []
        bus.systemd = True
        await listener.hears("")
    assert "GetNameOwner failed: no such name" in caplog.records[0].message


async def test_when_systemd_was_restarted_the_signals_are_asked_for_anew(bus: Bus) -> None:
    async with listening(bus) as listener:
        await listener.hears("")
        bus.say(owner(SYSTEMD, ":1.0", ":1.9"))
        await listener.hears("")
        assert bus.called.count("Subscribe") == 2


def test_a_bus_that_does_not_answer_is_given_up_in_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def story() -> float:
        bus = Bus(tmp_path / "bus")
        server = await asyncio.start_unix_server(silent, bus.path)
        began = asyncio.get_running_loop().time()
        async with listening(bus) as listener:
            while not listener.pauses:  # noqa: ASYNC110 - virtual time has to pass
                await asyncio.sleep(0.1)
        server.close()
        return asyncio.get_running_loop().time() - began

    assert PATIENCE <= run(story()) < PATIENCE + 1
    assert "cannot listen on the system bus" in caplog.records[0].message
