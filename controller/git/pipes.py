"""What a process prints, read within bounds of time and size, whoever it talks to."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable
from typing import Any

KEPT = 256 * 2**10
"""Bytes kept of the end of what goes to standard error."""
_TICK = 0.2


class TooMuch(Exception):
    """It printed more than it may."""


class Cancelled(Exception):
    """Nobody waits for it any more."""


def drain(process: Any, timeout: float, limit: int, cancelled: Callable[[], bool]) -> tuple[bytes, bytes]:
    """All that a process prints until it ends, and the end of what it complains.

    Raises `TimeoutError` after `timeout` seconds, `TooMuch` after `limit` bytes, and `Cancelled`. It kills nothing.
    """
    end = time.monotonic() + timeout
    out: list[bytes] = []
    size, err = 0, b""
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            selector.register(stream.fileno(), selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(min(_TICK, max(0.0, end - time.monotonic())))
            if cancelled():
                raise Cancelled
            if time.monotonic() > end:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, 2**16)
                if not data:
                    selector.unregister(key.fd)
                elif key.fd == process.stdout.fileno():
                    out.append(data)
                    size += len(data)
                    if size > limit:
                        raise TooMuch
                else:
                    err = (err + data)[-KEPT:]
    while process.poll() is None:
        if cancelled():
            raise Cancelled
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.001)
    return b"".join(out), err
