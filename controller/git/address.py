"""Where a state repo is: a path here, or an address on another machine. Pure.

An address never holds a password: it stands in messages, in the status and in the arguments of programs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controller.errors import BadInput

_HOST = r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])"
_USER = r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?"
_SSH = re.compile(rf"ssh://{_USER}{_HOST}(?P<port>:[0-9]{{1,5}})?/(?P<path>[!-~]+)")
_SCP = re.compile(rf"{_USER}{_HOST}:(?!//)(?P<path>[!-9;-~][!-~]*)")
_HTTPS = re.compile(rf"https://{_HOST}(?P<port>:[0-9]{{1,5}})?/(?P<path>[!\"$->@-~]+)")
_NAMED = re.compile(r"https?://[^/]*@")


@dataclass(frozen=True, slots=True)
class Address:
    """A state repo as it was named: `protocol` is `file`, `ssh` or `https`.

    `host` and `port` (`:8443`, or empty) are those of the other machine.
    """

    text: str
    protocol: str
    host: str = ""
    port: str = ""

    @property
    def local(self) -> bool:
        """Whether it is a path on this machine."""
        return self.protocol == "file"

    @property
    def origin(self) -> str:
        """What credentials for https are bound to: scheme, host and port."""
        return f"https://{self.host}{self.port}"


def address(text: str) -> Address:
    """What a text names. Raises `BadInput` for what is no state repo, or holds a name and password."""
    if _NAMED.match(text):
        raise BadInput(
            f"the address https://…@{text.partition('@')[2]} holds a name or a password, which everybody could read",
            hint="leave out what is before the @; `token` and `user` in [remote] are for that",
        )
    if text.startswith(("/", ".")) or (text and ":" not in text and not text.startswith("-")):
        return Address(text, "file")
    for protocol, pattern in (("ssh", _SSH), ("https", _HTTPS), ("ssh", _SCP)):
        if match := pattern.fullmatch(text):
            return Address(text, protocol, match["host"], match.groupdict().get("port") or "")
    raise BadInput(f"{text!r} is not a state repo", hint="a path, ssh://…, user@host:path or https://…")
