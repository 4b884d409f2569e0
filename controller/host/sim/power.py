"""Starting and stopping a simulated container: what is decided when the order is given.

The order is written down and goes on by itself (`units.settle`), whoever gave it may be gone the next instant.
"""

from __future__ import annotations

from dataclasses import replace

from controller.host.sim import installed, units
from controller.host.sim.command import World
from controller.host.sim.state import Settings
from controller.host.sim.units import Unit


def begin_start(world: World, name: str) -> Unit | None:
    """Begin to start a container, or join a start that is under way; None if it is up already."""
    settings = world.state.settings()
    with world.state.write():
        unit = units.load(world, [name])[name]
        if unit.active == "active":
            return None
        if unit.active == "activating" and unit.sub == "start":
            return unit
        now = world.now()
        outcome, reason, sources, seconds = _prospect(world, name, settings)
        leader = 1000 + world.state.next("pid")
        begun = replace(units.starting(unit, now, outcome, reason, sources, seconds), leader=leader)
        if unit.active == "deactivating" and unit.until is not None:
            begun = replace(begun, until=max(unit.until, now) + seconds)
        units.save(world, begun)
        world.log(name, f"Starting container@{name}.service - Container '{name}'...")
        if outcome == "crash":
            world.log(name, reason)
    return begun


def _prospect(world: World, name: str, settings: Settings) -> tuple[str, str, tuple[str, ...], float]:
    """How a start will end (outcome, reason), which host paths it binds, and after how many seconds."""
    root = world.path(f"{installed.ROOTS}/{name}")
    for part in ("etc", "var/lib", "var/log", "root", "home", "tmp"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "etc/hostname").write_text(f"{name}\n")
    conf = installed.conf(world, name)
    if conf is None or not conf.system or not world.path(conf.system).is_dir():
        system = conf.system if conf else ""
        return "crash", f"execv({system}/init, {system}/init, ...) failed: No such file or directory", (), 0.0
    sources = tuple(bind.host for bind in conf.binds)
    for source in sources:
        if not world.path(source).exists():
            return "crash", f"Failed to stat {source}: No such file or directory", (), 0.0
    boot = settings.boots.get(name, settings.boots.get("default", 0.0))
    if boot == "crash":
        return "crash", f"Container {name} failed with error code 1.", sources, 0.0
    if boot == "hang":
        return "hang", "", sources, settings.start_timeout
    return "ready", "", sources, float(boot)


def begin_stop(world: World, name: str, *, killed: bool = False) -> None:
    """Begin to stop a container; nothing happens to one that is down, and a failed one stays failed."""
    settings = world.state.settings()
    with world.state.write():
        unit = units.load(world, [name])[name]
        if unit.up:
            patience = 0.0 if killed else settings.stop_seconds
            units.save(world, units.stopping(unit, world.now(), patience, killed=killed))
            world.log(name, f"Stopping container@{name}.service - Container '{name}'...")


def kill_leader(world: World, name: str) -> None:
    """Kill a container's first process: one that was told to stop ends at once, any other is started again."""
    if units.load(world, [name])[name].active == "deactivating":
        begin_stop(world, name, killed=True)
        return
    begin_stop(world, name)
    begun = begin_start(world, name)
    if begun:
        with world.state.write():
            units.save(world, replace(begun, restarts=begun.restarts + 1))
