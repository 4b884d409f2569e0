"""The history as a person reads it: an entry a commit, of lines that fit the terminal. Pure but for its width.

Everything shown was written by others and is cleaned here.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from controller.cli.text import clean, moment, paint, plural, span

Json = Mapping[str, Any]

NARROW, WIDE = 40, 120
MOST = 8
"""Files, containers and holds of one commit that are told; --json has all."""
MARKS = {"new": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
OUTCOMES = {
    "refused": ("✗", "red"),
    "failed": ("✗", "red"),
    "held": ("‖", "yellow"),
    "waiting": ("…", "yellow"),
    "done": ("✓", "green"),
}
SILENT = ("Mark", "Deliver", "SetResources", "Decided")
"""Bookkeeping that is left out where there is something else to tell."""


def width() -> int:
    """Columns that a line may have."""
    return max(NARROW, min(WIDE, shutil.get_terminal_size((80, 24)).columns))


def when(at: str | None) -> str:
    """A moment in the reader's own zone: `2026-03-01 12:00`."""
    found = moment(at)
    return f"{found.astimezone():%Y-%m-%d %H:%M}" if found else ""


def people(author: str, requester: str) -> str:
    """Who did it, and for whom."""
    return f"{author} for {requester}" if requester and requester != author else author


def cut(text: str, room: int) -> str:
    """A text on one line, of at most `room` characters."""
    line = " ".join(text.split())
    return line if len(line) <= room else f"{line[: max(0, room - 1)]}…"


def history_lines(rows: Sequence[Json], columns: int) -> list[str]:
    """All entries, the newest first, an empty line between two."""
    lines: list[str] = []
    for row in rows:
        lines += ["", *_entry(row, columns)] if lines else _entry(row, columns)
    return lines


def _entry(row: Json, columns: int) -> Iterator[str]:
    short, at = row["commit"][:10], when(row["at"])
    who = clean(cut(people(row["author"], row["requested_by"]), columns - len(short) - len(at) - 4))
    yield f"{paint(short, 'yellow')}  {paint(at, dim=True)}  {paint(who, bold=True)}"
    yield from _wrapped(row["subject"], columns)
    if row["reason"] and row["reason"] != row["subject"]:
        yield from _wrapped(f"why: {row['reason']}", columns, dim=True)
    if row["merge"] and row["changes"]:
        yield from _wrapped(f"merges {' '.join(row['changes'])}", columns, dim=True)
    for file in () if row["merge"] else row["files"][:MOST]:
        mark, colour = MARKS[file["sort"]]
        yield from _wrapped(f"{mark} {_name(file)}: {'; '.join(file['words'])}", columns, colour)
    if len(row["files"]) > MOST and not row["merge"]:
        yield from _wrapped(f"and {plural(len(row['files']) - MOST, 'more file')}", columns)
    for decision in row["decided"]:
        yield from _wrapped(f"! {decision}", columns, "cyan")
    for led in row["led_to"]:
        yield from _led(led, columns, several=len(row["led_to"]) > 1)
    for approval in row["approved"]:
        by = people(approval["author"], approval["requested_by"])
        text = f"✓ approved by {by}, {when(approval['at'])} ({approval['commit'][:10]}): {approval['what']}"
        yield from _wrapped(text, columns, "green")


def _name(file: Json) -> str:
    return str(file["path"]).removeprefix("state/").removesuffix(".yaml")


def _led(led: Json, columns: int, *, several: bool) -> Iterator[str]:
    """What a commit led to on one host."""
    on = f"on {led['host']}, " if several else ""
    if led["refused"]:
        yield from _wrapped(f"✗ {on}{led['refused']}", columns, "red")
    by: dict[str, list[Json]] = {}
    for deed in led["actions"]:
        by.setdefault(deed["container"], []).append(deed)
    names = sorted(by, key=lambda name: (not by[name][-1]["error"], name))
    for name in names[:MOST]:
        last = by[name][-1]
        mark, colour = OUTCOMES["failed" if last["error"] else "done"]
        yield from _wrapped(f"{mark} {on}{name}: {_done(by[name])}", columns, colour)
    if len(names) > MOST:
        yield from _wrapped(f"and {plural(len(names) - MOST, 'more container')}", columns)
    for hold in [hold for hold in led["held"] if hold["waits"]][:MOST]:
        text = f"‖ {on}waits for an approval ({hold['id']}): {hold['reason']}"
        yield from _wrapped(text, columns, "yellow")
    for wait in led["waits"][:MOST]:
        yield from _wrapped(f"… {on}{wait['container']} waits: {wait['for']}", columns, "yellow")


def _done(deeds: Sequence[Json]) -> str:
    """What was done to one container, and how it ended."""
    told = [deed for deed in deeds if deed["kind"] not in SILENT and not deed["error"]] or list(deeds)
    words = list(dict.fromkeys(_verb(deed["kind"]) for deed in told if not deed["error"]))
    began, ended = moment(deeds[0]["began"]), moment(deeds[-1]["ended"])
    seconds = (ended - began).total_seconds() if began and ended else 0.0
    took = f", took {span(seconds)}" if seconds >= 1 else ""
    last = deeds[-1]
    if not last["error"]:
        return f"{', '.join(words)}; done {when(last['ended'])}{took}"
    tries = f", {last['tries']} tries" if last["tries"] > 1 else ""
    before = f"{', '.join(words)}, then " if words else ""
    hint = f" ({last['hint']})" if last["hint"] else ""
    return f"{before}{_verb(last['kind'])} failed {when(last['ended'])}{tries}: {last['error']}{hint}"


def _verb(kind: str) -> str:
    """`CreateDataset` as people say it: `create dataset`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def _wrapped(text: str, columns: int, colour: str = "", *, dim: bool = False) -> Iterator[str]:
    """A text as lines below an entry's head; what is too long for one goes on further in."""
    line = " ".join(clean(text, lines=True).split())
    for part in textwrap.wrap(line, columns, initial_indent="    ", subsequent_indent="      "):
        yield paint(part, colour, dim=dim)
