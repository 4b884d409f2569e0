"""`python -m controller.host.sim DIR -- ARGV…`: one command on a simulated host, as somebody else would run it.

`--create` makes the host first; `--reboot` cuts its power; `--tailnet [PORT]` serves its control plane.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from controller.errors import VoxnixError
from controller.host.sim import SimHost, create
from controller.host.sim.tailnet import serve


def main(args: list[str]) -> int:
    """Run one command; its exit code."""
    words, command = args, []
    if "--" in args:
        at = args.index("--")
        words, command = args[:at], args[at + 1 :]
    if not words or (not command and len(words) < 2):
        sys.stderr.write(
            "usage: python -m controller.host.sim DIR [--create] [--reboot] [--tailnet [PORT]] [-- ARGV…]\n"
        )
        return 2
    directory = Path(words[0])
    try:
        return _act(directory, words[1:], command)
    except VoxnixError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _act(directory: Path, words: list[str], command: list[str]) -> int:
    host = create(directory) if "--create" in words else SimHost(directory)
    if "--reboot" in words:
        host.reboot()
    if "--tailnet" in words:
        port = words[words.index("--tailnet") + 1 :][:1]
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(directory, int(port[0]) if port else 0))
        return 0
    if not command:
        return 0
    if command[:2] == ["machinectl", "shell"] or (command[0] == "journalctl" and "-f" in command):
        return host.interact(command)
    piped = command[0] == "systemd-run" and sys.stdin is not None and not sys.stdin.isatty()
    stdin = sys.stdin.read() if piped else None
    result = asyncio.run(host.behind_our_back(command, stdin))
    sys.stdout.write(result.out)
    sys.stderr.write(result.err)
    return result.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
