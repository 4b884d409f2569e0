"""Drift on a real host is noticed by what systemd and machined say, long before it would be looked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.host.appliance import Appliance

pytestmark = pytest.mark.host

SPEC = {"owner": "alice"}
ENDED = ("7ad2d189f7e94e70a38c781354912448", "d9b373ed55a64feb8242e02dbe79a49c")
STARTING, STARTED = "7d4958e842da4a758f6c1cdc7b36dcc5", "39f53479d3a045ac8e11786248231fbf"
"""What systemd calls the messages that a unit ended, well or not, begins to start, and has started."""
SOON = 3.0
"""Seconds in which drift is noticed, on a machine that may have much else to do; a look is due every 60."""


@pytest.fixture
def dev(box: Appliance) -> Iterator[Appliance]:
    """An appliance whose controller runs, with a container `dev` in which nothing is left to do."""
    revision = box.commit(dev=SPEC)
    box.run()
    box.converged(revision)
    yield box
    box.host.do("systemctl", "stop", "voxnix.service")


def story(box: Appliance, since: str) -> dict[str, float]:
    """When, in seconds, the unit last ended, was begun to be started, and had started, as its journal has it."""
    asked = ("-u", "container@dev.service", "-o", "json", f"--after-cursor={since}")
    lines = box.host.do("journalctl", *asked, "--output-fields=MESSAGE_ID").splitlines()
    entries = [json.loads(line) for line in lines]
    told = {each["MESSAGE_ID"]: int(each["__MONOTONIC_TIMESTAMP"]) / 1e6 for each in entries if "MESSAGE_ID" in each}
    ended = max((told[each] for each in ENDED if each in told), default=None)
    times = {"ended": ended, "starting": told.get(STARTING), "started": told.get(STARTED)}
    return {key: at for key, at in times.items() if at is not None}


def cursor(box: Appliance) -> str:
    """The end of the host's journal."""
    return box.host.do("journalctl", "-n", "1", "-o", "cat", "--show-cursor").rpartition("-- cursor: ")[2].strip()


@pytest.mark.parametrize(
    "act",
    [
        "machinectl poweroff dev",
        "machinectl terminate dev",
        "systemctl stop container@dev.service",
        "kill -9 $(machinectl show dev -p Leader --value)",
    ],
)
def test_a_container_that_goes_down_is_up_again_at_once(
    dev: Appliance, act: str, figure: Callable[[str], None]
) -> None:
    before = cursor(dev)
    dev.host.sh(act)
    dev.until(lambda: len(story(dev, before)) == 3, "the container to end and to start again", patience=20)
    times = story(dev, before)
    noticed, up = times["starting"] - times["ended"], times["started"] - times["ended"]
    figure(f"after `{act}`: started {1e3 * noticed:.0f} ms after its end, ready {1e3 * up:.0f} ms after it")
    assert noticed < SOON
    dev.until(lambda: dev.container("dev")["phase"] == "ready", "its status to say so")


def test_a_container_started_behind_our_back_is_stopped_again(dev: Appliance, figure: Callable[[str], None]) -> None:
    dev.converged(dev.commit(dev={**SPEC, "power": "stopped"}))
    before = cursor(dev)
    dev.host.do("systemctl", "start", "--no-block", "container@dev.service")
    dev.until(lambda: {"starting", "ended"} <= story(dev, before).keys(), "the container to be stopped", patience=30)
    times = story(dev, before)
    figure(f"after a start behind its back: ended {1e3 * (times['ended'] - times['starting']):.0f} ms after it")


def test_looking_is_no_reason_to_look(dev: Appliance) -> None:
    time.sleep(2)
    passes = set()
    ended = time.monotonic() + 6
    while time.monotonic() < ended:
        passes.add(dev.status()["passed_at"])
        time.sleep(0.2)
    assert len(passes) <= 2, "more than the resync that may have come in this time"


def test_a_restarted_bus_is_listened_on_again(dev: Appliance) -> None:
    log = ("journalctl", "-u", "voxnix.service", "-o", "cat", "--no-pager")
    # A timedated that lost its bus answers nobody, and keeps its name from being taken, until it ends by itself.
    dev.host.sh("systemctl stop systemd-timedated.service; systemctl restart dbus.service")
    dev.until(lambda: "listening on the system bus again" in dev.host.do(*log), "listening again")
    before = cursor(dev)
    dev.host.do("systemctl", "stop", "container@dev.service")
    dev.until(lambda: len(story(dev, before)) == 3, "the container to end and to start again", patience=20)
    assert dev.host.do(*log).count("the system bus went away") == 1
