"""`voxnix status`: what the controller published, as one picture. Reads only; starts as fast as Python lets it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from controller.cli import render_status
from controller.cli.completion import container_names
from controller.cli.session import Session, pass_session
from controller.errors import BadInput, VoxnixError

EVERY = 2.0
"""Seconds between two pictures of `--watch`, where no event comes sooner."""


@click.command()
@click.argument("name", required=False, shell_complete=container_names)
@click.option("--watch", "-w", is_flag=True, help="Keep showing it, until Ctrl-C.")
@pass_session
def status(session: Session, name: str | None, watch: bool) -> None:
    """What is running, what is not as it should be, and why.

    With NAME, everything about that container.
    """
    if not watch:
        session.answer(*_picture(session, name))
        return
    if session.json:
        raise BadInput("--watch does not go with --json", hint="`voxnix --json events --follow` tells every change")
    for _ in _changes(session):
        try:
            lines = _picture(session, name)[1]
        except VoxnixError as error:
            lines = [str(error)]
        if sys.stdout.isatty():
            click.clear()
        else:
            lines.append("")
        click.echo("\n".join(lines))


def _picture(session: Session, name: str | None) -> tuple[object, list[str]]:
    """The document, or one container of it, and the lines that show it."""
    now = datetime.now(UTC)
    if name is None:
        document = session.document()
        return document, render_status.overview(document, now)
    found = session.container(name)
    return found, render_status.container(found, now)


def _changes(session: Session) -> Iterator[None]:
    """A beat at once, then one for each batch of events, and at least one every two seconds."""
    yield
    while True:
        began = time.monotonic()
        try:
            for _ in session.client.lines("/v1/events/stream", timeout=EVERY):
                yield
                break
        except (VoxnixError, OSError, ValueError):
            time.sleep(max(0.0, EVERY - (time.monotonic() - began)))
            yield
        else:
            time.sleep(0.1)
