"""User namespaces over datasets: which flags of systemd-nspawn give files their right owners, inside and outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.host.run import Result
from tests.vm.machine import Machine

pytestmark = pytest.mark.vm

TOP = "tank/ids"
PICKED = "--private-users=pick"
ELSEWHERE = "--private-users=1879048192:65536"


@pytest.fixture(scope="module")
def root(vm: Machine) -> Iterator[str]:
    """The root tree of a container, and beside it a dataset that root and user 1000 have a file in."""
    place = "/var/lib/nixos-containers/ids"
    vm.sh(
        f"mkdir -p {place}/etc {place}/usr; touch {place}/etc/os-release\n"
        f"for name in bin sbin lib lib64; do ln -s usr/$name {place}/$name; done\n"
        f"zfs create -o mountpoint=/{TOP} -o setuid=off -o devices=off {TOP}\n"
        f"echo root > /{TOP}/root; echo user > /{TOP}/user; chown 1000:100 /{TOP}/user\n"
    )
    yield place
    vm.sh(f"zfs destroy -r {TOP}; rm -rf {place}")


def inside(vm: Machine, root: str, users: str, how: str, script: str) -> Result:
    """Run a script in a container of its own, the dataset bound at `/data` in a certain way."""
    start = ["systemd-nspawn", "-q", "--console=pipe", "--keep-unit", "--register=no", "-M", "ids", "-D", root, users]
    bind = f"--bind=/{TOP}:/data{how}"
    # Each in a unit: a container needs a control group that is its own.
    scope = ["systemd-run", "-q", "--wait", "--pipe", "--collect", "-p", "Delegate=yes"]
    return vm.call(*scope, *start, "--bind-ro=/nix/base/usr:/usr", bind, "/bin/sh", "-c", script)


def owners(vm: Machine) -> dict[str, str]:
    """The owners of the dataset's files as the host has them."""
    lines = vm.sh(f"cd /{TOP} && stat -c '%n %u:%g' *").splitlines()
    return dict(line.split() for line in lines)


def test_a_plain_bind_belongs_to_nobody(vm: Machine, root: str) -> None:
    result = inside(vm, root, PICKED, "", "stat -c %u:%g /data/root; echo x > /data/plain")
    assert result.out == "65534:65534\n"
    assert "Permission denied" in result.err
    assert "plain" not in owners(vm)


def test_idmap_gives_every_file_its_owner_whatever_range_was_picked(vm: Machine, root: str) -> None:
    script = "stat -c %u:%g /data/root /data/user; echo x > /data/one; echo x > /data/two; chown 1000:100 /data/two"
    result = inside(vm, root, PICKED, ":idmap", f"cat /proc/self/uid_map; {script}")
    assert result.code == 0, result.err
    first, *seen = result.out.splitlines()
    assert int(first.split()[1]) >= 2**16
    assert seen == ["0:0", "1000:100"]
    assert owners(vm) == {"root": "0:0", "user": "1000:100", "one": "0:0", "two": "1000:100"}
    again = inside(vm, root, ELSEWHERE, ":idmap", "stat -c %u:%g /data/one /data/two && rm /data/one /data/two")
    assert (again.code, again.out) == (0, "0:0\n1000:100\n"), again.err


@pytest.mark.parametrize("how", [":rootidmap", ":owneridmap"])
def test_the_other_maps_know_the_owner_only(vm: Machine, root: str, how: str) -> None:
    script = "stat -c %u:%g /data/root /data/user; echo x > /data/one && chown 1000:100 /data/one"
    result = inside(vm, root, PICKED, how, script)
    assert result.out == "0:0\n65534:65534\n"
    assert "Value too large for defined data type" in result.err
    assert owners(vm).pop("one") == "0:0"
    vm.do("rm", f"/{TOP}/one")


def test_the_host_does_not_honour_setuid_files_of_a_container(vm: Machine, root: str) -> None:
    script = "cp /usr/bin/id /data/id && chmod 4755 /data/id"
    assert inside(vm, root, PICKED, ":idmap", script).code == 0
    result = vm.call("setpriv", "--reuid=1000", "--clear-groups", f"/{TOP}/id", "-u")
    assert result.out == "1000\n"
    vm.do("rm", f"/{TOP}/id")
