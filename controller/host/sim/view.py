"""A container's file system as it looks from inside, mapped to the files of the simulated host.

Binds of the conf file come first, then what the appliance binds at run time (`/run/voxnix`), then the disposable
root tree. Symbolic links are followed as the container would, never out of it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from controller.host.sim import installed
from controller.host.sim.command import World
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_tree import Sizes

RUNTIME = "/run/voxnix"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a guest path is kept: on the machine that plays the host, and as the host calls it."""

    path: Path
    host: str
    read_only: bool


class View:
    """The inside of one container."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        conf = installed.conf(world, name)
        binds = [
            (bind.guest.rstrip("/"), bind.host.rstrip("/"), bind.read_only) for bind in (conf.binds if conf else ())
        ]
        if not any(guest == RUNTIME for guest, _, _ in binds):
            binds.append((RUNTIME, f"{RUNTIME}/containers/{name}", True))
        binds.append(("", f"{installed.ROOTS}/{name}", False))
        self._binds = sorted(binds, key=lambda bind: len(bind[0]), reverse=True)

    def place(self, guest: str, *, follow: bool = True) -> Place:
        """Where a guest path is kept; raises OSError for a loop of links."""
        done = "/"
        todo = [part for part in guest.split("/") if part not in ("", ".")]
        hops = 0
        while todo:
            part = todo.pop(0)
            if part == "..":
                done = os.path.dirname(done)
                continue
            step = os.path.join(done, part)
            target = self._link(step) if todo or follow else None
            if target is None:
                done = step
                continue
            hops += 1
            if hops > 40:
                raise OSError(40, "Too many levels of symbolic links", guest)
            todo = [each for each in target.split("/") if each not in ("", ".")] + todo
            if target.startswith("/"):
                done = "/"
        return self._mapped(done)

    def _link(self, guest: str) -> str | None:
        path = self._mapped(guest).path
        try:
            return os.readlink(path) if stat.S_ISLNK(path.lstat().st_mode) else None
        except OSError:
            return None

    def _mapped(self, guest: str) -> Place:
        for start, host, read_only in self._binds:
            if guest == start or guest.startswith(start + "/"):
                place = host + guest[len(start) :]
                return Place(self.world.path(place), place, read_only)
        raise AssertionError("the root tree holds every path")

    def names(self, guest: str) -> list[str]:
        """What `ls` shows of a directory: its entries, and the binds that lie in it."""
        place = self.place(guest).path
        top = "/" + "/".join(part for part in guest.split("/") if part)
        below = {
            start[len(top.rstrip("/")) + 1 :] for start, _, _ in self._binds if start.startswith(top.rstrip("/") + "/")
        }
        return sorted({*os.listdir(place), *(each for each in below if "/" not in each)})

    def read(self, guest: str) -> str:
        """The text of a file."""
        return self.place(guest).path.read_text(errors="replace")

    def write(self, guest: str, text: str, *, append: bool = False) -> None:
        """Write a file, within the quota of the dataset it is kept in; raises OSError as the kernel would."""
        place = self.place(guest)
        if place.read_only:
            raise OSError(30, "Read-only file system", guest)
        old = place.path.stat().st_size if place.path.is_file() else 0
        if not self._fits(place.host, len(text.encode()) - (0 if append else old)):
            raise OSError(122, "Disk quota exceeded", guest)
        with place.path.open("a" if append else "w") as file:
            file.write(text)

    def _fits(self, host: str, more: int) -> bool:
        disk = Disk(self.world)
        tree = disk.tree()
        holding = [
            each for each in tree.datasets.values() if each.mounted and (host + "/").startswith(each.mountpoint + "/")
        ]
        if not holding:
            return True
        dataset = max(holding, key=lambda each: len(each.mountpoint))
        return more <= Sizes(tree, disk.sizer(tree)).available(dataset)
