"""The life of one `container@N.service`, as systemd tells it.

`settle` is pure: it says what a unit has become by a given time, so that a start that nobody waits for goes on
all the same, whoever looks next. The rest reads and writes units in the host's database.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from controller.host.sim.command import World
from controller.host.sim.state import Settings

RESTART_LIMIT = 5
"""Automatic restarts before systemd gives up (StartLimitBurst)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit. `until` is when it goes on by itself, None where it stays; `outcome` is how its start will end:
    `ready`, `crash` (for `reason`) or `hang`; while it stops, `killed` ends it failed. `binds` are the host paths
    bound into the running container, as a JSON list. Limits are as `systemctl show` prints them.
    """

    name: str
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    restarts: int = 0
    exit_status: int = 0
    outcome: str = "ready"
    reason: str = ""
    until: float | None = None
    since: float = 0.0
    leader: int = 0
    binds: str = "[]"
    memory_max: str = "infinity"
    cpu_quota: str = "infinity"
    tasks_max: str = "28799"

    @property
    def registered(self) -> bool:
        """Whether systemd-machined knows its machine: early in the start, and to the very end."""
        if self.active == "activating":
            return self.sub == "start" and self.outcome != "crash"
        return self.active in ("active", "deactivating")

    @property
    def up(self) -> bool:
        """Whether processes of it may be running."""
        return self.active in ("activating", "active", "deactivating")

    @property
    def status_text(self) -> str:
        """What the container's first process last told systemd."""
        return "Container running: Ready." if self.active == "active" else ""


COLUMNS = tuple(each.name for each in fields(Unit))
_SAVE = f"INSERT OR REPLACE INTO units ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608


def settle(unit: Unit, now: float, settings: Settings) -> tuple[Unit, tuple[str, ...]]:
    """What the unit is at `now`, and the journal lines of its way there."""
    lines: list[str] = []
    for _ in range(10_000):
        if unit.until is None or unit.until > now:
            break
        unit, line = _advance(unit, unit.until, settings)
        lines += [line] if line else []
    return unit, tuple(lines)


def _advance(unit: Unit, at: float, settings: Settings) -> tuple[Unit, str]:
    """One transition, at the time it was due."""
    service = f"container@{unit.name}.service"
    match unit.active, unit.sub, unit.outcome:
        case "activating", "start", "ready":
            ready = replace(unit, active="active", sub="running", result="success", until=None, since=at)
            return ready, f"Started {service} - Container '{unit.name}'."
        case "activating", "start", "crash":
            wait = at + settings.restart_seconds
            crashed = replace(unit, sub="auto-restart", result="exit-code", exit_status=1, until=wait)
            return crashed, f"{service}: Main process exited, code=exited, status=1/FAILURE"
        case "activating", "start", _:
            wait = at + max(settings.start_timeout, 0.01)
            again = replace(unit, restarts=unit.restarts + 1, result="success", until=wait, since=at)
            return again, f"{service}: start operation timed out. Terminating."
        case "activating", _, _:
            restarts = unit.restarts + 1
            if restarts >= RESTART_LIMIT:
                failed = replace(unit, active="failed", sub="failed", restarts=restarts, until=None, since=at)
                return failed, f"{service}: Start request repeated too quickly."
            return replace(unit, sub="start", restarts=restarts, until=at), unit.reason
        case "deactivating", _, "killed":
            failed = replace(unit, active="failed", sub="failed", result="exit-code", exit_status=143, until=None)
            return replace(failed, since=at, binds="[]"), f"{service}: Failed with result 'exit-code'."
        case _:
            stopped = replace(unit, active="inactive", sub="dead", until=None, since=at, binds="[]", restarts=0)
            return stopped, f"Stopped {service} - Container '{unit.name}'."


def starting(unit: Unit, now: float, outcome: str, reason: str, binds: Sequence[str], seconds: float) -> Unit:
    """The unit at the beginning of a start that was asked for."""
    return replace(
        unit,
        active="activating",
        sub="start",
        result="success",
        restarts=0,
        exit_status=0,
        outcome=outcome,
        reason=reason,
        until=now + seconds,
        since=now,
        binds=json.dumps(list(binds)),
    )


def stopping(unit: Unit, now: float, seconds: float, *, killed: bool = False) -> Unit:
    """The unit at the beginning of a stop; a unit that waits for its next restart is stopped at once."""
    if not unit.registered:
        seconds = 0.0
    outcome = "killed" if killed or unit.outcome == "killed" else "ready"
    until = unit.until if unit.active == "deactivating" and not killed else now + seconds
    return replace(unit, active="deactivating", sub="stop-sigterm", outcome=outcome, until=until)


def reset(unit: Unit) -> Unit:
    """The unit after `reset-failed`: as if it had never run, but for its limits."""
    return Unit(unit.name, memory_max=unit.memory_max, cpu_quota=unit.cpu_quota, tasks_max=unit.tasks_max)


def load(world: World, names: Iterable[str]) -> dict[str, Unit]:
    """The named units as they are now; one that systemd never heard of is `inactive`."""
    wanted = list(dict.fromkeys(names))
    if len(wanted) <= 500:
        marks = ", ".join("?" * len(wanted))
        rows = world.state.rows(f"SELECT * FROM units WHERE name IN ({marks})", *wanted)  # noqa: S608 - only marks
        found = {unit.name: unit for unit in _settled(world, rows)}
    else:
        found = load_all(world)
    return {name: found.get(name) or Unit(name) for name in wanted}


def load_all(world: World) -> dict[str, Unit]:
    """Every unit that was ever started, as it is now, by name."""
    return {unit.name: unit for unit in _settled(world, world.state.rows("SELECT * FROM units ORDER BY name"))}


def save(world: World, unit: Unit) -> None:
    """Write one unit."""
    with world.state.write() as db:
        db.execute(_SAVE, tuple(getattr(unit, column) for column in COLUMNS))


def _settled(world: World, rows: Iterable[sqlite3.Row]) -> list[Unit]:
    """Units from rows, brought up to now; those that have gone on are written back unless somebody was faster."""
    now = world.now()
    units: list[Unit] = []
    late: list[Unit] = []
    for row in rows:
        unit = Unit(*row)
        units.append(unit)
        if unit.until is not None and unit.until <= now:
            late.append(unit)
    if not late:
        return units
    settings = world.state.settings()
    current: dict[str, Unit] = {}
    with world.state.write():
        for unit in late:
            fresh = world.state.row("SELECT * FROM units WHERE name = ?", unit.name)
            settled, lines = settle(Unit(*fresh) if fresh else Unit(unit.name), now, settings)
            save(world, settled)
            for line in lines:
                world.log(unit.name, line)
            if settled.active == "active":
                world.log(unit.name, "Reached target multi-user.target - Multi-User System.", inside=True)
            current[unit.name] = settled
    return [current.get(unit.name, unit) for unit in units]


def bound_below(world: World, host_path: str) -> str | None:
    """The name of a running container that has `host_path`, or something below it, bound in; else None."""
    for unit in load_all(world).values():
        if unit.registered and host_path in unit.binds:
            for source in json.loads(unit.binds):
                if source == host_path or source.startswith(host_path.rstrip("/") + "/"):
                    return unit.name
    return None
