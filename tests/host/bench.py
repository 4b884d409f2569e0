"""How long a real host takes, against the same commands from a shell script: `make bench-host`.

Every ratio is of two measurements of one run on one machine, on hosts that were booted for them one after the other.
Exit code 1 with `--strict` where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tests.bench.clocks import Spread
from tests.bench.table import Row, compared, render
from tests.host.appliance import Appliance
from tests.host.fleet import Fleet
from tests.host.machine import Machine

CONTAINERS = 20
STOPPED = 5
"""Containers beside the running ones in a pass that finds nothing to do; each has two datasets."""
PASSES = 30
BUILDS = 2
GOAL_CREATE, GOAL_PASS = 1.15, 1.3
MEASURE = "PYTHONPATH=/opt/voxnix/app:/opt/voxnix/site python3 /usr/local/lib/testhost/measure.py"
SPEC = {"owner": "alice", "modules": ["git", "workspace"], "workspace": {"quota": "40M"}}
KEPT = "/var/lib/voxnix/documents /run/voxnix/containers"

Commands = list[dict[str, Any]]


def main() -> int:
    """Measure, print the table."""
    arguments = argparse.ArgumentParser(prog="tests.host.bench")
    arguments.add_argument("--rounds", type=int, default=3, help="how often the containers are created")
    arguments.add_argument("--strict", action="store_true", help="exit code 1 where a goal is missed")
    given = arguments.parse_args()
    with Fleet() as fleet:
        created, commands = [], 0
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds}: {CONTAINERS} containers …", file=sys.stderr, flush=True)
            ours, script, commands = create(fleet, number)
            created.append((ours, script))
        print(f"{PASSES} passes with nothing to do …", file=sys.stderr, flush=True)
        idle = settled(fleet)
    rows = [created_row(created), passes_row(idle)]
    notes = [f"{commands:,} commands create {CONTAINERS} containers; a pass runs {len(idle['commands'])}"]
    print(render("voxnix on a real host (namespaces, ZFS on FUSE)", rows, notes))
    return 1 if given.strict and not all(row.met for row in rows) else 0


def create(fleet: Fleet, number: int) -> tuple[float, float, int]:
    """Seconds that voxnix takes to create containers, that a script takes for the same, and how many commands."""
    names = [f"c{each:02d}" for each in range(CONTAINERS)]
    first = fleet.make(f"ours{number}").boot().make_pool()
    box = Appliance(first)
    box.commit("Twenty containers", **dict.fromkeys(names, SPEC))
    recorded = json.loads(first.sh(f"{MEASURE} record"))
    assert recorded["converged"], "all containers are up"
    files = first.sh(f"tar -C / -c {KEPT} 2>/dev/null | base64 -w0")
    first.remove()
    second = fleet.make(f"script{number}").boot().make_pool()
    second.do("sh", "-c", "base64 -d | tar -C / -x", stdin=files)
    second.do("tee", "/root/same.sh", stdin=script(recorded["commands"]))
    began = time.monotonic()
    second.do("bash", "/root/same.sh", timeout=300)
    seconds = time.monotonic() - began
    up = second.do("machinectl", "list", "--output=json").count('"machine"')
    assert up == CONTAINERS, f"the script started {up} of {CONTAINERS} containers"
    second.remove()
    return recorded["seconds"], seconds, len(recorded["commands"])


def script(commands: Commands) -> str:
    """A shell script of these commands: lanes side by side, builds two at a time, all else as it was recorded."""
    lanes: dict[str, Commands] = {}
    for command in commands:
        lanes.setdefault(command["lane"], []).append(command)
    looks = lanes.pop("", [])
    first = min(command["began"] for lane in lanes.values() for command in lane)
    lines = [
        "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; cd /",
        "exec </dev/null >/dev/null 2>&1; mkfifo /root/slots; exec 3<>/root/slots",
        "echo >&3; " * BUILDS,
    ]
    lines += stages(command for command in looks if command["began"] < first)
    for lane in lanes.values():
        lines += ["(", *stages(lane), ") &"]
    lines += ["wait", *stages(command for command in looks if command["began"] >= first)]
    return "\n".join(lines) + "\n"


def stages(commands: Iterable[dict[str, Any]]) -> list[str]:
    """Commands one after the other, but for those that were recorded as running at the same time."""
    together: list[Commands] = []
    for command in sorted(commands, key=lambda each: each["began"]):
        group = together[-1] if together else []
        if group and command["began"] < min(each["began"] + each["seconds"] for each in group):
            group.append(command)
        else:
            together.append([command])
    lines = []
    for group in together:
        shell = [shown(command["argv"]) for command in group]
        lines.append(shell[0] if len(shell) == 1 else " & ".join(shell) + " & wait")
    return lines


def shown(argv: Sequence[str]) -> str:
    """One command, with what the drivers do without a command before a start, and the turns of builds."""
    words = shlex.join(argv)
    if argv[0] == "nix-build":
        return f"mkdir -p /var/lib/voxnix/builds; read -r -u 3; {words}; echo >&3"
    if argv[:2] == ["systemctl", "start"]:
        name = argv[2].partition("@")[2].partition(".")[0]
        data = f"/tank/users/alice/containers/{name}"
        return f"mkdir -p {data}/home {data}/root {data}/var-lib; {words}"
    return words


def settled(fleet: Fleet) -> dict[str, Any]:
    """Passes over running and stopped containers that are as they should be, and their bare commands."""
    host: Machine = fleet.make("idle").boot().make_pool()
    box = Appliance(host)
    running = {f"c{each:02d}": SPEC for each in range(CONTAINERS)}
    stopped = {f"s{each:02d}": {**SPEC, "power": "stopped"} for each in range(STOPPED)}
    box.commit("All of them", **running, **stopped)
    box.voxnix("apply")
    found: dict[str, Any] = json.loads(host.sh(f"{MEASURE} passes {PASSES}"))
    host.remove()
    return found


def created_row(created: Sequence[tuple[float, float]]) -> Row:
    """The row of creation: each round's ratio is of two hosts that were booted one after the other."""
    ours = Spread.of(mine for mine, _ in created)
    bare = Spread.of(script for _, script in created)
    ratio = statistics.median(mine / script for mine, script in created)
    name, beside = f"{CONTAINERS} containers in one commit", f"{bare.median:.1f} s, the same commands from a script"
    return compared(name, ours.shown(1, "s"), beside, ratio, GOAL_CREATE)


def passes_row(idle: dict[str, Any]) -> Row:
    """The row of passes with nothing to do."""
    ours, bare = Spread.of(idle["passes"]), Spread.of(idle["bare"])
    name = f"a pass: {2 * (CONTAINERS + STOPPED)} datasets, {CONTAINERS} running, nothing to do"
    beside = f"{bare.median * 1e3:.0f} ms, its commands side by side"
    return compared(name, ours.shown(1e3, "ms"), beside, ours.median / bare.median, GOAL_PASS)


if __name__ == "__main__":
    sys.exit(main())
