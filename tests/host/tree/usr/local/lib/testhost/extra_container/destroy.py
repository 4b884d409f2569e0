"""Destroying containers: the stop is signalled, and everything is removed while they may still be ending."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from extra_container.definition import define
from extra_container.host import CONFS, ROOTS, UNITS, complain, fail, gcroot, names_in, quiet, say, unit_of


def destroy(args: Sequence[str]) -> None:
    """Remove containers, whether they run, exist, or neither."""
    if args and args[0] in ("--all", "-a"):
        remove(names_in(UNITS))
    elif (args and args[0][:1] in (".", "/", "-")) or os.environ.get("EXTRA_CONTAINER_ETC"):
        with tempfile.TemporaryDirectory(prefix="extra-container.") as scratch:
            names = define(args, Path(scratch)).names
        say("\n".join(["Destroying containers:", *names]))
        remove(names)
    elif not args:
        fail("No container name specified")
    else:
        remove(args)


def remove(names: Sequence[str]) -> None:
    """Signal the stop and go on: the root tree is deleted while the container may still be shutting down."""
    if not CONFS.exists():
        return
    reload = False
    for name in names:
        unit, conf = UNITS / unit_of(name), CONFS / f"{name}.conf"
        if _systemctl("Stopping", "stop", "--no-block", unit.name):
            _systemctl("Killing", "kill", unit.name)
        (UNITS / "machines.target.wants" / unit.name).unlink(missing_ok=True)
        if unit.is_symlink():
            unit.unlink()
            reload = True
        gcroot(name).unlink(missing_ok=True)
        Path(f"{gcroot(name)}.conf").unlink(missing_ok=True)
        conf.unlink(missing_ok=True)
        conf.touch()
        for empty in glob(f"{ROOTS}/{name}/var/lib/*containers/*/var/empty"):
            quiet("chattr", "-i", empty)
        sys.stdout.flush()
        subprocess.run(["nixos-container", "destroy", name], check=False)
    if reload:
        quiet("systemctl", "daemon-reload")


def _systemctl(doing: str, *args: str) -> bool:
    """Run systemctl and tell of a failure; False where the unit is not even loaded."""
    done = subprocess.run(
        ["systemctl", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode and "not loaded" in done.stdout:
        return False
    if done.returncode:
        complain(f"{doing} {args[-1]} failed with: {done.stdout.rstrip()}")
    return True
