"""What somebody who came by SSH asks for, read from the words that sshd hands on. Pure.

Only the few commands listed here exist; nothing of the words is ever given to a shell, and no path in them is ever
opened: the one repository that there is gets compared with, not looked up.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from controller.errors import BadInput

LONGEST = 4096
"""Characters that a request may have."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,10}")
_PATH = re.compile(r"[A-Za-z0-9._~/+@-]{1,1024}")
_CAN = "git push and fetch, status [NAME], logs NAME, enter NAME"


class Service(StrEnum):
    """What can be asked for."""

    PUSH = "git-receive-pack"
    FETCH = "git-upload-pack"
    STATUS = "status"
    LOGS = "logs"
    ENTER = "enter"


_WORDS: Mapping[Service, tuple[int, int]] = {
    Service.PUSH: (1, 1),
    Service.FETCH: (1, 1),
    Service.STATUS: (0, 1),
    Service.LOGS: (1, 1),
    Service.ENTER: (1, 1),
}
"""How many words may follow each."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `name` is the container asked for, empty for none or for git."""

    service: Service
    name: str = ""

    @property
    def git(self) -> bool:
        """Whether git is to answer."""
        return self.service in (Service.PUSH, Service.FETCH)


def read_request(words: str, repository: str) -> Request:
    """The request that `words` are; raises `BadInput`, saying what there is, for anything else."""
    if not words.strip():
        raise BadInput("this account gives no shell", hint=f"it answers {_CAN}")
    if len(words) > LONGEST or not words.isprintable():
        raise BadInput("this request is too long, or has control characters in it")
    try:
        first, *rest = shlex.split(words)
    except ValueError as error:
        raise BadInput(f"this request cannot be read: {error}") from error
    if first not in list(Service):
        raise BadInput(f"{first[:60]!r} cannot be asked for here", hint=f"it answers {_CAN}")
    service = Service(first)
    least, most = _WORDS[service]
    if not least <= len(rest) <= most:
        raise BadInput(f"{service} takes {least if least == most else f'{least} or {most}'} words, not {len(rest)}")
    if service in (Service.PUSH, Service.FETCH):
        if not _means(rest[0], repository):
            name = PurePosixPath(repository).name
            raise BadInput(f"there is no repository {rest[0][:200]!r} here", hint=f"the state repo is {name}")
        return Request(service)
    if rest and not _NAME.fullmatch(rest[0]):
        raise BadInput(f"{rest[0][:60]!r} cannot be the name of a container")
    return Request(service, *rest)


def _means(path: str, repository: str) -> bool:
    """Whether a path in a git address names the state repo: whole, or by its last part; `.git` may be left out."""
    if not _PATH.fullmatch(path):
        return False
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if parts[:1] == ["~"]:
        parts = parts[1:]
    whole = [part for part in repository.split("/") if part]
    if not parts or not whole:
        return False
    asked, last = parts[-1].removesuffix(".git"), whole[-1].removesuffix(".git")
    return asked == last and (len(parts) == 1 or parts[:-1] == whole[:-1])
