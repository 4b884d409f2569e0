"""The table: each row a measurement, what it is compared with, and whether the goal is met. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = ("", "measured (min – median – max)", "beside it", "ratio", "goal", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `ratio` is what is measured by what it is compared with; no `goal`: for information.

    `value` is what the goal is about, and `goal` the most that it may be; `shown` says the goal in words.
    """

    name: str
    measured: str
    beside: str = ""
    ratio: float | None = None
    value: float = 0.0
    goal: float | None = None
    shown: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal, if there is one, is met."""
        return self.goal is None or self.value <= self.goal

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as texts."""
        verdict = "" if self.goal is None else "✓" if self.met else "✗"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} ×"
        return (self.name, self.measured, self.beside, ratio, self.shown, verdict)


def compared(name: str, measured: str, beside: str, ratio: float, goal: float | None = None) -> Row:
    """A row whose goal, if it has one, is about its ratio."""
    return Row(name, measured, beside, ratio, ratio, goal, "" if goal is None else f"≤ {goal:g} ×")


def render(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """All of it, for a terminal."""
    lines = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    missed = [row.name for row in rows if not row.met]
    end = f"{len(missed)} missed: {'; '.join(missed)}" if missed else "all goals are met"
    return "\n".join([title, "", texts[0], "─" * len(max(texts, key=len)), *texts[1:], "", *notes, end])
