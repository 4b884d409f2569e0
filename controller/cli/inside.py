"""`voxnix logs` and `voxnix enter`: into a container. The journal's text is shown harmless."""

from __future__ import annotations

import asyncio
import sys

import click

from controller.cli import text
from controller.cli.client import Away
from controller.cli.completion import container_names
from controller.cli.session import NothingKnown, Session, checked_name, pass_session
from controller.errors import BadInput

LINES = 1000
"""Most lines of a journal that are shown at once."""
LONGEST = 3600.0
"""Seconds that a command in a container may take."""
EMPTY = "-- No entries --"
"""What journalctl says of a journal without a line."""


@click.command()
@click.argument("name", shell_complete=container_names)
@click.option("-n", "lines", type=click.IntRange(1, LINES), default=50, show_default=True, help="So many lines.")
@click.option("--follow", "-f", is_flag=True, help="Go on, as lines are written.")
@pass_session
def logs(session: Session, name: str, lines: int, follow: bool) -> int:
    """The journal of NAME: its own while it runs, else that of its unit on the host."""
    checked_name(name)
    _require_known(session, name)
    if follow:
        from controller.host.machines import logs as command

        return session.runner.interact(command(name, lines, follow=True))
    try:
        told = session.client.get(f"/v1/logs/{name}", lines=lines)["text"]
    except Away:
        told = asyncio.run(journal(session, name, lines))
    shown = [text.clean(line) for line in told.splitlines()]
    session.answer({"name": name, "lines": shown}, shown or ["The journal is empty."])
    return 0


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", shell_complete=container_names)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND…]")
@pass_session
def enter(session: Session, name: str, words: tuple[str, ...]) -> int:
    """A root shell in NAME, or a COMMAND run there: its output when it has ended, and its exit code."""
    checked_name(name)
    machine = _require_known(session, name)
    if machine not in ("running", ""):
        raise BadInput(f"{name} is {machine}, so nobody can enter it", hint=f"voxnix status {name}")
    if words:
        return asyncio.run(_command(session, name, words))
    from controller.host.machines import enter as shell

    return session.runner.interact(shell(name))


def _require_known(session: Session, name: str) -> str:
    """What the machine is, as last published; empty where nothing was. Raises `BadInput` for an unknown name."""
    try:
        return str(session.container(name)["machine"])
    except NothingKnown:
        return ""


async def _command(session: Session, name: str, words: tuple[str, ...]) -> int:
    """Run a command in a container, fed with what is piped in."""
    stdin = None if sys.stdin.isatty() else sys.stdin.read()
    argv = ("systemd-run", "-M", name, "--wait", "--pipe", "--collect", "-q", *words)
    result = await session.runner.run(argv, timeout=LONGEST, stdin=stdin)
    click.echo(result.out, nl=False)
    click.echo(result.err, nl=False, err=True)
    return result.code


async def journal(session: Session, name: str, lines: int) -> str:
    """The last lines of a container's own journal, or else of its unit's on the host."""
    from controller.host.machines import logs as command

    runner = session.runner
    inner = await runner.run(command(name, lines, inside=True), timeout=20)
    if inner.code == 0 and inner.out.strip() not in ("", EMPTY):
        return inner.out
    unit = await runner.run(command(name, lines), timeout=20)
    return "" if unit.out.strip() == EMPTY else unit.out
