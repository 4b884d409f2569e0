"""Datasets in use: what OpenZFS refuses, and what it lets happen under a container that runs.

The product stops a container and sees it gone before it moves its data. These cases say why it must: unlike ZFS on
FUSE, OpenZFS unmounts and renames what a container has bound, and the container writes on at the new place.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.machine import Machine

pytestmark = pytest.mark.vm

TOP = "tank/held"
DATA = f"{TOP}/dev"
WORK = f"{DATA}/workspace"
TRASH = f"{TOP}/trash/dev"


@pytest.fixture
def data(vm: Machine) -> Iterator[None]:
    """A dataset with a child, and a place that is not mounted to move it to."""
    vm.sh(
        f"zfs create -o mountpoint=/{TOP} {TOP}; zfs create {DATA}; zfs create {WORK}\n"
        f"zfs create -o mountpoint=none {TOP}/trash\n"
        f"mkdir /{DATA}/home; echo kept > /{WORK}/file\n"
    )
    yield
    vm.call("systemctl", "stop", "holder.service")
    # A mount namespace goes a moment after its last process, and its mounts with it.
    vm.sh(f"for i in $(seq 100); do zfs destroy -r {TOP} 2>/dev/null && break; sleep 0.1; done; rm -rf /{TOP}")


@pytest.fixture
def holder(vm: Machine, data: None) -> str:
    """The id of a process whose mount namespace has the dataset and its child, as a container's has."""
    root = "/run/holder"
    script = (
        f"mkdir -p {root}/home {root}/workspace; mount --make-rprivate /\n"
        f"mount --bind /{DATA}/home {root}/home; mount --bind /{WORK} {root}/workspace\n"
        # The host's own mounts are not seen from a container either.
        f"umount -l /{WORK}; umount -l /{DATA}; touch {root}/ready; exec sleep infinity"
    )
    start = ("systemd-run", "-q", "--collect", "--unit=holder", "unshare", "--mount", "sh", "-ec", script)
    vm.sh(f"rm -rf {root}")
    vm.do(*start)
    vm.sh(f"for i in $(seq 200); do [ ! -e {root}/ready ] || exit 0; sleep 0.1; done; exit 1")
    return vm.do("systemctl", "show", "--value", "-p", "MainPID", "holder.service").strip()


def at(vm: Machine, holder: str, script: str) -> str:
    """Run a script where the holder is."""
    return vm.do("nsenter", "-t", holder, "-m", "sh", "-ec", script)


def mounted(vm: Machine, name: str) -> list[str]:
    """Whether a dataset and its child are mounted, as `zfs` says."""
    return vm.do("zfs", "get", "-Hp", "-r", "-t", "filesystem", "-o", "value", "mounted", name).split()


def test_a_process_of_the_host_keeps_a_dataset_mounted(vm: Machine, data: None) -> None:
    stay = ("-p", "Type=exec", "-p", f"WorkingDirectory=/{WORK}", "sleep", "infinity")
    vm.do("systemd-run", "-q", "--collect", "--unit=holder", *stay)
    busy = f"cannot unmount '/{WORK}': pool or dataset is busy\n"
    for words in (["unmount", WORK], ["unmount", DATA], ["rename", DATA, TRASH]):
        result = vm.call("zfs", *words)
        assert (result.code, result.err) == (1, busy)
    assert mounted(vm, DATA) == ["yes", "yes"]
    assert vm.do("cat", f"/{WORK}/file") == "kept\n"


def test_a_container_does_not_keep_its_dataset_from_moving(vm: Machine, holder: str) -> None:
    vm.do("zfs", "rename", DATA, f"{TOP}/other")
    assert mounted(vm, f"{TOP}/other") == ["yes", "yes"]
    at(vm, holder, "echo on > /run/holder/workspace/later")
    assert vm.do("cat", f"/{TOP}/other/workspace/later") == "on\n"
    vm.do("zfs", "rename", f"{TOP}/other", TRASH)
    assert mounted(vm, TRASH) == ["no", "no"]
    at(vm, holder, "echo on > /run/holder/workspace/in-the-trash")
    vm.do("zfs", "rename", TRASH, DATA)
    assert mounted(vm, DATA) == ["no", "no"]
    vm.sh(f"zfs mount {DATA}; zfs mount {WORK}")
    assert vm.do("cat", f"/{WORK}/in-the-trash") == "on\n"


def test_a_container_keeps_its_dataset_from_being_destroyed_but_not_its_snapshots(vm: Machine, holder: str) -> None:
    vm.do("zfs", "snapshot", "-r", f"{DATA}@s")
    result = vm.call("zfs", "destroy", "-r", DATA)
    busy = "".join(f"cannot destroy '{name}': dataset is busy\n" for name in (WORK, DATA))
    assert (result.code, result.err) == (1, busy)
    assert mounted(vm, DATA) == ["no", "no"]
    assert vm.do("zfs", "list", "-H", "-o", "name", "-r", "-t", "all", DATA).split() == [DATA, WORK]
    assert at(vm, holder, "cat /run/holder/workspace/file") == "kept\n"
    vm.do("systemctl", "stop", "holder.service")
    vm.sh(f"for i in $(seq 100); do zfs destroy -r {DATA} && exit 0; sleep 0.1; done; exit 1")


def test_snapshots_can_be_read_where_the_dataset_is_and_do_not_hold_it(vm: Machine, data: None) -> None:
    vm.do("zfs", "snapshot", "-r", f"{DATA}@s")
    vm.do("rm", f"/{WORK}/file")
    assert vm.do("ls", "-A", f"/{WORK}") == ""
    assert vm.do("cat", f"/{WORK}/.zfs/snapshot/s/file") == "kept\n"
    vm.do("zfs", "rename", DATA, f"{TOP}/other")
    assert vm.do("cat", f"/{TOP}/other/workspace/.zfs/snapshot/s/file") == "kept\n"
    vm.do("zfs", "destroy", f"{TOP}/other/workspace@s")
    assert vm.do("ls", f"/{TOP}/other/workspace/.zfs/snapshot") == ""
    vm.do("zfs", "rename", f"{TOP}/other", DATA)
