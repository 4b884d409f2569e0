"""The datasets of the simulated pool as one value: names, properties, inheritance and sizes. Pure after `read`.

Property values are kept as `zfs get -p` prints them: sizes in bytes, 0 for no quota.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from controller.host.sim.command import Refusal
from controller.host.sim.state import State

EMPTY = 98304
"""Bytes that an empty file system refers to."""
INHERITED = {
    "mountpoint": "", "setuid": "on", "devices": "on", "exec": "on", "compression": "on", "atime": "on",
    "readonly": "off", "recordsize": "131072", "xattr": "on", "acltype": "off", "relatime": "on", "snapdir": "hidden",
}  # fmt: skip
"""Settable properties that children inherit, with their defaults."""
OWN = {"quota": "0", "refquota": "0", "reservation": "0", "refreservation": "0", "canmount": "on"}
"""Settable properties of one dataset alone, with their defaults."""
SIZES = ("quota", "refquota", "reservation", "refreservation")
COMPUTED = (
    "type", "creation", "used", "available", "referenced", "mounted", "origin", "usedbysnapshots", "usedbychildren",
    "usedbydataset", "name", "guid", "createtxg",
)  # fmt: skip
ABBREVIATED = {"avail": "available", "refer": "referenced"}


@dataclass(slots=True)
class Snapshot:
    """One snapshot; `size` in bytes as its file system was, `number` its id."""

    number: int
    name: str
    created: float
    size: int


@dataclass(slots=True)
class Dataset:
    """One file system. `resolved` maps a property to its value and the dataset it is set on."""

    name: str
    id: str
    created: float
    origin: int | None
    local: Mapping[str, str] = field(default_factory=dict)
    resolved: dict[str, tuple[str, str]] = field(default_factory=dict)
    children: list[Dataset] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    mounted: bool = False

    def walk(self) -> Iterator[Dataset]:
        """This dataset and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def mountpoint(self) -> str:
        """Where it would be mounted: its own setting, an ancestor's with the rest of the name, or `/NAME`."""
        if "mountpoint" not in self.resolved:
            return f"/{self.name}"
        value, source = self.resolved["mountpoint"]
        if value in ("none", "legacy") or source == self.name:
            return value
        return value.rstrip("/") + self.name[len(source) :]

    @property
    def mountable(self) -> bool:
        """Whether it has a place to be mounted at."""
        return self.mountpoint not in ("none", "legacy") and self.local.get("canmount", "on") != "off"

    def value(self, key: str) -> tuple[str, str]:
        """A settable or user property and its source, as `zfs get -p` prints them."""
        if key in OWN:
            return (self.local[key], "local") if key in self.local else (OWN[key], "default")
        found = self.resolved.get(key)
        if found is None:
            if ":" in key:
                return "-", "-"
            return (self.mountpoint if key == "mountpoint" else INHERITED[key]), "default"
        source = "local" if found[1] == self.name else f"inherited from {found[1]}"
        return (self.mountpoint if key == "mountpoint" else found[0]), source


class Tree:
    """All datasets of all pools, sorted by name."""

    def __init__(self, state: State, unmounted: Callable[[str], bool]) -> None:
        self.pools = {row["name"]: row for row in state.rows("SELECT * FROM pools ORDER BY name")}
        self.datasets: dict[str, Dataset] = {}
        local: dict[str, dict[str, str]] = {}
        for row in state.rows("SELECT id, key, value FROM props"):
            local.setdefault(row["id"], {})[row["key"]] = row["value"]
        by_id: dict[str, Dataset] = {}
        rows = [tuple(row) for row in state.rows("SELECT name, id, created, origin FROM datasets")]
        for name, key, created, origin in sorted(rows, key=lambda row: row[0].split("/")):
            dataset = Dataset(name, key, created, origin, local.get(key, {}))
            self.datasets[name] = by_id[key] = dataset
            parent = self.datasets.get(name.rpartition("/")[0])
            dataset.resolved = dict(parent.resolved) if parent else {}
            if parent:
                parent.children.append(dataset)
            dataset.resolved |= {each: (value, name) for each, value in dataset.local.items() if each not in OWN}
            dataset.mounted = dataset.mountable and not unmounted(key)
        self.snapshots: dict[int, tuple[Dataset, Snapshot]] = {}
        for row in state.rows("SELECT id, dataset, name, created, size FROM snapshots ORDER BY id"):
            owner = by_id.get(row["dataset"])
            if owner is not None:
                snapshot = Snapshot(row["id"], row["name"], row["created"], row["size"])
                owner.snapshots.append(snapshot)
                self.snapshots[snapshot.number] = owner, snapshot

    def get(self, name: str) -> Dataset:
        """A dataset by name, or the tool's error."""
        found = self.datasets.get(name)
        if found is None:
            raise Refusal(f"cannot open '{name}': dataset does not exist")
        return found

    def snapshot(self, name: str) -> tuple[Dataset, Snapshot]:
        """A snapshot by its full name, or the tool's error."""
        base, _, short = name.partition("@")
        dataset = self.datasets.get(base)
        for each in dataset.snapshots if dataset else ():
            if each.name == short:
                assert dataset is not None
                return dataset, each
        raise Refusal(f"cannot open '{name}': dataset does not exist")

    def origin(self, dataset: Dataset) -> str:
        """The snapshot that a clone came from, in full; '-' for what is no clone."""
        found = self.snapshots.get(dataset.origin) if dataset.origin is not None else None
        return f"{found[0].name}@{found[1].name}" if found else "-"

    def clones(self, snapshot: Snapshot) -> list[Dataset]:
        """The datasets that depend on a snapshot."""
        return [each for each in self.datasets.values() if each.origin == snapshot.number]


