"""The command line of extra-container."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from extra_container.definition import define
from extra_container.destroy import destroy
from extra_container.host import UNITS, names_in, say
from extra_container.install import install, restart, run_changed

HELP = """Usage:

extra-container create [STORE-PATH | FILE] [-s|--start] [-u|--update-changed] [-r|--restart-changed]
extra-container build | list | restart NAME... | destroy NAME...|--all|-a|STORE-PATH
"""


def main(args: Sequence[str]) -> None:
    """The command line."""
    if not args or args[0] in ("help", "-h", "--help"):
        say(HELP)
        return
    verb, *rest = args
    if verb == "list":
        for name in names_in(UNITS):
            say(name)
    elif verb == "restart":
        restart(rest)
    elif verb == "destroy":
        destroy(rest)
    elif verb in ("create", "add", "build"):
        with tempfile.TemporaryDirectory(prefix="extra-container.") as scratch:
            definition = define(rest, Path(scratch), only_build=verb == "build")
            run_changed(definition, install(definition))
    else:
        sys.stdout.flush()
        os.execvp("nixos-container", ["nixos-container", *args])
