"""What a proposal would do, step by step, for the confirmation and for the model. Pure.

It tells by the fields that change what the controller's plan will be made of; the plan itself is made of the commit,
and the controller holds whatever it finds in it that nobody confirmed.
"""

from __future__ import annotations

from typing import Any

from agent.appliance import Json
from agent.proposal import Proposal
from agent.snapshot import State, after
from controller.cli.text import size
from controller.spec.model import ContainerSpec

_SYSTEM = ("modules", "env")


def forecast(proposal: Proposal, state: State, status: Json | None, until: str) -> list[str]:
    """The steps in words; `until` is the date until which trash is kept."""
    if proposal.steps:
        return list(proposal.steps)
    if proposal.decision:
        return _decision(proposal, until)
    changed = after(state, proposal.path, proposal.after)
    old, new = state.specs.get(proposal.name), changed.specs.get(proposal.name)
    if new is None:
        return _removal(proposal, old, status, until)
    if old is None:
        return _arrival(new)
    steps = [*_system(old, new), *_live(old, new), *_power(old, new)]
    if old.expires != new.expires:
        steps.append(f"remove it at {new.expires:%Y-%m-%d %H:%M %Z}" if new.expires else "no longer remove it by date")
    if old.paused != new.paused:
        steps.append("keep all hands off it" if new.paused else "go on with it")
    return steps or ["nothing on the host"]


def _removal(proposal: Proposal, old: ContainerSpec | None, status: Json | None, until: str) -> list[str]:
    steps = ["log out of the tailnet, delete its device"] if old and old.on_tailnet else []
    steps += ["stop it"] if not status or status.get("machine") == "running" else []
    held = f" ({size(proposal.bytes)})" if proposal.bytes else ""
    return [*steps, "remove its system", f"snapshot its data{held} and move it to the trash, kept until {until}"]


def _arrival(new: ContainerSpec) -> list[str]:
    disk = [f"create a workspace of {size(new.workspace.quota)}"] if new.has_workspace else []
    power = ["start it"] if new.power == "running" else []
    join = [f"join the tailnet as {new.hostname}"] if new.on_tailnet and power else []
    return ["create its storage, or bring it back from the trash", *disk, "build and install its system", *power, *join]


def _system(old: ContainerSpec, new: ContainerSpec) -> list[str]:
    changed = [name for name in _SYSTEM if _value(old, name) != _value(new, name)]
    if not changed:
        return []
    steps = ["build its new system", "snapshot, stop, install, start" if new.power == "running" else "install it"]
    if old.has_workspace and not new.has_workspace:
        steps.append("unmount /workspace; what is in it is kept")
    return steps


def _live(old: ContainerSpec, new: ContainerSpec) -> list[str]:
    steps = []
    if old.workspace.quota != new.workspace.quota and new.has_workspace:
        steps.append(f"set its workspace to {size(new.workspace.quota)}, while it runs")
    if old.resources != new.resources:
        steps.append("set its limits, while it runs")
    if old.schedule != new.schedule:
        steps.append("start and stop it by the clock" if new.schedule else "no longer start and stop it by the clock")
    return steps


def _power(old: ContainerSpec, new: ContainerSpec) -> list[str]:
    if old.power == new.power:
        return []
    return ["start it"] if new.power == "running" else ["stop it"]


def _decision(proposal: Proposal, until: str) -> list[str]:
    assert proposal.decision is not None
    kind, _, argument = proposal.decision[0], "", proposal.decision[1]
    if kind == "Voxnix-Rollback-Data":
        back = argument.partition(" ")[2]
        return [
            "stop it",
            f"move its present data whole to the trash, kept until {until}",
            f"make its data anew from snapshot {back}",
            "start it",
        ]
    if kind == "Voxnix-Restart":
        return ["stop it", "start it"]
    return ["go on with what the controller holds"]


def _value(spec: ContainerSpec, name: str) -> Any:
    found = getattr(spec, name)
    return sorted(found) if name == "modules" else dict(found)
