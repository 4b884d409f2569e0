"""extra-container of the simulated host: create, destroy, list, restart; in the order of the real script.

It prints before it links, links one file after the other, and ends with 0 where the real one does though nothing
was done.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from controller.host.sim import installed, power, systemd, units
from controller.host.sim.command import Answer, Call, Refusal, World
from controller.host.sim.nix import relative_link

GCROOTS = "/nix/var/nix/gcroots/auto"
WANTS = "/etc/systemd-mutable/system/machines.target.wants"


async def extra_container(call: Call) -> Answer:
    """The `extra-container` command."""
    verb, *rest = call.args or ("help",)
    if verb in ("help", "-h", "--help"):
        return Answer(out="Usage:\n\nextra-container create <container-config-file>\n")
    if verb == "list":
        return Answer(out="".join(f"{name}\n" for name in _names(call.world.path(installed.UNITS))))
    if verb in ("create", "add"):
        return await _create(call, rest)
    if verb == "destroy":
        return _destroy(call, rest)
    if verb == "restart":
        service = [f"container@{name}.service" for name in rest]
        return await systemd.systemctl(replace(call, argv=("systemctl", "restart", *service)))
    raise Refusal(f"nixos-container: unknown action '{verb}'", 255)


def _names(directory: Path) -> list[str]:
    """The containers that have a unit file in a directory."""
    found = [each.name for each in directory.glob("container@?*.service")] if directory.is_dir() else []
    return sorted(name.removeprefix("container@").removesuffix(".service") for name in found)


async def _create(call: Call, args: Sequence[str]) -> Answer:
    flags = {"-s": "start", "--start": "start", "-u": "update", "--update-changed": "update", "-r": "restart",
             "--restart-changed": "restart", "--ssh": "ssh"}  # fmt: skip
    asked = {flags[arg] for arg in args if arg in flags}
    words = [arg for arg in args if arg not in flags]
    if not words or words[0] == "-":
        raise Refusal("error: the simulated host builds with nix-build only; give extra-container a store path")
    if len(words) > 1:
        raise Refusal(f"Error: Unhandled arguments: {' '.join(words[1:])}")
    world = call.world
    etc = world.path(words[0]) / "etc"
    if not etc.exists():
        raise Refusal(f"{words[0]}/etc doesn't exist")
    names = _names(etc / "systemd/system")
    if not names:
        return Answer(err=f"No container services in {words[0]}/etc/systemd/system\n")
    lines = ["", "Installing containers:"]
    changed: list[str] = []
    for name in names:
        if _unchanged(world, etc, name):
            lines.append(f"{name} (unchanged, skipped)")
            continue
        lines.append(name)
        changed.append(name)
        install(call, etc, name)
    said = "\n".join([*lines, "", ""])
    return await _run(call, said, names, changed, asked)


def _unchanged(world: World, etc: Path, name: str) -> bool:
    unit, conf = world.path(installed.unit_path(name)), world.path(installed.conf_path(name))
    return (
        unit.exists()
        and conf.exists()
        and unit.resolve() == (etc / f"systemd/system/container@{name}.service").resolve()
        and conf.resolve() == (etc / f"nixos-containers/{name}.conf").resolve()
    )


def install(call: Call, etc: Path, name: str) -> None:
    """The links of one container, one by one."""
    world = call.world
    source = etc / f"nixos-containers/{name}.conf"
    if not source.exists():
        raise Refusal(f"Unexpected error: /etc/nixos-containers/{name}.conf doesn't exist")
    unit, conf = world.path(installed.unit_path(name)), world.path(installed.conf_path(name))
    roots = world.path(GCROOTS)
    for directory in (unit.parent, conf.parent, roots):
        directory.mkdir(parents=True, exist_ok=True)
    relative_link(unit, (etc / f"systemd/system/container@{name}.service").resolve())
    call.checkpoint()
    relative_link(conf, source.resolve())
    call.checkpoint()
    relative_link(roots / f"extra-container-{name}", unit)
    relative_link(roots / f"extra-container-{name}.conf", conf)
    if "AUTO_START=1" in conf.read_text().splitlines():
        wants = world.path(WANTS)
        wants.mkdir(parents=True, exist_ok=True)
        relative_link(wants / unit.name, unit)


async def _run(call: Call, said: str, names: Sequence[str], changed: Sequence[str], asked: set[str]) -> Answer:
    """What follows the install: starts, and restarts of what runs and has changed."""
    known = units.load(call.world, names)
    running = [name for name in names if known[name].active == "active"]
    todo: list[tuple[str, str, list[str]]] = []
    if "start" in asked:
        todo.append(("Starting", "start", [name for name in names if name not in running]))
    if asked:
        todo.append(("Restarting", "restart", [name for name in running if name in changed]))
    for title, verb, which in todo:
        if which:
            said += "\n".join([f"{title} containers:", *which, "", ""])
            service = [f"container@{name}.service" for name in which]
            try:
                answer = await systemd.systemctl(replace(call, argv=("systemctl", verb, *service), interrupt=None))
            except Refusal as refusal:
                answer = refusal.answer
            if answer.code:
                return Answer(1, f"{said}Error at /bin/extra-container:1\n", answer.err)
    return Answer(out=said)


def _destroy(call: Call, args: Sequence[str]) -> Answer:
    world = call.world
    if not args:
        raise Refusal("No container name specified")
    said = ""
    if args[0] in ("--all", "-a"):
        names = _names(world.path(installed.UNITS))
    elif args[0].startswith("/"):
        names = _names(world.path(args[0]) / "etc/systemd/system")
        said = "\n".join(["Destroying containers:", *names, ""])
    else:
        names = list(args)
    if world.path(installed.CONFS).exists():
        for name in names:
            _remove(call, name)
    return Answer(out=said)


def _remove(call: Call, name: str) -> None:
    """One container's end. Its root tree goes while it may still be shutting down: the race of the real script."""
    world = call.world
    if units.load(world, [name])[name].up:
        power.begin_stop(world, name, killed=True)
    call.checkpoint()
    unit, conf = world.path(installed.unit_path(name)), world.path(installed.conf_path(name))
    roots = world.path(GCROOTS)
    for path in (unit, world.path(WANTS) / unit.name, roots / f"extra-container-{name}"):
        path.unlink(missing_ok=True)
    call.checkpoint()
    (roots / f"extra-container-{name}.conf").unlink(missing_ok=True)
    conf.unlink(missing_ok=True)
    shutil.rmtree(world.path(f"{installed.ROOTS}/{name}"), ignore_errors=True)
    for kind in ("profiles", "gcroots"):
        with contextlib.suppress(OSError):
            shutil.rmtree(world.path(f"/nix/var/nix/{kind}/per-container/{name}"))
