"""Installing the containers of a definition, and bringing what runs up to date."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extra_container.definition import Definition
from extra_container.host import CONFS, GCROOTS, UNITS, announce, command, complain, fail, gcroot, quiet, say, unit_of

TEMPLATE = "/bin/container_-start"
"""What ExecStart of an unknown name ends in: the template's script."""


@dataclass
class Changes:
    """What an install came to."""

    changed: list[str] = field(default_factory=list)
    only_system: list[str] = field(default_factory=list)


def install(definition: Definition) -> Changes:
    """Put the links of every container of a definition in place, one by one."""
    say("\nInstalling containers:")
    for directory in (UNITS, CONFS, GCROOTS):
        directory.mkdir(parents=True, exist_ok=True)
    changes = Changes()
    for name in definition.names:
        unit, conf = _sources(definition.etc, name)
        if _unchanged(name, unit, conf, changes):
            say(f"{name} (unchanged, skipped)")
            continue
        say(name)
        changes.changed.append(name)
        if not conf.exists():
            fail(f"Error: {conf} doesn't exist")
        _link(name, unit, conf)
    if changes.changed:
        command("systemctl", "daemon-reload")
        _check_unit(changes.changed[0])
    return changes


def _sources(etc: Path, name: str) -> tuple[Path, Path]:
    return etc / "systemd/system" / unit_of(name), etc / "nixos-containers" / f"{name}.conf"


def _unchanged(name: str, unit: Path, conf: Path, changes: Changes) -> bool:
    """Whether these very files are installed; notes where nothing but the system differs."""
    unit_there, conf_there = UNITS / unit_of(name), CONFS / conf.name
    if not (unit_there.exists() and conf_there.exists() and os.path.realpath(unit) == os.path.realpath(unit_there)):
        return False
    if os.path.realpath(conf) == os.path.realpath(conf_there):
        return True
    if _without_system(conf) == _without_system(conf_there):
        changes.only_system.append(name)
    return False


def _without_system(conf: Path) -> list[str]:
    text = conf.read_text() if conf.exists() else ""
    return [line for line in text.rstrip("\n").split("\n") if not line.startswith("SYSTEM_PATH=")]


def _link(name: str, unit: Path, conf: Path) -> None:
    unit_there, conf_there = UNITS / unit_of(name), CONFS / conf.name
    command("ln", "-sf", os.path.realpath(unit), str(unit_there))
    command("ln", "-sf", os.path.realpath(conf), str(conf_there))
    command("ln", "-sf", str(unit_there), str(gcroot(name)))
    command("ln", "-sf", str(conf_there), f"{gcroot(name)}.conf")
    if "AUTO_START=1" in conf.read_text():
        wants = UNITS / "machines.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        command("ln", "-sfn", f"../{unit.name}", str(wants))


def _check_unit(name: str) -> None:
    """The host must look for units where they are installed."""
    shown = subprocess.run(
        ["systemctl", "show", "-p", "ExecStart", unit_of(name)], capture_output=True, text=True, check=False
    )
    if TEMPLATE in shown.stdout:
        complain("\nContainer service installation failed.")
        complain("This host does not look for units in /etc/systemd-mutable/system.\n")
        raise SystemExit(1)


def run_changed(definition: Definition, changes: Changes) -> None:
    """Start what is down, and bring what runs up to date, as far as the flags ask for it."""
    say("")
    flags = definition.flags & {"start", "update", "restart"}
    if not flags:
        return
    argv = ["systemctl", "is-active", *map(unit_of, definition.names)]
    states = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()
    running = [name for name, state in zip(definition.names, states, strict=False) if state == "active"]
    down = [name for name in definition.names if name not in running]
    if "start" in flags and down:
        announce("Starting", down)
        command("systemctl", "start", *map(unit_of, down))
    outdated = [name for name in running if name in changes.changed]
    updated = [] if "restart" in flags else [name for name in outdated if name in changes.only_system]
    if updated:
        announce("Updating", updated)
        update(updated)
    if again := [name for name in outdated if name not in updated]:
        announce("Restarting", again)
        restart(again)


def update(names: Sequence[str]) -> None:
    """Switch running containers to their new systems; what comes of that is shown, and has no consequence."""
    for name in names:
        say(f"  Updating {name}")
        match = re.search(r"^SYSTEM_PATH=(.*)$", (CONFS / f"{name}.conf").read_text(), re.MULTILINE)
        switch = f"{match[1] if match else ''}/bin/switch-to-configuration test"
        argv = ["nixos-container", "run", name, "--", "bash", "-lc", switch]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        for line in done.stdout.splitlines():
            say(f"  {line}")
        say("")


def restart(names: Sequence[str]) -> None:
    """Stop, wait until no machine is left, start; a failure ends it without the words of `command`."""
    services = [unit_of(name) for name in names]
    quiet("systemctl", "stop", *services)
    for attempt in range(1, 21):
        argv = ["machinectl", "terminate", *names]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode == 0 or re.search("no.*machine.*known", done.stdout, re.DOTALL):
            break
        say(" ".join(done.stdout.split()))
        if attempt == 20:
            fail("Failed to stop containers.")
        time.sleep(0.001)
    quiet("systemctl", "start", *services)
