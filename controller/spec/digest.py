"""Digests that tell whether a system must be rebuilt, and whether a commit to its own spec asked for that.

Pure. Only what a system is built from counts: quota, power, schedule, limits, pause, expiry, secrets, host,
description and what concerns the tailnet device alone never change a digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from controller.spec.model import ContainerSpec
from controller.spec.state import Library

_OWN_KEYS = ("owner", "modules", "env")


def canonical(value: Any) -> str:
    """One text for equal JSON values: sorted keys, ASCII, no spaces. Raises ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def digest_of(value: Any) -> str:
    """The first 32 hex digits of the SHA-256 of the canonical text."""
    return hashlib.sha256(canonical(value).encode("ascii")).hexdigest()[:32]


def system_part(spec: ContainerSpec) -> dict[str, Any]:
    """What a container's system is built from, JSON-able. The order in which modules are listed does not count."""
    return {
        "name": spec.name,
        "owner": spec.owner,
        "modules": sorted(spec.modules),
        "env": dict(spec.env),
        "workspace": spec.has_workspace,
        "tailscale": spec.on_tailnet,
    }


def system_digest(spec: ContainerSpec, library: Library) -> str:
    """The digest of a container's system: its system part, and the library and nixpkgs that it is built with."""
    return digest_of({"system": system_part(spec), "library": library.digest})


def own_digest(name: str, values: Mapping[str, Any]) -> str:
    """The digest of the system part that the file of container `name` asks for itself.

    `values` are those of its `FileResult`, without defaults; so it changes by a commit to that file only.
    """
    own = {key: values[key] for key in _OWN_KEYS if key in values}
    if "modules" in own:
        own["modules"] = sorted(own["modules"])
    return digest_of({"name": name, **own})
