"""The status document as lines for people: a table, then only what needs a word. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from controller.cli.text import (
    COLOURS,
    ago,
    clean,
    command,
    day,
    heading,
    moment,
    paint,
    plural,
    size,
    span,
    table,
    until,
)

Json = Mapping[str, Any]
SCHEMA = 1
"""The newest version of the status document that this can show."""
STALE_AFTER = 180.0
"""Seconds without a pass after which a running controller is said to be late."""
HEAD = ("NAME", "OWNER", "PHASE", "POWER", "ADDRESS", "TAILNET", "STORAGE", "SINCE")
RETRIED = ("degraded", "removing", "converging")
"""Phases in which it matters when something is tried again."""
MARKS = {"True": ("✓", "green"), "False": ("✗", "red"), "Unknown": ("?", "yellow")}


def overview(document: Json, now: datetime) -> list[str]:
    """Everything: what is known as of when, all containers, and the sections that have something to say."""
    containers = document["containers"]
    lines = [_headline(document, now)]
    if document.get("schema", SCHEMA) > SCHEMA:
        lines.append(paint("this status was written by a newer voxnix; some of it may be missing here", "yellow"))
    if containers:
        lines += ["", *table(HEAD, [_row(status, now) for status in containers])]
    else:
        lines += ["", f"No containers. {command('voxnix new NAME')} writes a spec to start from."]
    for title, section in _sections(document, now):
        if section:
            lines += ["", heading(title), *(f"  {line}" for line in section)]
    return lines


def container(status: Json, now: datetime) -> list[str]:
    """One container with all its conditions."""
    lines = [f"{heading(clean(status['name']))}  {_phase(status)}  owner {clean(status['owner'])}"]
    if status.get("description"):
        lines.append(paint(status["description"].strip().partition("\n")[0], dim=True))
    lines.append("")
    lines += table(("", "CONDITION", "REASON", "SINCE", ""), [_condition(c, now) for c in status["conditions"]])
    hints = {c["hint"] for c in status["conditions"] if c.get("hint")}
    lines += [f"  → {clean(hint)}" for hint in sorted(hints)]
    lines.append("")
    facts = [(name, value) for name, value in _facts(status, now) if value]
    width = max(len(name) for name, _ in facts)
    lines += [f"  {paint(name.ljust(width), dim=True)}  {value}" for name, value in facts]
    if status.get("hold"):
        lines += ["", f"Held: {command('voxnix approve ' + status['hold'])} lets it go on."]
    return lines


def _headline(document: Json, now: datetime) -> str:
    revision = str(document.get("revision") or "")[:10] or "no revision yet"
    passed = ago(document.get("passed_at"), now)
    if not document.get("live"):
        at = moment(document.get("passed_at"))
        when = f"{at.astimezone():%Y-%m-%d %H:%M:%S}, {passed} ago" if at else "never"
        return paint(f"The controller is not running; this is as of {when} (revision {revision}).", "yellow")
    seconds = (now - at).total_seconds() if (at := moment(document.get("passed_at"))) else 0.0
    late = paint(f"  no pass for {span(seconds)}", "yellow") if seconds > STALE_AFTER else ""
    host = clean(str(document.get("host") or document.get("appliance") or ""))
    pool = _pool(document.get("pool"))
    return paint(f"{host}  revision {revision}  looked {passed} ago{pool}", dim=True) + late


def _pool(pool: Json | None) -> str:
    if not pool or not pool["used"] + pool["available"]:
        return ""
    share = pool["used"] / (pool["used"] + pool["available"])
    return f"  pool {pool['name']} {share:.0%} full"


def _row(status: Json, now: datetime) -> tuple[str, ...]:
    tailnet = clean(status.get("tailnet_name") or "")
    since = max((c["since"] for c in status["conditions"] if c.get("since")), default=None)
    return (
        clean(status["name"]),
        clean(status["owner"]),
        _phase(status),
        _power(status),
        _address(status["addresses"]),
        tailnet,
        _storage(status),
        ago(since, now),
    )


def _phase(status: Json) -> str:
    return paint(status["phase"], COLOURS.get(status["phase"], ""))


def _power(status: Json) -> str:
    """What the machine is, and what it should be where that differs."""
    machine, wanted = status.get("machine") or "unknown", status.get("power") or ""
    if not wanted or machine == wanted or (wanted == "stopped" and machine in ("absent", "failed")):
        return clean(wanted or machine)
    return paint(machine, "yellow") + f" → {clean(wanted)}"


def _address(addresses: list[str]) -> str:
    """The address that people use: the first of IPv4, or else of any kind."""
    plain = [address for address in addresses if ":" not in address] or addresses
    return clean(plain[0]) if plain else ""


def _storage(status: Json) -> str:
    workspace, quota = status.get("workspace_used", 0), status.get("workspace_quota", 0)
    total = status.get("home_used", 0) + workspace
    return f"{size(total)} (workspace {size(workspace)} of {size(quota)})" if quota else size(total) if total else ""


def _condition(condition: Json, now: datetime) -> tuple[str, ...]:
    mark, colour = MARKS.get(condition["status"], ("?", "yellow"))
    return (
        paint(mark, colour),
        condition["type"],
        clean(condition["reason"]),
        ago(condition.get("since"), now),
        clean(condition.get("message") or ""),
    )


def _facts(status: Json, now: datetime) -> list[tuple[str, str]]:
    """Everything else that is known of a container, in words; empty values are not shown."""
    retry = until(status.get("retry_at"), now) if status["phase"] in RETRIED else ""
    attempts = plural(status.get("attempts", 0), "attempt")
    workspace, home = status.get("workspace_quota", 0), status.get("home_quota", 0)
    return [
        ("power", _power(status)),
        ("tried again", f"{retry}, after {attempts}" if retry else ""),
        ("addresses", clean(", ".join(status["addresses"]))),
        ("tailnet", clean(" ".join([status.get("tailnet_name") or "", *status.get("tailnet_addresses", [])]).strip())),
        ("modules", clean(", ".join(status.get("modules", [])))),
        ("home", f"{size(status.get('home_used', 0))}{f' of {size(home)}' if home else ''}"),
        ("workspace", f"{size(status.get('workspace_used', 0))} of {size(workspace)}" if workspace else ""),
        ("snapshots", clean(", ".join(status.get("snapshots", [])[-3:]))),
        ("expires", day(status.get("expires"))),
        ("uid", clean(status.get("uid") or "")),
        ("revision", clean(str(status.get("revision") or "")[:10])),
    ]


def _sections(document: Json, now: datetime) -> Iterator[tuple[str, list[str]]]:
    yield "Stopped by hand", _suspended(document)
    yield "Cannot be known now", list(_sources(document))
    yield "Refused", list(_refused(document))
    yield "The state repo cannot be read", [clean(line) for line in (document.get("fetch") or "").splitlines()]
    yield "Mistakes in files", [line for problem in document.get("problems", []) for line in problem_lines(problem)]
    yield "Not as it should be", list(_wrong(document["containers"], now))
    yield "Waits for your word", [line for hold in document.get("holds", []) for line in hold_lines(hold)]
    yield "Waiting", list(_waits(document, now))
    yield "Trash", _trash(document.get("trash", []))
    yield "Tailnet devices still to be deleted", [_debt(debt, now) for debt in document.get("debts", [])]
    yield "Stale on the tailnet (not ours to delete)", [clean(line) for line in document.get("stale", [])]
    yield "Foreign (never touched)", [clean(line) for line in document.get("foreign", [])]


def _suspended(document: Json) -> list[str]:
    found = document.get("suspended")
    lines = []
    if found:
        reason = f": {clean(found['reason'])}" if found["reason"] else ""
        lines = [f"{clean(found['by'])} suspended everything{reason}", f"→ {command('voxnix resume')}"]
    if document.get("rebuilt"):
        lines.append("the store was lost and made again from the host's marks; removals wait for an admin, once")
    return lines


def _refused(document: Json) -> Iterator[str]:
    """Why the newest commit is not followed, and what to do."""
    why = document.get("refused") or ""
    yield from (clean(line) for line in why.splitlines())
    if why and "rewritten" not in why:
        yield "→ what was accepted before stands; take the commit out of the branch: git reset, git push --force"
    if why:
        yield f"→ or, as root and if it is meant: {command('voxnix accept-rewrite SHA --reason WHY')}"


def _sources(document: Json) -> Iterator[str]:
    for name, state in document.get("sources", {}).items():
        if str(state).startswith("unknown"):
            yield f"{name}{clean(str(state).removeprefix('unknown'))}"


def problem_lines(problem: Json) -> list[str]:
    """A mistake with its line and a caret, as `Problem.render` has it."""
    where = f"{problem['path']}:{problem['line']}:{problem['column']}" if problem["line"] else problem["path"]
    lines = [f"{heading(clean(where))}: {clean(problem['message'])}"]
    if problem["text"] and problem["line"]:
        shown = clean(problem["text"])
        lines += [f"    {shown}", "    " + " " * (problem["column"] - 1) + paint("^", "red")]
    if problem["expected"]:
        lines.append(f"  expected: {clean(problem['expected'])}")
    if problem["hint"]:
        lines.append(f"  {clean(problem['hint'])}")
    return lines


def _wrong(containers: list[Json], now: datetime) -> Iterator[str]:
    """What keeps a degraded container from being ready, and when it is tried again."""
    for status in containers:
        if status["phase"] not in RETRIED:
            continue
        for found in status["conditions"]:
            if found["status"] != "True" and found["message"]:
                retry = until(status.get("retry_at"), now)
                again = paint(f"  again {retry}", dim=True) if retry else ""
                first, *rest = clean(found["message"], lines=True).splitlines()
                yield f"{heading(clean(status['name']))}  {first}{again}"
                yield from (f"  {line}" for line in rest)
                if found["hint"]:
                    yield f"  → {clean(found['hint'])}"


def hold_lines(hold: Json) -> list[str]:
    """What is held, why, and who may let it go on."""
    amount = f" ({size(hold['bytes'])} of data)" if hold["bytes"] else ""
    who = "an admin" if hold["admin"] else f"{hold['owner'] or 'an admin'}"
    lines = [f"{heading(clean(', '.join(hold['names'])))}  {clean(hold['reason'])}{amount}"]
    if hold.get("refused"):
        lines.append(f"  {clean(hold['refused'])}")
    return [*lines, f"  → {command('voxnix approve ' + hold['id'])}  (by {clean(who)})"]


def _waits(document: Json, now: datetime) -> Iterator[str]:
    """What waits and is not told elsewhere: all but frozen files and failures of containers."""
    degraded = {s["name"] for s in document["containers"] if s["phase"] == "degraded"}
    for wait in document.get("waits", []):
        if wait["reason"] == "InvalidFile" or (wait["reason"] in ("BackingOff", "Blocked") and wait["key"] in degraded):
            continue
        when = until(wait.get("until"), now)
        again = paint(f"  again {when}", dim=True) if when else ""
        yield f"{heading(clean(wait['key']))}  {clean(wait['message'])}{again}"
        if wait["hint"]:
            yield f"  → {clean(wait['hint'])}"


def _trash(pieces: list[Json]) -> list[str]:
    return trash_table(pieces) if pieces else []


def trash_table(pieces: list[Json]) -> list[str]:
    """Pieces of trash with their ids, sizes, and until when they are kept."""
    head = ("ID", "NAME", "OWNER", "SIZE", "SINCE", "KEPT UNTIL", "WHY")
    rows = [
        (
            clean(piece["id"]),
            clean(piece["name"]),
            clean(piece["owner"]),
            size(piece["bytes"]),
            day(piece["since"]),
            day(piece["until"]) or "for good",
            clean(piece["reason"]),
        )
        for piece in pieces
    ]
    return table(head, rows)


def _debt(debt: Json, now: datetime) -> str:
    return f"{clean(debt['name'])} (node {clean(debt['node_id'])}), since {ago(debt['since'], now)}"
