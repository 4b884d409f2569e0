"""Live progress of a convergence: a moving picture on a terminal, one line a step elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from controller import report
from controller.cli.render_plan import SILENT, describe, headline, sign, subject
from controller.cli.text import clean, paint
from controller.converge import Moment, Progress

if TYPE_CHECKING:
    from rich.table import Table


class Display(Protocol):
    """Whoever shows progress."""

    failures: list[str]

    def tell(self, progress: Progress) -> None:
        """One moment of it."""
        ...


class Lines:
    """One line for each step that has ended, for logs and pipes; nothing at all if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.failures: list[str] = []
        self._quiet = quiet

    def tell(self, progress: Progress) -> None:
        """See `Display.tell`."""
        line = ended(progress)
        if progress.moment is Moment.FAILED:
            self.failures.append(line)
        if line and not self._quiet:
            click.echo(line)


class Picture:
    """All running lanes, each with its present step and the seconds it has taken; ended ones scroll away above."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self.failures: list[str] = []
        self._running: dict[str, tuple[str, str, float]] = {}
        self._spinner = Spinner("dots")
        self._console = Console(highlight=False)
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Picture:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, progress: Progress) -> None:
        """See `Display.tell`."""
        key = subject(report.lane(progress.lane))
        if progress.moment is Moment.BEGUN and progress.step:
            step = report.step(progress.step)
            count = f"{progress.index + 1}/{len(progress.lane.steps)}"
            self._running[key] = (describe(step), count, time.monotonic())
        elif progress.moment is Moment.FAILED:
            self.failures.append(ended(progress))
            self._print(ended(progress))
        elif progress.moment is Moment.LANE_DONE:
            self._running.pop(key, None)
            if not any(line.startswith(f"✗ {key} ") for line in map(click.unstyle, self.failures)):
                lane = report.lane(progress.lane)
                self._print(f"{paint('✓', 'green')} {paint(key, sign(lane)[1], bold=True)}  {headline(lane)}")

    def _print(self, line: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(line), soft_wrap=True)

    def _draw(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for key, (step, count, began) in list(self._running.items()):
            seconds = f"{time.monotonic() - began:.0f} s"
            grid.add_row(self._spinner, Text(clean(key), "bold"), Text(step), Text(f"{count}  {seconds}", "dim"))
        return grid


def ended(progress: Progress) -> str:
    """A step that has ended, as one line; empty for all other moments."""
    if progress.step is None or progress.moment not in (Moment.DONE, Moment.FAILED):
        return ""
    step = report.step(progress.step)
    if step["action"] in SILENT and progress.moment is Moment.DONE:
        return ""
    what = f"{subject(report.lane(progress.lane))}  {describe(step)}"
    took = paint(f"  {progress.seconds:.1f} s", dim=True) if progress.seconds >= 0.05 else ""
    if progress.moment is Moment.DONE:
        return f"{paint('✓', 'green')} {what}{took}"
    error = clean(str(progress.error), lines=True).replace("\n", "\n    ")
    return f"{paint('✗', 'red')} {what}{took}\n    {error}"


@contextmanager
def display(*, quiet: bool) -> Iterator[Display]:
    """The display that suits the output."""
    if quiet or not sys.stdout.isatty():
        yield Lines(quiet=quiet)
        return
    with Picture() as picture:
        yield picture
