"""Snapshots opened for reading: nothing of it stays, whatever happens, and nobody's data is touched."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat

import pytest

from controller.errors import Blocked
from controller.host.files import Files
from controller.host.glimpse import PLACE, Glimpses, in_place, mounted
from controller.host.sim.faults import Fault
from controller.observed import Known
from tests.box import Box, Killed

DATA = "tank/users/alice/containers/dev"
DEV = "owner: alice\nmodules: [git, workspace]\n"


@pytest.fixture
async def box(tmp_path):
    made = Box(tmp_path)
    made.commit({"dev": DEV})
    await made.apply()
    made.data("alice", "dev", "workspace", "notes.txt").write_text("then")
    await made.outside("zfs", "snapshot", "-r", f"{DATA}@voxnix-20260301T120000Z-daily")
    made.data("alice", "dev", "workspace", "notes.txt").write_text("now")
    return made


LABEL = "voxnix-20260301T120000Z-daily"


def glimpses(box, host=None):
    return Glimpses(host or box.host, Files(box.host.root), "tank")


async def datasets(box):
    said = await box.outside("zfs", "list", "-H", "-o", "name", "-r", "tank")
    return set(said.split())


def leftovers(box):
    place = box.host.root / PLACE.lstrip("/")
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def read(handle, name):
    file = os.open(name, os.O_RDONLY, dir_fd=handle)
    try:
        return os.read(file, 100)
    finally:
        os.close(file)


async def test_a_snapshot_is_read_beside_the_live_data_and_leaves_nothing(box):
    before = await datasets(box)
    async with glimpses(box).opened(f"{DATA}/workspace", LABEL) as handle:
        assert read(handle, "notes.txt") == b"then"
        (clone,) = (name for name in await datasets(box) - before if name.startswith("tank/looking/"))
        said = await box.outside("zfs", "get", "-Hp", "-o", "property,value,source", "all", clone)
        for line in ("readonly\ton\tlocal", "devices\toff\tlocal", "setuid\toff\tlocal", "canmount\tnoauto\tlocal"):
            assert line in said.splitlines()
        assert "voxnix:uid\t-\t-" in said.splitlines()
        place = box.host.root / PLACE.lstrip("/")
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert await datasets(box) == before | {"tank/looking"}
    assert leftovers(box) == []
    assert box.data("alice", "dev", "workspace", "notes.txt").read_text() == "now"


async def test_the_planner_sees_nothing_of_a_clone(box):
    async with glimpses(box).opened(f"{DATA}/workspace", LABEL):
        look = await box.look()
        assert isinstance(look.observed.storage, Known)
        assert not [name for name in look.observed.storage.value.datasets if "looking" in name]
        assert look.plan.empty
        assert not look.plan.foreign


@pytest.mark.parametrize("mode", ["die-before", "die-during", "die-after"])
async def test_what_a_killed_reader_left_is_removed_by_the_next(box, mode):
    before = await datasets(box)
    for nth in range(1, 30):
        rule = box.host.faults.add(Fault(match="zfs", nth=nth, mode=mode, times=None))
        with contextlib.suppress(Killed):
            async with glimpses(box).opened(f"{DATA}/workspace", LABEL) as handle:
                os.fstat(handle)
        struck = box.host.faults.struck(rule)
        box.host.faults.clear()
        await glimpses(box).sweep()
        assert await datasets(box) - {"tank/looking"} == before
        assert leftovers(box) == []
        async with glimpses(box).opened(f"{DATA}/workspace", LABEL) as handle:
            assert read(handle, "notes.txt") == b"then"
        if not struck:
            break
    assert not struck
    assert nth > 6


async def test_a_clone_that_is_being_read_is_left_alone(box):
    async with glimpses(box).opened(f"{DATA}/workspace", LABEL) as handle:
        assert await glimpses(box).sweep() == 0
        async with glimpses(box).opened(f"{DATA}/workspace", LABEL) as second:
            assert read(second, "notes.txt") == read(handle, "notes.txt") == b"then"


async def test_nothing_else_below_the_place_of_clones_is_removed(box):
    async with glimpses(box).opened(f"{DATA}/workspace", LABEL):
        pass
    await box.outside("zfs", "create", "tank/looking/0123456789abcdef")
    await box.outside("zfs", "create", "-o", "readonly=on", "-o", "voxnix:part=looking", "tank/looking/mine")
    await box.outside("zfs", "clone", f"{DATA}@{LABEL}", "tank/looking/aaaaaaaaaaaaaaaa")
    assert await glimpses(box).sweep() == 0


async def test_a_clone_that_was_mounted_otherwise_is_still_ours(box):
    async with glimpses(box).opened(f"{DATA}/workspace", LABEL):
        pass
    left = "tank/looking/bbbbbbbbbbbbbbbb"
    place = f"mountpoint={PLACE}/{left[-16:]}"
    await box.outside("zfs", "clone", "-o", "voxnix:part=looking", "-o", place, f"{DATA}@{LABEL}", left)
    assert await glimpses(box).sweep() == 1
    assert left not in await datasets(box)
    assert leftovers(box) == []


async def test_a_place_that_is_somebody_elses_is_not_used(box):
    await box.outside("zfs", "create", "tank/looking")
    with pytest.raises(Blocked, match="voxnix did not make it"):
        async with glimpses(box).opened(DATA, LABEL):
            pass


async def test_a_snapshot_that_is_not_there(box):
    with pytest.raises(Blocked, match="there is no snapshot"):
        async with glimpses(box).opened(DATA, "voxnix-20260301T120000Z-system"):
            pass
    assert leftovers(box) == []


async def test_an_odd_label_is_not_passed_on(box):
    await box.outside("zfs", "snapshot", f"{DATA}@by hand")
    with pytest.raises(Blocked, match="no snapshot's label"):
        async with glimpses(box).opened(DATA, "by hand"):
            pass


async def test_a_folder_that_only_looks_like_a_snapshot_is_not_believed(box):
    workspace = box.data("alice", "dev", "workspace")
    forged = workspace / ".zfs/snapshot" / LABEL
    forged.mkdir(parents=True)
    (forged / "notes.txt").write_text("forged")
    place = "/tank/users/alice/containers/dev/workspace"
    assert in_place(workspace, f"{DATA}/workspace@{LABEL}") is None
    async with glimpses(box).opened(f"{DATA}/workspace", LABEL, place) as handle:
        assert read(handle, "notes.txt") == b"then"


def test_the_mounts_of_zfs_are_told_from_others():
    lines = (
        "36 35 0:40 / /tank rw,relatime shared:1 - zfs tank rw,xattr",
        "90 36 0:77 / /tank/a/.zfs/snapshot/s ro,relatime shared:9 - zfs tank/a@s ro,xattr",
        "91 36 0:78 / /tank/b rw - tmpfs tank/a@t rw",
        "92 36 0:79 / /tank/c rw - fuse tank/a@u rw",
    )
    assert mounted("\n".join(lines)) == {("36", "tank"), ("90", "tank/a@s")}


def test_a_lock_is_let_go_of_by_whoever_ends(tmp_path):
    files = Files(tmp_path)
    made = Glimpses(None, files, "tank")
    with made._locked("0" * 16) as mine:
        assert mine
        with made._locked("0" * 16) as second:
            assert not second
    handle = os.open(tmp_path / PLACE.lstrip("/") / ("0" * 16 + ".lock"), os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
