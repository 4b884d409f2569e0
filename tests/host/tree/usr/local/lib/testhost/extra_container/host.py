"""Where things are on the host, what the script says, and how its commands fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import NoReturn

UNITS = Path("/etc/systemd-mutable/system")
CONFS = Path("/etc/nixos-containers")
ROOTS = Path("/var/lib/nixos-containers")
GCROOTS = Path("/nix/var/nix/gcroots/auto")


def names_in(directory: Path) -> list[str]:
    """The containers whose units are in a directory; the template is none."""
    found = sorted(glob(f"{directory}/container@?*.service"))
    return [os.path.basename(path).removeprefix("container@").removesuffix(".service") for path in found]


def unit_of(name: str) -> str:
    """The unit of a container."""
    return f"container@{name}.service"


def gcroot(name: str) -> Path:
    """What keeps the installed unit from garbage collection; with `.conf` behind it, the conf file."""
    return GCROOTS / f"extra-container-{name}"


def announce(doing: str, names: Sequence[str]) -> None:
    """Say what happens next, to whom."""
    say("\n".join([f"{doing} containers:", *names, ""]))


def command(*argv: str) -> None:
    """Run a command of the script itself; its failure ends the script, which tells where."""
    if code := subprocess.run(argv, check=False).returncode:
        say(f"Error at {os.path.abspath(sys.argv[0])}:{sys._getframe(1).f_lineno}")
        raise SystemExit(code)


def quiet(*argv: str) -> None:
    """Run a command of one of the script's functions; its failure ends the script without another word."""
    if code := subprocess.run(argv, check=False).returncode:
        raise SystemExit(code)


def say(text: str) -> None:
    """Print a line, before anything else happens."""
    print(text, flush=True)


def complain(text: str) -> None:
    """Print a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    """Complain and end."""
    complain(text)
    raise SystemExit(1)
