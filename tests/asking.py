"""The gate that stays, asked over its socket: by hand, in the test's own process."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager

from controller.sockets import connect
from tests.pushers import POLICY, REQUIRED, TENANTS, Pushers

FILES = {**TENANTS, POLICY: REQUIRED, "state/web.yaml": "owner: bob\n", "state/dev.yaml": "owner: alice\n"}
GOOD, BAD = "owner: bob\npower: stopped\n", "owner: bob\npower: off\n"
"""What Bob's container becomes."""


@contextmanager
def running(found):
    """A door, or what stands in for one, in a thread."""
    thread = threading.Thread(target=found.serve)
    thread.start()
    try:
        yield
    finally:
        found.stop()
        thread.join()


def ask(place, data: bytes, *, end: bool = True) -> bytes:
    """What is answered to these bytes, all of it; nothing where the connection is just closed."""
    with connect(place, 20.0) as connection:
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
            return connection.makefile("rb").read()
        except (BrokenPipeError, ConnectionResetError):
            return b""


def question(shell, text: str, **more: object) -> bytes:
    """A push of one change of `web` by root."""
    people = Pushers(shell.path)
    old, new = people.git("rev-parse", people.ref), people.commit({"web": text})
    value = {"updates": [[old, new, people.ref]], "key": "", "by": "root", "quarantine": "", **more}
    return json.dumps(value).encode() + b"\n"
