"""A branch on another machine, or in a repository that one may only push to: fetched, committed to, pushed.

A push is never forced: where the branch has moved meanwhile, it is refused over there, and nothing was changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from controller.errors import BadInput, Blocked, Transient
from controller.git.access import Access
from controller.git.committing import commit
from controller.git.mirror import FETCHED, PATIENCE, Mirror
from controller.git.process import GitFailed
from controller.git.refs import owner_of
from controller.git.signing import Signer
from controller.git.trouble import denied
from controller.git.writing import Author, check_paths, commit_message, scratch_ref, write_commit

NOTES = "refs/notes/voxnix"
PUSH = 120.0
"""Seconds that a push may take."""
BUSY = 90.0
"""Seconds that a command waits for another one that fetches into the same copy."""


class PushRefused(BadInput):
    """The other side takes the push for wrong, as an admission hook does; `what` carries its words."""


class Remote(Mirror):
    """A `Mirror` that commits, and pushes what it committed. For `controller.git.weave`, and for commands of people.

    With `signer`, each commit is signed. `guard` is asked before each one, with the commit that it goes on from: it
    raises where what is pushed would not be taken for good. Several processes may share one copy.
    """

    def __init__(
        self,
        path: Path,
        source: str,
        *,
        branch: str = "main",
        access: Access | None = None,
        patience: float = PATIENCE,
        signer: Signer | None = None,
        guard: Callable[[Remote, str], None] = lambda *_: None,
    ) -> None:
        super().__init__(path, source, branch=branch, access=access, patience=patience)
        self.signer = signer
        self._guard = guard

    def head(self) -> str | None:
        """The commit that the branch is at over there. Raises `Transient` where it cannot be reached."""
        return self.fetch()

    def fetch(self) -> str | None:
        """As `Mirror.fetch`; one process at a time."""
        with self._alone():
            return super().fetch()

    def resolve(self, revision: str) -> str:
        """As `Objects.resolve`; HEAD and the branch's name are what was fetched last."""
        return super().resolve(re.sub(rf"^(HEAD|{re.escape(self.branch)})(?=$|[~^@])", FETCHED, revision))

    def commit(
        self,
        changes: Mapping[str, bytes | None],
        message: str,
        author: Author,
        trailers: Sequence[tuple[str, str]] = (),
        *,
        expect: str | None = None,
    ) -> str:
        """As `StateRepo.commit`, over there."""
        return commit(self, changes, message, author, trailers, expect)

    def put(
        self,
        head: str | None,
        changes: Mapping[str, bytes | None],
        message: str,
        author: Author,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> str | None:
        """Commit `changes` on top of `head` and push; None if the branch has moved meanwhile.

        Raises `PushRefused` where the branch stands still and the push is not taken, and `Transient` where the other
        side cannot be reached.
        """
        check_paths(changes)
        if head is not None:
            self._guard(self, head)
        scratch = scratch_ref()
        sha = write_commit(self.git, scratch, head, changes, commit_message(message, trailers), author)
        try:
            sha = self.signer.sign(self.git, sha) if self.signer else sha
            self._push(sha)
        except Transient as error:
            return self._after(error, head, sha)
        finally:
            self.git.run("update-ref", "-d", scratch)
        return sha

    def may_push(self) -> None:
        """Find out, changing nothing, whether a push would be let in. Raises as `put` does, and for an empty branch."""
        tip = self.fetch()
        if tip is None:
            raise BadInput(f"{self.source} has no branch {self.branch} yet", hint="push the state there first")
        try:
            self._push(tip, "--dry-run")
        except Transient as error:
            raise self._refused(error) from error

    def _after(self, error: Transient, head: str | None, sha: str) -> str | None:
        """What a push that failed amounts to, by what is there now."""
        refused = self._refused(error)
        try:
            now = self.fetch()
        except (Transient, Blocked):
            raise refused from error
        if now != head:
            return sha if self._contains(sha) else None
        raise refused from error

    def _refused(self, error: Transient) -> BadInput | Transient:
        """A failure of a push, named by what happens next."""
        said = error.refused if isinstance(error, GitFailed) else ""
        if said:
            return PushRefused(f"the push to {self.source} was refused: {said}", hint=_protected(said))
        if denied(error.what):
            hint = "give the deploy key or token the right to write to this repository"
            return PushRefused(f"the push to {self.source} was refused: {error.what}", hint=hint)
        return Transient(f"the push to {self.source} failed: {error.what}", hint=error.hint)

    def _push(self, sha: str, *more: str) -> None:
        receive: tuple[str, ...] = ()
        owner = owner_of(self.local) if self.local else None
        if owner is not None:
            become = f"setpriv --reuid={owner[0]} --regid={owner[1]} --clear-groups"
            receive = (f"--receive-pack={become} --no-new-privs git-receive-pack",)
        words = ("push", *more, "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *receive)
        self.git.run(*words, "--end-of-options", self.source, f"{sha}:refs/heads/{self.branch}", timeout=PUSH)

    def _contains(self, sha: str) -> bool:
        """Whether what was fetched last has a commit: the push went through, and only its answer was lost."""
        tip = self.fetched()
        return tip is not None and not self.commits(tip, sha)

    def _refspecs(self) -> tuple[str, ...]:
        """The branch, and the notes where there are any."""
        return (*super()._refspecs(), f"+{NOTES}*:{NOTES}*")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process fetches into this copy meanwhile. Raises `Transient` where one does not end."""
        place = self.path.with_name(f"{self.path.name}.lock")
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            hint = "run this as root: sudo voxnix …" if isinstance(error, PermissionError) else ""
            raise Blocked(f"the copy {self.path} cannot be made: {error.strerror}", hint=hint) from error
        try:
            _lock(descriptor, self.source)
            yield
        finally:
            os.close(descriptor)


def _lock(descriptor: int, source: str) -> None:
    end = time.monotonic() + BUSY
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise Transient(f"another command of voxnix is still at work on {source}") from error
            time.sleep(0.05)
        else:
            return


def _protected(said: str) -> str:
    """What to do where a forge protects the branch."""
    if re.search(r"protected branch|GH006|GL-HOOK|pre-receive hook declined", said, re.IGNORECASE):
        return "if the forge protects the branch, let this deploy key or token push to it"
    return ""
