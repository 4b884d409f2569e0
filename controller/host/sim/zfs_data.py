"""The files of the simulated pool: where each dataset's content lies, and how mounting moves it.

The content of a dataset is one directory. Mounted, it lies at its mountpoint below the simulated `/`; unmounted,
at `zfs/ID`. One rename turns the one into the other, so whether a dataset is mounted is read from the disk and never
contradicts it, whenever a process is killed. Snapshots are copies at `snapshots/NUMBER`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from controller.host.sim.command import World
from controller.host.sim.zfs_tree import Dataset, Tree


class Disk:
    """The content of all datasets of one simulated host."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.unmounted = world.directory / "zfs"
        self.snapshots = world.directory / "snapshots"
        self._hidden = world.directory / "hidden"

    def make_directories(self) -> None:
        """Make the directories that it needs; harmless when they are there."""
        for directory in (self.unmounted, self.snapshots, self._hidden):
            directory.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One writer at a time, across processes; let go by the kernel when its holder is killed."""
        with (self._world.directory / "zfs.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def tree(self) -> Tree:
        """All datasets as they are now."""
        away = frozenset(os.listdir(self.unmounted)) if self.unmounted.is_dir() else frozenset()
        return Tree(self._world.state, away.__contains__)

    def place(self, dataset: Dataset) -> Path:
        """Where its content lies now."""
        return self._world.path(dataset.mountpoint) if dataset.mounted else self.unmounted / dataset.id

    def mount(self, dataset: Dataset) -> None:
        """Bring an unmounted dataset to its mountpoint; what lay there before is hidden until it is unmounted."""
        place = self._world.path(dataset.mountpoint)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and any(place.iterdir()):
            hidden = self._hidden / dataset.id
            shutil.rmtree(hidden, ignore_errors=True)
            place.rename(hidden)
        (self.unmounted / dataset.id).rename(place)
        dataset.mounted = True

    def unmount(self, dataset: Dataset) -> None:
        """Take a mounted dataset away from its mountpoint, which becomes an ordinary directory."""
        place = self._world.path(dataset.mountpoint)
        place.rename(self.unmounted / dataset.id)
        dataset.mounted = False
        hidden = self._hidden / dataset.id
        if hidden.exists():
            hidden.rename(place)
        else:
            place.mkdir()

    def forget_mountpoint(self, dataset: Dataset) -> None:
        """Remove the empty directory that an unmounted dataset leaves behind, if zfs chose it and not a person."""
        if dataset.mountable and dataset.value("mountpoint")[1] != "local":
            with contextlib.suppress(OSError):
                self._world.path(dataset.mountpoint).rmdir()

    def delete(self, key: str) -> None:
        """Delete the content of a dataset that is gone."""
        shutil.rmtree(self.unmounted / key, ignore_errors=True)
        shutil.rmtree(self._hidden / key, ignore_errors=True)

    def sizer(self, tree: Tree) -> Callable[[Dataset], int]:
        """What the files of a dataset take, in bytes, without those of datasets mounted below it."""
        mounts = self._mounts(tree)
        return lambda dataset: _size(str(self.place(dataset)), mounts)

    def copy_out(self, tree: Tree, dataset: Dataset, target: Path) -> int:
        """Copy a dataset's content, with nothing of datasets mounted below it, to a new directory; bytes of it."""
        place = self.place(dataset)
        shutil.rmtree(target, ignore_errors=True)
        mounts = self._mounts(tree)
        copy_tree(place, target, mounts - {str(place)})
        return _size(str(place), mounts)

    def keep_snapshot(self, draft: Path, number: int) -> None:
        """Give a copied snapshot its place; what a transaction that was cut short left there goes."""
        shutil.rmtree(self.snapshots / str(number), ignore_errors=True)
        draft.rename(self.snapshots / str(number))

    def _mounts(self, tree: Tree) -> frozenset[str]:
        return frozenset(str(self._world.path(each.mountpoint)) for each in tree.datasets.values() if each.mounted)


def _size(directory: str, mounts: Collection[str]) -> int:
    """Bytes of all files below a directory, not looking into `mounts` or through symbolic links."""
    total = 0
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return 0
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if entry.path not in mounts:
                total += _size(entry.path, mounts)
        else:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
    return total


def copy_tree(source: Path, target: Path, leave_empty: Collection[str] = ()) -> None:
    """Copy files, directories and symbolic links with their times and modes; sockets and pipes are left out.

    The directories in `leave_empty` are made, but nothing in them is copied. An existing target is filled.
    """
    target.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(source):
        goal = target / entry.name
        if entry.is_symlink():
            goal.unlink(missing_ok=True)
            goal.symlink_to(os.readlink(entry.path))
        elif entry.is_dir():
            if entry.path in leave_empty:
                goal.mkdir(exist_ok=True)
            else:
                copy_tree(Path(entry.path), goal, leave_empty)
        elif entry.is_file():
            shutil.copy2(entry.path, goal)
    info = source.stat()
    os.chmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    if os.geteuid() == 0:
        os.chown(target, info.st_uid, info.st_gid)
