"""voxnix on OpenZFS and a kernel with every control group: data and limits as a container's user feels them.

One container goes through its life; the tests of this file build on each other, in their order.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.host.appliance import Appliance
from tests.vm.machine import Machine

pytestmark = pytest.mark.vm

DATA = "tank/users/alice/containers/dev"
BOMB = "again() { again | again & }; while :; do again; done"
GROUP = "/sys/fs/cgroup/machine.slice/container@dev.service"


def spec(**fields: Any) -> dict[str, Any]:
    """The container, with a workspace of 4 MiB."""
    return {"owner": "alice", "modules": ["git", "workspace"], "workspace": {"quota": "4M"}, **fields}


def applied(box: Appliance, **fields: Any) -> None:
    """Commit the container with these fields, and converge."""
    box.commit(dev=spec(**fields))
    box.voxnix("apply")


def counted(vm: Machine, file: str, key: str) -> int:
    """One number of a keyed file of the container's control group."""
    lines = vm.do("cat", f"{GROUP}/{file}").splitlines()
    return int(dict(line.split() for line in lines)[key])


def test_doctor_finds_the_host_able(vm: Machine, box: Appliance) -> None:
    found = json.loads(box.voxnix("doctor", "--json"))
    assert found["able"]
    assert {check["what"]: check["found"] for check in found["checks"]}["zfs"] == "pool tank is online"


def test_a_commit_becomes_a_container_on_datasets(vm: Machine, box: Appliance) -> None:
    applied(box)
    [found] = box.status()["containers"]
    assert (found["name"], found["phase"]) == ("dev", "ready")
    listed = vm.do("zfs", "get", "-Hp", "-r", "-t", "filesystem", "-o", "name,property,value", "mounted,refquota", DATA)
    assert listed.splitlines() == [
        f"{DATA}\tmounted\tyes",
        f"{DATA}\trefquota\t0",
        f"{DATA}/workspace\tmounted\tyes",
        f"{DATA}/workspace\trefquota\t4194304",
    ]
    mounts = vm.inside("dev", "cat /proc/mounts").out.splitlines()
    places = {place: options for _, place, kind, options, *_ in map(str.split, mounts) if kind == "zfs"}
    assert places.keys() == {"/home", "/root", "/var/lib", "/workspace"}
    assert all({"nosuid", "nodev"} <= set(options.split(",")) for options in places.values())


def test_the_quota_is_felt_and_can_be_raised(vm: Machine, box: Appliance) -> None:
    fill = "head -c 6M /dev/urandom > /workspace/big && sync -f /workspace/big"
    refused = vm.inside("dev", fill)
    assert refused.code != 0
    assert "Disk quota exceeded" in refused.err
    vm.inside("dev", "rm /workspace/big; echo precious > /workspace/note; echo mine > /home/note")
    before = vm.inside("dev", "cut -d' ' -f22 /proc/1/stat").out
    applied(box, workspace={"quota": "16M"})
    assert vm.inside("dev", fill).code == 0
    assert vm.inside("dev", "cut -d' ' -f22 /proc/1/stat").out == before


def test_limits_are_changed_live_and_felt(vm: Machine, box: Appliance) -> None:
    before = vm.inside("dev", "cut -d' ' -f22 /proc/1/stat").out
    applied(box, workspace={"quota": "16M"}, resources={"memory": "160M", "cpus": 0.5, "tasks": 60})
    assert vm.inside("dev", "cut -d' ' -f22 /proc/1/stat").out == before
    assert vm.do("cat", f"{GROUP}/memory.max", f"{GROUP}/pids.max", f"{GROUP}/cpu.max").split() == [
        *(str(160 * 2**20), "60"),
        *("50000", "100000"),
    ]


def test_a_hog_is_killed_and_the_container_lives(vm: Machine) -> None:
    killed = counted(vm, "memory.events", "oom_kill")
    hog = vm.inside("dev", "exec perl -e '$x = \"a\" x (400 * 2**20); print length $x'")
    assert hog.code != 0
    assert hog.out == ""
    assert counted(vm, "memory.events", "oom_kill") > killed
    assert vm.inside("dev", "echo alive").out == "alive\n"


def test_a_fork_too_many_is_refused(vm: Machine) -> None:
    script = "for i in $(seq 70); do sleep 300 & done"
    refused = vm.inside("dev", script)
    assert refused.code != 0
    assert "fork" in refused.err
    assert counted(vm, "pids.events", "max") > 0
    assert vm.inside("dev", "echo alive").out == "alive\n"


def test_more_than_its_share_of_processors_is_not_had(vm: Machine) -> None:
    throttled, used = counted(vm, "cpu.stat", "nr_throttled"), counted(vm, "cpu.stat", "usage_usec")
    began = time.monotonic()
    vm.inside("dev", "timeout 6 sh -c 'while :; do :; done' & timeout 6 sh -c 'while :; do :; done'; wait")
    passed = time.monotonic() - began
    assert counted(vm, "cpu.stat", "nr_throttled") > throttled
    assert (counted(vm, "cpu.stat", "usage_usec") - used) / 1e6 < 0.6 * passed


def test_what_was_written_survives_a_power_cut(vm: Machine, box: Appliance) -> None:
    vm.inside("dev", "echo kept > /workspace/synced; sync /workspace/synced")
    vm.cut()
    vm.boot()
    assert vm.do("zpool", "status", "-x") == "all pools are healthy\n"
    box.voxnix("apply")
    assert vm.inside("dev", "cat /workspace/synced /workspace/note /home/note").out == "kept\nprecious\nmine\n"


def test_removal_and_return_keep_every_file(vm: Machine, box: Appliance) -> None:
    """Whatever goes on in it: it forks without end as it is removed."""
    refused = counted(vm, "pids.events", "max")
    assert vm.inside("dev", f"systemd-run -q --no-block bash -c '{BOMB}'").code == 0
    box.until(lambda: counted(vm, "pids.events", "max") > refused, "its forks to reach their limit")
    box.commit(dev=None)
    box.voxnix("apply")
    assert vm.do("machinectl", "list", "--output=json") == "[]\n"
    [trash] = box.status()["trash"]
    assert trash["name"] == "dev"
    listed = vm.do("zfs", "get", "-Hp", "-r", "-t", "filesystem", "-o", "name,value", "mounted", "tank/trash")
    pieces = dict(line.split() for line in listed.splitlines())
    assert len(pieces) == 3
    assert set(pieces.values()) == {"no"}
    box.voxnix("trash", "restore", trash["id"], "--no-wait")
    box.voxnix("apply")
    assert vm.inside("dev", "cat /workspace/synced /workspace/note /home/note").out == "kept\nprecious\nmine\n"
    assert box.status()["trash"] == []


def test_a_purge_that_was_approved_destroys(vm: Machine, box: Appliance) -> None:
    vm.do("git", "-C", "/srv/work", "pull", "-q", "origin", "main")
    box.commit(dev=None)
    box.voxnix("apply")
    [trash] = box.status()["trash"]
    box.voxnix("trash", "purge", trash["id"], "--yes", "--no-wait")
    box.voxnix("apply", code=3)
    [hold] = box.status()["holds"]
    box.voxnix("approve", hold["id"], "--yes", "--no-wait")
    box.voxnix("apply")
    assert vm.do("zfs", "list", "-H", "-o", "name", "-r", "tank/trash") == "tank/trash\n"
