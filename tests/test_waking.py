"""When a controller looks again: how soon the host may have it look, and what happens when it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.waking import LONGEST, QUIET, SETTLE, SHORTEST, Damper, changes, watching
from tests.box import Box
from tests.chaos.virtual import run

DEV = "owner: alice\nmodules: [git]\n"
OTHERS = {"api": "owner: bob\n", "web": "owner: bob\n"}


class Time:
    """Seconds that pass when told to; what is due on the way is done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks: list[float] = []
        self._due: list[tuple[float, Callable[[], None]]] = []
        self.damper = Damper(lambda: self.looks.append(round(self.now, 3)), lambda: self.now, self._later)

    def _later(self, after: float, call: Callable[[], None]) -> None:
        self._due.append((self.now + after, call))

    def until(self, at: float) -> None:
        while due := sorted((entry for entry in self._due if entry[0] <= at), key=lambda entry: entry[0]):
            self._due.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = at


def test_the_signals_of_one_stop_are_one_look() -> None:
    time = Time()
    for at in (0.0, 0.005, 0.02):
        time.until(at)
        time.damper.sign()
    time.until(60)
    assert time.looks == [SETTLE]


def test_a_sign_after_a_look_is_never_lost() -> None:
    time = Time()
    time.damper.sign()
    time.until(SETTLE)
    time.damper.sign()
    time.until(60)
    assert time.looks == [SETTLE, SETTLE + SHORTEST]


def test_signs_without_end_are_looked_at_ever_more_rarely_but_at_least_once_a_second() -> None:
    time = Time()
    for millisecond in range(10_000):
        time.until(millisecond / 1000)
        time.damper.sign()
    time.until(60)
    gaps = [round(later - earlier, 1) for earlier, later in zip(time.looks, time.looks[1:], strict=False)]
    assert gaps[:4] == [0.2, 0.4, 0.8, 1.0]
    assert len(time.looks) < 15
    assert set(gaps[3:]) == {LONGEST}
    assert time.looks[-1] >= 10.0 - SETTLE


def test_after_some_quiet_a_sign_is_looked_at_at_once_and_soon_again() -> None:
    time = Time()
    for millisecond in range(5_000):
        time.until(millisecond / 1000)
        time.damper.sign()
    time.until(20)
    time.looks.clear()
    time.damper.sign()
    time.until(20 + SETTLE)
    time.damper.sign()
    time.until(20 + QUIET)
    assert time.looks == [20 + SETTLE, round(20 + SETTLE + SHORTEST, 3)]


async def test_what_is_done_to_a_container_is_no_news() -> None:
    poked = asyncio.Event()
    told: list[str] = []

    async def listen(changed: Callable[[str], None]) -> None:
        changed("busy")
        await asyncio.sleep(10 * SETTLE)
        assert told == []
        changed("idle")
        await asyncio.Event().wait()

    def poke(reason: str) -> None:
        told.append(reason)
        poked.set()

    async with watching(lambda: changes(listen, poke, lambda: {"busy"})):
        await asyncio.wait_for(poked.wait(), 10)
    assert told == ["the host changed"]


async def test_a_watch_that_fails_is_told_and_takes_nothing_with_it(caplog: pytest.LogCaptureFixture) -> None:
    goes_on = asyncio.Event()

    async def fails() -> None:
        raise RuntimeError("no good")

    async def works() -> None:
        await asyncio.sleep(0)
        goes_on.set()

    async with watching(fails, works):
        await asyncio.wait_for(goes_on.wait(), 10)
    assert "no good" in caplog.text


def test_a_container_stopped_behind_our_back_is_healed_when_the_host_says_so(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.commit({"dev": DEV})
    says: list[Callable[[str], None]] = []

    async def listen(changed: Callable[[str], None]) -> None:
        says.append(changed)
        await asyncio.Event().wait()

    async def story() -> float:
        async with box.controller(listen=listen) as controller:
            await controller.converge()
            running = asyncio.create_task(controller.run())
            await asyncio.sleep(1)
            await box.outside("systemctl", "stop", "container@dev.service")
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(5)
            assert "dev" not in await _running(box)
            began = asyncio.get_running_loop().time()
            says[0]("dev")
            while "dev" not in await _running(box):  # noqa: ASYNC110 - the host is asked, it does not tell
                await asyncio.sleep(0.01)
            took = asyncio.get_running_loop().time() - began
            controller.halt()
            await running
            return took

    assert run(story()) < 1


async def _running(box: Box) -> str:
    return await box.outside("machinectl", "list", "--output=json")


class Locked:
    """An appliance whose dev was stopped, and was removed by a commit that the mirror is locked against."""

    def __init__(self, place: Path) -> None:
        self.box = Box(place)
        self.lock = place / "box/root/var/lib/voxnix/mirror.git/refs/voxnix/fetched.lock"
        self.looks = 0
        self.opens_at = 0

    async def prepare(self) -> None:
        self.box.commit({"dev": DEV, **OTHERS})
        assert (await self.box.apply()).converged
        await self.box.outside("systemctl", "stop", "container@dev.service")
        self.box.commit({"dev": None})
        self.lock.mkdir()
        self.box.host.configure(log_commands=True)

    async def first_pass(self) -> float:
        """The virtual seconds that a fresh controller's first pass takes."""
        async with self.box.controller() as controller:
            await controller.begin()
            look = controller.observe

            async def counted(names: object) -> object:
                self.looks += 1
                if self.looks == self.opens_at:
                    self.lock.rmdir()
                return await look(names)

            controller.observe = counted
            began = asyncio.get_running_loop().time()
            await controller.once()
            took = asyncio.get_running_loop().time() - began
            await controller._converger.wait()
            await controller.stop()
            self.published = json.loads(controller.store.summary())
            return took

    @property
    def started(self) -> list[list[str]]:
        return [each["argv"] for each in self.box.host.record() if each["argv"][:2] == ["systemctl", "start"]]


def test_a_fresh_controller_waits_for_a_locked_mirror_before_it_acts_on_an_older_commit(tmp_path: Path) -> None:
    locked = Locked(tmp_path)
    locked.opens_at = 3

    async def story() -> float:
        await locked.prepare()
        return await locked.first_pass()

    took = run(story())
    assert 0.3 <= took < 1
    assert locked.started == []
    assert locked.published["fetch"] == ""


def test_a_mirror_that_stays_locked_keeps_nothing_from_being_healed(tmp_path: Path) -> None:
    locked = Locked(tmp_path)

    async def story() -> float:
        await locked.prepare()
        return await locked.first_pass()

    took = run(story())
    assert 2.9 <= took < 3.5
    assert locked.looks == 6
    assert locked.started == [["systemctl", "start", "container@dev.service"]]
    assert "could not be fetched" in locked.published["fetch"]


def test_a_controller_that_has_looked_before_does_not_wait_and_neither_does_one_without_work(tmp_path: Path) -> None:
    locked = Locked(tmp_path)

    async def story() -> float:
        await locked.prepare()
        await locked.box.outside("systemctl", "start", "container@dev.service")
        async with locked.box.controller() as controller:
            await controller.begin()
            began = asyncio.get_running_loop().time()
            assert (await controller.once()).empty
            await locked.box.outside("systemctl", "stop", "container@dev.service")
            assert not (await controller.once()).empty
            took = asyncio.get_running_loop().time() - began
            await controller.stop()
            return took

    assert run(story()) < 0.1
