"""The agent is killed at every statement of its store and before and after every push; the message then comes again.

Whatever the moment: one commit, and the person learns how it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from agent.person import Heard
from agent.store import Store
from tests.agent.office import BOB, Office, Screen
from tests.agent.test_talk import talk_of
from tests.box import Killed


class Mortal(Store):
    """A store whose process is killed at its n-th statement: before it, or right after."""

    left = 0
    after = False

    def rows(self, sql, *values):
        if self.left == 0:
            return super().rows(sql, *values)
        self.left -= 1
        if self.left:
            return super().rows(sql, *values)
        self.left = 1
        if self.after:
            super().rows(sql, *values)
            self.after = False
        raise Killed


def mortal(office: Office, left: int, *, after: bool) -> Mortal:
    """The office's store, reopened as one that dies."""
    office.store_type = Mortal
    office.reopen()
    assert isinstance(office.store, Mortal)
    office.store.left, office.store.after = left, after
    return office.store


async def one_life(office: Office, heard: Heard, screen: Screen, *, press: bool) -> bool:
    """Hear a message until it is settled, or until death; whether it lived."""
    talk = talk_of(office, screen)
    try:
        await talk.recover(lambda _: BOB)
        await talk.hear(BOB, heard)
        await talk.settle()
        while press and screen.tokens:
            await talk.press(BOB, heard.chat, screen.tokens[0])
            await talk.settle()
    except Killed:
        with contextlib.suppress(Killed):
            await talk.close()
        return False
    return True


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_every_statement(at_work, after):
    lived = 0
    for left in itertools.count(1):
        verb = "stop" if "power: stopped" not in at_work.file("dev") else "start"
        heard = Heard("c1", f"{after}-{left}", f"{verb} dev")
        mortal(at_work, left, after=after)
        first, second = Screen(), Screen()
        survived = await one_life(at_work, heard, first, press=False)
        at_work.store_type = Store
        at_work.reopen()
        assert await one_life(at_work, heard, second, press=False)
        done = "stopped" if verb == "stop" else "running"
        commits = [one for one in at_work.commits(Requested_by="bob") if one.subject == f"{verb} dev"]
        keys = [dict(one.trailers)["Chat-message"] for one in commits]
        assert len(keys) == len(set(keys)), f"killed at {left}: a commit was doubled"
        told = [*first.texts.values(), *second.texts.values()]
        assert any(f"✓ dev is {done}" in text for text in told), f"killed at {left}: {told}"
        if survived:
            lived += 1
            break
    assert left > 8, "it was killed at several places"
    assert lived == 1
    assert len(at_work.commits(Requested_by="bob")) == left


async def test_killed_around_every_push_of_a_removal(at_work):
    for times, (place, nth) in enumerate(itertools.product(("before_push", "after_push"), (1, 2)), 1):
        await asyncio.to_thread(at_work.box.commit, {"tmp": "owner: bob\n"})
        await at_work.until("tmp", "ready")
        count = itertools.count(1)

        def dies(count=count, nth=nth):
            if next(count) == nth:
                raise Killed

        at_work.reopen()
        setattr(at_work.remote, place, dies)
        heard, first, second = Heard("c1", f"{place}-{nth}", "destroy tmp"), Screen(), Screen()
        assert not await one_life(at_work, heard, first, press=True)
        at_work.reopen()
        assert await one_life(at_work, heard, second, press=True)
        told = "\n".join(second.texts.values())
        if await at_work.phase("tmp"):
            assert "approve tmp" in told
            assert await one_life(at_work, Heard("c1", f"{place}-{nth}-again", "approve tmp"), second, press=True)
            told = "\n".join(second.texts.values())
        assert "✓ tmp is removed" in told, (place, nth, told)
        made = [one.subject for one in at_work.commits(Requested_by="bob")]
        assert made.count("destroy tmp") == times
        await at_work.until("tmp", "")
