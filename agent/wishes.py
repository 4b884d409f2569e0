"""What people ask for, as proposals: create, change, start, stop, destroy, schedule, expire. Pure.

Each function takes the state and typed words, checks them by name, and answers with a proposal or raises `BadInput`
with what to say instead. Whose container it is comes from the person, never from a word.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agent.person import Person
from agent.proposal import Proposal, amended
from agent.redact import mask
from agent.snapshot import State, after, path_of, require_allowed
from controller.errors import BadInput
from controller.spec.forms import SIZE_PATTERN, UNITS, moment
from controller.spec.model import NAME_PATTERN

USUAL = ("workspace", "tailscale")
"""Modules that a new container gets besides the named ones, so that there is a place to work and a way in."""
SOON = timedelta(minutes=10)
"""The least time ahead that an expiry may be."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Fields to set, by their names in a spec; None: as it is. `env` values of None take a variable away."""

    modules: Sequence[str] | None = None
    add_modules: Sequence[str] = ()
    remove_modules: Sequence[str] = ()
    quota: str | None = None
    memory: str | None = None
    cpus: float | None = None
    env: Mapping[str, str | None] = field(default_factory=dict)
    description: str | None = None
    hostname: str | None = None
    paused: bool | None = None
    power: str | None = None


def create(state: State, person: Person, name: str, wish: Wish, *, exact: bool = False) -> Proposal:
    """A new container. Without `exact` it gets the usual modules besides those named."""
    _require_name(name)
    if path_of(name) in state.data:
        whose = "you have" if state.owner(name) == person.id else "there is"
        raise BadInput(f"{whose} a container {name} already", hint="choose another name")
    named = list(dict.fromkeys(wish.modules or ()))
    if not exact:
        named += [module for module in USUAL if module in state.library.modules and module not in named]
    values = {"owner": person.id, "modules": named}
    values = _wished(values, Wish(**{**_given(wish), "modules": None}), state)
    return _propose(state, person, name, values, f"create {name}")


def change(state: State, person: Person, name: str, wish: Wish, subject: str = "") -> Proposal:
    """Other fields for a container of theirs."""
    _require_theirs(state, person, name)
    values = _wished(dict(state.values(name)), wish, state)
    found = _propose(state, person, name, values, subject or f"change {name}")
    if found.before == found.after:
        raise BadInput(f"{name} is that way already; nothing to change")
    return found


def power(state: State, person: Person, name: str, wanted: str) -> Proposal:
    """Start (`running`) or stop (`stopped`) a container of theirs."""
    _require_theirs(state, person, name)
    verb = "start" if wanted == "running" else "stop"
    spec = state.specs.get(name)
    if spec is not None and spec.schedule is not None:
        raise BadInput(
            f"{name} follows a schedule, which decides about its power",
            hint=f"take the schedule away first (`unschedule {name}`), or change it",
        )
    return change(state, person, name, Wish(power=wanted), f"{verb} {name}")


def destroy(state: State, person: Person, name: str, *, size: int, until: str) -> Proposal:
    """Remove a container of theirs; its data (`size` bytes) stays in the trash until a date."""
    before = _require_theirs(state, person, name)
    risk = f"{name} is removed. Its data waits in the trash until {until}, then it is gone for good."
    found = Proposal(name, state.revision, before, None, f"destroy {name}", (risk,), size)
    require_allowed(state, after(state, found.path, None), found.path, person.id)
    return found


def schedule(
    state: State, person: Person, name: str, *, start: str | None, stop: str | None, timezone: str | None
) -> Proposal:
    """Power by the clock, as two cron lines; without either, no schedule any more."""
    _require_theirs(state, person, name)
    values = dict(state.values(name))
    if start is None and stop is None:
        if "schedule" not in values:
            raise BadInput(f"{name} has no schedule")
        del values["schedule"]
        return _propose(state, person, name, values, f"unschedule {name}")
    said = {"start": start, "stop": stop, "timezone": timezone}
    values["schedule"] = {key: value for key, value in said.items() if value is not None}
    return _propose(state, person, name, values, f"schedule {name}")


