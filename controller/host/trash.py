"""Data that leaves its place and comes back: into the trash, out of it, renamed, or cloned from a snapshot.

Each verb can be begun again wherever it was cut short. Data is destroyed in `destroy` and nowhere else.
"""

from __future__ import annotations

from controller.errors import Blocked, Transient
from controller.host import zfs
from controller.host.datasets import Datasets, properties
from controller.observed import parse
from controller.plan.actions import CloneBack, DestroyTrash, FromTrash, MoveDataset, Pairs, ToTrash

_PUT_ON = ("trashed", "trash-reason", "aside", "decision")
"""The marks that being in the trash put on a dataset."""


class Trash:
    """Moves whole datasets between their live places and the trash."""

    def __init__(self, datasets: Datasets) -> None:
        self._at = datasets
        self._zfs = datasets.zfs

    async def put(self, action: ToTrash) -> None:
        """Mark a dataset as trash, then move it there whole, unmounted, with all its snapshots."""
        source, target = self._at.live(action.dataset), self._at.thrown(action.target)
        now = await self._zfs.dataset(source)
        if now is not None:
            await self._at.mark(now, action.marks)
            await self._at.relocate(source, target)
        await self._at.mark(await self._at.existing(target), action.marks)
        for name in (f"{target}/workspace", target):
            await self._unplace(name)

    async def _unplace(self, name: str) -> None:
        """See that a dataset in the trash has no mountpoint of its own, and is not mounted."""
        values = await self._zfs.values(name, "mountpoint", "mounted") or {}
        if values.get("mounted", ("no",))[0] == "yes":
            await self._zfs.act("unmount", name)
        if values.get("mountpoint", ("", ""))[1] == "local":
            await self._zfs.set(name, "mountpoint", "")

    async def take(self, action: FromTrash) -> None:
        """Move a dataset back from the trash, mount it, and take off the marks of the trash."""
        source, target = self._at.thrown(action.dataset), self._at.live(action.target)
        if await self._zfs.dataset(target) is None:
            await self._at.mark(await self._at.existing(source), action.marks)
        await self._at.settle(source, target, action.marks)
        given = {key for key, _ in action.marks}
        taken_off = tuple((key, "") for key in _PUT_ON if key not in given)
        await self._at.mark(await self._at.existing(target), taken_off)

    async def move(self, action: MoveDataset) -> None:
        """Rename a live dataset, correct its marks, and mount it at its new place."""
        await self._at.settle(self._at.live(action.dataset), self._at.live(action.target), action.marks)

    async def clone_back(self, action: CloneBack) -> None:
        """Make a live dataset from a snapshot of one in the trash.

        It is put together beside its place and moved into it in one step: before that it does not count as the
        container's, and the trash keeps the snapshot. Then it is promoted, so that the trash can go.
        """
        source, target = self._at.thrown(action.dataset), self._at.live(action.target)
        owner = target.removeprefix(self._at.users + "/").split("/")[0]
        stage = f"{self._at.users}/{owner}/restoring/{source.rsplit('/', 1)[1]}-{action.label}"
        if await self._zfs.dataset(target) is None:
            await self._at.parents(stage)
            await self._clone(source, action.label, stage, action.marks)
            child = await self._zfs.dataset(f"{source}/workspace")
            if child is not None:
                await self._clone(child.name, action.label, f"{stage}/workspace", tuple(child.marks.items()))
        await self._at.settle(stage, target, action.marks)
        for name in (f"{target}/workspace", target):
            made = await self._zfs.dataset(name)
            if made is not None and made.origin:
                await self._zfs.act("promote", name)

    async def _clone(self, source: str, label: str, target: str, marks: Pairs) -> None:
        """Clone a snapshot with marks and quota, or end what was begun; not if a workspace came after the snapshot."""
        quota = (await self._at.existing(source)).refquota
        if await self._zfs.dataset(target) is None:
            if label not in (await self._zfs.snapshots((source,))).get(source, ()):
                if source.endswith("/workspace"):
                    return
                raise Blocked(f"there is no snapshot {label} of {source}", hint="look at `voxnix trash list`")
            options = [word for key, value in properties(marks, quota) for word in ("-o", f"{key}={value}")]
            await self._zfs.act("clone", *options, zfs.snapshot(source, label), target)
        made = await self._at.existing(target)
        await self._at.mark(made, marks)
        if made.refquota != quota:
            await self._zfs.set(target, "refquota", str(quota) if quota else "none")

    async def destroy(self, action: DestroyTrash) -> None:
        """Destroy one piece of trash for good; it must bear the marks of having been put there."""
        name = self._at.thrown(action.dataset)
        now = await self._zfs.dataset(name)
        if now is None:
            return
        if not (now.marks.get("uid") and now.marks.get("trashed")):
            raise Blocked(f"{name} does not bear the marks of trash, so it is not destroyed")
        await self._release(name)
        await self._zfs.act("destroy", "-r", name, within=600)
        if await self._zfs.dataset(name) is not None:
            raise Transient(f"{name} is still there")

    async def _release(self, name: str) -> None:
        """Make our clones of this trash stand by themselves: what they came from could not be destroyed otherwise."""
        sources = (name, f"{name}/workspace")
        trees = await self._zfs.trees((self._at.users, self._at.trash))
        for found in parse.datasets(trees, {}).values():
            if not found.marks or found.origin.partition("@")[0] not in sources:
                continue
            now = await self._at.existing(found.name)
            if now.origin.partition("@")[0] in sources:
                await self._zfs.act("promote", found.name)
