"""`voxnix demo`: a guided tour on a simulated host. Real git, a real controller process; no root, key or network.

Everything it says is checked as it goes: a step that does not turn out as told ends the tour with exit code 1.
"""

from __future__ import annotations

import click

from controller.cli.session import Session, pass_session

__all__ = ["demo"]


@click.command()
@click.option("--no-shell", is_flag=True, help="End after the tour, instead of at a prompt.")
@pass_session
def demo(session: Session, no_shell: bool) -> int:
    """A guided tour on a simulated host: five minutes to read, thirty seconds without a terminal.

    Nothing outside of a temporary directory is touched, and nothing is left behind.
    """
    from controller.cli.demo.tour import tour

    return tour(shell=not no_shell)
