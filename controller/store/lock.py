"""One controller at a time: a lock that the kernel drops when its holder dies. Starts and kills nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from controller.errors import Blocked


@contextlib.contextmanager
def controller_lock(directory: Path) -> Iterator[None]:
    """Hold `directory`/controller.lock for the block; raises `Blocked`, naming its process, if another one has it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / "controller.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
            raise Blocked(
                f"another controller is at work here (process {pid or 'unknown'})",
                hint="it does what is to be done; see `voxnix status`, or stop it first",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def controller_pid(directory: Path) -> int | None:
    """The process that holds the lock, if one does."""
    try:
        descriptor = os.open(directory / "controller.lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else None
    else:
        return None
    finally:
        os.close(descriptor)
