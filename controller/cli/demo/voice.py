"""How the tour speaks: paragraphs, files, commands. Colours and pauses on a terminal only."""

from __future__ import annotations

import select
import shutil
import sys
import textwrap
from pathlib import Path

import click

from controller.cli.text import clean, command, paint

READING = 20.0
"""Seconds after which a pause ends by itself."""


class Voice:
    """The narrator. `terminal` says whether somebody watches and can answer."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.width = min(88, shutil.get_terminal_size((88, 24)).columns)
        self._number = 0

    def title(self, words: str) -> None:
        """Begin a step; on a terminal, once the reader is ready."""
        if self._number:
            self.pause()
        self._number += 1
        head = f" {self._number}. {words} "
        click.echo("")
        click.echo(click.style(f"──{head}".ljust(self.width, "─"), fg="blue", bold=True))

    def say(self, words: str) -> None:
        """A paragraph."""
        click.echo("")
        click.echo(textwrap.fill(" ".join(words.split()), self.width))

    def typed(self, line: str) -> None:
        """A command that is about to run, as one would type it."""
        click.echo("")
        click.echo(f"{paint('$', dim=True)} {command(line)}")

    def file(self, path: Path, name: str) -> None:
        """A file's content, in a frame."""
        click.echo("")
        click.echo(paint(f"  ┌ {name}", dim=True))
        for line in path.read_text().rstrip().splitlines():
            colour = {"+": "green", "-": "red"}.get(line[:1], "") if name.endswith("diff") else ""
            faint = line.lstrip().startswith("#")
            click.echo(f"{paint('  │', dim=True)} {paint(line, colour, dim=faint)}")

    def quoted(self, lines: list[str]) -> None:
        """What a program printed, indented."""
        for line in lines:
            colour = {"+": "green", "-": "red"}.get(line[:1], "")
            click.echo(f"  {paint(line, colour)}")

    def heard(self, lines: list[str]) -> None:
        """What the other side of a push said, as git shows it."""
        for line in lines:
            click.echo(clean(line))

    def held(self, words: str) -> None:
        """Something that was checked and is so."""
        click.echo(f"{paint('✓', 'green', bold=True)} {clean(words)}")

    def pause(self) -> None:
        """Time to read; Enter ends it."""
        if not self.terminal:
            return
        click.echo("")
        click.echo(paint("  Enter to go on …", dim=True), nl=False)
        ready, _, _ = select.select([sys.stdin], [], [], READING)
        if ready:
            sys.stdin.readline()
        else:
            click.echo("")