def expire(state: State, person: Person, name: str, at: str | None, now: datetime, days: int) -> Proposal:
    """A moment after which a container of theirs is removed; None: it stays."""
    _require_theirs(state, person, name)
    values = dict(state.values(name))
    if at is None:
        if "expires" not in values:
            raise BadInput(f"{name} does not expire")
        del values["expires"]
        return _propose(state, person, name, values, f"keep {name}")
    try:
        when = moment(at.strip())
    except ValueError as error:
        raise BadInput(f"{at[:60]!r} is not a moment: {error}", hint="for example 2030-12-24T18:00:00+01:00") from error
    if when < now + SOON:
        raise BadInput(f"{name} cannot expire so soon", hint="to remove it now, destroy it")
    values["expires"] = when.isoformat()
    gone = f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".rstrip()
    risk = f"{name} is removed at {gone}. Its data then waits in the trash for {days} days."
    found = _propose(state, person, name, values, f"expire {name}")
    return Proposal(name, found.base, found.before, found.after, found.subject, (risk,))


def put_back(state: State, person: Person, name: str, content: bytes | None, subject: str) -> Proposal:
    """A file as it was; None: it was not there. The caller knows what may be lost by that."""
    before = state.data.get(path_of(name))
    changed = after(state, path_of(name), content)
    require_allowed(state, changed, path_of(name), person.id)
    if before == content:
        raise BadInput(f"{name} is that way already; nothing to change")
    return Proposal(name, state.revision, before, content, subject)


def _propose(state: State, person: Person, name: str, values: Mapping[str, Any], subject: str) -> Proposal:
    path = path_of(name)
    before = state.data.get(path)
    content = amended(path, before, values, state.library.modules)
    require_allowed(state, after(state, path, content), path, person.id)
    return Proposal(name, state.revision, before, content, subject)


def _wished(values: dict[str, Any], wish: Wish, state: State) -> dict[str, Any]:
    """The values of a file with a wish laid over them."""
    inherited = state.defaults.values.get("modules", ())
    modules = list(wish.modules if wish.modules is not None else values.get("modules", inherited))
    missing = [module for module in wish.remove_modules if module not in modules]
    if missing:
        raise BadInput(f"it has no module {', '.join(missing)}", hint=f"it has {', '.join(modules) or 'none'}")
    modules = [m for m in dict.fromkeys([*modules, *wish.add_modules]) if m not in wish.remove_modules]
    if wish.quota and "workspace" not in modules:
        modules.append("workspace")
    if modules != list(inherited) or "modules" in values:
        values["modules"] = modules
    if wish.quota:
        values["workspace"] = {**values.get("workspace", {}), "quota": size(wish.quota)}
    limits = {"memory": size(wish.memory) if wish.memory else None, "cpus": wish.cpus}
    if limits := {key: value for key, value in limits.items() if value is not None}:
        values["resources"] = {**values.get("resources", {}), **limits}
    if wish.hostname:
        values["tailnet"] = {**values.get("tailnet", {}), "hostname": wish.hostname}
    if wish.env:
        values["env"] = _env(values.get("env", {}), wish.env)
    plain = {"description": wish.description, "paused": wish.paused, "power": wish.power}
    for key, value in plain.items():
        if value is not None:
            values[key] = mask(value) if isinstance(value, str) else value
    return values


def _env(present: Mapping[str, str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Variables with some set or taken away; what looks like a secret does not go into git."""
    found = dict(present)
    for key, value in wanted.items():
        if value is None:
            found.pop(key, None)
        elif mask(f"{key}={value}") != f"{key}={value}":
            raise BadInput(f"{key[:64]} looks like a secret", hint="`voxnix secret set` keeps secrets out of git")
        else:
            found[key] = value
    return found


def size(text: str) -> int:
    """Bytes of a size as files write it; spaces and a trailing B are forgiven."""
    tidy = re.sub(r"\s|i?b$", "", text.strip(), flags=re.IGNORECASE).upper()
    if not re.fullmatch(SIZE_PATTERN, tidy):
        raise BadInput(f"{text[:40]!r} is not a size", hint="for example 512M or 10G")
    return int(tidy[:-1]) * UNITS[tidy[-1]]


def _given(wish: Wish) -> dict[str, Any]:
    return {name: getattr(wish, name) for name in wish.__slots__}


def _require_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        rule = "1 to 11 of a-z, 0-9 and `-`, beginning with a letter, not ending in `-`"
        raise BadInput(f"{name[:40]!r} cannot be a container's name", hint=rule)


def _require_theirs(state: State, person: Person, name: str) -> bytes:
    """The present file of a container of theirs; others' are not told from those that are not there."""
    found = state.data.get(path_of(name)) if re.fullmatch(NAME_PATTERN, name) else None
    if found is None or state.owner(name) != person.id:
        mine = state.names(person.id)
        near = difflib.get_close_matches(name, mine, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"you have {', '.join(mine)}" if mine else "you have none yet"
        raise BadInput(f"you have no container {name[:40]!r}", hint=hint)
    return found
