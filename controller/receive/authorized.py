"""What sshd is told of keys: each may run one command, and that command is told which key it was. Pure.

Nothing of a key but its type and base64 part gets into a line: comments are written by strangers.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from controller.errors import BadInput
from controller.receive.keys import Keys


def authorized_keys(keys: Keys, command: Sequence[str], *, only: str | None = None) -> Iterator[str]:
    """A line for every key that may push, in the order of owners; with `only`, for that fingerprint alone.

    `command` is what to start, `--key FINGERPRINT` is added to it. Raises `BadInput` if it cannot be put in a line.
    """
    start = shlex.join(command)
    if not start.isprintable() or "\\" in start:
        raise BadInput("the command for sshd may have no control characters and no backslashes")
    for fingerprint, owner in sorted(keys.pushing.items(), key=lambda item: (item[1].name, item[0])):
        if only is None or fingerprint == only:
            quoted = f"{start} --key {fingerprint}".replace('"', '\\"')
            yield f'restrict,pty,command="{quoted}" {owner.key} {owner.name}'
