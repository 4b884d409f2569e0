"""Watch the controller at work: what happens, as it happens, until something is so."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from controller.cli.demo.stage import PATIENCE, NotAsTold, Stage
from controller.cli.events import KINDS
from controller.cli.text import COLOURS, clean, paint

Json = Mapping[str, Any]
EXPLAINED = frozenset({"CreateDataset", "Start", "Stop", "failed"})
"""Kinds of events that are told with their reason."""


def follow(stage: Stage, after: int, so: Callable[[Json], bool], expected: str) -> None:
    """Show events after `after` until `so` holds of the status; raises `NotAsTold` when it takes too long.

    On a terminal the containers' phases turn below the events.
    """
    picture = _Picture() if sys.stdout.isatty() else None
    began = time.monotonic()
    try:
        while True:
            status = stage.status() or {"containers": []}
            for event in stage.events(after):
                after = event["id"]
                line = _line(event, time.monotonic() - began)
                if line:
                    picture.print(line) if picture else click.echo(line)
            if so(status) and not stage.events(after):
                return
            if time.monotonic() - began > PATIENCE:
                raise NotAsTold(f"{expected} within {PATIENCE:.0f} s")
            if picture:
                picture.show(status["containers"])
            time.sleep(0.05)
    finally:
        if picture:
            picture.stop()


def _line(event: Json, seconds: float) -> str:
    """An event as a line; phases are seen in the picture, and ends of passes are nobody's business."""
    if event["kind"] not in KINDS or not event["container"]:
        return ""
    failed = event["severity"] == "error"
    mark = paint("✗", "red") if failed else paint("✓", "green")
    what = KINDS[event["kind"]]
    why = event["message"] if event["kind"] in EXPLAINED else ""
    about = paint(f"  {why}", dim=True) if why else ""
    return f"  {paint(f'{seconds:4.1f} s', dim=True)}  {mark} {clean(event['container'])}  {what}{about}"


class _Picture:
    """The containers' phases, moving, below lines that stay."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = Console(highlight=False)
        self._spinner = Spinner("dots")
        self._live = Live(console=self._console, refresh_per_second=12, transient=True)
        self._live.start()

    def print(self, line: str) -> None:
        """A line that stays."""
        from rich.text import Text

        self._console.print(Text.from_ansi(line), soft_wrap=True)

    def show(self, containers: list[Json]) -> None:
        """The phases now."""
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for status in containers:
            phase = Text(status["phase"], COLOURS.get(status["phase"], ""))
            still = status["phase"] in ("ready", "frozen", "held", "paused")
            turning = Text(" ") if still else self._spinner
            grid.add_row(Text("        "), turning, Text(status["name"], "bold"), phase, Text(status["machine"], "dim"))
        self._live.update(grid)

    def stop(self) -> None:
        """Take the picture away; the lines stay."""
        self._live.stop()
