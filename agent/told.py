"""Published facts as a few lines of plain text, for people and models alike. Pure.

What a container or a person wrote (descriptions, messages of conditions) is masked and made one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from agent.appliance import Json
from agent.redact import harmless, line
from controller.cli.text import ago, day, plural, size, until
from controller.spec.model import Tenant

WRONG = ("degraded", "held", "frozen")
"""Phases in which something needs a word."""


def usable(status: Json) -> str:
    """A container that is ready, by what can be used of it now: `dev is running · ssh root@dev · 10.0.0.2 · …`."""
    machine = str(status.get("machine") or "unknown")
    parts = [f"{status['name']} is {'running' if machine == 'running' else status.get('power') or machine}"]
    if machine == "running" and status.get("tailnet_addresses"):
        parts.append(f"ssh root@{line(status['tailnet_name'], 64)}")
    plain = [address for address in status.get("addresses", []) if ":" not in address]
    if machine == "running" and plain:
        parts.append(line(plain[0], 40))
    quota = status.get("workspace_quota", 0)
    if quota:
        parts.append(f"{size(quota)} workspace")
    return " · ".join(parts)


def listing(containers: Sequence[Json], owner: str) -> str:
    """All of some containers, one a line."""
    if not containers:
        return "You have no containers yet."
    lines = []
    for status in containers:
        whose = "" if status["owner"] == owner else f" (of {line(status['owner'], 32)})"
        wrong = f" · {trouble(status)}" if status["phase"] in WRONG else ""
        phase = "" if status["phase"] == "ready" else f" · {status['phase']}"
        lines.append(f"{usable(status)}{whose}{phase}{wrong}")
    return "\n".join(lines)


def trouble(status: Json) -> str:
    """The first thing that is wrong with a container, on one line."""
    wrong = [one for one in status.get("conditions", []) if one["status"] != "True" and one.get("message")]
    return line(wrong[0]["message"]) if wrong else ""


def described(status: Json, now: datetime, holds: Sequence[Json] = ()) -> str:
    """All that is known of one container."""
    facts = [
        ("phase", str(status["phase"])),
        ("owner", line(status["owner"], 32)),
        ("power", f"{status.get('machine') or 'unknown'}, wanted {status.get('power') or 'unknown'}"),
        ("modules", line(", ".join(status.get("modules", [])))),
        ("addresses", line(", ".join(status.get("addresses", [])))),
        ("tailnet", line(" ".join([status.get("tailnet_name") or "", *status.get("tailnet_addresses", [])]))),
        ("home", _use(status.get("home_used", 0), status.get("home_quota", 0))),
        ("workspace", _use(status.get("workspace_used", 0), status.get("workspace_quota", 0))),
        ("snapshots", line(", ".join(status.get("snapshots", [])[-3:]))),
        ("expires", day(status.get("expires"))),
        ("description", line(status.get("description") or "")),
    ]
    lines = [f"{status['name']}", *(f"  {name}: {value}" for name, value in facts if value)]
    lines += [f"  {text}" for text in conditions(status, now)]
    lines += [f"  held: {line(hold['reason'])}" for hold in holds if status["name"] in hold["names"]]
    return "\n".join(lines)


def conditions(status: Json, now: datetime, *, wrong: bool = False) -> list[str]:
    """The conditions of a container; with `wrong`, only those that do not hold."""
    lines = []
    for one in status.get("conditions", []):
        if wrong and one["status"] == "True":
            continue
        since = ago(one.get("since"), now)
        said = [f"{one['type']}={one['status']} {one['reason']}", f"for {since}" if since else ""]
        said += [line(one.get("message") or "", 400), line(one.get("hint") or "")]
        lines.append("; ".join(part for part in said if part))
    return lines


def storage(containers: Sequence[Json], trash: Sequence[Json], tenant: Tenant | None, owner: str) -> str:
    """How much of what somebody may store is stored."""
    lines = []
    mine = [one for one in containers if one["owner"] == owner]
    for one in mine:
        parts = [f"home {_use(one.get('home_used', 0), one.get('home_quota', 0))}"]
        if one.get("workspace_quota"):
            parts.append(f"workspace {_use(one.get('workspace_used', 0), one['workspace_quota'])}")
        lines.append(f"{one['name']}: {', '.join(parts)}")
    lines += [f"trash: {one['name']} {size(one['bytes'])}, kept until {day(one['until'])}" for one in trash]
    quotas = sum(one.get("workspace_quota", 0) for one in mine)
    limit = tenant.limits.storage if tenant else None
    if limit:
        lines.append(f"workspace quotas add up to {size(quotas)} of at most {size(limit)}")
    return "\n".join(lines) or "You store nothing yet."


def health(document: Mapping[str, Any], now: datetime, owner: str | None) -> str:
    """How the appliance is: what it knows, its pool, and what waits; with `owner`, only what is theirs of that."""
    lines = [f"last looked {ago(document.get('passed_at'), now)} ago"]
    lines += [f"{name}: {line(str(state))}" for name, state in document["sources"].items() if state != "known"]
    pool = document.get("pool")
    if pool and pool["used"] + pool["available"]:
        lines.append(f"pool {pool['name']} {pool['used'] / (pool['used'] + pool['available']):.0%} full")
    if document.get("suspended"):
        lines.append("the controller is suspended: nothing is done until an admin resumes it")
    if document.get("refused"):
        why = f": {line(document['refused'], 300)}" if owner is None else "; admins see why"
        lines.append(f"a newer commit is refused{why}")
    if document.get("fetch"):
        lines.append(f"the state repo cannot be read: {line(document['fetch'], 300)}")
    containers = [one for one in document["containers"] if owner is None or one["owner"] == owner]
    wrong = [one["name"] for one in containers if one["phase"] != "ready"]
    lines.append(
        f"{plural(len(containers), 'container')}, {len(wrong)} not ready{': ' if wrong else ''}{', '.join(wrong)}"
    )
    return "\n".join(lines)


def reasons(status: Json, events: Sequence[Json], log: str, now: datetime) -> str:
    """Everything that helps to say why a container is not well; the log is foreign text, the last in it."""
    lines = [f"{status['name']}: {status['phase']}, machine {status.get('machine') or 'unknown'}"]
    lines += conditions(status, now, wrong=True) or ["all its conditions hold"]
    if retry := until(status.get("retry_at"), now):
        lines.append(f"tried again {retry}, after {plural(status.get('attempts', 0), 'attempt')}")
    lines.append(f"storage: home {size(status.get('home_used', 0))}, workspace {_use_of(status)}")
    tail = list(events)[-8:]
    lines += [f"event {ago(one['at'], now)} ago: {one['kind']} {line(one['message'], 300)}" for one in tail]
    said = harmless(log, 3000).strip()
    return "\n".join([*lines, "last log lines:", said or "(none)"])


def _use_of(status: Json) -> str:
    return _use(status.get("workspace_used", 0), status.get("workspace_quota", 0)) or "none"


def _use(used: int, quota: int) -> str:
    return f"{size(used)} of {size(quota)}" if quota else size(used) if used else ""
