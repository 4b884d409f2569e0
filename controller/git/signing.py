"""Sign commits with an SSH key, as `git commit -S` does: the raw commit is signed by `ssh-keygen`, and made anew.

No agent is asked and no passphrase: the key is a file that root alone can read. Nothing of git's configuration has a
say.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.errors import Blocked
from controller.git.access import check_key
from controller.git.process import Git, path_of_programs
from controller.git.signatures import NAMESPACE
from controller.receive.fingerprint import bare

_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with the private key at `key`. Every method raises `Blocked` where that cannot be used."""

    key: Path

    def public(self) -> str:
        """The public half, without a comment."""
        check_key(self.key, "signing key")
        try:
            return bare(_keygen(["-y", "-f", str(self.key)], b"").decode("utf-8", "replace").strip())
        except ValueError as error:
            raise Blocked(f"the signing key {self.key} has no public half that can be read: {error}") from error

    def sign(self, git: Git, sha: str) -> str:
        """The same commit with a signature; its id."""
        check_key(self.key, "signing key")
        raw = git.run("cat-file", "commit", sha)
        armor = _keygen(["-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(self.key)], raw)
        signed = with_signature(raw, armor)
        return git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=signed).decode().strip()


def with_signature(raw: bytes, armor: bytes) -> bytes:
    """A raw commit with an armored signature of it as its last header."""
    head, _, body = raw.partition(b"\n\n")
    lines = armor.rstrip(b"\n").replace(b"\n", b"\n ")
    return head + b"\ngpgsig " + lines + b"\n\n" + body


def _keygen(words: Sequence[str], stdin: bytes) -> bytes:
    """What `ssh-keygen` prints, in a session of its own, so that it finds no terminal to ask at."""
    environment = {"PATH": path_of_programs(), "LC_ALL": "C", "HOME": "/var/empty", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        done = subprocess.run(
            ["ssh-keygen", *words],
            input=stdin,
            env=environment,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        hint = "install OpenSSH's client"
        raise Blocked("commits cannot be signed: there is no ssh-keygen on this host", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        raise Blocked(f"ssh-keygen: no end after {_TIMEOUT:.0f} s, stopped") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Blocked(f"ssh-keygen could not use the signing key: {said[-1][:200] if said else 'without a word'}")
    return done.stdout
