"""Steps on one container's datasets, from which the verbs of `storage` and `trash` are made.

Every step looks before it acts and after it acted, so that each may be begun again. Names are of three kinds only:
a container's dataset or its workspace, a piece of trash, and a place where a clone is put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from controller.errors import Blocked, Transient
from controller.host import zfs
from controller.host.files import Files
from controller.host.zfs import Zfs
from controller.observed import parse
from controller.observed.facts import Dataset
from controller.plan.actions import Pairs

FOLDERS = {"home": 0o755, "root": 0o700, "var-lib": 0o755}
"""The directories in every container's dataset that are bound into it, with the mode each is made with."""

_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]*"


class Datasets:
    """The datasets of one pool, mounted below `mount_root` (`/tank` for a pool `tank`)."""

    def __init__(self, ask: Zfs, files: Files, pool: str, mount_root: str) -> None:
        self.zfs = ask
        self.files = files
        self.pool = zfs.checked(pool)
        self.users = f"{pool}/users"
        self.trash = f"{pool}/trash"
        self._mount_root = mount_root
        self._live = re.compile(rf"{re.escape(self.users)}/{_PART}/containers/{_PART}(/workspace)?")
        self._thrown = re.compile(rf"{re.escape(self.trash)}/{_PART}")

    def mountpoint(self, dataset: str) -> str:
        """Where a dataset of the pool belongs in the host's tree."""
        return self._mount_root + dataset.removeprefix(self.pool)

    def live(self, name: str) -> str:
        """The name, if it is of a container's dataset or workspace; raises ValueError."""
        if not self._live.fullmatch(zfs.checked(name)):
            raise ValueError(f"{name} is not where a container's data lives")
        return name

    def thrown(self, name: str) -> str:
        """The name, if it is of one whole piece of trash; raises ValueError."""
        if not self._thrown.fullmatch(zfs.checked(name)):
            raise ValueError(f"{name} is not a piece of trash")
        return name

    def ours(self, name: str) -> str:
        """The name, if it is of a container's data, live or in the trash; raises ValueError."""
        inside_trash = self._thrown.fullmatch(name.removesuffix("/workspace"))
        return zfs.checked(name) if inside_trash else self.live(name)

    async def existing(self, name: str) -> Dataset:
        """A dataset that ought to be there; `Transient` where it is not."""
        now = await self.zfs.dataset(name)
        if now is None:
            raise Transient(f"{name} is not there")
        return now

    async def existing_of(self, name: str, marks: Pairs) -> Dataset:
        """A dataset that ought to bear the uid in `marks`; `Blocked` where it is another's."""
        now = await self.existing(name)
        wanted = dict(marks).get("uid")
        if wanted is not None and now.marks.get("uid") != wanted:
            raise Blocked(f"{name} is there already, and is not of uid {wanted}", hint=f"zfs list -r {name}")
        return now

    async def mark(self, now: Dataset, marks: Pairs) -> None:
        """Give a dataset the marks that it does not bear yet; an empty value takes one off."""
        wrong = [(key, parse.plain(value, 1000)) for key, value in marks if now.marks.get(key, "") != value]
        for key, value in wrong:
            await self.zfs.set(now.name, mark_of(key), value)
        if wrong:
            after = await self.existing(now.name)
            if any(after.marks.get(key, "") != value for key, value in wrong):
                raise Transient(f"{now.name} does not bear its marks")

    async def born(self, name: str, stage: str, pairs: Pairs) -> None:
        """Make an empty dataset with these properties at `stage`, see that it has them, and move it to `name`.

        ZFS makes a dataset first and sets its properties afterwards. If the power fails in between, what is left has
        no marks: nobody could tell that it is ours, so it must not be where a person's data is looked for.
        """
        left = await self.zfs.dataset(stage)
        if left is None:
            options = [word for key, value in pairs for word in ("-o", f"{key}={value}")]
            await self.zfs.act("create", *options, zfs.checked(stage), tolerate="dataset already exists")
        else:
            await self._require_blank(left, dict(pairs))
        for key, value in await self._lacking(stage, pairs):
            await self.zfs.set(stage, key, value)
            if await self._lacking(stage, ((key, value),)):
                raise Transient(f"{stage} does not take {key}")
        await self.zfs.act("rename", stage, zfs.checked(name), tolerate="dataset already exists")

    async def _require_blank(self, left: Dataset, wanted: Mapping[str, str]) -> None:
        """`Blocked` unless what is at a stage already can be what a power cut left of ours: empty, nobody else's."""
        theirs = left.marks.get("appliance", "") not in ("", wanted.get(mark_of("appliance"), ""))
        if not theirs and left.mountpoint.startswith("/"):
            if not left.mounted:
                await self.zfs.act("mount", left.name, tolerate="already mounted")
            theirs = bool(self.files.names(left.mountpoint))
        if theirs:
            what = f"{left.name} is there already, and is not an empty dataset of this appliance"
            raise Blocked(what, hint=f"move it away: zfs rename {left.name} …")

    async def _lacking(self, name: str, pairs: Pairs) -> Pairs:
        """Those of some properties that a dataset does not have as its own."""
        found = await self.zfs.values(name, *(key for key, _ in pairs)) if pairs else {}
        if found is None:
            raise Transient(f"{name} is not there")
        return tuple((key, value) for key, value in pairs if found.get(key) != (value, "local"))

    def stage(self, name: str, folder: str) -> str:
        """Where a container's dataset or workspace is put together: in a folder beside its owner's containers."""
        owner, _, *parts = self.live(name).removeprefix(self.users + "/").split("/")
        return f"{self.users}/{owner}/{folder}/{'.'.join(parts)}"

    async def parents(self, *names: str) -> None:
        """Make and mount what lies between `POOL/users` and some datasets; never `POOL/users` itself."""
        folders = {name.rpartition("/")[0].removeprefix(self.users + "/") for name in names}
        levels = sorted({f"{self.users}/{path}" for folder in folders for path in _levels(folder)})
        found = await self.zfs.several(levels)
        if len(found) != len(levels):
            await self.existing(self.users)
            for folder in sorted(folders):
                place = zfs.checked(f"{self.users}/{folder}")
                await self.zfs.act("create", "-p", place, tolerate="dataset already exists")
            found = await self.zfs.several(levels)
        for level in levels:
            if level not in found or not found[level].mounted:
                await self.mounted(level)

    def check_place(self, now: Dataset) -> None:
        """`Blocked` where a dataset would be mounted elsewhere than it belongs."""
        if now.mountpoint != self.mountpoint(now.name):
            raise Blocked(
                f"{now.name} has the mountpoint {now.mountpoint}, not {self.mountpoint(now.name)}",
                hint=f"zfs inherit mountpoint {now.name}",
            )

    async def mounted(self, name: str) -> None:
        """See that a dataset is mounted where it belongs, and mount it if it is not."""
        now = await self.existing(name)
        self.check_place(now)
        if not now.mounted:
            await self.zfs.act("mount", name, tolerate="already mounted")
            if not (await self.existing(name)).mounted:
                raise Transient(f"{name} does not stay mounted")

    async def mounted_with_child(self, name: str) -> None:
        """See that a container's dataset and its workspace, if it has one, are mounted and have their folders."""
        await self.mounted(name)
        self.folders(name)
        if await self.zfs.dataset(f"{name}/workspace") is not None:
            await self.mounted(f"{name}/workspace")

    def folders(self, name: str) -> None:
        """Make the directories that are bound into the container; a workspace has none."""
        if not name.endswith("/workspace"):
            self.files.ensure_folders(self.mountpoint(name), FOLDERS)

    async def relocate(self, source: str, target: str) -> None:
        """Rename a dataset with its child, unmounted first: a process of the host inside it is refused then.

        A container is not: it has mounts of its own, and goes on writing to what was moved. `Hands` sees that it is
        down.
        """
        await self.existing(source)
        await self.unmounted((f"{source}/workspace", source))
        await self.zfs.act("rename", source, target)
        if await self.zfs.dataset(target) is None or await self.zfs.dataset(source) is not None:
            raise Transient(f"{source} did not move to {target}")

    async def unmounted(self, names: Iterable[str]) -> None:
        """Unmount those of `names` that are there and mounted."""
        for name in names:
            now = await self.zfs.dataset(name)
            if now is not None and now.mounted:
                await self.zfs.act("unmount", name, tolerate="not currently mounted")

    async def settle(self, source: str, target: str, marks: Pairs) -> None:
        """Move a dataset into its live place, unless that is done; mark it, and mount it with its child."""
        if await self.zfs.dataset(target) is None:
            await self.parents(target)
            await self.relocate(source, target)
        await self.mark(await self.existing_of(target, marks), marks)
        await self.mounted_with_child(target)


def _levels(folder: str) -> list[str]:
    """A path and all that it lies in: `alice`, `alice/containers`."""
    parts = folder.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def mark_of(key: str) -> str:
    """The user property of a mark; raises ValueError for one that would not be read back."""
    if key not in parse.MARKS:
        raise ValueError(f"{key!r} is no mark")
    return parse.PREFIX + key


def properties(marks: Pairs, refquota: int = 0) -> Pairs:
    """The properties that a new dataset is given: its marks and its quota."""
    pairs = tuple((mark_of(key), parse.plain(value, 1000)) for key, value in marks if value)
    return (*pairs, ("refquota", str(refquota))) if refquota else pairs
