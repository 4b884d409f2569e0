"""A controller that follows a branch on a forge: beside its passes, rarely while that is away, judging each commit."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from controller.waking import Poll
from tests import keygen
from tests.far import far
from tests.forge import TOKEN
from tests.pushers import ALICE_SIGNS, BOB_SIGNS, POLICY, REQUIRED, TENANTS, Pushers

DEV = "owner: alice\nmodules: [git]\n"


@pytest.fixture
def home(tmp_path):
    with far(tmp_path) as found:
        yield found


class TestPoll:
    """When it is looked, with a look that takes no time."""

    async def story(self, act: Callable[[Poll, list[str], asyncio.Queue[str]], Awaitable[None]], news=True, pause=0.0):
        looks: list[str] = []
        queue: asyncio.Queue[str] = asyncio.Queue()
        halted = []

        def refresh() -> bool:
            looks.append("look")
            return news

        poll = Poll(refresh, lambda: pause, lambda: halted.append(True))
        task = asyncio.create_task(poll.watch(queue.put_nowait))
        try:
            await asyncio.wait_for(act(poll, looks, queue), 20)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert halted == [True]

    async def test_news_are_passed_on(self):
        async def act(poll, looks, queue):
            assert "news" in await queue.get()

        await self.story(act)

    async def test_no_news_are_not(self):
        async def act(poll, looks, queue):
            await until(lambda: len(looks) >= 5, "looks")
            assert queue.empty()

        await self.story(act, news=False)

    async def test_who_asks_does_not_wait_for_the_time(self):
        async def act(poll, looks, queue):
            await asyncio.sleep(0.05)
            assert looks == []
            poll.ask()
            await queue.get()
            assert looks == ["look"]

        await self.story(act, pause=3600)


async def runs(box):
    return (await box.outside("systemctl", "is-active", "container@dev.service")).strip() == "active"


def summary(controller):
    return json.loads(controller.store.summary())


async def until(so, what):
    async def now():
        return so()

    await until_so(now, what)


async def until_so(so, what):
    end = asyncio.get_running_loop().time() + 30
    while not await so():
        assert asyncio.get_running_loop().time() < end, what
        await asyncio.sleep(0.02)


class TestController:
    async def test_converges_to_what_the_forge_has_and_notes_what_came_of_it(self, home, caplog):
        caplog.set_level("DEBUG")
        home.commit({"state/dev.yaml": DEV})
        box = home.box()
        settled = await box.apply()
        assert settled.converged
        assert set(await box.machines()) == {"dev"}
        assert home.there.git.run("for-each-ref", "refs/notes/voxnix") != b""
        kept = [file for file in home.directory.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]
        assert kept == [home.token]
        assert TOKEN not in caplog.text

    async def test_a_push_is_seen_when_somebody_asks_and_passes_do_not_wait_for_a_forge_that_hangs(self, home):
        home.commit({"state/dev.yaml": DEV})
        box = home.box(poll=3600)
        hang = threading.Event()
        async with box.controller() as controller:
            running = asyncio.create_task(controller.run())
            try:
                await until(lambda: controller.last and not controller.last.plan.lanes, "the first commit")
                first = summary(controller)["revision"]
                home.forge.instead = lambda _: not hang.wait(30)
                second = home.commit({"state/dev.yaml": f"{DEV}power: stopped\n"})
                controller.ask()
                await until(lambda: len(home.forge.asked) and home.forge.asked[-1][0] == "GET", "a fetch")
                before = controller.last
                controller.poke()
                await until(lambda: controller.last is not before, "a pass meanwhile")
                assert summary(controller)["revision"] == first
                home.forge.instead = None
                hang.set()
                controller.ask()
                await until(lambda: summary(controller)["revision"] == second, "the second commit")
            finally:
                hang.set()
                controller.halt()
                await running

    async def test_a_forge_that_is_away_is_told_and_healing_goes_on(self, home):
        home.commit({"state/dev.yaml": DEV})
        box = home.box(poll=5)
        await box.apply()
        with home.forge.away():
            async with box.controller() as controller:
                running = asyncio.create_task(controller.run())
                try:
                    await until(lambda: controller.last is not None, "a pass")
                    assert "could not be fetched" in summary(controller)["fetch"]
                    assert "the revision accepted last stands" in summary(controller)["fetch"]
                    await box.outside("systemctl", "stop", "container@dev.service")
                    assert not await runs(box)
                    controller.poke()
                    await until_so(partial(runs, box), "healing")
                finally:
                    controller.halt()
                    await running

    async def test_a_branch_that_is_gone_or_rewritten_removes_nothing(self, home):
        first = home.commit({"state/dev.yaml": DEV})
        box = home.box()
        await box.apply()
        home.there.git.run("update-ref", "-d", "refs/heads/main")
        async with box.controller() as controller:
            assert (await controller.converge()).converged
            assert "has no branch main any more" in summary(controller)["fetch"]
            assert summary(controller)["revision"] == first
            await controller.stop()
        older = home.there.show(first).parents[0]
        home.there.git.run("update-ref", "refs/heads/main", older)
        async with box.controller() as controller:
            await controller.converge()
            assert "history was rewritten" in summary(controller)["refused"]
            assert summary(controller)["fetch"] == ""
            await controller.stop()
        assert set(await box.machines()) == {"dev"}

    async def test_where_identity_is_required_signatures_alone_count(self, home, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", f"{keygen.install(tmp_path / 'bin')}:{os.environ['PATH']}")
        home.commit({**TENANTS, POLICY: REQUIRED, "state/dev.yaml": DEV, "state/web.yaml": "owner: bob\n"})
        people = Pushers(home.there.path)
        box = home.box()
        await box.apply()
        good = people.smuggle(people.commit({"web": "owner: bob\npower: stopped\n"}, signed=BOB_SIGNS))
        async with box.controller() as controller:
            mirror = controller.desires._mirror
            await controller.converge()
            assert summary(controller)["revision"] == good
            for key, words in ((None, "no signature"), (BOB_SIGNS, "belongs to alice")):
                bad = people.smuggle(people.commit({"dev": "owner: alice\npower: stopped\n"}, signed=key, on=good))
                mirror.refresh()
                await controller.converge()
                told = summary(controller)
                assert told["revision"] == good
                assert f"commit {bad[:10]} is refused" in told["refused"]
                assert words in told["refused"]
            with home.forge.away():
                mirror.refresh()
                await controller.once()
                told = summary(controller)
                assert bad[:10] in told["refused"]
                assert "could not be fetched" in told["fetch"]
            last = people.smuggle(people.commit({"dev": None}, signed=ALICE_SIGNS, on=good))
            mirror.refresh()
            await controller.converge()
            assert (summary(controller)["revision"], summary(controller)["refused"]) == (last, "")
            await controller.stop()
