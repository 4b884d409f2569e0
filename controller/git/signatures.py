"""Who signed a commit: SSH signatures, taken out of the raw commit and checked by `ssh-keygen`.

A signature says which key made it; a commit is asked about with the keys that would count, and no process starts for
any other. Whose a key is, and what they may do, is for others to say. Nothing of git's configuration has a say here.
"""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.errors import Transient
from controller.git.objects import Objects
from controller.git.process import GitFailed, path_of_programs

NAMESPACE = "git"
COMMIT_BYTES = 2**20
"""Bytes that a commit may have for its signature to be looked at."""
_ARMOR = re.compile(rb"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/=\n]{1,65536})-----END SSH SIGNATURE-----\n*")
_HEADERS = (b"gpgsig ", b"gpgsig-sha256 ")
_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}")
_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that a commit bears: the public key that it names, the armored text, and what was signed.

    The key is a claim until `verify` has found the signature good.
    """

    key: bytes
    armor: bytes
    payload: bytes


def signatures(objects: Objects, commits: Sequence[str]) -> Mapping[str, Signed]:
    """The SSH signatures that some commits bear, by commit. One process for all; what is no such signature is left out.

    Raises `GitFailed` where a commit is not there.
    """
    found: dict[str, Signed] = {}
    if not commits:
        return found
    with objects.git.stream("cat-file", "--batch", "--buffer", stdin="\n".join([*commits, ""]).encode()) as out:
        for sha in commits:
            header = out.readline().decode("ascii", "replace").split()
            if len(header) != 3 or header[1] != "commit":
                raise GitFailed(f"git cat-file has no commit {sha[:10]}", code=-1)
            data = out.read(int(header[2]) + 1)[:-1]
            signed = signature_of(data) if len(data) <= COMMIT_BYTES else None
            if signed is not None:
                found[sha] = signed
    return found


def signature_of(commit: bytes) -> Signed | None:
    """The SSH signature in a raw commit; None where there is none, or more than one, or one made for something else."""
    head, gap, body = commit.partition(b"\n\n")
    lines = list(_header_fields(head + b"\n"))
    taken = [line for line in lines if line.startswith(_HEADERS)]
    kept = [line for line in lines if not line.startswith(_HEADERS)]
    if not gap or len(taken) != 1:
        return None
    armor = taken[0].partition(b" ")[2].replace(b"\n ", b"\n")
    match = _ARMOR.fullmatch(armor)
    if match is None:
        return None
    try:
        fields = _Fields(base64.b64decode(match[1]))
        magic, version = fields.raw(6), int.from_bytes(fields.raw(4), "big")
        key, namespace = fields.string(), fields.string()
    except (binascii.Error, ValueError):
        return None
    if (magic, version, namespace) != (b"SSHSIG", 1, NAMESPACE.encode()):
        return None
    return Signed(key, armor, b"".join(kept) + b"\n" + body)


def verify(signed: Signed, key: str) -> str:
    """Whether `key` (its type and base64 part) signed this, and as a commit: empty if so, or else why not.

    One process, that sees no configuration. Raises `Transient` where `ssh-keygen` is missing or does not end.
    """
    if not _KEY.fullmatch(key) or base64.b64decode(key.split(" ")[1]) != signed.key:
        return "another key made this signature"
    with tempfile.TemporaryDirectory(prefix="voxnix-") as place:
        allowed, signature = Path(place, "allowed"), Path(place, "signature")
        allowed.write_text(f'signer namespaces="{NAMESPACE}" {key}\n')
        signature.write_bytes(signed.armor)
        argv = ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", "signer", "-n", NAMESPACE, "-s", str(signature)]
        code, words = _run(argv, signed.payload)
    return "" if code == 0 else f"the signature is not good: {words}"


def _run(argv: Sequence[str], stdin: bytes) -> tuple[int, str]:
    """Exit code and last words of a program that needs nothing but its arguments and its input."""
    environment = {"PATH": path_of_programs(), "LC_ALL": "C", "HOME": "/var/empty"}
    try:
        done = subprocess.run(argv, input=stdin, env=environment, capture_output=True, timeout=_TIMEOUT, check=False)
    except FileNotFoundError as error:
        hint = "install OpenSSH's client"
        raise Transient("a signature cannot be verified: there is no ssh-keygen on this host", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise Transient(f"ssh-keygen: no end after {_TIMEOUT:.0f} s, stopped") from error
    except OSError as error:
        raise Transient(f"ssh-keygen cannot be started: {error.strerror}") from error
    if done.returncode < 0:
        raise Transient(f"ssh-keygen was ended by signal {-done.returncode}")
    lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
    return done.returncode, lines[0][:200] if lines else "without a word"


def _header_fields(head: bytes) -> Iterator[bytes]:
    """The fields of a commit's head, each with its lines that go on (they begin with a space) and its line end."""
    field = b""
    for line in re.findall(rb"[^\n]*\n", head):
        if line.startswith(b" "):
            field += line
            continue
        if field:
            yield field
        field = line
    if field:
        yield field


class _Fields:
    """Reads the fields of an SSH structure one after the other; raises ValueError at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def raw(self, size: int) -> bytes:
        """So many bytes."""
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise ValueError("this structure is cut off")
        self._at += size
        return found

    def string(self) -> bytes:
        """A string with its length before it."""
        return self.raw(int.from_bytes(self.raw(4), "big"))
