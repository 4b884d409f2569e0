"""zfs destroy of the simulated host: file systems and snapshots, with their refusals.

Children go before their parents, each committed by itself: a kill leaves the rest, as a killed zfs does.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from controller.host.sim.command import Answer, Call, Refusal
from controller.host.sim.units import bound_below
from controller.host.sim.zfs_args import Verb, one, parse
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_mount import unmount_subtree
from controller.host.sim.zfs_tree import Dataset, Snapshot, Tree

USAGE = "destroy [-fnpRrv] <filesystem|volume>"


def _destroy(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    found, words = parse(args, "fnpRrvd", USAGE)
    flags = {option for option, _ in found}
    name = one(words, "dataset", USAGE)
    tree = disk.tree()
    if "@" in name:
        return _destroy_snapshots(call, disk, tree, name, flags)
    dataset = tree.get(name)
    recursive = bool(flags & {"-r", "-R"})
    below = _dependents(dataset)
    if below and not recursive:
        raise Refusal(
            f"cannot destroy '{name}': filesystem has children\n"
            "use '-r' to destroy the following datasets:\n" + "\n".join(below)
        )
    if "/" not in name and not recursive:
        raise Refusal(f"cannot destroy '{name}': operation does not apply to pools")
    doomed = list(dataset.walk())
    clones = [clone for each in doomed for shot in each.snapshots for clone in tree.clones(shot) if clone not in doomed]
    if clones and "-R" not in flags:
        raise Refusal(
            f"cannot destroy '{name}': filesystem has dependent clones\n"
            "use '-R' to destroy the following datasets:\n" + "\n".join(each.name for each in clones)
        )
    if "-n" in flags:
        verbose = "".join(f"would destroy {each}\n" for each in [*below, name]) if "-v" in flags else ""
        return Answer(out=verbose)
    for each in [*(clones if clones else ()), dataset]:
        _remove(call, disk, tree, each)
    return Answer()


def _dependents(dataset: Dataset) -> list[str]:
    """What `destroy` without -r names: all snapshots and children, the deepest first."""
    names: list[str] = []
    for child in dataset.children:
        names += [*_dependents(child), child.name]
    return names + [f"{dataset.name}@{each.name}" for each in dataset.snapshots]


def _remove(call: Call, disk: Disk, tree: Tree, dataset: Dataset) -> None:
    """Destroy a dataset and all below it; the top of a pool stays, as `zfs destroy -r POOL` leaves it.

    One that a container has bound in stays, but its snapshots and its mounts are gone all the same.
    """
    used = any(each.mounted and bound_below(call.world, each.mountpoint) for each in dataset.walk())
    for each in dataset.walk():
        for snapshot in each.snapshots:
            _remove_snapshot(call, disk, snapshot)
    if used:
        unmount_subtree(disk, tree, dataset)
        names = [each.name for each in reversed(list(dataset.walk()))]
        raise Refusal("\n".join(f"cannot destroy '{name}': dataset is busy" for name in names))
    for each in reversed(list(dataset.walk())):
        if each.name in tree.pools:
            continue
        if each.mounted:
            unmount_subtree(disk, tree, each)
        disk.forget_mountpoint(each)
        with call.world.state.write() as db:
            db.execute("DELETE FROM datasets WHERE id = ?", (each.id,))
            db.execute("DELETE FROM props WHERE id = ?", (each.id,))
        disk.delete(each.id)
        call.checkpoint()


def _remove_snapshot(call: Call, disk: Disk, snapshot: Snapshot) -> None:
    with call.world.state.write() as db:
        db.execute("DELETE FROM snapshots WHERE id = ?", (snapshot.number,))
    shutil.rmtree(disk.snapshots / str(snapshot.number), ignore_errors=True)


def _destroy_snapshots(call: Call, disk: Disk, tree: Tree, name: str, flags: set[str]) -> Answer:
    base, _, shorts = name.partition("@")
    top = tree.get(base)
    wanted = set(shorts.split(","))
    scope = top.walk() if flags & {"-r", "-R"} else [top]
    doomed = [(each, shot) for each in scope for shot in each.snapshots if shot.name in wanted]
    if not doomed:
        raise Refusal("could not find any snapshots to destroy; check snapshot names.")
    for each, shot in doomed:
        clones = tree.clones(shot)
        if clones and "-R" not in flags:
            raise Refusal(
                f"cannot destroy '{each.name}@{shot.name}': snapshot has dependent clones\n"
                "use '-R' to destroy the following datasets:\n" + "\n".join(clone.name for clone in clones)
            )
    if "-n" in flags:
        return Answer()
    for _, shot in doomed:
        for clone in tree.clones(shot):
            _remove(call, disk, tree, clone)
        _remove_snapshot(call, disk, shot)
    return Answer()


VERBS: dict[str, Verb] = {"destroy": _destroy}
