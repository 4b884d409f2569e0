"""Test hosts leave nothing on the machine, however they end, and do not see each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.host import image
from tests.host.fleet import INSTANCES, sweep
from tests.host.machine import Machine, cgroups

pytestmark = pytest.mark.host


def traces(process: int) -> Mapping[str, list[str]]:
    """What the machine has of the hosts of a test process."""
    mark = f"{process}-"
    groups = [group for group in cgroups().glob(f"voxnix-{mark}*") if group.is_dir()]
    living = [pid for group in groups for file in group.rglob("cgroup.procs") for pid in file.read_text().split()]
    return {
        "directories": [place.name for place in (image.cache() / "hosts").glob(f"{mark}*")],
        "groups": [group.name for group in groups],
        "processes": living,
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"hosts/{mark}" in line],
    }


def test_a_host_that_ended_leaves_nothing() -> None:
    links = set(os.listdir("/sys/class/net"))
    script = "echo up; zfs create tank/a; systemd-run -q sleep 1000; systemctl is-system-running"
    argv = [sys.executable, "-m", "tests.host.fleet", "sh", "-c", script]
    with subprocess.Popen(argv, cwd=image.PROJECT, stdout=subprocess.PIPE, text=True) as shell:
        out, _ = shell.communicate(timeout=60)
    assert out.split() == ["up", "running"]
    assert not any(traces(shell.pid).values()), traces(shell.pid)
    assert set(os.listdir("/sys/class/net")) == links


def test_a_host_ends_with_a_test_process_that_is_killed_and_the_next_one_tidies_up() -> None:
    argv = [sys.executable, "-m", "tests.host.fleet", "sh", "-c", "echo up; sleep 1000"]
    with subprocess.Popen(argv, cwd=image.PROJECT, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "up\n"
        assert traces(shell.pid)["processes"]
        shell.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while traces(shell.pid)["processes"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not traces(shell.pid)["processes"]
    assert not traces(shell.pid)["mounts"]
    sweep()
    assert not any(traces(shell.pid).values()), traces(shell.pid)


def test_hosts_side_by_side_do_not_see_each_other(new_host: Callable[[str], Machine]) -> None:
    one, two = new_host("one"), new_host("two")
    one.do("zfs", "create", "tank/only-here")
    assert "only-here" not in two.do("zfs", "list", "-H", "-o", "name")
    assert one.do("cat", "/proc/sys/kernel/random/boot_id") != two.do("cat", "/proc/sys/kernel/random/boot_id")
    one.cut()
    assert two.do("systemctl", "is-system-running").strip() == "running"
    assert int(INSTANCES.read_text()) >= 8192
