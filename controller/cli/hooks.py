"""`voxnix hooks` and `voxnix door`: the gate of the state repo, put in place and kept running."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from controller.cli import text
from controller.cli.session import Session, pass_session


@click.command()
@click.argument("repository", metavar="[REPO]", type=click.Path(path_type=Path), required=False)
@pass_session
def hooks(session: Session, repository: Path | None) -> None:
    """Put the hooks of the state repo in place, or bring them up to date: they judge pushes before git takes them."""
    from controller.gate.hooks import install
    from controller.git import StateRepo

    repo = StateRepo(repository) if repository else session.here
    written = install(repo.path, passed_on(session))
    session.answer({"hooks": [str(path) for path in written]}, [f"in place  {path}" for path in written])


@click.command()
@pass_session
def door(session: Session) -> None:
    """Keep the gate of the state repo running, so that a push is judged at once. Runs as the repository's owner.

    Without it, hooks judge by themselves: the same verdicts, some tenths of a second later.
    """
    from controller.gate.door import Door
    from controller.gate.hook import gate_of

    found = Door(gate_of(session.settings))
    found.open()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: found.stop())
    session.say(f"the gate of {text.clean(str(session.here.path))} is open")
    try:
        found.serve()
    finally:
        found.close()


def passed_on(session: Session) -> list[str]:
    """The common options that a hook hands on, understood from any directory."""
    from controller.cli.keys import passed_on as given

    return given(session, ("config", "host"))
