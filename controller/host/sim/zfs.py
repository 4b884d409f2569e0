"""zfs of the simulated host: the command line, and what only reads.

Texts are OpenZFS's, but where the reference names zfs-fuse. What changes the pool is in `zfs_change.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from controller.host.sim import zfs_change, zfs_destroy, zfs_mount, zfs_snapshot
from controller.host.sim.command import Answer, Call, Refusal, World
from controller.host.sim.zfs_args import parse
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_tree import ABBREVIATED, COMPUTED, EMPTY, INHERITED, OWN, SIZES, Dataset, Sizes, Tree

_BYTES = frozenset({*SIZES, "used", "available", "referenced", "usedbysnapshots", "usedbychildren", "usedbydataset"})
_FIELDS = ("name", "property", "value", "received", "source")
_CHANGES = zfs_change.VERBS | zfs_destroy.VERBS | zfs_mount.VERBS | zfs_snapshot.VERBS
_TYPES = {"filesystem": "filesystem", "fs": "filesystem", "snapshot": "snapshot", "snap": "snapshot",
          "volume": "volume", "bookmark": "bookmark", "all": "all"}  # fmt: skip
Entry = tuple[Dataset, int]
"""A dataset, and which of its snapshots is meant: -1 for none."""


async def zfs(call: Call) -> Answer:
    """The `zfs` command."""
    if not call.args:
        raise Refusal("missing command\nusage: zfs command args ...", 2)
    verb, *rest = call.args
    if verb in ("version", "--version", "-V"):
        return Answer(out="zfs-2.3.4-1\nzfs-kmod-2.3.4-1\n")
    if verb == "get":
        return _get(call.world, rest)
    if verb == "list":
        return _list(call.world, rest)
    change = _CHANGES.get(verb)
    if change is None:
        raise Refusal(f"unrecognized command '{verb}'\nusage: zfs command args ...\n", 2)
    disk = Disk(call.world)
    with disk.lock():
        return change(call, disk, rest)


def _entries(tree: Tree, names: Sequence[str], types: frozenset[str], depth: int) -> tuple[list[Entry], str]:
    """What a `get` or `list` is about, in the tool's order, and the errors for names that do not exist."""
    found: list[Entry] = []
    errors = ""

    def add(dataset: Dataset, left: int) -> None:
        if types & {"filesystem", "all"}:
            found.append((dataset, -1))
        if types & {"snapshot", "all"} and left > 0:
            found.extend((dataset, index) for index in range(len(dataset.snapshots)))
        if left > 0:
            for child in dataset.children:
                add(child, left - 1)

    for name in names:
        try:
            if "@" in name:
                owner, snapshot = tree.snapshot(name)
                found.append((owner, owner.snapshots.index(snapshot)))
            else:
                add(tree.get(name), depth)
        except Refusal as refusal:
            errors += refusal.answer.err
    return found, errors


def _scope(flags: dict[str, str], default: str) -> tuple[frozenset[str], int]:
    wanted = flags.get("-t", default).split(",")
    for each in wanted:
        if each not in _TYPES:
            raise Refusal(f"invalid type '{each}'\nusage:\n", 2)
    if "-d" in flags and not flags["-d"].isdigit():
        raise Refusal(f"invalid depth '{flags['-d']}'\nusage:\n", 2)
    depth = int(flags["-d"]) if "-d" in flags else 1_000 if "-r" in flags else 0
    return frozenset(_TYPES[each] for each in wanted), depth


def _get(world: World, args: Sequence[str]) -> Answer:
    found, words = parse(args, "Hprd:o:s:t:", "get")
    flags = dict(found)
    if not words:
        raise Refusal('missing property argument\nusage:\n\tget [-rHp] [-d max] [-o "all" | field[,...]]', 2)
    types, depth = _scope(flags, "all" if "-r" in flags or "-d" in flags else "filesystem,snapshot")
    fields = flags.get("-o", "name,property,value,source").split(",")
    fields = list(_FIELDS) if fields == ["all"] else fields
    for each in fields:
        if each not in _FIELDS:
            raise Refusal(f"invalid column name '{each}'\nusage:\n", 2)
    disk = Disk(world)
    tree = disk.tree()
    keys = _properties(words[0], tree)
    sources = set(flags.get("-s", "local,default,inherited,temporary,received,none").split(","))
    entries, errors = _entries(tree, words[1:] or list(tree.pools), types, depth)
    reader = _Reader(disk, tree, exact="-p" in flags)
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        name = reader.name(entry)
        for key in keys:
            value, source = reader.value(entry, key)
            kind = "none" if source == "-" else source.partition(" ")[0]
            if kind in sources:
                row = {"name": name, "property": key, "value": value, "received": "-", "source": source}
                rows.append(tuple(row[each] for each in fields))
    return Answer(1 if errors else 0, table(rows, fields, bare="-H" in flags), errors)


def _properties(text: str, tree: Tree) -> list[str]:
    if text == "all":
        own = {key for each in tree.datasets.values() for key in each.local if ":" in key}
        return [each for each in (*COMPUTED, *INHERITED, *OWN) if each != "name"] + sorted(own)
    keys = [ABBREVIATED.get(each, each) for each in text.split(",")]
    for key in keys:
        if (
            key not in COMPUTED
            and key not in INHERITED
            and key not in OWN
            and not re.fullmatch(r"[a-z0-9:+._-]*:[a-z0-9:+._-]*", key)
        ):
            raise Refusal(f"bad property list: invalid property '{key}'\nusage:\n\tget [-rHp] [-d max]", 2)
    return keys


