"""What is installed of a container: its unit link, its conf file, the binds and the document behind them.

Reads the simulated host's files, as systemd and systemd-nspawn would; writes nothing.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import Any

from controller.host.sim.command import World

UNITS = "/etc/systemd-mutable/system"
CONFS = "/etc/nixos-containers"
ROOTS = "/var/lib/nixos-containers"
TEMPLATE = "/etc/systemd/system/container@.service"


@dataclass(frozen=True, slots=True)
class Bind:
    """A host path that a container sees at `guest`."""

    host: str
    guest: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Conf:
    """The conf file of a container, `/etc/nixos-containers/N.conf`."""

    system: str = ""
    binds: tuple[Bind, ...] = ()
    values: dict[str, str] = field(default_factory=dict)


def unit_path(name: str) -> str:
    """The host path of the mutable unit link."""
    return f"{UNITS}/container@{name}.service"


def conf_path(name: str) -> str:
    """The host path of the conf file."""
    return f"{CONFS}/{name}.conf"


def has_unit(world: World, name: str) -> bool:
    """Whether the unit link of a container resolves."""
    return world.path(unit_path(name)).exists()


def fragment(world: World, name: str, *, template: bool) -> str:
    """`FragmentPath` of the unit: the mutable link, or else the template that makes absent look loaded, or else ''."""
    if has_unit(world, name):
        return unit_path(name)
    return TEMPLATE if template else ""


def conf(world: World, name: str) -> Conf | None:
    """What the conf file says; None when there is none."""
    try:
        text = world.path(conf_path(name)).read_text()
    except OSError:
        return None
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values[key.strip()] = value.strip().strip('"')
    return Conf(values.get("SYSTEM_PATH", ""), _binds(values.get("EXTRA_NSPAWN_FLAGS", "")), values)


def _binds(flags: str) -> tuple[Bind, ...]:
    found: list[Bind] = []
    for flag in shlex.split(flags):
        kind, _, rest = flag.partition("=")
        if kind in ("--bind", "--bind-ro"):
            host, *more = rest.split(":")
            found.append(Bind(host, more[0] if more else host, kind == "--bind-ro"))
    return tuple(found)


def document(world: World, name: str) -> dict[str, Any] | None:
    """The document that the installed system carries; None for a foreign container."""
    found = conf(world, name)
    if found is None or not found.system:
        return None
    try:
        value = json.loads(world.path(f"{found.system}/etc/voxnix/container.json").read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def on_tailnet(world: World, name: str) -> bool:
    """Whether the installed system runs tailscaled."""
    system = (document(world, name) or {}).get("system", {})
    return bool(system.get("tailscale")) or "tailscale" in system.get("modules", ())
