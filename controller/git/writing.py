"""How a commit is written: its author, message and paths checked, its objects made by one process.

It writes objects under a scratch ref and never moves a branch: that is for whoever knows where the branch was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass

from controller.errors import BadInput
from controller.git.leftovers import scratch_ref, sweep
from controller.git.process import Git

__all__ = ["Author", "check_paths", "commit_message", "scratch_ref", "write_commit"]

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)*")
_TRAILER_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Author:
    """Who a commit names as its author: a claim, never an identity."""

    name: str
    email: str

    def line(self, at: int) -> bytes:
        """As `git fast-import` reads it; `at` in seconds since 1970."""
        name, email = ("".join(c for c in part if c.isprintable() and c not in "<>") for part in astuple(self))
        return f"{name.strip() or 'unknown'} <{email.strip()}> {at} +0000".encode()


def check_paths(paths: Iterable[str]) -> None:
    """Raise `BadInput` for a path that cannot be in the state repo."""
    for path in paths:
        if not _PATH.fullmatch(path) or "/.git/" in f"/{path.lower()}/" or "/../" in f"/{path}/":
            raise BadInput(f"{path!r} cannot be a path in the state repo")


def commit_message(message: str, trailers: Sequence[tuple[str, str]]) -> bytes:
    """The message with `trailers` as its last paragraph, which they alone make up; `BadInput` for an odd trailer."""
    for key, value in trailers:
        if not _TRAILER_KEY.fullmatch(key) or not value.isprintable():
            raise BadInput(f"{key}: {value!r} cannot be a trailer")
    text = message.replace("\0", "").strip() or "Change the desired state"
    block = "\n".join(f"{key}: {value}" for key, value in trailers)
    return f"{text}\n\n{block}\n".encode() if block else f"{text}\n".encode()


def write_commit(
    git: Git, ref: str, parent: str | None, changes: Mapping[str, bytes | None], message: bytes, author: Author
) -> str:
    """Write blobs, trees and the commit under `ref`, a scratch one; the commit's id. None in `changes` deletes.

    What writers left who were killed here long ago is swept up first.
    """
    sweep(git)
    who = author.line(int(time.time()))
    stream = [b"commit %s\nmark :1\n" % ref.encode()]
    stream += [b"author %s\ncommitter %s\n" % (who, who), b"data %d\n%s\n" % (len(message), message)]
    if parent is not None:
        stream.append(b"from %s\n" % parent.encode())
    for path, content in sorted(changes.items(), key=lambda item: (item[1] is not None, item[0])):
        if content is None:
            stream.append(b"D %s\n" % path.encode())
        else:
            stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content))
    stream.append(b"\nget-mark :1\ndone\n")
    out = git.run("fast-import", "--quiet", "--force", "--done", "--date-format=raw", stdin=b"".join(stream))
    return out.decode().strip()
