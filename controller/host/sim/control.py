"""The tailnet's control plane: auth keys and devices, in the host's database.

Pure bookkeeping, spoken to by `tailnet.py` (the HTTP API) and `tailscale.py` (nodes inside containers). A device
stays until somebody deletes it: logging out does not remove it, and its name stays taken.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from controller.host.sim.command import World


class Denied(Exception):
    """The control plane says no; the text is its own."""


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """An auth key to be made; `seconds` is its life."""

    tags: tuple[str, ...]
    reusable: bool
    ephemeral: bool
    preauthorized: bool
    seconds: float
    description: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that wants to join: what its daemon knows of itself."""

    container: str
    hostname: str
    machine_key: str
    node_key: str


def make_key(world: World, request: KeyRequest) -> tuple[str, str]:
    """A new auth key: its id and its secret, which is told only here."""
    now = world.now()
    with world.state.write() as db:
        number = world.state.next("auth key")
        key_id = f"k{number:06d}CNTRL"
        secret = f"tskey-auth-{key_id}-{secrets.token_urlsafe(24)}"
        db.execute(
            "INSERT INTO auth_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, ?)",
            (key_id, secret, json.dumps(request.tags), request.reusable, request.ephemeral, request.preauthorized,
             now, now + request.seconds, request.description),
        )  # fmt: skip
    return key_id, secret


def revoke_key(world: World, key_id: str) -> bool:
    """Take an auth key back; False if there is none."""
    with world.state.write() as db:
        done = db.execute(
            "UPDATE auth_keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (world.now(), key_id)
        ).rowcount
    return done > 0


def enrol(world: World, node: Node, secret: str) -> sqlite3.Row:
    """Let a node join with an auth key; its device. Raises `Denied`.

    A machine that the control plane knows keeps its device; a new machine gets a new one, and if its name is taken
    the next free `-1`, `-2`.
    """
    with world.state.write() as db:
        now = world.now()
        key = _usable(world, secret, now)
        db.execute("UPDATE auth_keys SET used = used + 1 WHERE id = ?", (key["id"],))
        known = world.state.row("SELECT * FROM devices WHERE machine_key = ?", node.machine_key)
        if known is not None:
            db.execute(
                "UPDATE devices SET node_key = ?, key_id = ?, expires = NULL, last_seen = ? WHERE node_id = ?",
                (node.node_key, key["id"], now, known["node_id"]),
            )
            return _device(world, known["node_id"])
        number = world.state.next("device")
        node_id = f"n{number:05d}CNTRL"
        label = _free_label(world, node.hostname)
        db.execute(
            "INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)",
            (node_id, number, label, node.hostname, key["tags"], node.machine_key, node.node_key, key["id"],
             key["ephemeral"], now, now, node.container),
        )  # fmt: skip
        return _device(world, node_id)


def _device(world: World, node_id: str) -> sqlite3.Row:
    found = world.state.row("SELECT * FROM devices WHERE node_id = ?", node_id)
    assert found is not None
    return found


def _usable(world: World, secret: str, now: float) -> sqlite3.Row:
    key = world.state.row("SELECT * FROM auth_keys WHERE secret = ?", secret)
    if key is None:
        raise Denied("invalid key: API key does not exist")
    if key["revoked"] is not None:
        raise Denied("invalid key: API key has been revoked")
    if key["expires"] <= now:
        raise Denied("invalid key: API key expired")
    if key["used"] and not key["reusable"]:
        raise Denied("authkey already used")
    return key


def _free_label(world: World, hostname: str) -> str:
    base = re.sub(r"[^a-z0-9-]+", "-", hostname.lower()).strip("-")[:63] or "node"
    taken = {row["label"] for row in world.state.rows("SELECT label FROM devices")}
    label, number = base, 0
    while label in taken:
        number += 1
        label = f"{base}-{number}"
    return label


def rename(world: World, node_id: str, hostname: str) -> None:
    """A node tells a new hostname; its label follows unless it has it already."""
    with world.state.write() as db:
        row = world.state.row("SELECT hostname FROM devices WHERE node_id = ?", node_id)
        if row is not None and row["hostname"] != hostname:
            db.execute("UPDATE devices SET label = ? WHERE node_id = ?", (f"moving {node_id}", node_id))
            label = _free_label(world, hostname)
            db.execute("UPDATE devices SET label = ?, hostname = ? WHERE node_id = ?", (label, hostname, node_id))


def find(world: World, machine_key: str, node_key: str) -> sqlite3.Row | None:
    """The device of a node that is logged in: known, and its key not expired."""
    return world.state.row(
        "SELECT * FROM devices WHERE machine_key = ? AND node_key = ? AND (expires IS NULL OR expires > ?)",
        machine_key, node_key, world.now(),
    )  # fmt: skip


def log_out(world: World, machine_key: str) -> None:
    """Expire a node's key. An ephemeral device goes at once; any other stays listed, holding its name."""
    with world.state.write() as db:
        db.execute("DELETE FROM devices WHERE machine_key = ? AND ephemeral = 1", (machine_key,))
        now = world.now()
        db.execute("UPDATE devices SET expires = ?, last_seen = ? WHERE machine_key = ?", (now, now, machine_key))


def delete(world: World, node_id: str) -> bool:
    """Delete a device; False if there is none."""
    with world.state.write() as db:
        return db.execute("DELETE FROM devices WHERE node_id = ?", (node_id,)).rowcount > 0


def addresses(number: int) -> list[str]:
    """The tailnet addresses of the n-th device."""
    return [f"100.64.{number // 250}.{number % 250 + 1}", f"fd7a:115c:a1e0::{number:x}"]


def tags_of(row: sqlite3.Row) -> Sequence[str]:
    """The tags of a key or a device."""
    return tuple(json.loads(row["tags"]))
