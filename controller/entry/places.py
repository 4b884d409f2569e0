"""So many sessions at once for each tenant: a place is a locked file, free again when its process ends, however."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from controller.errors import BadInput

MOST = 8
"""Sessions that one tenant may have at the same time."""


def take_place(folder: Path, tenant: str, most: int = MOST) -> int:
    """A descriptor that holds one of the tenant's places until it is closed; raises `BadInput` if all are taken.

    `folder` is made, for root alone. `tenant` is an id that was checked: it becomes part of a file's name.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(most):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        place = os.open(folder / f"{tenant}.{number}", flags, 0o600)
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(place)
            continue
        return place
    raise BadInput(f"{tenant} has {most} shells open already", hint="leave one of them")
