"""The storage driver on the simulated host: every verb, done twice, cut short anywhere, and refused."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Blocked, Transient, VoxnixError
from controller.host.files import Files
from controller.host.sim import Fault, SimHost, create, foreign
from controller.host.storage import Storage
from controller.observed.facts import StorageFacts
from controller.plan.actions import (
    Action,
    CloneBack,
    CopyIn,
    CreateDataset,
    DestroyTrash,
    DropSnapshot,
    FromTrash,
    Mark,
    Mount,
    MoveDataset,
    PrepareStorage,
    SetQuota,
    Snapshot,
    ToTrash,
)

G = 2**30
DEV = "tank/users/alice/containers/dev"
WORK = f"{DEV}/workspace"
TRASH = "tank/trash/dev-u1-20261123T120000Z"
LABEL = "voxnix-20261123T120000Z-system"
MARKS = (("appliance", "a1"), ("uid", "u1"), ("name", "dev"), ("owner", "alice"))
THROWN = (("trashed", "20261123T120000Z"), ("trash-reason", "its spec was removed"))

CREATE = CreateDataset(DEV, MARKS, 10 * G)
CHILD = CreateDataset(WORK, (("part", "workspace"),), 5 * G)


class Died(BaseException):
    """The controller was killed at this command."""


def dies() -> None:
    raise Died


@pytest.fixture
def host(tmp_path: Path) -> SimHost:
    return create(tmp_path / "sim")


@pytest.fixture
def storage(host: SimHost) -> Storage:
    return Storage(host, Files(host.root))


def verbs(storage: Storage) -> dict[type, Callable[[Any], Awaitable[None]]]:
    return {
        PrepareStorage: storage.prepare,
        CreateDataset: storage.create,
        SetQuota: storage.set_quota,
        Mark: storage.mark,
        Mount: storage.mount,
        Snapshot: storage.snapshot,
        DropSnapshot: storage.drop_snapshot,
        CopyIn: storage.copy_in,
        ToTrash: storage.trash.put,
        FromTrash: storage.trash.take,
        MoveDataset: storage.trash.move,
        CloneBack: storage.trash.clone_back,
        DestroyTrash: storage.trash.destroy,
    }


async def act(storage: Storage, *actions: Action) -> None:
    for action in actions:
        await verbs(storage)[type(action)](action)


def inside(host: SimHost, path: str) -> Path:
    return host.root / path.lstrip("/")


SETUP = (PrepareStorage(), CREATE, CHILD)


async def ready(storage: Storage, host: SimHost) -> None:
    await act(storage, *SETUP)
    inside(host, f"/{DEV}/home/notes").write_text("home")
    inside(host, f"/{WORK}/thesis").write_text("work")


async def zfs(host: SimHost, *args: str) -> str:
    result = await host.behind_our_back(["zfs", *args])
    assert result.code == 0, result.err
    return result.out


async def test_an_empty_pool_is_known_to_be_unprepared(storage: Storage) -> None:
    facts = await storage.observe()
    assert (facts.prepared, facts.datasets) == (False, {})
    assert facts.available > 0


async def test_no_pool_is_not_the_same_as_an_empty_one(tmp_path: Path) -> None:
    host = create(tmp_path / "sim", pool=None)
    with pytest.raises(Blocked, match="no pool tank"):
        await Storage(host, Files(host.root)).observe()


async def test_preparing_keeps_neighbours_apart(storage: Storage, host: SimHost) -> None:
    await act(storage, PrepareStorage(), PrepareStorage())
    assert (await storage.observe()).prepared
    values = (
        await zfs(host, "get", "-H", "-o", "value", "setuid,devices,mountpoint", "tank/users", "tank/trash")
    ).split()
    assert values == ["off", "off", "/tank/users", "off", "off", "none"]
    assert inside(host, "/tank/users").stat().st_mode & 0o777 == 0o700


async def test_preparing_mends_what_was_changed(storage: Storage, host: SimHost) -> None:
    await act(storage, PrepareStorage())
    await zfs(host, "set", "devices=on", "tank/users")
    await zfs(host, "unmount", "tank/users")
    assert not (await storage.observe()).prepared
    await act(storage, PrepareStorage())
    assert (await storage.observe()).prepared


async def test_users_of_somebody_else_are_left_alone(storage: Storage, host: SimHost) -> None:
    await zfs(host, "create", "tank/users")
    inside(host, "/tank/users").chmod(0o755)
    with pytest.raises(Blocked, match=r"not make it.*zfs set setuid=off tank/users"):
        await act(storage, PrepareStorage())
    assert inside(host, "/tank/users").stat().st_mode & 0o777 == 0o755
    await zfs(host, "set", "voxnix:part=users", "tank/users")
    await act(storage, PrepareStorage())
    assert (await storage.observe()).prepared


async def test_a_new_dataset_has_marks_quota_and_folders(storage: Storage, host: SimHost) -> None:
    await act(storage, *SETUP, *SETUP)
    facts = await storage.observe()
    dev, work = facts.datasets[DEV], facts.datasets[WORK]
    assert dict(dev.marks) == dict(MARKS)
    assert (dev.refquota, dev.mounted, dev.mountpoint) == (10 * G, True, f"/{DEV}")
    assert (dict(work.marks), work.refquota, work.mounted) == ({"part": "workspace"}, 5 * G, True)
    assert sorted(p.name for p in inside(host, f"/{DEV}").iterdir()) == ["home", "root", "var-lib", "workspace"]
    await storage.ready((DEV, WORK))


@pytest.mark.parametrize("action", [CREATE, CHILD])
async def test_a_dataset_is_in_its_place_only_with_its_marks(tmp_path: Path, action: CreateDataset) -> None:
    before = create(tmp_path / "before")
    await act(Storage(before, Files(before.root)), *SETUP[: SETUP.index(action)])
    before.close()
    seen = []
    for nth, part in itertools.product(range(1, 12), (1, 2, 3)):
        shutil.copytree(tmp_path / "before", tmp_path / "cut", symlinks=True)
        host = SimHost(tmp_path / "cut", die=dies)
        host.faults.add(Fault(match="zfs", nth=nth, mode="die-during", step=part))
        with contextlib.suppress(Died):
            await act(Storage(host, Files(host.root)), action)
        host.faults.clear()
        found = (await Storage(host, Files(host.root)).observe()).datasets
        assert dict(found[action.dataset].marks) == dict(action.marks) if action.dataset in found else True
        seen.append((action.dataset in found, any("/making/" in name for name in found)))
        host.close()
        shutil.rmtree(tmp_path / "cut")
    assert {(False, False), (False, True), (True, False)} == set(seen)


@pytest.mark.parametrize("marks", [("-o", "voxnix:appliance=another"), ()])
async def test_what_is_not_ours_where_a_dataset_is_made_is_left_alone(
    storage: Storage, host: SimHost, marks: tuple[str, ...]
) -> None:
    await act(storage, PrepareStorage())
    stage = "tank/users/alice/making/dev"
    await zfs(host, "create", "-p", *marks, stage)
    if not marks:
        inside(host, f"/{stage}/notes").write_text("somebody's")
    before = (await storage.observe()).datasets[stage]
    with pytest.raises(Blocked, match="not an empty dataset of this appliance"):
        await act(storage, CREATE)
    after = (await storage.observe()).datasets
    assert (after[stage].marks, after[stage].referenced) == (before.marks, before.referenced)
    assert DEV not in after


@pytest.mark.parametrize("part", [1, 2])
async def test_users_and_trash_are_in_their_places_only_with_their_marks(tmp_path: Path, part: int) -> None:
    for nth in range(1, 9):
        create(tmp_path / str(nth)).close()
        host = SimHost(tmp_path / str(nth), die=dies)
        host.faults.add(Fault(match="zfs", nth=nth, mode="die-during", step=part))
        with contextlib.suppress(Died):
            await act(Storage(host, Files(host.root)), PrepareStorage())
        host.faults.clear()
        storage = Storage(host, Files(host.root))
        await act(storage, PrepareStorage())
        assert (await storage.observe()).prepared
        host.close()


async def test_nothing_is_made_before_users_is_prepared(storage: Storage, host: SimHost) -> None:
    with pytest.raises(Transient, match="tank/users is not there"):
        await act(storage, CREATE)
    assert await zfs(host, "list", "-H", "-o", "name") == "tank\n"


@pytest.mark.parametrize("marks", [(), (("uid", "u2"),)])
async def test_a_dataset_of_another_is_never_taken_over(storage: Storage, host: SimHost, marks: Any) -> None:
    await act(storage, PrepareStorage())
    await zfs(host, "create", "-p", DEV)
    for key, value in marks:
        await zfs(host, "set", f"voxnix:{key}={value}", DEV)
    before = await storage.observe()
    with pytest.raises(Blocked, match="not of uid u1"):
        await act(storage, CREATE)
    assert await storage.observe() == before


async def test_a_quota_below_use_says_what_to_write(storage: Storage, host: SimHost) -> None:
    await act(storage, *SETUP)
    inside(host, f"/{WORK}/big").write_bytes(b"x" * 3_000_000)
    with pytest.raises(Blocked, match=r"more than a quota of 1M.*a quota of 1G or more"):
        await act(storage, SetQuota(WORK, 2**20))
    await act(storage, SetQuota(WORK, 6 * G))
    assert (await storage.observe()).datasets[WORK].refquota == 6 * G
    await act(storage, SetQuota(WORK, 0))
    assert (await storage.observe()).datasets[WORK].refquota == 0


async def test_marks_are_set_and_taken_off(storage: Storage) -> None:
    await act(storage, *SETUP, Mark(DEV, "node", "n1"), Mark(DEV, "node", "n1"))
    assert await storage.marks(DEV) == {**dict(MARKS), "node": "n1"}
    await act(storage, Mark(DEV, "node", ""), Mark(DEV, "node", ""))
    assert await storage.marks(DEV) == dict(MARKS)
    assert await storage.marks("tank/users/alice/containers/gone") == {}


async def test_a_mark_that_would_not_be_read_back_is_refused(storage: Storage) -> None:
    await act(storage, *SETUP)
    with pytest.raises(ValueError, match="no mark"):
        await act(storage, Mark(DEV, "colour", "red"))


async def test_mounting_mounts_the_parent_first(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    for name in (WORK, DEV):
        await zfs(host, "unmount", name)
    with pytest.raises(Transient, match="not mounted"):
        await storage.ready((DEV, WORK))
    await act(storage, Mount(WORK), Mount(WORK), Mount(DEV))
    assert inside(host, f"/{WORK}/thesis").read_text() == "work"
    await storage.ready((DEV, WORK))


async def test_a_dataset_that_would_be_mounted_elsewhere_is_not_used(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    await zfs(host, "set", "mountpoint=/srv/dev", DEV)
    with pytest.raises(Blocked, match=f"zfs inherit mountpoint {DEV}"):
        await storage.ready((DEV,))


async def test_a_symlink_planted_in_a_dataset_keeps_it_from_starting(storage: Storage, host: SimHost) -> None:
    await act(storage, *SETUP)
    inside(host, f"/{DEV}/home").rmdir()
    inside(host, f"/{DEV}/home").symlink_to("/etc")
    with pytest.raises(Blocked, match="real directory"):
        await storage.ready((DEV,))


async def test_snapshots_of_all_are_taken_once_and_pruned_alone(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    await act(storage, Snapshot(DEV, LABEL), Snapshot(DEV, LABEL))
    facts = await storage.observe()
    assert facts.datasets[DEV].snapshots == facts.datasets[WORK].snapshots == (LABEL,)
    await act(storage, DropSnapshot(DEV, LABEL), DropSnapshot(DEV, LABEL))
    facts = await storage.observe()
    assert (facts.datasets[DEV].snapshots, facts.datasets[WORK].snapshots) == ((), (LABEL,))


async def test_a_snapshot_of_somebody_else_is_never_pruned(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    await zfs(host, "snapshot", f"{DEV}@before-the-exam")
    with pytest.raises(ValueError, match="no snapshot label of ours"):
        await act(storage, DropSnapshot(DEV, "before-the-exam"))


async def test_into_the_trash_and_back(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    await act(storage, Snapshot(DEV, LABEL), ToTrash(DEV, TRASH, THROWN), ToTrash(DEV, TRASH, THROWN))
    facts = await storage.observe()
    assert DEV not in facts.datasets
    thrown = facts.datasets[TRASH]
    assert dict(thrown.marks) == {**dict(MARKS), **dict(THROWN)}
    assert (thrown.mounted, thrown.mountpoint, thrown.snapshots) == (False, "none", (LABEL,))
    assert not facts.datasets[f"{TRASH}/workspace"].mounted

    back = FromTrash(TRASH, DEV, MARKS)
    await act(storage, back, back)
    facts = await storage.observe()
    assert dict(facts.datasets[DEV].marks) == dict(MARKS)
    assert inside(host, f"/{DEV}/home/notes").read_text() == "home"
    assert inside(host, f"/{WORK}/thesis").read_text() == "work"
    await storage.ready((DEV, WORK))


async def test_back_from_the_trash_under_another_name(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    other = "tank/users/alice/containers/dev2"
    marks = (("uid", "u1"), ("name", "dev2"))
    await act(storage, ToTrash(DEV, TRASH, THROWN), FromTrash(TRASH, other, marks))
    assert (await storage.marks(other))["name"] == "dev2"
    assert inside(host, f"/{other}/workspace/thesis").read_text() == "work"


async def test_what_took_the_place_of_trash_stays(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    await act(storage, ToTrash(DEV, TRASH, THROWN))
    await act(storage, CreateDataset(DEV, (("uid", "u2"),)))
    with pytest.raises(Blocked, match="not of uid u1"):
        await act(storage, FromTrash(TRASH, DEV, MARKS))
    facts = await storage.observe()
    assert facts.datasets[DEV].marks["uid"] == "u2"
    assert TRASH in facts.datasets


async def test_moving_to_another_owner(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    target = "tank/users/bob/containers/dev"
    move = MoveDataset(DEV, target, (("uid", "u1"), ("owner", "bob")))
    await act(storage, move, move)
    assert (await storage.marks(target))["owner"] == "bob"
    assert inside(host, f"/{target}/home/notes").read_text() == "home"
    assert inside(host, f"/{target}/workspace/thesis").read_text() == "work"


async def rolled_back(storage: Storage, host: SimHost) -> CloneBack:
    """Data as it was, snapshotted, then spoiled and put aside."""
    await ready(storage, host)
    await act(storage, Snapshot(DEV, LABEL))
    inside(host, f"/{DEV}/home/notes").write_text("spoiled")
    inside(host, f"/{WORK}/thesis").write_text("spoiled")
    await act(storage, ToTrash(DEV, TRASH, (*THROWN, ("aside", "c1"))))
    return CloneBack(TRASH, LABEL, DEV, (*MARKS, ("decision", "c1")))


async def is_rolled_back(storage: Storage, host: SimHost) -> StorageFacts:
    facts = await storage.observe()
    dev = facts.datasets[DEV]
    assert dict(dev.marks) == {**dict(MARKS), "decision": "c1"}
    assert (dev.origin, facts.datasets[WORK].origin) == ("", "")
    assert facts.datasets[WORK].refquota == 5 * G
    assert facts.datasets[WORK].marks["part"] == "workspace"
    assert inside(host, f"/{DEV}/home/notes").read_text() == "home"
    assert inside(host, f"/{WORK}/thesis").read_text() == "work"
    await storage.ready((DEV, WORK))
    return facts


async def test_data_made_again_from_a_snapshot(storage: Storage, host: SimHost) -> None:
    action = await rolled_back(storage, host)
    await act(storage, action, action)
    facts = await is_rolled_back(storage, host)
    assert dict(facts.datasets[TRASH].marks)["aside"] == "c1"
    await act(storage, DestroyTrash(TRASH))
    await is_rolled_back(storage, host)


async def test_a_snapshot_that_is_not_there(storage: Storage, host: SimHost) -> None:
    action = await rolled_back(storage, host)
    with pytest.raises(Blocked, match="no snapshot"):
        await act(storage, CloneBack(action.dataset, "voxnix-20200101T000000Z-daily", DEV, action.marks))


async def test_a_workspace_younger_than_the_snapshot_stays_in_the_trash(storage: Storage, host: SimHost) -> None:
    await act(storage, PrepareStorage(), CREATE, Snapshot(DEV, LABEL), CHILD)
    inside(host, f"/{WORK}/thesis").write_text("work")
    await act(storage, ToTrash(DEV, TRASH, THROWN), CloneBack(TRASH, LABEL, DEV, MARKS))
    facts = await storage.observe()
    assert WORK not in facts.datasets
    assert f"{TRASH}/workspace" in facts.datasets


async def test_trash_is_destroyed_for_good_once(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    await act(storage, Snapshot(DEV, LABEL), ToTrash(DEV, TRASH, THROWN), DestroyTrash(TRASH), DestroyTrash(TRASH))
    assert not any(name.startswith("tank/trash") for name in (await storage.observe()).datasets)


@pytest.mark.parametrize(
    "name",
    [
        DEV,
        WORK,
        "tank/trash",
        "tank/users",
        "tank",
        f"{TRASH}/workspace",
        "tank/trash/../users",
        "tank/trash/x@y",
        "tank/trash/-r",
        "tank/trash/",
        "other/trash/x",
    ],
)
async def test_nothing_but_a_piece_of_trash_is_ever_destroyed(storage: Storage, host: SimHost, name: str) -> None:
    await ready(storage, host)
    before = host.commands
    with pytest.raises(ValueError, match=r"not a piece of trash|no dataset.s name"):
        await act(storage, DestroyTrash(name))
    assert host.commands == before


async def test_what_lies_in_the_trash_without_marks_is_not_destroyed(storage: Storage, host: SimHost) -> None:
    await act(storage, PrepareStorage())
    await zfs(host, "create", TRASH)
    with pytest.raises(Blocked, match="marks of trash"):
        await act(storage, DestroyTrash(TRASH))


async def test_adoption_copies_what_would_be_missed(storage: Storage, host: SimHost) -> None:
    await act(storage, *SETUP)
    foreign(host, "dev", files={"/home/alice/notes": "mine", "/var/lib/db/data": "rows", "/root/x": "r"})
    await host.behind_our_back(["systemctl", "stop", "container@dev.service"])
    await act(storage, CopyIn("dev", DEV), CopyIn("dev", DEV))
    assert inside(host, f"/{DEV}/home/alice/notes").read_text() == "mine"
    assert inside(host, f"/{DEV}/var-lib/db/data").read_text() == "rows"
    assert inside(host, f"/{DEV}/root/x").read_text() == "r"


async def test_adoption_follows_no_symlink_out_of_the_root_tree(storage: Storage, host: SimHost) -> None:
    await act(storage, *SETUP)
    tree = inside(host, "/var/lib/nixos-containers/dev")
    tree.mkdir(parents=True)
    (tree / "home").symlink_to(inside(host, "/root"))
    with pytest.raises(Blocked, match="not copied"):
        await act(storage, CopyIn("dev", DEV))


@pytest.mark.parametrize("mode", ["fail", "garble", "hang"])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_storage_that_cannot_be_asked_is_an_error_and_never_empty(
    storage: Storage, host: SimHost, mode: Any, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ready(storage, host)
    monkeypatch.setattr("controller.host.zfs._LOOK", 0.2)
    host.faults.add(Fault(match="zfs (get|list)", nth=nth, mode=mode, stderr="cannot open 'tank': I/O error\n"))
    with pytest.raises(VoxnixError):
        await storage.observe()


async def test_refusals_in_other_words_are_told(storage: Storage, host: SimHost) -> None:
    await act(storage, *SETUP)
    host.faults.add(Fault(match="zfs snapshot", stderr="cannot create snapshots : out of space\n"))
    with pytest.raises(Blocked, match="pool is full"):
        await act(storage, Snapshot(DEV, LABEL))
    host.faults.add(Fault(match="zfs snapshot", stderr="cannot create snapshots : permission denied\n"))
    with pytest.raises(Blocked, match="doctor"):
        await act(storage, Snapshot(DEV, LABEL))


async def test_a_zfs_that_knows_no_types_is_asked_without(storage: Storage, host: SimHost) -> None:
    await ready(storage, host)
    await act(storage, Snapshot(DEV, LABEL))
    full = await storage.observe()
    host.faults.add(Fault(match="-t filesystem", code=2, stderr="invalid option 't'\nusage:\n", times=None))
    assert await storage.observe() == full


SCENARIOS: dict[str, tuple[Sequence[Action], Action]] = {
    "prepare": ((), PrepareStorage()),
    "create": ((PrepareStorage(),), CREATE),
    "create workspace": ((PrepareStorage(), CREATE), CHILD),
    "quota": (SETUP, SetQuota(DEV, 20 * G)),
    "mark": (SETUP, Mark(DEV, "node", "n1")),
    "snapshot": (SETUP, Snapshot(DEV, LABEL)),
    "drop": ((*SETUP, Snapshot(DEV, LABEL)), DropSnapshot(DEV, LABEL)),
    "to trash": (SETUP, ToTrash(DEV, TRASH, THROWN)),
    "from trash": ((*SETUP, ToTrash(DEV, TRASH, THROWN)), FromTrash(TRASH, DEV, MARKS)),
    "move": (SETUP, MoveDataset(DEV, "tank/users/bob/containers/dev", (("uid", "u1"), ("owner", "bob")))),
    "clone back": (
        (*SETUP, Snapshot(DEV, LABEL), ToTrash(DEV, TRASH, (*THROWN, ("aside", "c1")))),
        CloneBack(TRASH, LABEL, DEV, (*MARKS, ("decision", "c1"))),
    ),
    "destroy": ((*SETUP, Snapshot(DEV, LABEL), ToTrash(DEV, TRASH, THROWN)), DestroyTrash(TRASH)),
}


def without_sizes(facts: StorageFacts) -> Any:
    """What a verb is answerable for; the stage of a clone leaves an empty parent behind."""
    return facts.prepared, {
        name: (dict(d.marks), d.refquota, d.mounted, d.mountpoint, d.origin, d.snapshots)
        for name, d in facts.datasets.items()
    }


@pytest.mark.parametrize("mode", ["die-before", "die-during", "die-after"])
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_killed_at_any_command_and_done_again(tmp_path: Path, scenario: str, mode: Any) -> None:
    before, action = SCENARIOS[scenario]
    origin = create(tmp_path / "before")
    await act(Storage(origin, Files(origin.root)), *before)
    origin.close()

    async def done(name: str, nth: int) -> tuple[Any, bool]:
        """The world after the action on a copy of the host, and whether it was killed at its `nth` command."""
        shutil.copytree(tmp_path / "before", tmp_path / name, symlinks=True)
        host = SimHost(tmp_path / name, die=dies)
        storage = Storage(host, Files(host.root))
        rule = host.faults.add(Fault(match="zfs", nth=nth, mode=mode))
        with contextlib.suppress(Died):
            await act(storage, action)
        struck = bool(host.faults.struck(rule))
        host.faults.clear()
        if struck:
            await act(Storage(host, Files(host.root)), action)
        facts = without_sizes(await storage.observe())
        host.close()
        shutil.rmtree(tmp_path / name)
        return facts, struck

    expected, _ = await done("whole", 1000)
    for nth in itertools.count(1):
        facts, struck = await done(str(nth), nth)
        assert facts == expected, f"killed at command {nth}"
        if not struck:
            break
    assert nth > 1
