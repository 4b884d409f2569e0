"""machinectl and journalctl of the simulated host."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from controller.host.sim import installed, power, systemd, units
from controller.host.sim.command import Answer, Call, Refusal, World, options
from controller.host.sim.units import Unit

FOLLOW = 0.2
"""Seconds between two looks of `journalctl -f`."""


async def machinectl(call: Call) -> Answer:
    """The `machinectl` command."""
    found, words = options(
        "machinectl",
        call.args,
        "p:o:s:qalE:",
        ["output=", "no-pager", "no-legend", "version", "property=", "full", "kill-whom=", "signal="],
    )
    if ("--version", "") in found:
        return Answer(out="systemd 257 (257.9)\n")
    flags = dict(found)
    verb, *names = words or ["list"]
    if verb == "list":
        return _list(call.world, flags)
    if verb not in ("show", "terminate", "poweroff", "reboot", "kill", "status", "shell"):
        raise Refusal(f"Unknown command verb '{verb}'.")
    if not names:
        raise Refusal("Too few arguments.")
    return _about(call, verb, names, flags)


def _about(call: Call, verb: str, names: list[str], flags: dict[str, str]) -> Answer:
    blocks: list[str] = []
    for given in names:
        name = given.rpartition("@")[2]
        unit = units.load(call.world, [name])[name]
        if not unit.registered:
            raise Refusal(f"{_FAILURE.get(verb, 'Could not get path to machine:')} No machine '{name}' known")
        if verb in ("terminate", "poweroff"):
            power.begin_stop(call.world, name)
        elif verb == "kill":
            end = power.kill_leader if flags.get("--signal") in ("SIGKILL", "KILL", "9") else power.begin_stop
            end(call.world, name)
        elif verb == "reboot":
            power.begin_stop(call.world, name)
            power.begin_start(call.world, name)
        elif verb == "shell":
            raise Refusal("Failed to get shell PTY: standard input is not a terminal")
        else:
            blocks.append(_shown(unit))
    return Answer(out="\n".join(blocks))


_FAILURE = {
    "terminate": "Could not terminate machine:",
    "kill": "Could not kill machine:",
    "poweroff": "Could not kill machine:",
    "reboot": "Could not kill machine:",
    "shell": "Failed to get shell PTY:",
}


def _shown(unit: Unit) -> str:
    began = datetime.fromtimestamp(unit.since, UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC")
    values = {
        "Name": unit.name,
        "Id": f"{unit.leader:032x}",
        "Timestamp": began,
        "Service": "systemd-nspawn",
        "Unit": f"container@{unit.name}.service",
        "Leader": str(unit.leader),
        "Class": "container",
        "RootDirectory": f"{installed.ROOTS}/{unit.name}",
        "State": "running",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def addresses(unit: Unit) -> tuple[str, ...]:
    """What a container answers to on the host's bridge, once it is ready: an IPv4 and a link-local IPv6."""
    if unit.active != "active":
        return ()
    return f"10.100.{unit.leader // 250 % 250}.{unit.leader % 250 + 2}", f"fe80::{unit.leader:x}:1"


def _list(world: World, flags: dict[str, str]) -> Answer:
    rows = [_listed(unit) for unit in units.load_all(world).values() if unit.registered]
    form = flags.get("--output") or flags.get("-o") or ""
    if form in ("json", "json-short"):
        return Answer(out=json.dumps(rows, separators=(",", ":")) + "\n")
    if form == "json-pretty":
        return Answer(out=json.dumps(rows, indent=8) + "\n")
    if not rows:
        return Answer(out="No machines.\n")
    lines = ["MACHINE CLASS SERVICE OS VERSION ADDRESSES"]
    lines += [" ".join(str(value or "-").replace("\n", "…") for value in row.values()) for row in rows]
    return Answer(out="\n".join([*lines, "", f"{len(rows)} machines listed.", ""]))


def _listed(unit: Unit) -> dict[str, Any]:
    up = unit.active == "active"
    return {
        "machine": unit.name,
        "class": "container",
        "service": "systemd-nspawn",
        "os": "nixos" if up else None,
        "version": "26.05" if up else None,
        "addresses": "\n".join(addresses(unit)) or None,
    }


async def journalctl(call: Call) -> Answer:
    """The `journalctl` command. With `-f` it never ends, as the real one: only a terminal can use that."""
    query = Query.of(call)
    lines, _ = query.lines(0)
    if query.follow:
        while True:
            await call.world.sleep(3600)
    return Answer(out="".join(lines) or "-- No entries --\n")


class Query:
    """What one journalctl was asked for."""

    def __init__(self, world: World, unit: str, *, inside: bool, limit: int | None, follow: bool) -> None:
        self.world = world
        self.unit = unit
        self.inside = inside
        self.limit = limit
        self.follow = follow

    @classmethod
    def of(cls, call: Call) -> Query:
        """Read the command line; the tool's own error for one it would not take."""
        found, words = options(
            "journalctl",
            call.args,
            "M:u:n:o:fqab",
            ["machine=", "unit=", "lines=", "output=", "follow", "no-pager", "version", "quiet", "boot"],
        )
        flags = dict(found)
        if words:
            raise Refusal(f"Failed to add match '{words[0]}': Invalid argument")
        machine = flags.get("-M") or flags.get("--machine")
        unit = flags.get("-u") or flags.get("--unit") or ""
        if machine and not units.load(call.world, [machine])[machine].registered:
            raise Refusal("Failed to open journal: Host is down")
        number = flags.get("-n") or flags.get("--lines") or "all"
        if number != "all" and not number.isdigit():
            raise Refusal(f"Failed to parse lines '{number}'")
        limit = None if number == "all" else int(number)
        follow = "-f" in flags or "--follow" in flags
        name = machine or systemd.container(unit) or unit
        return cls(call.world, name, inside=bool(machine), limit=limit, follow=follow)

    def lines(self, after: int) -> tuple[list[str], int]:
        """The lines behind row `after`, oldest first, and the number of the last one."""
        units.load(self.world, [self.unit])
        rows = self.world.state.rows(
            "SELECT * FROM journal WHERE unit = ? AND inside = ? AND id > ? ORDER BY id DESC LIMIT ?",
            self.unit,
            self.inside,
            after,
            -1 if self.limit is None or after else self.limit,
        )[::-1]
        host = self.unit if self.inside else "vox"
        texts = [f"{_stamp(row['time'])} {host} systemd[1]: {row['line']}\n" for row in rows]
        return texts, rows[-1]["id"] if rows else after


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