class _Reader:
    """Values of properties, computed once for each dataset that is asked about."""

    def __init__(self, disk: Disk, tree: Tree, *, exact: bool) -> None:
        self._tree = tree
        self._sizes = Sizes(tree, disk.sizer(tree))
        self._exact = exact

    def name(self, entry: Entry) -> str:
        dataset, index = entry
        return dataset.name if index < 0 else f"{dataset.name}@{dataset.snapshots[index].name}"

    def value(self, entry: Entry, key: str) -> tuple[str, str]:
        """A property and its source."""
        value, source = self._snapshot(entry, key) if entry[1] >= 0 else self._dataset(entry[0], key)
        if not self._exact and value != "-" and key in _BYTES:
            value = "none" if value == "0" and key in SIZES else nice(int(value))
        return value, source

    def _dataset(self, dataset: Dataset, key: str) -> tuple[str, str]:
        compute = _COMPUTE.get(key)
        if compute is not None:
            return compute(self._tree, self._sizes, dataset), "-"
        if key == "creation":
            return self._when(dataset.created), "-"
        return dataset.value(key)

    def _snapshot(self, entry: Entry, key: str) -> tuple[str, str]:
        dataset, index = entry
        snapshot = dataset.snapshots[index]
        match key:
            case "name":
                return self.name(entry), "-"
            case "type":
                return "snapshot", "-"
            case "creation":
                return self._when(snapshot.created), "-"
            case "used":
                return "0", "-"
            case "referenced":
                return str(EMPTY + snapshot.size), "-"
            case "setuid" | "devices" | "exec" | "xattr":
                return dataset.value(key)
        if ":" in key and key in dataset.resolved:
            value, source = dataset.resolved[key]
            return value, f"inherited from {source}"
        return "-", "-"

    def _when(self, seconds: float) -> str:
        if self._exact:
            return str(int(seconds))
        return datetime.fromtimestamp(seconds, UTC).strftime("%a %b %d %H:%M %Y")


_COMPUTE: dict[str, Callable[[Tree, Sizes, Dataset], str]] = {
    "name": lambda _tree, _sizes, each: each.name,
    "type": lambda _tree, _sizes, _each: "filesystem",
    "mounted": lambda _tree, _sizes, each: "yes" if each.mounted else "no",
    "origin": lambda tree, _sizes, each: tree.origin(each),
    "guid": lambda _tree, _sizes, each: str(int(each.id, 16)),
    "createtxg": lambda _tree, _sizes, each: str(int(each.created) % 10**7),
    "used": lambda _tree, sizes, each: str(sizes.used(each)),
    "available": lambda _tree, sizes, each: str(sizes.available(each)),
    "referenced": lambda _tree, sizes, each: str(sizes.referenced(each)),
    "usedbydataset": lambda _tree, sizes, each: str(sizes.referenced(each)),
    "usedbysnapshots": lambda _tree, sizes, each: str(sizes.by_snapshots(each)),
    "usedbychildren": lambda _tree, sizes, each: str(sum(map(sizes.used, each.children))),
}


def _list(world: World, args: Sequence[str]) -> Answer:
    found, names = parse(args, "Hprd:o:s:S:t:", "list")
    flags = dict(found)
    types, depth = _scope(flags, "filesystem")
    disk = Disk(world)
    tree = disk.tree()
    keys = _properties(flags.get("-o", "name,used,avail,refer,mountpoint"), tree)
    if not names:
        depth = max(depth, 1_000)
    entries, errors = _entries(tree, names or list(tree.pools), types, depth)
    if "snapshot" in types and "-r" not in flags and "-d" not in flags and names:
        entries, errors = _entries(tree, names, types, 1 if depth == 0 else depth)
        entries = [each for each in entries if each[0].name in names or "@" in "".join(names)]
    reader = _Reader(disk, tree, exact="-p" in flags)
    for option, key in reversed(found):
        if option in ("-s", "-S"):
            entries.sort(key=lambda each: _rank(reader, each, key), reverse=option == "-S")
    rows = [tuple(reader.value(entry, key)[0] for key in keys) for entry in entries]
    if not rows and not errors and "-H" not in flags:
        return Answer(out="no datasets available\n")
    short = {value: key for key, value in ABBREVIATED.items()}
    titles = [short.get(key, key) for key in keys]
    return Answer(1 if errors else 0, table(rows, titles, bare="-H" in flags), errors)


def _rank(reader: _Reader, entry: Entry, key: str) -> tuple[int, str]:
    dataset, index = entry
    if key == "creation":
        return int(dataset.snapshots[index].created if index >= 0 else dataset.created), ""
    text = reader.value(entry, ABBREVIATED.get(key, key))[0]
    return (int(text), "") if text.isdigit() else (0, text)


def nice(size: int) -> str:
    """A size for people, as zfs prints it in at most five characters: `96K`, `1.50G`, `0B`."""
    power = min(max(size.bit_length() - 1, 0) // 10, 6)
    unit = "BKMGTPE"[power]
    if size % 1024**power == 0:
        return f"{size // 1024**power}{unit}"
    amount = size / 1024**power
    texts = [f"{amount:.{digits}f}{unit}" for digits in (2, 1, 0)]
    return next((text for text in texts if len(text) <= 5), texts[-1])


def table(rows: Sequence[Sequence[str]], titles: Sequence[str], *, bare: bool) -> str:
    """Rows as zfs prints them: below titles in columns, or bare and tab separated."""
    if bare:
        return "".join("\t".join(row) + "\n" for row in rows)
    lines = [[each.upper() for each in titles], *rows] if rows else []
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))] if lines else []
    return "".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )
