"""zfs create, set, inherit and rename of the simulated host.

Each step is committed before the next begins, so a kill leaves what a killed zfs or a power cut would: a dataset made
but without its properties, or not mounted, or renamed but not mounted again.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence

from controller.host.sim.command import Answer, Call, Refusal
from controller.host.sim.zfs_args import Verb, assignments, check_name, check_parent, one, parse
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_mount import mount_all, unmount_subtree
from controller.host.sim.zfs_tree import INHERITED, OWN, SIZES, Dataset, Sizes, Tree, checked


def _create(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    found, words = parse(args, "pvuo:", "create [-Pnpuv] [-o property=value] ... <filesystem>")
    name = one(words, "filesystem", "create [-Pnpuv] [-o property=value] ... <filesystem>")
    values = assignments(found, f"create '{name}'")
    check_name(name, "create")
    parents = ("-p", "") in found
    tree = disk.tree()
    missing = check_parent(tree, name, parents)
    if name in tree.datasets:
        if parents:
            return Answer()
        raise Refusal(f"cannot create '{name}': dataset already exists")
    for each in [*missing, name]:
        make(call, disk, each, values if each == name else {}, mount=("-u", "") not in found)
    return Answer()


def make(call: Call, disk: Disk, name: str, values: dict[str, str], *, mount: bool = True) -> None:
    """A new, empty dataset, and then its mount."""
    key = secrets.token_hex(8)
    (disk.unmounted / key).mkdir()
    insert(call, name, key, None, values)
    call.checkpoint()
    if mount:
        mount_all(disk, [name])


def insert(call: Call, name: str, key: str, origin: int | None, values: dict[str, str]) -> None:
    """Write a new dataset down, then its properties; its content, or a copy of `origin`'s, is in place already.

    OpenZFS sets them in a transaction of its own, so a power cut may leave the one without the others.
    """
    with call.world.state.write() as db:
        db.execute("INSERT INTO datasets VALUES (?, ?, ?, ?)", (name, key, call.world.now(), origin))
    call.checkpoint()
    with call.world.state.write() as db:
        db.executemany("INSERT INTO props VALUES (?, ?, ?)", [(key, *item) for item in values.items()])


def _set(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    found, words = parse(args, "u", "set [-u] <property=value> ... <filesystem|volume|snapshot> ...")
    pairs = [word for word in words if "=" in word]
    names = words[len(pairs) :]
    if not pairs:
        raise Refusal("missing property=value argument(s)\nusage:\n\tset [-u] <property=value> ...\n", 2)
    if not names:
        raise Refusal("missing dataset name(s)\nusage:\n\tset [-u] <property=value> ...\n", 2)
    for name in names:
        values: dict[str, str] = {}
        tree = disk.tree()
        dataset = tree.get(name)
        for pair in pairs:
            key, _, value = pair.partition("=")
            try:
                values[key] = checked(key, value)
            except ValueError as error:
                raise Refusal(f"cannot set property for '{name}': {error}", 255) from error
        _check_sizes(disk, tree, dataset, values)
        _change_properties(call, disk, tree, dataset, values, remount=not found)
    return Answer()


def _check_sizes(disk: Disk, tree: Tree, dataset: Dataset, values: dict[str, str]) -> None:
    sizes = Sizes(tree, disk.sizer(tree))
    taken = {"refquota": sizes.referenced, "quota": sizes.used}
    for key, measure in taken.items():
        wanted = int(values.get(key, "0"))
        if wanted and wanted < measure(dataset):
            why = "size is less than current used or reserved space"
            raise Refusal(f"cannot set property for '{dataset.name}': {why}", 255)


def _change_properties(
    call: Call, disk: Disk, tree: Tree, dataset: Dataset, values: dict[str, str], *, remount: bool = True
) -> None:
    """Write properties; a new mountpoint moves what is mounted. A value of '' for a user property stays, as real."""
    moves = "mountpoint" in values and remount
    had_none = dataset.mountpoint in ("none", "legacy")
    names = unmount_subtree(disk, tree, dataset) if moves else []
    if moves:
        call.checkpoint()
        disk.forget_mountpoint(dataset)
    with call.world.state.write() as db:
        db.executemany(
            "INSERT OR REPLACE INTO props VALUES (?, ?, ?)", [(dataset.id, *item) for item in values.items()]
        )
    if moves:
        call.checkpoint()
        mount_all(disk, [each.name for each in dataset.walk()] if had_none else names)


def _inherit(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    found, words = parse(args, "rS", "inherit [-rS] <property> <filesystem|volume|snapshot> ...")
    if len(words) < 2:
        raise Refusal("missing dataset argument\nusage:\n\tinherit [-rS] <property> <filesystem>\n", 2)
    key, *names = words
    if key in OWN:
        clear = f"\nuse 'zfs set {key}=none' to clear\nuse 'zfs inherit -S {key}' to revert to received value"
        hint = clear if key in SIZES else ""
        raise Refusal(f"'{key}' property cannot be inherited{hint}")
    if ":" not in key and key not in INHERITED:
        raise Refusal(f"invalid property '{key}'\nusage:\n\tinherit [-rS] <property> <filesystem>\n", 2)
    for name in names:
        tree = disk.tree()
        dataset = tree.get(name)
        moved = unmount_subtree(disk, tree, dataset) if key == "mountpoint" else []
        with call.world.state.write() as db:
            for each in dataset.walk() if ("-r", "") in found else [dataset]:
                db.execute("DELETE FROM props WHERE id = ? AND key = ?", (each.id, key))
        mount_all(disk, moved)
    return Answer()


def _rename(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    usage = "rename [-f] <filesystem|volume|snapshot> <filesystem|volume|snapshot>"
    found, words = parse(args, "fpur", usage)
    if len(words) != 2:
        raise Refusal(f"missing {'target' if words else 'source'} dataset argument\nusage:\n\t{usage}\n", 2)
    old, new = words
    tree = disk.tree()
    if "@" in old:
        return _rename_snapshot(call, tree, old, new)
    dataset = tree.get(old)
    check_name(new, "create")
    if new.partition("/")[0] != old.partition("/")[0]:
        raise Refusal(f"cannot rename to '{new}': datasets must be within same pool")
    if new.startswith(old + "/"):
        raise Refusal(f"cannot rename to '{new}': New dataset name cannot be a descendant of current dataset name")
    if "/" not in old:
        raise Refusal(f"cannot rename '{old}': operation does not apply to pools")
    missing = check_parent(tree, new, ("-p", "") in found)
    if new in tree.datasets:
        raise Refusal(f"cannot rename '{old}': dataset already exists")
    for above in missing:
        make(call, disk, above, {})
    keep = ("-u", "") in found and "mountpoint" in dataset.local
    mounted = [] if keep else unmount_subtree(disk, tree, dataset)
    disk.forget_mountpoint(dataset)
    call.checkpoint()
    with call.world.state.write() as db:
        for each in dataset.walk():
            db.execute("UPDATE datasets SET name = ? WHERE id = ?", (new + each.name[len(old) :], each.id))
    call.checkpoint()
    mount_all(disk, [new + name[len(old) :] for name in mounted])
    return Answer()


def _rename_snapshot(call: Call, tree: Tree, old: str, new: str) -> Answer:
    owner, snapshot = tree.snapshot(old)
    base, _, short = new.rpartition("@")
    if base and base != owner.name:
        raise Refusal(f"cannot rename to '{new}': snapshots must be part of same dataset")
    try:
        with call.world.state.write() as db:
            db.execute("UPDATE snapshots SET name = ? WHERE id = ?", (short, snapshot.number))
    except sqlite3.IntegrityError as error:
        raise Refusal(f"cannot rename '{old}': dataset already exists") from error
    return Answer()


VERBS: dict[str, Verb] = {"create": _create, "set": _set, "inherit": _inherit, "rename": _rename}
