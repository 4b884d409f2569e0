"""The people's state repo: a bare repository in which commits are made by compare-and-swap.

Never forces a branch, never touches a work tree, and runs as the repository's owner when root works in it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.errors import BadInput, Blocked, Transient, VoxnixError
from controller.git.committing import commit
from controller.git.leftovers import LOCKED, drop_lock
from controller.git.objects import Objects
from controller.git.process import Git, GitFailed
from controller.git.refs import owner_of, read_ref, valid_branch
from controller.git.writing import Author, check_paths, commit_message, scratch_ref, write_commit
from controller.receive import note_commit

__all__ = ["Author", "StateRepo", "caller"]

PATIENCE = 2.0
"""Seconds that a writer waits for the lock of another one."""
_NONE = "0" * 40


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
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
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
        return commit(self, changes, message, author, trailers, expect)

    def put(
        self,
        head: str | None,
        changes: Mapping[str, bytes | None],
        message: str,
        author: Author,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> str | None:
        """Commit `changes` on top of `head` and move the branch there, in one try; None if it is no longer at `head`.

        Raises `BadInput` for a path or a trailer that cannot be.
        """
        text = commit_message(message, trailers)
        check_paths(changes)
        scratch = scratch_ref()
        sha = write_commit(self.git, scratch, head, changes, text, author)
        moved = False
        try:
            self._note(head, sha)
            moved = self._move(scratch, head, sha)
        finally:
            if not moved:
                with contextlib.suppress(VoxnixError):
                    self.git.run("update-ref", "-d", scratch)
        return sha if moved else None

    def _note(self, head: str | None, sha: str) -> None:
        """Enter the commit in the receive log, before the branch moves; raise `Blocked` where one has to be there."""
        trouble: Blocked | None = None
        try:
            if note_commit(self.path, sha):
                return
        except Blocked as error:
            trouble = error
        if head is not None and self.tree(head, "state/policy.yaml"):
            what = f"only root or the owner of {self.path} commits here"
            raise trouble or Blocked(what, hint="push over SSH with your own key, or use sudo")

    def _move(self, scratch: str, old: str | None, new: str) -> bool:
        """Move the branch from `old` to `new`; False if it is no longer at `old`.

        Somebody else's lock is waited for, and dropped where it is one that nobody can hold any more. Raises
        `Transient` for one that stays, and `Blocked` where git may not or cannot write.
        """
        branch = f"refs/heads/{self.branch}"
        orders = f"update {branch}\0{new}\0{old or _NONE}\0delete {scratch}\0\0"
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.git.run("update-ref", "-z", "--stdin", stdin=orders.encode())
            except GitFailed as error:
                if self.head() != old:
                    return False
                if "File exists" not in error.what:
                    raise Blocked(f"{self.path}: {self.branch} cannot be moved: {error.what}") from error
                dropped = [drop_lock(self.path, ref) for ref in (branch, "packed-refs")]
                if not any(dropped) and time.monotonic() > end:
                    raise _locked(self.path, self.branch) from error
            else:
                return True


def _locked(path: Path, branch: str) -> Transient:
    hint = f"try again; one that a killed git left is dropped once it is {LOCKED / 60:.0f} minutes old"
    return Transient(f"{path}: {branch} cannot be moved: another git holds its lock", hint=hint)


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
