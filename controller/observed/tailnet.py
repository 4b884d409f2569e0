"""What control planes and `tailscale status` say, as facts. Pure; raises `parse.Garbled` and nothing else.

Device names are chosen inside containers and identify nothing; a node id told by a container is a claim,
worth something only once the control plane confirms it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from controller.observed.facts import Device
from controller.observed.parse import Garbled, plain, read_json

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What the `tailscale` daemon inside a container says of itself. `state` is its BackendState."""

    state: str
    node_id: str = ""
    name: str = ""
    """The first label of its DNS name: what the control plane called it."""


def devices(text: str) -> dict[str, Device]:
    """`GET /api/v2/tailnet/-/devices?fields=all`: every device, by node id."""
    return _by_id([_device(item) for item in _list(text, "devices")])


def _device(item: dict[str, Any]) -> Device:
    online = item.get("connectedToControl")
    return Device(
        node_id=_id(item.get("nodeId")),
        name=_text(item, "name").split(".", 1)[0],
        hostname=_text(item, "hostname"),
        tags=_texts(item, "tags"),
        created=_moment(item.get("created")),
        last_seen=_moment(item.get("lastSeen")),
        online=online if isinstance(online, bool) else None,
        addresses=_texts(item, "addresses"),
    )


def nodes(text: str) -> dict[str, Device]:
    """Headscale's `GET /api/v1/node`: every node, by its id, with the key that it enrolled with."""
    return _by_id([_node(item) for item in _list(text, "nodes")])


def _node(item: dict[str, Any]) -> Device:
    online, key = item.get("online"), item.get("preAuthKey")
    return Device(
        node_id=_id(item.get("id")),
        name=_text(item, "givenName"),
        hostname=_text(item, "name"),
        tags=_texts(item, "tags"),
        created=_moment(item.get("createdAt")),
        last_seen=_moment(item.get("lastSeen")),
        online=online if isinstance(online, bool) else None,
        addresses=_texts(item, "ipAddresses"),
        key_id=_id(key["id"]) if isinstance(key, dict) and key.get("id") else None,
    )


def claim(text: str) -> Claim:
    """`tailscale status --json --peers=false`, said inside a container."""
    data = read_json(text, "tailscale status")
    if not isinstance(data, dict) or not isinstance(data.get("BackendState"), str):
        raise Garbled("tailscale status: no BackendState")
    myself = data.get("Self")
    myself = myself if isinstance(myself, dict) else {}
    node, name = myself.get("ID"), myself.get("DNSName")
    return Claim(
        state=plain(data["BackendState"], 40),
        node_id=node if isinstance(node, str) and _ID.fullmatch(node) else "",
        name=plain(name.split(".", 1)[0], 63) if isinstance(name, str) else "",
    )


def _list(text: str, key: str) -> list[dict[str, Any]]:
    data = read_json(text, key)
    items = data.get(key) if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Garbled(f"{key}: the answer has no list of them")
    return items


def _by_id(found: list[Device]) -> dict[str, Device]:
    index = {device.node_id: device for device in found}
    if len(index) != len(found):
        raise Garbled("two devices with one id")
    return index


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Garbled(f"{plain(str(value), 40)!r} is no id")
    return value


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key, "")
    if not isinstance(value, str):
        raise Garbled(f"{key}: not a text")
    return plain(value)


def _texts(item: dict[str, Any], key: str) -> tuple[str, ...]:
    value = item.get(key) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Garbled(f"{key}: not a list of texts")
    return tuple(plain(text) for text in value)


def _moment(value: object) -> datetime | None:
    """A timestamp with its zone; None for none, and for the year 1, by which Go says none."""
    if value is None or value == "":
        return None
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        if at is None or at.tzinfo is None:
            raise ValueError("no zone")
        return None if at.year <= 1 else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Garbled(f"{plain(str(value), 40)!r} is no timestamp") from error
