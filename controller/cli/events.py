"""`voxnix events`: what happened, from the controller or its store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from controller.cli import text
from controller.cli.client import Away
from controller.cli.completion import container_names
from controller.cli.session import Session, pass_session
from controller.errors import BadInput

SEVERITIES = {"warning": "yellow", "error": "red"}
KINDS = {
    "CreateDataset": "storage made",
    "SetQuota": "quota changed",
    "ToTrash": "data moved to the trash",
    "FromTrash": "data brought back from the trash",
    "MoveDataset": "data moved",
    "CloneBack": "data brought back from a snapshot",
    "DestroyTrash": "destroyed for good",
    "CopyIn": "files copied in",
    "Install": "system installed",
    "SetResources": "limits set",
    "Start": "started",
    "Stop": "stopped",
    "RemoveSystem": "system removed",
    "Enrol": "joined the tailnet",
    "DeleteDevice": "tailnet device deleted",
    "NoteDebt": "tailnet device still to be deleted",
    "Decided": "decision carried out",
    "failed": "failed",
}
"""What kinds of events are called; others speak for themselves."""
AGAIN = 1.0
"""Seconds before a lost stream is asked for again."""


@click.command()
@click.argument("name", required=False, shell_complete=container_names)
@click.option("--follow", "-f", is_flag=True, help="Go on, as things happen.")
@click.option("-n", "limit", type=click.IntRange(0, 10_000), default=30, show_default=True, help="At most so many.")
@pass_session
def events(session: Session, name: str | None, follow: bool, limit: int) -> None:
    """What happened, newest last: to all containers, or to NAME."""
    found = _past(session, name, limit)
    if session.json and not follow:
        session.answer(found)
        return
    for event in found:
        _show(session, event)
    if not found and not follow:
        session.say("Nothing has happened yet.")
    after = found[-1]["id"] if found else 0
    for event in _coming(session, name, after) if follow else ():
        _show(session, event)


def _past(session: Session, name: str | None, limit: int) -> list[dict[str, Any]]:
    try:
        return list(session.client.get("/v1/events", name=name, limit=limit)["events"])
    except Away:
        store = session.store()
    if store is None:
        raise BadInput("nothing has happened yet: no controller has run for this host")
    with store:
        return [{**asdict(event), "at": event.at.isoformat()} for event in store.events(container=name, limit=limit)]


def _coming(session: Session, name: str | None, after: int) -> Iterator[dict[str, Any]]:
    """Events as they happen, across restarts of the controller, none of them twice."""
    while True:
        try:
            for event in session.client.lines("/v1/events/stream", timeout=60.0, after=after, name=name):
                if event is not None:
                    after = event["id"]
                    yield event
        except (Away, OSError, ValueError):
            pass
        time.sleep(AGAIN)


def _show(session: Session, event: dict[str, Any]) -> None:
    if session.json:
        click.echo(json.dumps(event, separators=(",", ":")))
        return
    at = text.moment(event["at"])
    when = f"{at.astimezone():%m-%d %H:%M:%S}" if at else ""
    subject = text.clean(event["container"])
    about = f"{subject}  " if subject else ""
    cause = text.paint(f"  ← {event['cause']}", dim=True) if event["cause"] else ""
    message = text.paint(event["message"].replace("\n", "; "), SEVERITIES.get(event["severity"], ""))
    kind = KINDS.get(event["kind"]) or text.clean(event["kind"])
    click.echo(f"{text.paint(when, dim=True)}  {text.heading(about)}{kind}: {message}{cause}")
