"""What the receiving side notes before a branch moves: a hook of the state repo, or a command that makes a commit."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from controller.errors import Blocked
from controller.receive.arrival import Arrival
from controller.receive.fingerprint import FINGERPRINT
from controller.receive.log import ReceiveLog

KEY = "VOXNIX_KEY"
"""The variable by which `voxnix serve` tells the hooks which key sshd has checked."""


def pusher(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Who pushes: the fingerprint of their key, or, for a push to the repository's path, who that is for people.

    Who pushes by SSH has their key in the environment. Raises `Blocked` for one that is none.
    """
    key = environment.get(KEY, "")
    if key and not FINGERPRINT.fullmatch(key):
        raise Blocked(f"{KEY} is no fingerprint of a key", hint="sshd has to start `voxnix serve --key FINGERPRINT`")
    return key, "" if key else person()


def note_arrival(repository: Path, arrival: Arrival) -> None:
    """Note the commits of a push that admission has let in, before its ref moves.

    Raises `Blocked` where that cannot be done, or not by us: the push must fail then, since the controller would not
    know who brought it.
    """
    if not ReceiveLog(repository).append(arrival):
        raise Blocked(
            f"you may write to {repository}, and are neither its owner nor root, so nobody can tell who pushes",
            hint="push over SSH with your own key",
        )


def note_commit(repository: Path, sha: str) -> bool:
    """Note a commit that a command of the appliance has made, before the branch moves; whether it was noted.

    It is not where the user is neither root nor the repository's owner.
    """
    return ReceiveLog(repository).append(Arrival((sha,), datetime.now(UTC), by=person(), via="cli"))


def person() -> str:
    """Who runs this process, for people to read: the one behind sudo, or the user."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    behind = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    name = f"{behind} as {user}" if behind and behind != user else user
    return "".join(character for character in name if character.isprintable())[:100] or "unknown"
