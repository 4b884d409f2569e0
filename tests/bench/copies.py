"""Copies of one container of a simulated host: its rows and files once more, under other names, uids and digests.

Shapes are not known here, only words: whatever the host keeps of the container is copied as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.host.sim import SimHost
from controller.host.sim.state import State
from controller.spec.state import Wanted

OWNER, FIRST = "alice", "zfirst"
"""The container that is copied, and its owner. Nothing else on the host has its name in it."""
DATASET = f"tank/users/{OWNER}/containers/{FIRST}"


def copy(host: SimHost, wanted: Sequence[Wanted]) -> None:
    """Everything that the host has of the first container, rows and files, once more for each of the others."""
    state, first = host.state, wanted[0]
    rows: dict[str, list[tuple[Any, ...]]] = {
        "datasets": _rows(state, "SELECT * FROM datasets WHERE name IN (?, ?)", DATASET, f"{DATASET}/workspace"),
        "units": _rows(state, "SELECT * FROM units WHERE name = ?", FIRST),
        "devices": _rows(state, "SELECT * FROM devices WHERE container = ?", FIRST),
    }
    ids = [row[1] for row in rows["datasets"]]
    rows["props"] = _rows(state, "SELECT * FROM props WHERE id IN (?, ?)", *ids)
    rows["snapshots"] = _rows(state, "SELECT * FROM snapshots WHERE dataset IN (?, ?)", *ids)
    marks = {key: value for _, key, value in rows["props"]}
    number = rows["devices"][0][1]
    keys = rows["devices"][0][5:7]
    files, links = _files(host)
    stores = {path.split("/")[2].partition("-")[0] for path in files if path.startswith("nix/store/")}
    with state.write() as db:
        for index, one in enumerate(wanted[1:], 1):
            new = _digest(one.name)
            words = {marks["voxnix:uid"]: new[:16], first.digest: one.digest, first.own: one.own, FIRST: one.name}
            words[marks["voxnix:node"]] = f"n{number + index:05d}CNTRL"
            words[marks["voxnix:key"]] = f"k{index + 1:06d}CNTRL"
            words |= {old: _digest(old + one.name)[: len(old)] for old in (*ids, *keys, *stores)}
            changed = _Changed(words)
            for table, found in rows.items():
                for row in found:
                    values = changed.row(row)
                    values = (None, *values[1:]) if table == "snapshots" else values
                    values = (values[0], number + index, *values[2:]) if table == "devices" else values
                    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
            _write(host.root, changed, files, links)


def _rows(state: State, query: str, *values: object) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in state.rows(query, *values)]


def _files(host: SimHost) -> tuple[dict[str, str | None], dict[str, str]]:
    """The first container's files and folders (None), and its links; by path below the root, without its data."""
    root = host.root
    found: dict[str, str | None] = {f"run/voxnix/containers/{FIRST}": None}
    for place in sorted((root / "nix/store").glob(f"*-{FIRST}*")):
        for path in (place, *sorted(place.rglob("*"))):
            found[str(path.relative_to(root))] = path.read_text() if path.is_file() else None
    places = (f"etc/nixos-containers/{FIRST}.conf", f"etc/systemd-mutable/system/container@{FIRST}.service")
    return found, {place: os.readlink(root / place) for place in places}


def _write(root: Path, changed: _Changed, files: Mapping[str, str | None], links: Mapping[str, str]) -> None:
    for path, text in files.items():
        place = os.path.join(root, changed.text(path))
        if text is None:
            os.mkdir(place)
        else:
            with open(place, "w") as file:
                file.write(changed.text(text))
    for path, target in links.items():
        os.symlink(changed.text(target), os.path.join(root, changed.text(path)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Changed:
    """Rows with some words in them replaced."""

    words: dict[str, str]

    def row(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """One row, changed."""
        return tuple(self.text(value) if isinstance(value, str) else value for value in row)

    def text(self, text: str) -> str:
        """One text, changed."""
        for old, new in self.words.items():
            text = text.replace(old, new)
        return text
