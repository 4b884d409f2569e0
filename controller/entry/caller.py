"""The side of `voxnix serve`: ask root for a shell, lend it the own three descriptors, and wait until it is over.

It has no rights, and takes none: what it says is checked at the other side. Its own terminal is put into raw mode for
as long as the session lasts, so that each key reaches the shell, and is put back afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from controller.entry.passing import send
from controller.entry.request import LONGEST, PLAIN, Request, Size, read_end, terminal, write_request, write_size
from controller.errors import BadInput, Transient
from controller.sockets import connect

STREAMS = (0, 1, 2)
PATIENCE = 10.0
"""Seconds that being connected may take."""


def enter(door: Path, key: str, name: str) -> int:
    """Be in a container until its shell ends; its exit code.

    Raises `BadInput` with the reason where there is no shell to be had, `Transient` where the other side is lost.
    """
    with _connected(door) as connection:
        kind = terminal(os.environ.get("TERM", PLAIN)) if _on_terminal() else ""
        size = _size() if kind else Size()
        with _raw(kind != ""), _resizing(connection, kind != ""):
            try:
                send(connection, write_request(Request(key, name, kind, size)), STREAMS)
                told = connection.recv(LONGEST + 1)
            except OSError as error:
                raise Transient(f"the session was lost: {error.strerror}") from error
    if not told:
        raise Transient("the session was ended from the other side")
    return read_end(told)


def _connected(door: Path) -> socket.socket:
    try:
        connection = connect(door, PATIENCE, socket.SOCK_SEQPACKET)
    except OSError as error:
        what = "a shell in a container needs root on the appliance, and nothing here asks for one"
        raise BadInput(what, hint="ask whoever runs the appliance: voxnix-enter.socket has to be up") from error
    connection.settimeout(None)
    return connection


def _on_terminal() -> bool:
    return os.isatty(STREAMS[0]) and os.isatty(STREAMS[1])


def _size() -> Size:
    try:
        columns, rows = os.get_terminal_size(STREAMS[1])
        return Size(rows, columns)
    except (OSError, BadInput):
        return Size()


@contextlib.contextmanager
def _raw(needed: bool) -> Iterator[None]:
    if not needed:
        yield
        return
    before = termios.tcgetattr(STREAMS[0])
    tty.setraw(STREAMS[0])
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(STREAMS[0], termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizing(connection: socket.socket, needed: bool) -> Iterator[None]:
    """Tell the other side when the terminal's size has changed."""

    def tell(*_: object) -> None:
        with contextlib.suppress(OSError):
            connection.send(write_size(_size()), socket.MSG_DONTWAIT)

    if not needed:
        yield
        return
    before = signal.signal(signal.SIGWINCH, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
