"""A branch on another machine, or in a repository that one may only push to: fetched, committed to, pushed.

A push is never forced: where the branch has moved meanwhile, it is refused over there, and nothing was changed.
Each writer has a copy of its own; two processes do not share one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.errors import BadInput, Transient
from controller.git.mirror import Mirror
from controller.git.process import GitFailed
from controller.git.refs import owner_of
from controller.git.writing import Author, check_paths, commit_message, scratch_ref, write_commit


class PushRefused(BadInput):
    """The other side takes the push for wrong, as an admission hook does; `what` carries its words."""


class Remote(Mirror):
    """A `Mirror` that commits, and pushes what it committed. For `controller.git.weave`."""

    def head(self) -> str | None:
        """The commit that the branch is at over there. Raises `Transient` where it cannot be reached."""
        return self.fetch()

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
        scratch = scratch_ref()
        sha = write_commit(self.git, scratch, head, changes, commit_message(message, trailers), author)
        try:
            self._push(scratch)
        except GitFailed as error:
            if self.fetch() != head:
                return sha if self._contains(sha) else None
            if error.refused:
                raise PushRefused(f"the push to {self.source} was refused: {error.refused}") from error
            raise Transient(f"the push to {self.source} failed: {error.what}") from error
        finally:
            self.git.run("update-ref", "-d", scratch)
        return sha

    def _push(self, scratch: str) -> None:
        receive: tuple[str, ...] = ()
        owner = owner_of(self.local) if self.local else None
        if owner is not None:
            become = f"setpriv --reuid={owner[0]} --regid={owner[1]} --clear-groups"
            receive = (f"--receive-pack={become} --no-new-privs git-receive-pack",)
        words = ("push", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *receive)
        self.git.run(*words, "--end-of-options", self.source, f"{scratch}:refs/heads/{self.branch}", timeout=120.0)

    def _contains(self, sha: str) -> bool:
        """Whether what was fetched last has a commit: the push went through, and only its answer was lost."""
        tip = self.fetched()
        return tip is not None and not self.commits(tip, sha)
