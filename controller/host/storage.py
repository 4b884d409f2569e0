"""Containers' data: ZFS datasets below `POOL/users`, made, observed and kept in order.

Each verb carries out one action, checks the world afterwards, and can be begun again wherever it was cut short. A
new dataset bears its marks before it is in its place. Nothing here destroys data; see `trash`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from controller.errors import Blocked, Transient
from controller.host import zfs
from controller.host.datasets import Datasets, properties
from controller.host.files import Files
from controller.host.run import Runner
from controller.host.trash import Trash
from controller.host.zfs import Zfs
from controller.observed import parse
from controller.observed.facts import Dataset, StorageFacts
from controller.plan.actions import (
    CopyIn,
    CreateDataset,
    DropSnapshot,
    Mark,
    Mount,
    PrepareStorage,
    SetQuota,
    Snapshot,
)

TREES = "/var/lib/nixos-containers"
COPIED = {"home": "home", "root": "root", "var/lib": "var-lib"}
"""What adoption copies: path in the root tree → directory in the dataset."""
_OURS = re.compile(r"voxnix-[0-9]{8}T[0-9]{6}Z-[a-z-]{1,40}")
_PART = parse.PREFIX + "part"


class Storage:
    """The datasets of one pool; what moves whole datasets is in `trash`.

    `mount_root` is where the pool's datasets belong in the host's tree, `/POOL` if left out.
    """

    def __init__(self, run: Runner, files: Files, pool: str = "tank", mount_root: str | None = None) -> None:
        self._run = run
        self._files = files
        self._zfs = Zfs(run)
        self._at = Datasets(self._zfs, files, pool, f"/{pool}" if mount_root is None else mount_root)
        self.trash = Trash(self._at)

    async def observe(self) -> StorageFacts:
        """Every dataset below users and trash, with marks and snapshots, and what the pool holds; three commands.

        Raises `Blocked` where the pool is not there, and `Transient` or `Garbled` where it cannot be known.
        """
        roots = (self._at.users, self._at.trash)
        pool, trees, labels = await asyncio.gather(
            self._zfs.ask("get", "-Hp", *zfs.COLUMNS, "used,available", self._at.pool),
            self._zfs.trees(roots),
            self._zfs.snapshots(roots),
        )
        if pool.code != 0:
            if zfs.missing(pool):
                raise Blocked(f"there is no pool {self._at.pool}", hint=f"zpool import {self._at.pool}")
            raise zfs.refusal(pool)
        used, available = parse.pool(pool.out)
        datasets = parse.datasets(trees, labels)
        prepared = self._is_prepared(datasets.pop(self._at.users, None), datasets.pop(self._at.trash, None))
        return StorageFacts(used, available, prepared, datasets)

    def _is_prepared(self, users: Dataset | None, trash: Dataset | None) -> bool:
        if users is None or trash is None:
            return False
        in_place = users.mounted and users.mountpoint == self._at.mountpoint(self._at.users)
        status = self._files.status(self._at.mountpoint(self._at.users))
        private = status is not None and not status.st_mode & 0o077
        return in_place and private and trash.mountpoint == "none"

    async def prepare(self, _: PrepareStorage) -> None:
        """Make users and trash, or mend them; what bears these names and is not ours is left to a person."""
        users = self._at.mountpoint(self._at.users)
        apart = {"setuid": "off", "devices": "off"}
        await self._prepare(self._at.users, {"mountpoint": users, **apart})
        await self._prepare(self._at.trash, {"mountpoint": "none", **apart})
        await self._at.mounted(self._at.users)
        self._files.set_mode(users, 0o700)

    async def _prepare(self, name: str, wanted: dict[str, str]) -> None:
        part = name.rsplit("/", 1)[1]
        values = await self._zfs.values(name, *wanted, _PART)
        if values is None:
            await self._at.born(name, f"{name}.making", (*wanted.items(), (_PART, part)))
            values = await self._zfs.values(name, *wanted, _PART)
            if values is None:
                raise Transient(f"{name} was not made")
        wrong = {key: value for key, value in wanted.items() if values.get(key, ("",))[0] != value}
        if values.get(_PART) != (part, "local"):
            mend = "; ".join(f"zfs set {key}={value} {name}" for key, value in (*wrong.items(), (_PART, part)))
            raise Blocked(f"{name} is there already and voxnix did not make it", hint=f"to let voxnix use it: {mend}")
        for key, value in wrong.items():
            await self._zfs.set(name, key, value)

    async def create(self, action: CreateDataset) -> None:
        """Make a container's dataset, or its workspace; a dataset of another uid in its place is `Blocked`."""
        name = self._at.live(action.dataset)
        if await self._zfs.dataset(name) is None:
            stage = self._at.stage(name, "making")
            await self._at.parents(stage, name)
            await self._at.born(name, stage, properties(action.marks, action.refquota))
        now = await self._at.existing_of(name, action.marks)
        await self._at.mark(now, action.marks)
        if now.refquota != action.refquota:
            await self.set_quota(SetQuota(name, action.refquota))
        await self._at.mounted(name)
        self._at.folders(name)

    async def ready(self, datasets: Iterable[str]) -> None:
        """See that datasets are mounted where they belong and hold the directories to bind; else nothing starts."""
        for name in datasets:
            now = await self._at.existing(self._at.live(name))
            self._at.check_place(now)
            if not now.mounted:
                raise Transient(f"{name} is not mounted, so nothing starts on it")
            self._at.folders(name)

    async def set_quota(self, action: SetQuota) -> None:
        """Change `refquota`; one below what is used is `Blocked`, with what to write instead."""
        name = self._at.live(action.dataset)
        try:
            await self._zfs.set(name, "refquota", str(action.refquota) if action.refquota else "none")
        except Blocked as error:
            now = await self._at.existing(name)
            if not now.referenced > action.refquota > 0:
                raise
            raise Blocked(
                f"{name} holds {_size(now.referenced)}, more than a quota of {_size(action.refquota)}",
                hint=f"delete files in it, or write a quota of {-(-now.referenced // 2**30)}G or more",
            ) from error
        now = await self._at.existing(name)
        if now.refquota != action.refquota:
            raise Transient(f"{name}: the quota stays {now.refquota} bytes")

    async def mark(self, action: Mark) -> None:
        """Set one mark, or take it off."""
        now = await self._at.existing(self._at.ours(action.dataset))
        await self._at.mark(now, ((action.key, action.value),))

    async def marks(self, dataset: str) -> dict[str, str]:
        """The marks that a dataset bears now; none where it is gone."""
        now = await self._zfs.dataset(self._at.ours(dataset))
        return dict(now.marks) if now else {}

    async def mount(self, action: Mount) -> None:
        """Mount a dataset, after the one it lies in."""
        name = self._at.live(action.dataset)
        parent = name.removesuffix("/workspace")
        if parent != name:
            await self._at.mounted(parent)
        await self._at.mounted(name)

    async def snapshot(self, action: Snapshot) -> None:
        """Snapshot a dataset and its children at one moment; nothing where that snapshot is there already."""
        name, label = self._at.ours(action.dataset), _label(action.label)
        await self._zfs.act("snapshot", "-r", zfs.snapshot(name, label), tolerate="already exists")
        if label not in (await self._zfs.snapshots((name,))).get(name, ()):
            raise Transient(f"{name}@{label} was not made")

    async def drop_snapshot(self, action: DropSnapshot) -> None:
        """Prune one snapshot that we made; nothing where it is gone."""
        name, label = self._at.ours(action.dataset), _label(action.label)
        await self._zfs.act("destroy", zfs.snapshot(name, label), tolerate="could not find any snapshots")

    async def copy_in(self, action: CopyIn) -> None:
        """Copy what a foreign container's user would miss from its root tree; begun again, it copies again."""
        name = self._at.live(action.dataset)
        await self.ready((name,))
        for origin, folder in COPIED.items():
            source = f"{TREES}/{action.name}/{origin}"
            if not self._files.there(source):
                continue
            if not self._files.is_real_folder(source):
                raise Blocked(f"{source} is a symlink or lies behind one, so it is not copied")
            argv = ("cp", "-a", "--reflink=auto", f"{source}/.", f"{self._at.mountpoint(name)}/{folder}")
            result = await self._run.run(argv, timeout=6 * 3600)
            if result.code != 0:
                raise Transient(f"copying {source}: {parse.plain(result.said, 500)}")


def _label(text: str) -> str:
    if not _OURS.fullmatch(text):
        raise ValueError(f"{text!r} is no snapshot label of ours")
    return text


def _size(number: int) -> str:
    """Bytes for people: `1.5G`."""
    for unit, power in (("T", 40), ("G", 30), ("M", 20), ("K", 10)):
        if number >= 2**power:
            return f"{number / 2**power:.4g}{unit}"
    return f"{number}B"
