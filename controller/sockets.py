"""Unix sockets whose names may be longer than the kernel takes: made, reached, and asked who is there.

Standard library only, and quick to import: the server and the command line share it.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from controller.errors import Blocked

PATH_LIMIT = 100
"""Bytes of a name that surely fit; longer ones are reached through their directory's descriptor."""


def listen(path: Path, *, mode: int = 0o660, folder: int = 0o755, group: str = "") -> socket.socket:
    """A listening socket at `path`, in place of a stale one; it appears when it answers, not before.

    `mode` is who may open it, `folder` the mode of the directory that it is in, `group` the socket's group, our own if
    empty. Raises `Blocked` where there is no such group, somebody else answers there, or it cannot be made.
    """
    try:
        path.parent.mkdir(mode=folder, parents=True, exist_ok=True)
        path.parent.chmod(folder)
        if answered(path):
            raise Blocked(f"another process answers at {path}", hint="stop it first")
        return _bound(path, mode, _number(group))
    except OSError as error:
        raise Blocked(f"the socket {path} cannot be made: {error.strerror or error}") from error


def connect(path: Path, timeout: float | None, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket of this kind connected to `path`; raises `OSError` where nobody answers. `timeout` in seconds."""
    connection = socket.socket(socket.AF_UNIX, kind)
    connection.settimeout(timeout)
    try:
        with _short(path) as name:
            connection.connect(name)
    except BaseException:
        connection.close()
        raise
    return connection


def answered(path: Path) -> bool:
    """Whether a process accepts connections at `path`."""
    try:
        connect(path, 1.0).close()
    except OSError:
        return False
    return True


def peer_uid(connected: socket.socket) -> int:
    """The user at the other end, as the kernel knows it."""
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _number(group: str) -> int:
    """The number of a group; -1, which changes nothing, for none."""
    if not group:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        hint = "make it, or name another as `socket_group` in the settings"
        raise Blocked(f"there is no group {group} on this host", hint=hint) from error


def _bound(path: Path, mode: int, group: int) -> socket.socket:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with _short(draft) as name:
            bound.bind(name)
        os.chown(draft, -1, group)
        draft.chmod(mode)
        bound.listen(128)
        bound.setblocking(False)
        draft.replace(path)
    except BaseException:
        bound.close()
        raise
    return bound


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name for `path` that the kernel takes, for as long as the block lasts."""
    if len(os.fsencode(path)) <= PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
