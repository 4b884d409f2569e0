"""People with keys of their own, in front of a bare state repo: they make commits, signed or not, and bring them there.

`bring` stands for a push that the receiving side has taken in; `smuggle` for somebody who moves the branch behind it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from controller.receive import Arrival, ReceiveLog
from tests.keygen import Key, signed_commit

POLICY = "state/policy.yaml"
REQUIRED = "identity: required\n"
ALICE, BOB, AGENT, STRANGER = Key("alice"), Key("bob"), Key("agent"), Key("stranger")
ALICE_SIGNS, BOB_SIGNS = Key("alice signs"), Key("bob signs")


def tenant(name: str, pushes: Key, signs: Key, *, role: str = "member") -> str:
    """A tenant's file, with a key to push and one to sign with."""
    return f"name: {name}\nrole: {role}\nssh_keys: ['{pushes.public}']\nsigning_keys: ['{signs.public}']\n"


TENANTS = {
    "state/tenants/alice.yaml": tenant("Alice", ALICE, ALICE_SIGNS, role="admin"),
    "state/tenants/bob.yaml": tenant("Bob", BOB, BOB_SIGNS),
}


class Pushers:
    """Everybody, in front of the bare repository at `path`."""

    def __init__(self, path: Path, *, branch: str = "main") -> None:
        self.path = path
        self.ref = f"refs/heads/{branch}"

    def git(self, *words: str, stdin: bytes = b"", **variables: str) -> str:
        """Plain git in the repository."""
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "Somebody", f"GIT_{role}_EMAIL": "x@example.org"}
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", *words],
            input=stdin,
            env=environment | variables,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def commit(
        self, changes: Mapping[str, str | None], message: str = "change", *, on: str = "", signed: Key | None = None
    ) -> str:
        """A commit on top of the branch that no branch has yet: specs by name, other files by path."""
        parent = on or self.git("rev-parse", self.ref)
        index = {"GIT_INDEX_FILE": str(self.path / "index-of-pushers")}
        self.git("read-tree", parent, **index)
        lines = []
        for name, content in changes.items():
            path = name if "/" in name else f"state/{name}.yaml"
            blob = self.git("hash-object", "-w", "--stdin", stdin=content.encode()) if content is not None else ""
            lines.append(f"100644 {blob}\t{path}" if blob else f"0 {'0' * 40}\t{path}")
        self.git("update-index", "--index-info", stdin="\n".join(lines).encode(), **index)
        sha = self.git("commit-tree", self.git("write-tree", **index), "-p", parent, stdin=f"{message}\n".encode())
        return self.write(signed_commit(self.raw(sha), signed)) if signed else sha

    def raw(self, sha: str) -> bytes:
        """A commit as git keeps it."""
        return (self.git("cat-file", "commit", sha) + "\n").encode()

    def write(self, raw: bytes) -> str:
        """A commit made of these bytes."""
        return self.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)

    def bring(self, sha: str, key: Key | None, *, at: datetime | None = None) -> str:
        """Let the branch go on to a commit, noted as pushed with a key, or by root on the appliance."""
        when = at or datetime.now(UTC)
        arrival = Arrival((sha,), when, key.fingerprint) if key else Arrival((sha,), when, by="root", via="path")
        assert ReceiveLog(self.path).append(arrival)
        return self.smuggle(sha)

    def smuggle(self, sha: str) -> str:
        """Move the branch to a commit, past the receiving side."""
        self.git("update-ref", self.ref, sha)
        return sha
