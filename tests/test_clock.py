"""Whether the clock can be trusted: jumps, drift, suspends and reboots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.plan.clock import DOUBT, JUMP, Instant, tick

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BEFORE = Instant(NOW, 10_000.0, "boot-1")


def after(wall: float, uptime: float, boot: str = "boot-1", last: Instant = BEFORE) -> Instant:
    return tick(last, NOW + timedelta(seconds=wall), 10_000.0 + uptime, boot)


def test_the_first_pass_of_all_trusts_the_clock() -> None:
    assert tick(None, NOW, 5.0, "boot-1").steady


@pytest.mark.parametrize("wall", [60.0, 60.0 + JUMP, 60.0 - JUMP])
def test_a_clock_that_keeps_time_or_is_corrected_a_little_is_trusted(wall: float) -> None:
    assert after(wall, 60).steady


@pytest.mark.parametrize("wall", [61.0 + JUMP, 59.0 - JUMP, 86400.0 * 365, -86400.0 * 365])
def test_a_clock_that_jumped_more_than_an_hour_is_not(wall: float) -> None:
    assert not after(wall, 60).steady


def test_it_is_trusted_again_after_a_while_without_another_jump() -> None:
    jumped = after(7200, 60)
    assert not after(7200 + DOUBT - 61, DOUBT - 1, last=jumped).steady
    assert after(7200 + DOUBT, 60 + DOUBT, last=jumped).steady


def test_doubt_outlasts_passes_that_are_in_order() -> None:
    instant = after(7200, 60)
    for second in range(1, 500, 50):
        instant = after(7200 + second, 60 + second, last=instant)
        assert not instant.steady


def test_a_second_jump_begins_the_doubt_anew() -> None:
    jumped = after(7200, 60)
    again = after(0, 60 + DOUBT - 1, last=jumped)
    assert not after(DOUBT / 2, 60 + DOUBT * 1.4, last=again).steady


def test_a_long_time_asleep_between_passes_is_no_jump() -> None:
    assert after(86400, 86400).steady


def test_after_a_reboot_time_may_have_passed_but_not_gone_back() -> None:
    assert tick(BEFORE, NOW + timedelta(days=30), 20.0, "boot-2").steady
    assert not tick(BEFORE, NOW - timedelta(hours=2), 20.0, "boot-2").steady
    assert tick(BEFORE, NOW - timedelta(minutes=5), 20.0, "boot-2").steady
