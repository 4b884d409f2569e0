"""News: one message an incident, edited to its end; no floods, and quiet hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent.budget import Preferences
from agent.news import News, quiet
from agent.staged import StagedAppliance
from agent.store import Store
from tests.agent.office import Screen


class Changing(StagedAppliance):
    """A staged appliance whose `api` is as told."""

    well = True
    phase = "degraded"

    async def status(self):
        document = await super().status()
        api = next(one for one in document["containers"] if one["name"] == "api")
        api["phase"] = self.phase
        if self.well:
            api |= {"phase": "ready", "machine": "running"}
        return document


class Place:
    """News for bob, and a clock."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.screen, self.appliance = Screen(), Changing()
        self.preferences = Preferences(Store(":memory:"))
        self.open()

    def open(self) -> None:
        chats = {"bob": ["c1"]}
        self.news = News(
            self.appliance, self.preferences, self.screen, lambda owner: chats.get(owner, []), now=lambda: self.now
        )

    async def after(self, seconds: float, *, well: bool) -> None:
        self.appliance.well = well
        await self.news.look()
        self.now += timedelta(seconds=seconds)
        await self.news.look()


@pytest.fixture
def place():
    return Place()


async def test_an_incident_is_one_message_edited_to_its_end(place):
    await place.after(60, well=False)
    assert place.screen.last.startswith("api is not well: api keeps failing to start")
    await place.after(5, well=True)
    assert place.screen.last.startswith("api was not well for 1 min")
    assert "Now: api is running" in place.screen.last
    assert len(place.screen.texts) == 1


async def test_what_heals_soon_is_no_news(place):
    await place.after(10, well=False)
    await place.after(10, well=True)
    assert place.screen.texts == {}


async def test_flapping_is_one_incident(place):
    for _ in range(20):
        await place.after(60, well=False)
        await place.after(60, well=True)
    assert len(place.screen.texts) == 1
    await place.after(1200, well=True)
    await place.after(60, well=False)
    assert len(place.screen.texts) == 2


async def test_a_restart_does_not_tell_again(place):
    await place.after(60, well=False)
    place.open()
    await place.after(60, well=False)
    assert len(place.screen.texts) == 1


async def test_quiet_hours_hold_back_and_what_is_over_is_not_told(place):
    place.preferences.set("bob", "quiet", "11-14")
    await place.after(600, well=False)
    assert place.screen.texts == {}
    await place.after(600, well=True)
    place.now += timedelta(hours=3)
    await place.news.look()
    assert place.screen.texts == {}
    place.appliance.well = False
    await place.after(60, well=False)
    assert len(place.screen.texts) == 1


async def test_what_is_held_says_how_it_goes_on(place):
    place.appliance.phase = "held"
    await place.after(60, well=False)
    assert place.screen.last.startswith("api is held: ")
    assert "approve api" in place.screen.last


@pytest.mark.parametrize(
    ("hours", "hour", "so"),
    [
        ("22-7", 23, True),
        ("22-7", 6, True),
        ("22-7", 12, False),
        ("9-17", 9, True),
        ("9-17", 17, False),
        ("", 3, False),
    ],
)
def test_quiet(hours, hour, so):
    assert quiet(hours, datetime(2026, 3, 1, hour, tzinfo=UTC)) is so
