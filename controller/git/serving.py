"""Git for somebody who came by SSH: this process becomes `git receive-pack` or `git upload-pack` on the state repo.

Nothing of the client gets in but the two ends of the connection: the path, the environment and the settings are ours.
The repository's own configuration is overruled where it could run a program or open another way in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from controller.errors import Blocked
from controller.git.process import path_of_programs

_SHOWN = ("refs/heads", "refs/tags")
"""What a push may try to move: the gate explains why all but the state branch stays."""
PUSH_BYTES = 64 * 2**20
"""Bytes that one push may bring; a state repo of 1,000 containers has less than one MiB."""
_BOTH = {
    "core.fsmonitor": "false",
    "core.pager": "cat",
    "core.alternateRefsCommand": "true",
    "core.attributesFile": "/dev/null",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.allow": "never",
}
_FETCH = {
    "uploadpack.allowFilter": "false",
    "uploadpack.allowAnySHA1InWant": "false",
    "uploadpack.hideRefs": "refs/voxnix",
}
_PUSH = {
    "core.fsync": "all",
    "receive.autogc": "false",
    "receive.fsckObjects": "true",
    "receive.fsck.badFilemode": "error",
    "receive.denyDeletes": "true",
    "receive.denyNonFastForwards": "true",
    "receive.advertisePushOptions": "true",
    "receive.updateServerInfo": "false",
    "receive.maxInputSize": str(PUSH_BYTES),
}


def serve(repository: Path, service: str, more: Mapping[str, str]) -> NoReturn:
    """Become git's `service`, `git-receive-pack` or `git-upload-pack`, on the repository.

    What a push may move is for the hooks to say. `more` is what these are told by their environment. Raises `Blocked`
    without git.
    """
    argv, environment = command(repository, service, more)
    os.umask(0o022)
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - fixed words, and no shell
    except OSError as error:
        raise Blocked(f"git cannot be started on this host: {error.strerror}", hint="install git") from error


def command(repository: Path, service: str, more: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
    """The whole command that `serve` becomes, and its whole environment."""
    push = service == "git-receive-pack"
    settings = [*_BOTH.items(), *(_PUSH if push else _FETCH).items(), ("core.hooksPath", str(repository / "hooks"))]
    settings.append(("safe.directory", str(repository)))
    if push:
        settings += [("receive.hideRefs", "refs"), *(("receive.hideRefs", f"!{ref}") for ref in _SHOWN)]
    words = [word for key, value in settings for word in ("-c", f"{key}={value}")]
    environment = {
        "PATH": path_of_programs(),
        "LC_ALL": "C.UTF-8",
        "HOME": "/var/empty",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **more,
    }
    return ["git", "--no-pager", *words, service.removeprefix("git-"), str(repository)], environment
