"""The people's state repo: a bare repository in which commits are made by compare-and-swap.

Never forces a branch, never touches a work tree, and runs as the repository's owner when root works in it.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from controller.errors import BadInput, Blocked, Transient
from controller.git.objects import Objects
from controller.git.process import Git, GitFailed
from controller.git.refs import owner_of, read_ref, valid_branch

_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)*")
_TRAILER_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_NONE = "0" * 40
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Author:
    """Who a commit names as its author: a claim, never an identity."""

    name: str
    email: str

    def line(self, at: int) -> bytes:
        """As `git fast-import` reads it; `at` in seconds since 1970."""
        name, email = ("".join(c for c in part if c.isprintable() and c not in "<>") for part in astuple(self))
        return f"{name.strip() or 'unknown'} <{email.strip()}> {at} +0000".encode()


def caller() -> Author:
    """Who runs this process, as their own git configuration and environment say; else USER@host."""
    user = os.environ.get("SUDO_USER") or _login()
    name = os.environ.get("GIT_AUTHOR_NAME") or _configured("name") or user
    email = os.environ.get("GIT_AUTHOR_EMAIL") or _configured("email") or f"{user}@{socket.gethostname()}"
    return Author(name, email)


def _login() -> str:
    """The name of the user that we run as, or its number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _configured(key: str) -> str:
    """`user.KEY` of the caller's own git configuration, read without a process; "" where it is not set."""
    from git.config import GitConfigParser

    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    files = [f"{base}/git/config", os.path.expanduser("~/.gitconfig")]
    files = [file for file in files if os.path.isfile(file)]
    try:
        with GitConfigParser(files, read_only=True, merge_includes=False) as config:
            return str(config.get_value("user", key, default=""))
    except Exception:  # noqa: BLE001 - a broken configuration file of the caller's only costs a prettier name
        return ""


class StateRepo(Objects):
    """The bare state repo at `path`. Raises `BadInput` where there is none."""

    def __init__(self, path: Path | str, *, branch: str = "main") -> None:
        self.path = Path(os.path.abspath(path))
        self.branch = valid_branch(branch)
        _require_bare(self.path)
        super().__init__(Git(self.path, owner=owner_of(self.path), durable=True))

    @classmethod
    def init(
        cls,
        path: Path | str,
        files: Mapping[str, bytes],
        author: Author,
        message: str = "Start with an example",
    ) -> StateRepo:
        """A new bare repository with a first commit of `files` on `main`; `BadInput` if `path` is in use."""
        place = Path(os.path.abspath(path))
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise BadInput(f"{place} is there already and not empty", hint="name a new folder")
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Blocked(f"{place} cannot be made: {error.strerror}") from error
        Git(place).run("init", "--bare", "--quiet", "--template=", "--initial-branch=main")
        repo = cls(place)
        repo.commit(files, message, author)
        return repo

    def head(self) -> str | None:
        """The commit that the branch is at, read without a process; None: nothing was committed yet."""
        return read_ref(self.path, f"refs/heads/{self.branch}")

    def commit(
        self,
        changes: Mapping[str, bytes | None],
        message: str,
        author: Author,
        trailers: Sequence[tuple[str, str]] = (),
        *,
        expect: str | None = None,
    ) -> str:
        """Commit `changes` (path to new content, None to delete; none: a decision), move the branch; the id.

        `expect` is the commit that the changes were made for, by default the present one. Where the branch
        has moved since, they are made on top, unless one of the paths was changed there too: then `BadInput`.
        Raises `Transient` when the branch keeps moving.
        """
        text = _message(message, trailers)
        for path in changes:
            if not _PATH.fullmatch(path) or "/.git/" in f"/{path.lower()}/" or "/../" in f"/{path}/":
                raise BadInput(f"{path!r} cannot be a path in the state repo")
        base = expect
        scratch = f"refs/voxnix/writing-{uuid.uuid4().hex[:12]}"
        for attempt in range(_TRIES):
            time.sleep(0.02 * attempt)
            head = self.head()
            base = base if base is not None else head
            if base != head:
                self._require_untouched(base, head, changes)
            sha = self._write(scratch, head, changes, text, author)
            if self._move(scratch, head, sha):
                return sha
            base = head
        raise Transient(f"the branch {self.branch} of {self.path} keeps moving", hint="try again")

    def _require_untouched(self, base: str | None, head: str | None, paths: Collection[str]) -> None:
        """Raise `BadInput` if one of `paths` differs between two commits."""
        if base is None or head is None:
            raise BadInput(f"the branch {self.branch} was made or removed meanwhile", hint="look and repeat")
        (differences,) = self.differences([(base, head)])
        moved = sorted({touched.path for touched in differences} & set(paths))
        if moved:
            raise BadInput(
                f"{', '.join(moved)} changed meanwhile (commit {head[:10]})",
                hint="look at it and repeat what you meant to do",
            )

    def _write(
        self, ref: str, parent: str | None, changes: Mapping[str, bytes | None], message: bytes, author: Author
    ) -> str:
        """Write blobs, trees and the commit under `ref`, a scratch one; the branch is not concerned yet."""
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
        out = self.git.run("fast-import", "--quiet", "--force", "--done", "--date-format=raw", stdin=b"".join(stream))
        return out.decode().strip()

    def _move(self, scratch: str, old: str | None, new: str) -> bool:
        """Move the branch from `old` to `new`; False if it is no longer at `old`."""
        orders = f"update refs/heads/{self.branch}\0{new}\0{old or _NONE}\0delete {scratch}\0\0"
        try:
            self.git.run("update-ref", "-z", "--stdin", stdin=orders.encode())
        except GitFailed as error:
            if self.head() == old and "lock" not in error.what:
                raise Blocked(f"{self.path}: {self.branch} cannot be moved: {error.what}") from error
            return False
        return True


def _message(message: str, trailers: Sequence[tuple[str, str]]) -> bytes:
    """The message with `trailers` as its last paragraph, which they alone make up."""
    for key, value in trailers:
        if not _TRAILER_KEY.fullmatch(key) or not value.isprintable():
            raise BadInput(f"{key}: {value!r} cannot be a trailer")
    text = message.replace("\0", "").strip() or "Change the desired state"
    block = "\n".join(f"{key}: {value}" for key, value in trailers)
    return f"{text}\n\n{block}\n".encode() if block else f"{text}\n".encode()


def _require_bare(path: Path) -> None:
    """Raise `BadInput`, saying what to do, unless `path` is a bare repository."""
    if (path / ".git").exists() or path.name == ".git":
        place = path.parent if path.name == ".git" else path
        raise BadInput(
            f"{place} is a work tree; the state repo is a bare repository that people push to",
            hint=f"`git clone --bare {place} {place}.git`, then --state {place}.git",
        )
    if not (path / "HEAD").is_file() or not (path / "objects").is_dir():
        raise BadInput(f"there is no state repo at {path}", hint=f"`voxnix init {path}` makes one")
