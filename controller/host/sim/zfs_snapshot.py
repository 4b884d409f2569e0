"""zfs snapshot, clone and promote of the simulated host."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from controller.host.sim.command import Answer, Call, Refusal
from controller.host.sim.zfs_args import Verb, assignments, check_name, check_parent, one, parse
from controller.host.sim.zfs_change import insert, make
from controller.host.sim.zfs_data import Disk, copy_tree
from controller.host.sim.zfs_mount import mount_all
from controller.host.sim.zfs_tree import Dataset


def _snapshot(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    usage = "usage:\n\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...\n"
    found, words = parse(args, "ro:", "snapshot")
    if not words:
        raise Refusal(f"missing snapshot argument\n{usage}", 2)
    tree = disk.tree()
    targets: list[tuple[Dataset, str]] = []
    for word in words:
        base, at, short = word.partition("@")
        if not at or not base:
            raise Refusal(usage, 2)
        if base not in tree.datasets:
            raise Refusal(f"cannot open '{base}': dataset does not exist\n{usage}", 2)
        if not re.fullmatch(r"[A-Za-z0-9_.: -]+", short):
            raise Refusal(f"cannot create snapshot '{word}': invalid character or empty name")
        chosen = tree.datasets[base].walk() if ("-r", "") in found else [tree.datasets[base]]
        targets += [(each, short) for each in chosen]
    taken = [f"{each.name}@{short}" for each, short in targets if any(old.name == short for old in each.snapshots)]
    if taken:
        said = "".join(f"cannot create snapshot '{each}': dataset already exists\n" for each in taken)
        raise Refusal(said + ("no snapshots were created\n" if len(targets) > 1 else ""))
    drafts = []
    for index, (each, short) in enumerate(targets):
        draft = disk.snapshots / f"draft-{index}"
        drafts.append((each, short, draft, disk.copy_out(tree, each, draft)))
    with call.world.state.write() as db:
        for each, short, draft, size in drafts:
            row = db.execute(
                "INSERT INTO snapshots (dataset, name, created, size) VALUES (?, ?, ?, ?)",
                (each.id, short, call.world.now(), size),
            )
            disk.keep_snapshot(draft, int(row.lastrowid or 0))
    return Answer()


def _clone(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    usage = "clone [-p] [-o property=value] ... <snapshot> <filesystem|volume>"
    found, words = parse(args, "puo:", usage)
    if len(words) != 2:
        raise Refusal(f"missing {'target dataset' if words else 'source dataset'} argument\nusage:\n\t{usage}\n", 2)
    source, name = words
    values = assignments(found, f"create '{name}'")
    tree = disk.tree()
    _owner, snapshot = tree.snapshot(source)
    check_name(name, "create")
    missing = check_parent(tree, name, ("-p", "") in found)
    if name in tree.datasets:
        raise Refusal(f"cannot create '{name}': dataset already exists")
    for each in missing:
        make(call, disk, each, {})
    key = secrets.token_hex(8)
    draft = disk.unmounted / f"{key}.draft"
    copy_tree(disk.snapshots / str(snapshot.number), draft)
    draft.rename(disk.unmounted / key)
    insert(call, name, key, snapshot.number, values)
    call.checkpoint()
    if ("-u", "") not in found:
        mount_all(disk, [name])
    return Answer()


def _promote(call: Call, disk: Disk, args: Sequence[str]) -> Answer:
    _found, words = parse(args, "", "promote <clone-filesystem>")
    name = one(words, "clone filesystem", "promote <clone-filesystem>")
    tree = disk.tree()
    clone = tree.get(name)
    if clone.origin is None or clone.origin not in tree.snapshots:
        raise Refusal(f"cannot promote '{name}': not a cloned filesystem")
    origin, point = tree.snapshots[clone.origin]
    moving = [each for each in origin.snapshots if each.number <= point.number]
    clash = {each.name for each in moving} & {each.name for each in clone.snapshots}
    if clash:
        first = min(clash)
        raise Refusal(
            f"cannot promote '{name}': snapshot name '{origin.name}@{first}' from origin \n"
            f"conflicts with '{name}@{first}' from target"
        )
    with call.world.state.write() as db:
        for each in moving:
            db.execute("UPDATE snapshots SET dataset = ? WHERE id = ?", (clone.id, each.number))
        db.execute("UPDATE datasets SET origin = ? WHERE id = ?", (origin.origin, clone.id))
        db.execute("UPDATE datasets SET origin = ? WHERE id = ?", (point.number, origin.id))
    return Answer()


VERBS: dict[str, Verb] = {"snapshot": _snapshot, "snap": _snapshot, "clone": _clone, "promote": _promote}
