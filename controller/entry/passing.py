"""Packets with descriptors in them, over a Unix socket that keeps packets apart (SOCK_SEQPACKET).

Whatever arrives and is not wanted is closed at once. What was handed over is read and written, never opened again by
another name, never made anybody's terminal, and given to no other process.
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import stat
from collections.abc import Sequence
from typing import cast

from controller.entry.request import LONGEST
from controller.errors import BadInput

WANTED = 3
"""Descriptors that come with a request: input, output, errors."""
_RIGHTS = array.array("i")


def send(connection: socket.socket, packet: bytes, descriptors: Sequence[int]) -> None:
    """Send a packet, and duplicates of these descriptors with it."""
    socket.send_fds(connection, [packet], list(descriptors))


def receive(connection: socket.socket) -> tuple[bytes, tuple[int, int, int]]:
    """A packet and the three descriptors that came with it, which are the caller's to close.

    Raises `BadInput` for too much, for more or fewer descriptors, for such as cannot be read or written, and when
    nothing comes within the connection's timeout; none is left open then.
    """
    room = socket.CMSG_SPACE(WANTED * _RIGHTS.itemsize)
    try:
        data, ancillary, flags, _ = connection.recvmsg(LONGEST + 1, room, socket.MSG_CMSG_CLOEXEC)
    except TimeoutError as error:
        raise BadInput("no request came in time") from error
    except OSError as error:
        raise BadInput("the request cannot be received") from error
    found = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(content[: len(content) - len(content) % found.itemsize])
    try:
        _require_whole(data, flags, found)
        return data, cast("tuple[int, int, int]", tuple(found))
    except BadInput:
        for descriptor in found:
            os.close(descriptor)
        raise


def _require_whole(data: bytes, flags: int, descriptors: Sequence[int]) -> None:
    if not data:
        raise BadInput("the caller went away without a request")
    if flags & socket.MSG_TRUNC or len(data) > LONGEST:
        raise BadInput(f"a message has at most {LONGEST} bytes")
    if flags & socket.MSG_CTRUNC or len(descriptors) != WANTED:
        raise BadInput(f"a request comes with exactly {WANTED} descriptors")
    for at, descriptor in enumerate(descriptors):
        if not _usable(descriptor, os.O_RDONLY if at == 0 else os.O_WRONLY):
            raise BadInput(f"descriptor {at} of a request has to be a terminal, a pipe or a socket, open for its use")


def _usable(descriptor: int, use: int) -> bool:
    """Whether a descriptor is of a kind that sshd gives, and was opened for this use.

    One that was opened as a mere name (O_PATH) tells a kind, and no right to read or write.
    """
    mode, flags = os.fstat(descriptor).st_mode, fcntl.fcntl(descriptor, fcntl.F_GETFL)
    kind = stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
    return kind and not flags & os.O_PATH and (flags & os.O_ACCMODE) in (use, os.O_RDWR)
