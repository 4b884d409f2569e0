"""zfs mount and unmount of the simulated host, and the same for commands that move what is mounted."""

from __future__ import annotations

from collections.abc import Sequence

from controller.host.sim.command import Answer, Call, Refusal
from controller.host.sim.zfs_args import Verb, one, parse
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_tree import Dataset, Tree


def mount_all(disk: Disk, names: Sequence[str]) -> None:
    """Mount what has a mountpoint and is not mounted, parents first, under and over whatever is mounted there."""
    tree = disk.tree()
    for name in names:
        dataset = tree.datasets[name]
        if dataset.mountable and not dataset.mounted:
            below = [each for each in mounted_below(tree, dataset) if each is not dataset]
            for each in reversed(below):
                disk.unmount(each)
            disk.mount(dataset)
            for each in below:
                disk.mount(each)


def mounted_below(tree: Tree, dataset: Dataset) -> list[Dataset]:
    """Everything mounted at or below a dataset's mountpoint, parents first."""
    start = dataset.mountpoint.rstrip("/") + "/"
    found = [each for each in tree.datasets.values() if each.mounted and (each.mountpoint + "/").startswith(start)]
    return sorted(found, key=lambda each: each.mountpoint)


def unmount_subtree(disk: Disk, tree: Tree, dataset: Dataset) -> list[str]:
    """Unmount a dataset and all below it; the names of those that were mounted. Busy ones refuse, and all stay.

    What a container has bound in is not busy: it keeps mounts of its own.
    """
    mounted = [each for each in dataset.walk() if each.mounted]
    for each in reversed(mounted):
        strangers = [other for other in mounted_below(tree, each) if other not in mounted]
        if strangers:
            raise Refusal(f"cannot unmount '{each.mountpoint}': pool or dataset is busy")
    for each in reversed(mounted):
        disk.unmount(each)
    return [each.name for each in mounted]


def _mount(_call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    found, words = parse(args, "avOflo:", "mount <-a | filesystem>")
    tree = disk.tree()
    if ("-a", "") in found:
        mount_all(disk, [name for name, each in tree.datasets.items() if each.local.get("canmount") != "noauto"])
        return Answer()
    if not words:
        lines = [f"{each.name:<30}  {each.mountpoint}\n" for each in tree.datasets.values() if each.mounted]
        return Answer(out="".join(lines))
    name = one(words, "filesystem", "mount <-a | filesystem>")
    dataset = tree.get(name)
    if dataset.mountpoint in ("none", "legacy"):
        kind = "no mountpoint set" if dataset.mountpoint == "none" else "legacy mountpoint"
        raise Refusal(f"cannot mount '{name}': {kind}")
    if dataset.local.get("canmount") == "off":
        raise Refusal(f"cannot mount '{name}': 'canmount' property is set to 'off'")
    if dataset.mounted:
        raise Refusal(f"cannot mount '{name}': filesystem already mounted")
    mount_all(disk, [name])
    return Answer()


def _unmount(_call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    _found, words = parse(args, "fau", "unmount [-fu] <-a | filesystem|mountpoint>")
    name = one(words, "filesystem", "unmount [-fu] <-a | filesystem|mountpoint>")
    tree = disk.tree()
    if name.startswith("/"):
        by_place = [each.name for each in tree.datasets.values() if each.mounted and each.mountpoint == name]
        if not by_place:
            raise Refusal(f"cannot unmount '{name}': not a ZFS filesystem")
        name = by_place[0]
    dataset = tree.get(name)
    if not dataset.mounted:
        raise Refusal(f"cannot unmount '{name}': not currently mounted")
    unmount_subtree(disk, tree, dataset)
    return Answer()


VERBS: dict[str, Verb] = {"mount": _mount, "unmount": _unmount, "umount": _unmount}
