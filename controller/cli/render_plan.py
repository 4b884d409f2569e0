"""A plan as a person reads a diff: what comes, what changes, what goes, and why. Pure.

It shows the plan as JSON (`controller.report.plan`), the same that the API serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from controller.cli.render_status import hold_lines
from controller.cli.text import clean, heading, paint, plural, size, until

Json = Mapping[str, Any]


def _tail(dataset: str) -> str:
    """A dataset as people think of it: `alice/dev`, `alice/dev/workspace`."""
    return clean(dataset.partition("/users/")[2].replace("/containers/", "/") or dataset)


def _quota(step: Json) -> str:
    return f"at most {size(step['refquota'])}" if step["refquota"] else "no limit"


def _files(step: Json) -> str:
    return f"deliver {plural(len(step['secrets']), 'secret')}" if step["secrets"] else "prepare its run-time files"


VERBS: Mapping[str, Callable[[Json], str]] = {
    "PrepareStorage": lambda _: "prepare the pool",
    "CreateDataset": lambda s: f"create storage {_tail(s['dataset'])} ({_quota(s)})",
    "SetQuota": lambda s: f"change the quota of {_tail(s['dataset'])}: {_quota(s)}",
    "Mark": lambda s: f"note on {_tail(s['dataset'])}: {clean(s['key'])}={clean(s['value']) or 'nothing'}",
    "Mount": lambda s: f"mount {_tail(s['dataset'])}",
    "Snapshot": lambda s: f"snapshot {_tail(s['dataset'])}",
    "DropSnapshot": lambda s: f"drop snapshot {clean(s['label'])} of {_tail(s['dataset'])}",
    "ToTrash": lambda s: f"move data {_tail(s['dataset'])} to the trash",
    "FromTrash": lambda s: f"bring data back from the trash to {_tail(s['target'])}",
    "MoveDataset": lambda s: f"move data {_tail(s['dataset'])} to {_tail(s['target'])}",
    "CloneBack": lambda s: f"make {_tail(s['target'])} from snapshot {clean(s['label'])}",
    "DestroyTrash": lambda s: f"destroy {clean(s['dataset'].rpartition('/')[2])} in the trash for good",
    "CopyIn": lambda s: f"copy home, root and var/lib into {_tail(s['dataset'])}",
    "Build": lambda _: "build its system",
    "Install": lambda _: "install its system",
    "Deliver": _files,
    "SetResources": lambda _: "set its limits",
    "Start": lambda _: "start",
    "Stop": lambda _: "stop",
    "RemoveSystem": lambda _: "remove its system",
    "ClearFailed": lambda _: "clear the failed unit",
    "Enrol": lambda s: f"join the tailnet as {clean(s['hostname'])}",
    "RecordNode": lambda _: "record its tailnet node",
    "LogOut": lambda _: "log out of the tailnet",
    "DeleteDevice": lambda _: "delete its tailnet device",
    "NoteDebt": lambda _: "note that its tailnet device is still to be deleted",
    "Decided": lambda _: "note that the decision is carried out",
    "TrustStore": lambda _: "trust the rebuilt store",
}
"""What each action does, in the words of the one whose container it is."""


SILENT = frozenset({"Mark"})
"""Bookkeeping that is left out for people; --json has it."""


def describe(step: Json) -> str:
    """One step in a few words."""
    verb = VERBS.get(step["action"])
    return verb(step) if verb else step["action"]


def plan_lines(plan: Json, now: datetime, trash_for: timedelta = timedelta(days=30)) -> list[str]:
    """The whole plan with a summary line at its end. `trash_for` is how long removed data is kept."""
    lines: list[str] = []
    until_day = f"{(now + trash_for).date()}"
    for lane in plan["lanes"]:
        lines += [*_lane(lane, until_day), ""]
    if plan["holds"]:
        lines += [heading("Waits for your word"), *(f"  {x}" for hold in plan["holds"] for x in _hold(hold)), ""]
    if plan["waits"]:
        lines += [heading("Not done now"), *(f"  {line}" for wait in plan["waits"] for line in _wait(wait, now)), ""]
    foreign = len(plan["foreign"])
    if foreign:
        lines += [paint(f"{plural(foreign, 'thing')} on this host not ours, never touched", dim=True), ""]
    return [*lines, summary(plan)]


def summary(plan: Json) -> str:
    """The plan in one line."""
    signs = [sign(lane)[0] for lane in plan["lanes"] if lane["kind"] != "host"]
    counts = {"+": "new", "~": "changed", "-": "removed"}
    parts = [f"{signs.count(mark)} {word}" for mark, word in counts.items() if mark in signs]
    if plan["holds"]:
        parts.append(f"{len(plan['holds'])} held")
    if plan["waits"]:
        parts.append(f"{len(plan['waits'])} waiting")
    revision = str(plan["revision"])[:10]
    if not plan["lanes"]:
        return "Nothing to do" + (f" ({', '.join(parts)})" if parts else "") + (f" at {revision}." if revision else ".")
    return f"{', '.join(parts) or 'Preparations only'} at {revision}."


def sign(lane: Json) -> tuple[str, str]:
    """What becomes of a lane's subject: `+`, `~` or `-`, and the colour for it."""
    actions = {step["action"] for step in lane["steps"]}
    if lane["destroys"] or "DestroyTrash" in actions:
        return "-", "red"
    if lane["kind"] == "container" and _arrives(lane):
        return "+", "green"
    return "~", "yellow"


