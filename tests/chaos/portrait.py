"""What one appliance looks like, as a plain value to compare: everything that matters, nothing that only time decides.

Two runs of one scenario that were cut short at different moments differ in times, key ids and node numbers; they may
differ in nothing else.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_tree import Dataset, Tree
from controller.loop import Look
from controller.observed import Known
from tests.box import Box

Json = dict[str, Any]

_NOISE = (
    (re.compile(r"\d{8}T\d{6}Z"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "TIME"),
    (re.compile(r"\bn\d{5}CNTRL\b"), "NODE"),
    (re.compile(r"\bk\d{6}CNTRL\b"), "KEY"),
    (re.compile(r"(node|m)key:[0-9a-f]{64}"), "RANDOM"),
)
_OURS = "var/lib/voxnix"
"""The controller's own directory, of which only names are compared."""


def portrait(box: Box, look: Look) -> Json:
    """An appliance that is at rest, as JSON values without times and numbers that a retry may change."""
    value = {
        "plan": _plan(look),
        "machines": _machines(look),
        "datasets": datasets(box),
        "devices": devices(box),
        "memory": _memory(look),
        "revision": look.plan.revision,
        "run": _tree(box.host.root / "run"),
        "own": sorted(_own(box.host.root / _OURS)),
        "roots": sorted(os.listdir(box.host.root / "var/lib/nixos-containers")),
        "starts": box.host.state.count("pid"),
    }
    text = json.dumps(value, sort_keys=True)
    for pattern, word in _NOISE:
        text = pattern.sub(word, text)
    return dict(json.loads(text))


def _plan(look: Look) -> Json:
    plan = look.plan
    return {
        "lanes": [lane.key for lane in plan.lanes],
        "holds": [[hold.id, hold.reason] for hold in plan.holds],
        "waits": [[wait.key, wait.reason, wait.message] for wait in plan.waits],
        "foreign": plan.foreign,
        "stale": plan.stale,
        "power": dict(plan.power),
    }


def _machines(look: Look) -> Json:
    machines = look.observed.machines
    assert isinstance(machines, Known)
    found = {}
    for name, machine in machines.value.items():
        document = machine.installed.document if machine.installed else None
        found[name] = {
            "state": machine.state,
            "system": [document.uid, document.name, document.owner, document.digest, document.own] if document else [],
            "limits": [machine.unit.memory_max, machine.unit.cpu_quota, machine.unit.tasks_max],
            "runtime": dict(machine.runtime) if machine.runtime is not None else None,
        }
    return {name: one for name, one in found.items() if one["state"] != "absent" or one["runtime"] is not None}


def datasets(box: Box) -> Json:
    """Every dataset with its properties, marks, files and snapshots; of equal snapshots one."""
    disk = Disk(box.host.world)
    with disk.lock():
        tree = disk.tree()
        return {name: _dataset(disk, tree, dataset) for name, dataset in tree.datasets.items()}


def _dataset(disk: Disk, tree: Tree, dataset: Dataset) -> Json:
    others = {str(disk.place(each)) for each in tree.datasets.values() if each.mounted and each is not dataset}
    shots = {(shot.name, json.dumps(_tree(disk.snapshots / str(shot.number)))) for shot in dataset.snapshots}
    return {
        "local": {key: value for key, value in sorted(dataset.local.items()) if not _spent(dataset.name, key)},
        "mounted": dataset.mounted,
        "mountpoint": dataset.mountpoint,
        "origin": tree.origin(dataset),
        "files": _tree(disk.place(dataset), others) if dataset.name.count("/") > 3 or "trash" in dataset.name else {},
        "snapshots": sorted({json.dumps([_timeless(name), _timeless(files)]) for name, files in shots}),
    }


def _timeless(text: str) -> str:
    for pattern, word in _NOISE:
        text = pattern.sub(word, text)
    return text


def _tree(folder: Path, leave: set[str] | None = None) -> Json:
    """Files below a folder with their text, folders with None; not what lies below `leave`."""
    found: Json = {}
    for place, folders, files in os.walk(folder):
        if leave:
            folders[:] = [each for each in folders if os.path.join(place, each) not in leave]
        base = os.path.relpath(place, folder)
        found |= {os.path.normpath(f"{base}/{name}"): None for name in folders}
        found |= {
            os.path.normpath(f"{base}/{name}"): Path(place, name).read_text(errors="replace")
            for name in files
            if not name.endswith(".sock")
        }
    return found


def devices(box: Box) -> list[Any]:
    """The tailnet's devices, each with the dataset that its node id is recorded on."""
    tree = Disk(box.host.world).tree()
    bound = {each.local["voxnix:node"]: name for name, each in tree.datasets.items() if "voxnix:node" in each.local}
    rows = box.host.state.rows("SELECT * FROM devices ORDER BY label")
    return [
        [
            row["label"],
            row["hostname"],
            row["tags"],
            row["container"],
            row["expires"] is None,
            bound.get(row["node_id"]),
        ]
        for row in rows
    ]


def _spent(dataset: str, key: str) -> bool:
    """Tailnet settings mean nothing in the trash: what comes back enrols anew.

    They are there if the fresh controller, for whom git was still locked by the killed one's, first kept to the
    revision before.
    """
    return dataset.startswith("tank/trash/") and key == "voxnix:tailnet"


def _memory(look: Look) -> Json:
    memory = look.memory
    return {
        "inventory": sorted(
            [entry.name, entry.owner, entry.system, bool(entry.node_id), entry.power, bool(entry.removing), uid]
            for uid, entry in memory.inventory.items()
        ),
        "debts": sorted(debt.name for debt in memory.debts.values()),
        "decided": sorted(memory.decided),
        "destroys": sorted(memory.destroys),
        "adopted": sorted(memory.adopted),
        "rebuilt": bool(memory.rebuilt),
        "steady": memory.clock_steady,
    }


def _own(folder: Path) -> list[str]:
    """Names in the controller's directory, without those of git's and the database's own files."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "mirror.git" and not name.startswith(".")]
        base = os.path.relpath(place, folder)
        found += [os.path.normpath(f"{base}/{name}") for name in (*folders, *files) if not _of_database(name)]
    return found


def _of_database(name: str) -> bool:
    return name.endswith(("-wal", "-shm"))


def differences(expected: Mapping[str, Any], found: Mapping[str, Any], path: str = "") -> list[str]:
    """Where two portraits differ, one line each. A snapshot too many, taken before a repeated step, is fine."""
    lines = []
    for key in sorted({*expected, *found}):
        place = f"{path}/{key}"
        one, two = expected.get(key, "(absent)"), found.get(key, "(absent)")
        if key == "snapshots" and isinstance(one, list) and isinstance(two, list):
            lines += [f"{place}: {_short(shot)} → (absent)" for shot in one if shot not in two]
            lines += [
                f"{place}: (absent) → {_short(shot)}" for shot in two if shot not in one and "-daily" in shot[:40]
            ]
        elif isinstance(one, dict) and isinstance(two, dict):
            lines += differences(one, two, place)
        elif one != two:
            lines.append(f"{place}: {_short(one)} → {_short(two)}")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 700 else text[:700] + "…"
