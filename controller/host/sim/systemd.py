"""systemctl of the simulated host.

`show` answers in an order of its own, `start` of an absent name runs the template, and a start goes on when
nobody waits for it any more: as the real ones do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from controller.host.sim import installed, power, units
from controller.host.sim.command import Answer, Call, Refusal, World, options
from controller.host.sim.limits import limit
from controller.host.sim.units import Unit

PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "ExecMainStatus", "StatusText",
    "FragmentPath", "Job", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "MainPID",
)  # fmt: skip
POLL = 0.02


async def systemctl(call: Call) -> Answer:
    """The `systemctl` command."""
    found, words = options(
        "systemctl",
        call.args,
        "p:M:s:qaf",
        ["property=", "no-block", "runtime", "no-pager", "machine=", "signal=", "kill-whom=", "quiet", "all",
         "output=", "no-legend", "version", "wait", "value", "plain", "full"],
    )  # fmt: skip
    if ("--version", "") in found:
        return Answer(out="systemd 257 (257.9)\n")
    flags = dict(found)
    verb, *names = words or ["list-units"]
    machine = flags.get("-M") or flags.get("--machine")
    if machine:
        return _inside(call.world, machine, verb)
    if verb == "daemon-reload":
        return Answer()
    if verb == "list-units":
        return _list_units(call.world)
    if verb not in _VERBS:
        raise Refusal(f"Unknown command verb '{verb}'.")
    if not names and verb != "show":
        raise Refusal("Too few arguments.")
    return await _VERBS[verb](call, flags, found, names)


def container(unit: str) -> str | None:
    """The container that a unit name is about; None for any other unit."""
    bare = unit.removesuffix(".service")
    return bare.removeprefix("container@") if bare.startswith("container@") and "@" not in bare[10:] else None


def _full(unit: str) -> str:
    return unit if "." in unit else f"{unit}.service"


def _known(world: World, unit: str, doing: str, *, what: str = "not found", code: int = 5) -> str:
    """The container behind a unit that systemd can load, or the tool's error."""
    name = container(unit)
    settings = world.state.settings()
    if name and installed.fragment(world, name, template=settings.template):
        return name
    if name and units.load(world, [name])[name].active != "inactive":
        return name
    raise Refusal(f"Failed to {doing} {_full(unit)}: Unit {_full(unit)} {what}.", code)


async def _show(call: Call, _flags: dict[str, str], found: Sequence[tuple[str, str]], names: list[str]) -> Answer:
    asked = [key for option, value in found if option in ("-p", "--property") for key in value.split(",")]
    wanted = frozenset(asked) if asked else frozenset(PROPERTIES)
    template = call.world.state.settings().template
    known = units.load(call.world, [name for name in map(container, names) if name])
    blocks: list[str] = []
    for position, unit in enumerate(names):
        name = container(unit)
        values = _properties(call.world, known[name], template) if name else _no_such(unit)
        keys = [key for key in PROPERTIES if key in wanted]
        turn = (position * 5 + len(unit)) % max(len(keys), 1)
        blocks.append("".join(f"{key}={values[key]}\n" for key in keys[turn:] + keys[:turn]))
    return Answer(out="\n".join(blocks))


def _no_such(unit: str) -> dict[str, str]:
    empty = dict.fromkeys(PROPERTIES, "")
    return empty | {
        "Id": _full(unit), "LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead",
        "Result": "success", "NRestarts": "0", "ExecMainStatus": "0", "MemoryMax": "infinity",
        "CPUQuotaPerSecUSec": "infinity", "TasksMax": "infinity", "MainPID": "0",
    }  # fmt: skip


def _properties(world: World, unit: Unit, template: bool) -> dict[str, str]:
    fragment = installed.fragment(world, unit.name, template=template)
    loaded = bool(fragment) or unit.active != "inactive"
    job = unit.active == "deactivating" or (unit.active == "activating" and unit.restarts == 0)
    return {
        "Id": f"container@{unit.name}.service",
        "LoadState": "loaded" if loaded else "not-found",
        "ActiveState": unit.active,
        "SubState": unit.sub,
        "Result": unit.result,
        "NRestarts": str(unit.restarts),
        "ExecMainStatus": str(unit.exit_status),
        "StatusText": unit.status_text,
        "FragmentPath": fragment,
        "Job": str(unit.leader + 7) if job else "",
        "MemoryMax": unit.memory_max,
        "CPUQuotaPerSecUSec": unit.cpu_quota,
        "TasksMax": unit.tasks_max,
        "MainPID": str(unit.leader if unit.registered else 0),
    }


async def _start(call: Call, flags: dict[str, str], _found: Sequence[tuple[str, str]], names: list[str]) -> Answer:
    known = [_known(call.world, unit, "start") for unit in names]
    begun = [power.begin_start(call.world, name) for name in known]
    call.checkpoint()
    if "--no-block" in flags:
        return Answer()
    errors = [await _until_started(call, name) for name, new in zip(known, begun, strict=True) if new is not None]
    return _together(errors)


def _together(errors: Sequence[str]) -> Answer:
    said = "".join(errors)
    return Answer(1 if said else 0, err=said)


