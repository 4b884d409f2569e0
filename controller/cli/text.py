"""Text for terminals: harmless, aligned, coloured where colour is wanted. Pure, and quick to import.

Whatever was written by others (names, messages, logs) passes through `clean` before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

import click

COLOURS = {
    "ready": "green",
    "converging": "cyan",
    "degraded": "red",
    "held": "yellow",
    "frozen": "yellow",
    "paused": "blue",
    "removing": "magenta",
}
"""The colour of each phase."""


def clean(text: str, *, lines: bool = False) -> str:
    """`text` with all that a terminal might obey made visible (`\\x1b`); line ends and tabs stay if `lines`."""
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def paint(text: str, colour: str = "", *, bold: bool = False, dim: bool = False) -> str:
    """Cleaned text in a colour; the escape codes are dropped again where the output is no terminal."""
    return click.style(clean(text), fg=colour or None, bold=bold or None, dim=dim or None) if text else ""


def heading(text: str) -> str:
    """The title of a section."""
    return click.style(text, bold=True)


def command(text: str) -> str:
    """A command that the reader may type."""
    return click.style(clean(text), fg="cyan")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of left-aligned columns; cells may be coloured. Columns that are empty in all rows are left out."""
    body = [list(row) for row in rows]
    used = [index for index in range(len(head)) if any(click.unstyle(row[index]) for row in body)]
    styled = [[paint(head[index], dim=True) for index in used], *([row[i] for i in used] for row in body)]
    widths = [max(len(click.unstyle(row[i])) for row in styled) for i in range(len(used))]
    return [_line(row, widths) for row in styled]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """Cells side by side, nothing padded beyond the last one that says something."""
    told = max((index for index, cell in enumerate(row) if cell), default=-1)
    cells = [cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([*cells[: max(0, told)], *row[told : told + 1]]) if told >= 0 else ""


def moment(text: str | None) -> datetime | None:
    """An ISO time as it stands in published documents."""
    return datetime.fromisoformat(text) if text else None


def span(seconds: float) -> str:
    """A length of time in one or two words: `12 s`, `3 min`, `5 h`, `4 d`."""
    left = max(0.0, seconds)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if left >= size:
            return f"{left / size:.0f} {unit}"
    return f"{left:.0f} s"


def ago(text: str | None, now: datetime) -> str:
    """How long since an ISO time: `3 min`; empty without one."""
    at = moment(text)
    return span((now - at).total_seconds()) if at else ""


def until(text: str | None, now: datetime) -> str:
    """`in 12 s`, or `now` once it is over."""
    at = moment(text)
    if at is None:
        return ""
    left = (at - now).total_seconds()
    return f"in {span(left)}" if left > 0 else "now"


def day(text: str | None) -> str:
    """The date of an ISO time, `2026-12-24`; empty without one."""
    at = moment(text)
    return at.astimezone(UTC).strftime("%Y-%m-%d") if at else ""


def size(amount: int) -> str:
    """Bytes as people write them: `512M`, `1.5G`."""
    value = float(amount)
    for unit in ("B", "K", "M", "G"):
        if value < 1024:
            return f"{value:.1f}".removesuffix(".0") + unit if value < 10 else f"{value:.0f}{unit}"
        value /= 1024
    return f"{value:.1f}T"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 file`, `3 files`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """The hint for an unknown name: the nearest known one, or all of a few, or nothing."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"there is {', '.join(names)}" if 0 < len(names) <= 12 else ""