def subject(lane: Json) -> str:
    """What a lane is about, as people call it."""
    return clean(lane["key"].removeprefix(f"{lane['kind']}:"))


def owner(lane: Json) -> str:
    """Whose container it is, as far as the steps tell."""
    for step in lane["steps"]:
        for key in ("target", "dataset"):
            place = str(step.get(key) or "").partition("/users/")[2]
            if place:
                return clean(place.partition("/")[0])
    return ""


def _arrives(lane: Json) -> bool:
    """Whether the container was not there before: its own dataset is made, or comes back."""
    return any(
        (step["action"] == "CreateDataset" and not step["dataset"].endswith("/workspace"))
        or step["action"] == "FromTrash"
        for step in lane["steps"]
    )


def _lane(lane: Json, until_day: str) -> Iterator[str]:
    """The headline of a lane, and its steps; a reason is told once, where it begins to hold."""
    mark, colour = sign(lane)
    whose = f" ({found})" if (found := owner(lane)) else ""
    yield f"{paint(mark, colour, bold=True)} {heading(subject(lane))}{whose}  {headline(lane, until_day)}"
    steps = [step for step in lane["steps"] if step["action"] not in SILENT or len(lane["steps"]) == 1]
    width = max(len(describe(step)) for step in steps)
    told = ""
    for step in steps:
        why = clean(step["reason"])
        because = paint(f"  {why}", dim=True) if why != told else ""
        told = why
        yield f"    {describe(step).ljust(width)}{because}".rstrip()
    causes = sorted({step["cause"] for step in lane["steps"]})
    yield paint(f"    ← {clean(', '.join(causes))}", dim=True)


def headline(lane: Json, until_day: str = "") -> str:
    """What happens to a lane's subject, in a few words."""
    actions = [step["action"] for step in lane["steps"]]
    first = clean(lane["steps"][0]["reason"])
    if lane["destroys"]:
        kept = f"; its data stays in the trash until {until_day}" if "ToTrash" in actions and until_day else ""
        return f"removed{kept}"
    if "FromTrash" in actions:
        return "comes back, with its data from the trash"
    if sign(lane)[0] == "+":
        return "new container"
    if "Stop" in actions and "Start" in actions:
        return f"restart: {first}"
    for action, word in (("Start", "start"), ("Stop", "stop"), ("Install", "new system")):
        if action in actions:
            return f"{word}: {first}"
    return describe(lane["steps"][0]) if len(actions) == 1 else plural(len(actions), "step")


def _hold(hold: Json) -> list[str]:
    steps = [f"  {describe(step)}" for step in hold["steps"]]
    title, *rest = hold_lines(hold)
    return [title, *(paint(line, dim=True) for line in steps), *rest]


def _wait(wait: Json, now: datetime) -> Iterator[str]:
    when = until(wait.get("until"), now)
    yield f"{heading(clean(wait['key']))}  {clean(wait['message'])}{paint(f'  again {when}', dim=True) if when else ''}"
    if wait["hint"]:
        yield f"  → {clean(wait['hint'])}"