async def _until_started(call: Call, name: str) -> str:
    """Wait for a start; the job's error, or ''."""
    service = f"container@{name}.service"
    while True:
        unit = units.load(call.world, [name])[name]
        if unit.active == "active":
            return ""
        if unit.active == "failed" or unit.sub == "auto-restart" or (unit.outcome == "crash" and unit.restarts):
            return (
                f"Job for {service} failed because the control process exited with error code.\n"
                f'See "systemctl status {service}" and "journalctl -xeu {service}" for details.\n'
            )
        if unit.restarts:
            return (
                f"Job for {service} failed because a timeout was exceeded.\n"
                f'See "systemctl status {service}" and "journalctl -xeu {service}" for details.\n'
            )
        if unit.active != "activating":
            return f"Job for {service} canceled.\n"
        await _wait(call.world, unit)


async def _wait(world: World, unit: Unit) -> None:
    left = POLL if unit.until is None else unit.until - world.now()
    await world.sleep(min(max(left, 0.001), POLL))


async def _stop(call: Call, flags: dict[str, str], _found: Sequence[tuple[str, str]], names: list[str]) -> Answer:
    known = [_known(call.world, unit, "stop", what="not loaded") for unit in names]
    for name in known:
        power.begin_stop(call.world, name)
    call.checkpoint()
    if "--no-block" not in flags:
        for name in known:
            while (unit := units.load(call.world, [name])[name]).active == "deactivating":
                await _wait(call.world, unit)
    return Answer()


async def _restart(call: Call, flags: dict[str, str], found: Sequence[tuple[str, str]], names: list[str]) -> Answer:
    for unit in names:
        _known(call.world, unit, "restart")
    await _stop(_uninterrupted(call), {}, found, names)
    call.checkpoint()
    return await _start(_uninterrupted(call), flags, found, names)


def _uninterrupted(call: Call) -> Call:
    """The same call without checkpoints, for a part of a command that has one of its own."""
    return replace(call, interrupt=None)


async def _is_active(call: Call, _flags: dict[str, str], _found: Sequence[tuple[str, str]], names: list[str]) -> Answer:
    known = units.load(call.world, [name for name in map(container, names) if name])
    template = call.world.state.settings().template
    states: list[str] = []
    code = 4
    for unit in names:
        name = container(unit)
        state = known[name].active if name else "inactive"
        states.append(state)
        if name and (state != "inactive" or installed.fragment(call.world, name, template=template)):
            code = min(code, 3)
    return Answer(0 if "active" in states else code, "".join(f"{state}\n" for state in states))


async def _kill(call: Call, flags: dict[str, str], _found: Sequence[tuple[str, str]], names: list[str]) -> Answer:
    signal = (flags.get("-s") or flags.get("--signal") or "TERM").removeprefix("SIG")
    errors: list[str] = []
    for unit in names:
        name = container(unit)
        current = units.load(call.world, [name])[name] if name else None
        if current is None or not current.up:
            errors.append(f"Failed to kill unit {_full(unit)}: Unit {_full(unit)} not loaded.\n")
        elif signal in ("KILL", "9"):
            with call.world.state.write():
                reason = f"Failed to register machine: Machine '{current.name}' already exists"
                crash = units.starting(current, call.world.now(), "crash", reason, (), 0.0)
                units.save(call.world, crash)
                call.world.log(current.name, "Main process exited, code=killed, status=9/KILL")
        else:
            power.begin_stop(call.world, current.name, killed=current.active == "deactivating")
    return _together(errors)


async def _reset_failed(
    call: Call, _flags: dict[str, str], _found: Sequence[tuple[str, str]], names: list[str]
) -> Answer:
    errors: list[str] = []
    for unit in names:
        name = container(unit)
        with call.world.state.write():
            current = units.load(call.world, [name])[name] if name else None
            if current is None or current.active == "inactive":
                service = _full(unit)
                errors.append(f"Failed to reset failed state of unit {service}: Unit {service} not loaded.\n")
            elif current.active == "failed":
                units.save(call.world, units.reset(current))
    return _together(errors)


async def _set_property(
    call: Call, flags: dict[str, str], _found: Sequence[tuple[str, str]], words: list[str]
) -> Answer:
    unit, *assignments = words
    if not assignments:
        raise Refusal("Too few arguments.")
    changes = dict(limit(assignment) for assignment in assignments)
    if "--runtime" not in flags:
        raise Refusal(f"Failed to set unit properties on {_full(unit)}: Read-only file system")
    name = _known(call.world, unit, "set unit properties on", code=1)
    with call.world.state.write():
        current = units.load(call.world, [name])[name]
        units.save(
            call.world,
            replace(
                current,
                memory_max=changes.get("MemoryMax", current.memory_max),
                cpu_quota=changes.get("CPUQuota", current.cpu_quota),
                tasks_max=changes.get("TasksMax", current.tasks_max),
            ),
        )
    return Answer()


def _list_units(world: World) -> Answer:
    rows = [
        {
            "unit": f"container@{unit.name}.service",
            "load": "loaded",
            "active": unit.active,
            "sub": unit.sub,
            "description": f"Container '{unit.name}'",
        }
        for unit in units.load_all(world).values()
        if unit.active != "inactive"
    ]
    return Answer(out=json.dumps(rows) + "\n")


def _inside(world: World, machine: str, verb: str) -> Answer:
    if units.load(world, [machine])[machine].active != "active":
        raise Refusal("Failed to connect to system scope bus via machine transport: Host is down")
    if verb != "is-system-running":
        raise Refusal(f"Unknown command verb '{verb}'.")
    return Answer(out="running\n")


_VERBS = {
    "show": _show,
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "is-active": _is_active,
    "kill": _kill,
    "reset-failed": _reset_failed,
    "set-property": _set_property,
}
