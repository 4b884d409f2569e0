"""A snapshot's files, opened for reading beside the live data: in place where ZFS shows them, else through a clone.

The clone is made read-only, bears no container's marks, lies outside users and trash, and is destroyed afterwards;
what a killed process left is found by its unlocked lock file and removed by the next one. Live data is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from controller.errors import Blocked, Transient
from controller.host import zfs
from controller.host.browse import real_folder
from controller.host.files import Files
from controller.host.run import Runner
from controller.host.zfs import Zfs
from controller.observed import parse

PLACE = "/run/voxnix/looking"
"""Where clones are mounted, and where their lock files are; root alone may enter."""
PART = "looking"
"""The mark `part` of our clones, and of the dataset that they lie in."""
_MARK = f"{parse.PREFIX}part={PART}"
_SAFE = ("readonly=on", "setuid=off", "devices=off", "exec=off")
_ID = re.compile(r"[0-9a-f]{16}")
_BUSY_TRIES = 20
_BUSY_WAIT = 0.1


class Glimpses:
    """Opens snapshots of one pool's datasets."""

    def __init__(self, run: Runner, files: Files, pool: str) -> None:
        self._run = run
        self._zfs = Zfs(run)
        self._files = files
        self._above = f"{zfs.checked(pool)}/{PART}"

    @contextlib.asynccontextmanager
    async def opened(self, dataset: str, label: str, mountpoint: str = "") -> AsyncIterator[int]:
        """A snapshot's top directory as a descriptor. `mountpoint` is where the dataset is mounted, if it is.

        Raises `Blocked` where there is no such snapshot, or its label is not one that we would pass on.
        """
        try:
            name = zfs.snapshot(dataset, label)
        except ValueError as error:
            raise Blocked(f"{error}, so it is not looked into", hint="look at it with zfs itself") from error
        shown = in_place(self._files.path(mountpoint), name) if mountpoint else None
        if shown is not None:
            try:
                yield shown
            finally:
                os.close(shown)
            return
        await self.sweep()
        async with self._cloned(name) as folder:
            yield folder

    async def sweep(self) -> int:
        """Remove the clones that nobody holds any more, and what was to become one; how many clones there were."""
        clones, strangers = await self._clones()
        removed = 0
        for identity in sorted({*clones, *self._begun()} - strangers):
            with self._locked(identity) as free:
                if not free:
                    continue
                if identity in clones:
                    await self._destroy(f"{self._above}/{identity}")
                    removed += 1
                await self._forget(identity)
        return removed

    async def _clones(self) -> tuple[set[str], set[str]]:
        """The ids of our clones that are there, and those of other datasets in their place.

        A clone is ours by its mark, or, where ZFS was cut short before it set that, by the lock file of its name.
        Whether one is read-only is not asked: some ZFS mount it otherwise all the same, and say so.
        """
        said = await self._zfs.ask("get", "-Hp", "-r", *zfs.COLUMNS, f"origin,{parse.PREFIX}part", self._above)
        if said.code != 0:
            if zfs.missing(said):
                return set(), set()
            raise zfs.refusal(said)
        ours: set[str] = set()
        strangers: set[str] = set()
        begun = self._begun()
        for name, values in parse.properties(said.out).items():
            identity = name.removeprefix(self._above + "/")
            cloned = values.get("origin", ("-",))[0] not in ("-", "")
            value, source = values.get(parse.PREFIX + "part", ("", ""))
            marked = (value, source) == (PART, "local") or (source != "local" and identity in begun)
            (ours if cloned and marked and _ID.fullmatch(identity) else strangers).add(identity)
        return ours, strangers

    def _begun(self) -> set[str]:
        """The ids of which something is in the place of clones: a mountpoint or a lock file."""
        names = {name.removesuffix(".lock") for name in self._files.names(PLACE)}
        return {name for name in names if _ID.fullmatch(name)}

    @contextlib.asynccontextmanager
    async def _cloned(self, snapshot: str) -> AsyncIterator[int]:
        await self._prepare()
        identity = secrets.token_hex(8)
        name = f"{self._above}/{identity}"
        place = f"{PLACE}/{identity}"
        with self._locked(identity) as mine:
            if not mine:
                raise Transient(f"{place} was tidied away before it was made", hint="try again")
            options = (*_SAFE, "canmount=noauto", f"mountpoint={place}", _MARK)
            words = [word for option in options for word in ("-o", option)]
            try:
                try:
                    await self._zfs.act("clone", *words, snapshot, name)
                except Transient as error:
                    if "does not exist" in error.what:
                        raise Blocked(
                            f"there is no snapshot {snapshot}", hint="it may just have been pruned"
                        ) from error
                    raise
                await self._zfs.act("mount", name, tolerate="already mounted")
                if (await self._zfs.values(name, "mounted") or {}).get("mounted", ("no",))[0] != "yes":
                    raise Transient(f"{name} does not stay mounted")
                with real_folder(self._files.root, place) as folder:
                    yield folder
            finally:
                await self._destroy(name)
                await self._forget(identity)

    async def _prepare(self) -> None:
        """Make what the clones lie in, and the directory that they are mounted below."""
        self._files.make_private(PLACE)
        self._files.set_mode(PLACE, 0o700)
        key = parse.PREFIX + "part"
        values = await self._zfs.values(self._above, key)
        if values is None:
            options = ("mountpoint=none", *_SAFE, _MARK)
            words = [word for option in options for word in ("-o", option)]
            await self._zfs.act("create", *words, self._above, tolerate="dataset already exists")
            values = await self._zfs.values(self._above, key) or {}
        if values.get(key) != (PART, "local"):
            raise Blocked(
                f"{self._above} is there already and voxnix did not make it",
                hint=f"rename it: voxnix puts clones there for a moment; zfs rename {self._above} {self._above}-old",
            )

    async def _destroy(self, name: str) -> None:
        """Destroy a clone; a device that is still being let go of is waited for."""
        for attempt in range(_BUSY_TRIES):
            try:
                await self._zfs.act("unmount", name, tolerate="not currently mounted")
                await self._zfs.act("destroy", name)
            except Transient as error:
                if "does not exist" in error.what:
                    return
                if attempt == _BUSY_TRIES - 1:
                    raise
                await asyncio.sleep(_BUSY_WAIT)
            else:
                return

    async def _forget(self, identity: str) -> None:
        """Remove a clone's empty mountpoint and its lock file, which we hold.

        A ZFS that was refused an unmount may take the clone for unmounted all the same; then the mount is still there.
        """
        place = f"{PLACE}/{identity}"
        for attempt in range(_BUSY_TRIES):
            try:
                os.rmdir(self._files.path(place))
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or attempt == _BUSY_TRIES - 1:
                    raise Transient(f"{place} cannot be removed: {error.strerror}") from error
                await self._run.run(("umount", place), timeout=30.0)
                await asyncio.sleep(_BUSY_WAIT)
            else:
                break
        self._files.remove(f"{place}.lock")

    @contextlib.contextmanager
    def _locked(self, identity: str) -> Iterator[bool]:
        """Hold a clone's lock, which the kernel lets go of with us; False where another process holds it."""
        self._files.make_private(PLACE)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self._files.path(f"{PLACE}/{identity}.lock")
        handle = os.open(path, flags, 0o600)
        try:
            yield _held(handle, path)
        finally:
            os.close(handle)