class Sizes:
    """Space, in bytes, computed from what the files of each dataset take (`size` says) and its snapshots hold."""

    def __init__(self, tree: Tree, size: Callable[[Dataset], int]) -> None:
        self._tree = tree
        self._size = size
        self._referenced: dict[str, int] = {}
        self._used: dict[str, int] = {}

    def referenced(self, dataset: Dataset) -> int:
        """What its own files take."""
        if dataset.name not in self._referenced:
            self._referenced[dataset.name] = EMPTY + self._size(dataset)
        return self._referenced[dataset.name]

    def by_snapshots(self, dataset: Dataset) -> int:
        """What its snapshots hold beyond what it still has itself; an estimate, exact after a deletion."""
        most = max((each.size for each in dataset.snapshots), default=0)
        return max(0, EMPTY + most - self.referenced(dataset)) if most else 0

    def used(self, dataset: Dataset) -> int:
        """All that it takes, with its snapshots and children."""
        if dataset.name not in self._used:
            below = sum(self.used(child) for child in dataset.children)
            self._used[dataset.name] = self.referenced(dataset) + self.by_snapshots(dataset) + below
        return self._used[dataset.name]

    def available(self, dataset: Dataset) -> int:
        """What may still be written: the pool's rest, within the quotas of it and all above it."""
        pool = self._tree.pools[dataset.name.partition("/")[0]]
        top = self._tree.datasets[pool["name"]]
        free = int(pool["size"]) - int(pool["other"]) - self.used(top)
        refquota = int(dataset.local.get("refquota", "0"))
        if refquota:
            free = min(free, refquota - self.referenced(dataset))
        parts = dataset.name.split("/")
        for depth in range(1, len(parts) + 1):
            above = self._tree.datasets["/".join(parts[:depth])]
            quota = int(above.local.get("quota", "0"))
            if quota:
                free = min(free, quota - self.used(above))
        return max(free, 0)


def parse_size(text: str) -> str | None:
    """A size as `zfs set` takes it (`5G`, `none`, bytes) as bytes; None if it is none."""
    if text == "none":
        return "0"
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTPE]?)(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        return None
    return str(int(float(match[1]) * 1024 ** " KMGTPE".index(match[2].upper() or " ")))


def checked(key: str, value: str) -> str:
    """The value to keep for `key=value`; raises ValueError with the tool's reason for a wrong one."""
    if ":" in key:
        if not re.fullmatch(r"[a-z0-9:+._-]+", key) or len(key) > 255:
            raise ValueError(f"invalid property '{key}'")
        if len(value) > 8191:
            raise ValueError(f"property '{key}' is too long")
        return value
    if key in SIZES:
        size = parse_size(value)
        if size is None:
            raise ValueError(f"bad numeric value '{value}'")
        return size
    if key in COMPUTED:
        raise ValueError(f"'{key}' is readonly")
    if key not in INHERITED and key not in OWN:
        raise ValueError(f"invalid property '{key}'")
    if key in ("setuid", "devices", "exec", "atime", "readonly", "relatime") and value not in ("on", "off"):
        raise ValueError(f"'{key}' must be one of 'on | off'")
    if key == "mountpoint" and value not in ("none", "legacy") and not value.startswith("/"):
        raise ValueError("'mountpoint' must be an absolute path, 'none', or 'legacy'")
    return value
