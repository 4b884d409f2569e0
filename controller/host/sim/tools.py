"""Which programs the simulated host has, and which of their commands change something."""

from __future__ import annotations

from controller.host.sim.command import Tool
from controller.host.sim.coreutils import cp
from controller.host.sim.extra_container import extra_container
from controller.host.sim.inside import systemd_run
from controller.host.sim.machined import journalctl, machinectl
from controller.host.sim.nix import nix_build
from controller.host.sim.systemd import systemctl
from controller.host.sim.timedated import timedatectl
from controller.host.sim.zfs import zfs
from controller.host.sim.zpool import zpool

TOOLS: dict[str, Tool] = {
    "cp": cp,
    "extra-container": extra_container,
    "journalctl": journalctl,
    "machinectl": machinectl,
    "nix-build": nix_build,
    "systemctl": systemctl,
    "systemd-run": systemd_run,
    "timedatectl": timedatectl,
    "zfs": zfs,
    "zpool": zpool,
}

_READING: dict[str, frozenset[str] | None] = {
    "extra-container": frozenset({"list"}),
    "http": frozenset({"GET"}),
    "journalctl": None,
    "machinectl": frozenset({"", "list", "show", "status"}),
    "systemctl": frozenset({"", "show", "is-active", "list-units", "is-system-running"}),
    "systemd-run": frozenset({"cat", "echo", "false", "hostname", "ls", "tailscale status", "true"}),
    "timedatectl": None,
    "zfs": frozenset({"get", "list", "version"}),
    "zpool": None,
}
"""The commands that only read; None where the whole program does."""
_VALUED = frozenset({"-M", "-p", "-o", "-u", "-n", "-t", "--machine", "--property"})
"""Options whose next word is their value."""


def words_of(argv: tuple[str, ...]) -> tuple[str, str]:
    """The program and its verb; for `systemd-run` the verb is what runs inside (`tailscale up`)."""
    program = argv[0].rpartition("/")[2]
    words: list[str] = []
    skip = False
    for word in argv[1:]:
        if skip:
            skip = False
        elif word in _VALUED and not words:
            skip = True
        elif not word.startswith("-"):
            words.append(word)
    if program == "systemd-run" and words and words[0].rpartition("/")[2] == "tailscale":
        return program, " ".join(("tailscale", *words[1:2]))
    return program, words[0] if words else ""


def mutates(argv: tuple[str, ...]) -> bool:
    """Whether a command changes the host, the tailnet, or what is inside a container."""
    program, verb = words_of(argv)
    if "--version" in argv or program not in _READING:
        return "--version" not in argv
    reading = _READING[program]
    return reading is not None and verb not in reading
