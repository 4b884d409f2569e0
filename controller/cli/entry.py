"""`voxnix entry`: root's side of `enter` over SSH, one process a session, started by systemd with a connection.

What it may do for whom is in `controller.entry`; here that is put together with the store and the host. It believes
the state repo's owner which key sshd has checked, and nothing else of what it is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NoReturn

import click

from controller.cli import text
from controller.cli.session import Session, pass_session
from controller.errors import BadInput, VoxnixError

if TYPE_CHECKING:
    from controller.entry.judge import Accepted
    from controller.entry.request import Request
    from controller.observed.facts import Machine

PATIENCE = 5.0
"""Seconds that a request may take to come."""
ENDING = 15.0
"""Seconds that the end of a shell in its container may take."""


@click.command(hidden=True)
@pass_session
def entry(session: Session) -> None:
    """For systemd alone: give who came with a key a shell in a container. The connection is standard input."""
    connection = _taken()
    signal.signal(signal.SIGTERM, _end)
    with connection, ExitStack() as stack:
        try:
            _serve(session, connection, stack)
        except VoxnixError as error:
            from controller.entry.request import write_refusal

            click.echo(f"refused: {text.clean(error.what)}")
            with suppress(OSError):
                connection.send(write_refusal(error), socket.MSG_DONTWAIT)


def _serve(session: Session, connection: socket.socket, stack: ExitStack) -> None:
    """One request, from its receipt to the end of the shell."""
    from controller.entry.judge import require_theirs, tenant_of
    from controller.entry.passing import receive
    from controller.entry.places import take_place
    from controller.entry.request import read_request

    _require_trusted(session, connection)
    connection.settimeout(PATIENCE)
    packet, streams = receive(connection)
    for stream in streams:
        stack.callback(os.close, stream)
    request = read_request(packet)
    accepted, owner = _known(session, request)
    tenant = tenant_of(request.key, accepted)
    require_theirs(request, tenant, accepted, owner, _machine(session, request.name))
    stack.callback(os.close, take_place(session.settings.run / "entries", tenant))
    _carry(session, request, tenant, connection, streams)


def _carry(
    session: Session, request: Request, tenant: str, connection: socket.socket, streams: tuple[int, int, int]
) -> None:
    """The shell itself: begun, carried, ended in its container too, and told in two lines of the journal."""
    from controller.entry.relay import Shell
    from controller.entry.request import write_end

    unit = f"voxnix-enter-{secrets.token_hex(8)}"
    who, began = f"{tenant} ({request.key})", time.monotonic()
    click.echo(f"{who} enters {request.name}{' with a terminal' if request.terminal else ''}")
    code = None
    shell = Shell.begin(request, *_command(session, request, unit))
    try:
        code = shell.carry(connection, streams)
        if code is not None:
            with suppress(OSError):
                connection.send(write_end(code), socket.MSG_DONTWAIT)
    finally:
        shell.end()
        _end_inside(session, request.name, unit)
        how = "the caller went away" if code is None else f"exit code {code}"
        click.echo(f"{who} has left {request.name} after {time.monotonic() - began:.0f} s: {how}")


def _command(session: Session, request: Request, unit: str) -> tuple[Sequence[str], Mapping[str, str]]:
    """What opens a root shell in a container, as a unit of it that takes all its processes along; its environment."""
    if session.settings.simulated:
        from controller.host.machines import enter

        host = (sys.executable, "-m", "controller.host.sim", str(session.settings.sim), "--")
        return (*host, *enter(request.name)), os.environ
    from controller.host.run import ENVIRONMENT

    kind = ("--pty", f"--setenv=TERM={request.terminal}") if request.terminal else ("--pipe",)
    settings = ("SendSIGHUP=yes", "TimeoutStopSec=3", "WorkingDirectory=~")
    given = [f"--property={setting}" for setting in settings]
    words = ("systemd-run", "-M", request.name, f"--unit={unit}", "--wait", "--collect", "--quiet", "--uid=root")
    plain = {"SYSTEMD_TINT_BACKGROUND": "0", "SYSTEMD_ADJUST_TERMINAL_TITLE": "0"}
    return (*words, *kind, *given, "/bin/sh", "-c", 'exec "$SHELL" -l'), {**ENVIRONMENT, **plain}


def _end_inside(session: Session, name: str, unit: str) -> None:
    """See that nothing of a session is left in its container; nothing where that is down, or the session over."""
    if session.settings.simulated:
        return
    argv = ("systemctl", "-M", name, "stop", f"{unit}.service")
    with suppress(VoxnixError):
        asyncio.run(session.runner.run(argv, timeout=ENDING))


def _known(session: Session, request: Request) -> tuple[Accepted, str | None]:
    """What the controller has accepted, and whose it has published the container to be; None for no such one."""
    from controller.entry.judge import Accepted, Person

    store = session.store()
    if store is None:
        raise BadInput("no controller has run for this host yet")
    with store:
        revision, paths, kept = store.revision, store.tree(), store.tenants()
        row, appliance = store.status(request.name), store.appliance
    if revision is None:
        raise BadInput("the controller has accepted no revision yet", hint="try again in a moment")
    present = {name: json.loads(row) for name, row in kept.items() if f"state/tenants/{name}.yaml" in paths}
    people = {
        name: Person(tuple(found["ssh_keys"]), tuple(found["signing_keys"]), found["role"] == "admin")
        for name, found in present.items()
    }
    owner = str(json.loads(row)["owner"]) if row is not None else None
    return Accepted(people, session.settings.delegates, appliance or ""), owner


def _machine(session: Session, name: str) -> Machine:
    """The container as the host has it now."""
    from controller.host.files import Files
    from controller.host.machines import Machines
    from controller.host.secrets import Deliveries, SecretStore

    files = Files(session.settings.root)
    machines = Machines(session.runner, files, Deliveries(files, SecretStore(files)))
    return asyncio.run(machines.look(name))


def _require_trusted(session: Session, connection: socket.socket) -> None:
    """Raise `BadInput` unless root or the state repo's owner is at the other end."""
    from controller.sockets import peer_uid

    trusted, peer = {0}, peer_uid(connection)
    with suppress(OSError):
        trusted.add(os.stat(session.settings.repository).st_uid)
    if peer not in trusted:
        raise BadInput(f"user {peer} may not open shells here", hint="come over SSH, with your own key")


def _taken() -> socket.socket:
    """The connection that systemd hands over as standard input, in whose place nothing is left."""
    try:
        connection = socket.socket(fileno=os.dup(0))
    except OSError as error:
        raise BadInput("this is for systemd: standard input is no connection") from error
    if (connection.family, connection.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        raise BadInput("this is for systemd: standard input is no connection of voxnix-enter.socket")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    return connection


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)
