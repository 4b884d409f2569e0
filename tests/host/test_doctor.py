"""`voxnix doctor` is right about a host that has everything, and of use on one that has nothing."""

from __future__ import annotations

import json

import pytest

from tests.host.appliance import Appliance
from tests.host.machine import Machine

pytestmark = pytest.mark.host

REMEDIES = {
    "git": "install git",
    "state repo": "voxnix init",
    "systemd": "systemd",
    "machinectl": "systemd-container",
    "extra-container": "extra-container.enable",
    "zfs": "zfs",
    "pool space": "pool",
    "clock": "timesyncd",
    "nix-build": "Nix",
    "bridge": "br-vox",
    "unit path": "extraSystemdUnitPaths",
}
"""What a machine without anything lacks, and a word of what it is told to do about it."""
PROGRAMS = "git systemctl machinectl extra-container zfs zpool timedatectl nix-build"


def checks(host: Machine, code: int) -> dict[str, dict[str, str]]:
    result = host.call("voxnix", "doctor", "--json")
    assert result.code == code, result.out + result.err
    document = json.loads(result.out)
    assert document["able"] is (code == 0)
    return {check["what"]: check for check in document["checks"]}


def test_a_host_that_has_everything_is_able(box: Appliance) -> None:
    found = checks(box.host, 0)
    assert {check["state"] for check in found.values()} <= {"fine", "note"}
    assert found["controller"]["state"] == "note"
    box.run()
    assert checks(box.host, 0)["controller"]["state"] == "fine"


def test_each_thing_that_is_wrong_is_told_and_nothing_else(box: Appliance) -> None:
    box.host.do("touch", "/run/testhost/unsynchronised")
    box.host.do("ip", "link", "del", "br-vox")
    box.host.do("zpool", "export", "tank")
    wrong = {what for what, check in checks(box.host, 1).items() if check["state"] == "fails"}
    assert wrong == {"clock", "bridge", "zfs", "pool space"}


def test_a_machine_that_lacks_everything_is_told_what_to_do(host: Machine) -> None:
    host.sh(
        f"for program in {PROGRAMS}; do for place in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do"
        " [ ! -e $place/$program ] || mv $place/$program $place/away-$program; done; done; ip link del br-vox"
    )
    result = host.call("voxnix", "doctor")
    assert result.code == 1
    assert "Traceback" not in result.out + result.err
    found = checks(host, 1)
    for what, remedy in REMEDIES.items():
        assert found[what]["state"] == "fails", found[what]
        assert remedy in found[what]["remedy"], found[what]
    for what in REMEDIES:
        assert what in result.out
