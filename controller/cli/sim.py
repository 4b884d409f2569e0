"""`voxnix sim`: the simulated host from outside, as somebody with a root shell on a real one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from controller.cli.session import Session, pass_session
from controller.errors import BadInput


@click.group()
def sim() -> None:
    """A simulated host: make one, act on it behind the controller's back."""


@sim.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@pass_session
def create(session: Session, directory: Path) -> None:
    """Make a simulated host in DIR: a ZFS pool, systemd, Nix and a tailnet that are none."""
    from controller.host.sim import create as make

    make(directory, pool=session.settings.pool)
    use = f"voxnix --host sim:{directory.absolute()}"
    session.answer({"path": str(directory.absolute())}, [f"A simulated host is in {directory}. Use it: {use} …"])


@sim.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_session
def exec_(session: Session, argv: tuple[str, ...]) -> int:
    """Run a command on the simulated host, as somebody else would: `voxnix sim exec -- machinectl terminate dev`."""
    if not session.settings.simulated:
        raise BadInput("this is for simulated hosts", hint="--host sim:DIR")
    from controller.host.sim import SimHost

    result = asyncio.run(SimHost(session.settings.sim).behind_our_back(argv))
    click.echo(result.out, nl=False)
    click.echo(result.err, nl=False, err=True)
    sys.stdout.flush()
    return result.code