def _held(handle: int, path: Path) -> bool:
    """Lock an open file, at once or not at all; it counts only if the file still has its name."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def in_place(mountpoint: Path, snapshot: str) -> int | None:
    """A snapshot as ZFS itself shows it below `.zfs`, as a descriptor; None where it does not.

    Whoever may write to a dataset could put a directory of that name there, on a ZFS that does not reserve it: what
    is opened counts only if the kernel says that it is that snapshot's mount.
    """
    try:
        with real_folder(mountpoint, f"/.zfs/snapshot/{snapshot.partition('@')[2]}") as folder:
            known = (_mount_id(Path(f"/proc/self/fdinfo/{folder}").read_text()), snapshot)
            return os.dup(folder) if known in mounted(Path("/proc/self/mountinfo").read_text()) else None
    except (Blocked, OSError):
        return None


def mounted(mountinfo: str) -> set[tuple[str, str]]:
    """The mounts of ZFS in `/proc/self/mountinfo`, as (mount id, dataset or snapshot)."""
    found = set()
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, rest = after.partition(" ")
        if kind == "zfs":
            found.add((before.split(" ", 1)[0], rest.split(" ", 1)[0]))
    return found


def _mount_id(fdinfo: str) -> str:
    return next((line.split()[1] for line in fdinfo.splitlines() if line.startswith("mnt_id:")), "")
