"""How git gets into a repository on another machine: which files hold the credentials, and how git is told of them.

A secret is handed from its file to the one program that needs it. It is never in an argument, a variable, an address,
a configuration file or a message, and it goes to the host of the address alone. Nothing of the user's own SSH or git
configuration counts, and no key agent is asked.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.errors import BadInput, Blocked
from controller.git.address import Address

LIMIT = 64 * 2**10
"""Bytes that a file of credentials may have."""
HIDDEN = "•••"
_PLACE = re.compile(r"/[A-Za-z0-9_./+@-]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}")
_TOKEN = re.compile(r"[!-~]{1,4096}")
_SSH = {
    "BatchMode": "yes",
    "ConnectTimeout": "15",
    "ServerAliveInterval": "10",
    "ServerAliveCountMax": "2",
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "no",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "ClearAllForwardings": "yes",
    "ControlMaster": "no",
    "ControlPath": "none",
    "PermitLocalCommand": "no",
    "CanonicalizeHostname": "no",
    "LogLevel": "ERROR",
}
_HTTPS = {
    "http.sslVerify": "true",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "30",
    "transfer.bundleURI": "false",
}
_HELPER = '!f() { test "$1" = get || return 0; echo username=%s; printf "password=%%s\\n" "$(cat %s)"; }; f'
"""What git runs, in its own shell, to be told the token: the shell reads the file and writes to git's pipe."""


@dataclass(frozen=True, slots=True)
class Access:
    """Files that open one repository.

    For SSH a private `key` and `known_hosts`; for HTTPS a `token`, `user` being the name that goes with it, and a `ca`
    that vouches for the server, where it is not one of the well-known.
    """

    key: Path | None = None
    known_hosts: Path | None = None
    token: Path | None = None
    user: str = "git"
    ca: Path | None = None

    def check(self) -> None:
        """Raise `Blocked`, saying what to do, for a file that is missing, is none of ours, or is open to others."""
        if self.key:
            check_key(self.key, "deploy key")
        if self.token:
            self._token(self.token)
        for place, what in ((self.known_hosts, "file of known hosts"), (self.ca, "CA file")):
            if place:
                _read(place, what, keep=0o022)

    def settings(self, to: Address) -> Mapping[str, str]:
        """Git's settings for a command that goes to this address."""
        if to.protocol != "https":
            return {}
        found = dict(_HTTPS)
        if self.ca:
            found["http.sslCAInfo"] = str(self.ca)
        if self.token:
            found[f"credential.{to.origin}.helper"] = _HELPER % (shlex.quote(self.user), shlex.quote(str(self.token)))
        return found

    def variables(self, to: Address) -> Mapping[str, str]:
        """Git's environment for a command that goes to this address."""
        if to.protocol != "ssh":
            return {}
        options = {**_SSH, "UserKnownHostsFile": str(self.known_hosts or "/dev/null")}
        words = ["ssh", "-F", "/dev/null", "-T", *(f"-o{key}={value}" for key, value in options.items())]
        words += ["-i", str(self.key)] if self.key else []
        return {"GIT_SSH_COMMAND": shlex.join(words), "GIT_SSH_VARIANT": "ssh"}

    def hide(self, words: str) -> str:
        """Words of strangers without the token, which who was told it could say again."""
        if self.token is None:
            return words
        try:
            token = self._token(self.token)
        except Blocked:
            return words
        pair = base64.b64encode(f"{self.user}:{token}".encode()).decode()
        return words.replace(token, HIDDEN).replace(pair, HIDDEN)

    @staticmethod
    def _token(place: Path) -> str:
        token = _read(place, "token", keep=0o077).decode("utf-8", "replace").rstrip("\r\n")
        if not _TOKEN.fullmatch(token):
            raise Blocked(f"the token file {place} holds no token", hint="one line, with the token and nothing else")
        return token


def check_place(place: str, what: str) -> Path:
    """A file as a setting names it; raises `BadInput` where that cannot be told to other programs as it is."""
    if not _PLACE.fullmatch(place):
        raise BadInput(f"{what} {place!r} is not an absolute path", hint="letters, digits and / . _ - + @ only")
    return Path(place)


def check_user(user: str, what: str) -> str:
    """A name that goes with a token."""
    if not _USER.fullmatch(user):
        raise BadInput(f"{what} {user!r} is not the name of an account")
    return user


def check_key(place: Path, what: str) -> None:
    """Raise `Blocked` for a private key that others can read, or that asks for a passphrase."""
    data = _read(place, what, keep=0o077)
    if b"PRIVATE KEY-----" not in data:
        raise Blocked(f"the {what} {place} is no private key", hint="`ssh-keygen -t ed25519 -N '' -f FILE` makes one")
    if _locked(data):
        hint = f"take it away: ssh-keygen -p -N '' -f {place}"
        raise Blocked(f"the {what} {place} has a passphrase, which nobody is there to type", hint=hint)


def _locked(data: bytes) -> bool:
    """Whether a private key is encrypted, as far as its format tells."""
    if b"ENCRYPTED" in data:
        return True
    body = b"".join(line for line in data.split(b"\n") if line and not line.startswith(b"-----"))
    try:
        blob = base64.b64decode(body)
    except binascii.Error:
        return False
    magic = b"openssh-key-v1\0"
    return blob.startswith(magic) and not blob[len(magic) :].startswith(b"\0\0\0\x04none")


def _read(place: Path, what: str, *, keep: int) -> bytes:
    """A small file that is root's or ours, and on which nobody has the rights `keep`."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise Blocked(f"there is no {what} at {place}", hint="put it there, or correct [remote]") from error
    except PermissionError as error:
        hint = "run this as root: sudo voxnix …"
        raise Blocked(f"the {what} {place} may not be read by this user", hint=hint) from error
    except OSError as error:
        raise Blocked(f"the {what} {place} cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LIMIT:
            raise Blocked(f"the {what} {place} is not a plain file of at most {LIMIT} bytes")
        if found.st_uid not in (0, os.geteuid()):
            who = "root" if os.geteuid() == 0 else "this user"
            raise Blocked(f"the {what} {place} belongs to somebody else than {who}", hint=f"chown {who} {place}")
        if found.st_mode & keep:
            done = "read" if keep & 0o044 else "changed"
            mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
            hint = f"chmod {'600' if keep & 0o044 else 'go-w'} {place}"
            raise Blocked(f"the {what} {place} can be {done} by others ({mode})", hint=hint)
        return os.read(descriptor, LIMIT)
    finally:
        os.close(descriptor)
