"""What containers a command is about: its arguments, and a build where they are no store path."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from extra_container.host import complain, fail, names_in, say


@dataclass
class Definition:
    """What `create` and `destroy` were given: the containers below `etc`, and what is to happen to them."""

    flags: frozenset[str]
    etc: Path
    names: list[str]


def define(args: Sequence[str], scratch: Path, *, only_build: bool = False) -> Definition:
    """Read the arguments of `create`, and build where a definition is given instead of a store path."""
    flags, expression, attr, build, words = _options(args)
    ready = os.environ.get("EXTRA_CONTAINER_ETC", "")
    source = "" if expression or not words else words.pop(0)
    if words:
        fail(f"Error: Unhandled arguments: {' '.join(words)}")
    if os.path.isfile(source) or (source and os.path.exists(f"{source}/default.nix")):
        expression = f"import ''{os.path.realpath(source)}''"
    elif not (source or expression or ready):
        expression = sys.stdin.read()
    if expression:
        complain("Building containers...")
        path = f".${{''{attr}''}}" if attr else ""
        argv = [
            "nix-build",
            "--out-link",
            str(scratch / "result"),
            *build,
            "-E",
            f"let cfg = ({expression}){path}; in cfg",
        ]
        if code := subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode:
            raise SystemExit(code)
        if only_build:
            say(os.path.realpath(scratch / "result"))
            raise SystemExit(0)
        source = str(scratch / "result")
    etc = f"{source or ready}/etc"
    if not os.path.exists(etc):
        fail(f"{etc} doesn't exist")
    names = sorted(names_in(Path(etc, "systemd/system")))
    if not names:
        complain(f"No container services in {etc}/systemd/system")
        raise SystemExit(0)
    return Definition(frozenset(flags), Path(etc), names)


def _options(args: Sequence[str]) -> tuple[set[str], str, str, list[str], list[str]]:
    """Flags, expression, attribute, arguments for nix-build, and the other words."""
    switches = {"-s": "start", "--start": "start", "-u": "update", "--update-changed": "update",
                "-r": "restart", "--restart-changed": "restart", "--ssh": "ssh"}  # fmt: skip
    values = {"-E": "", "--expr": "", "-A": "", "--attr": "", "--nixpkgs-path": "", "--nixos-path": ""}
    flags, words, build, rest = set(), [], [], list(args)
    while rest:
        word = rest.pop(0)
        if word in switches:
            flags.add(switches[word])
        elif word in values:
            values[word] = rest.pop(0) if rest else ""
        elif word == "--build-args":
            build, rest = rest, []
        else:
            words.append(word)
    return flags, values["-E"] or values["--expr"], values["-A"] or values["--attr"], build, words
