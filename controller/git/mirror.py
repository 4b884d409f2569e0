"""The controller's own copy of the state repo: fetched when the source has moved, never checked out.

What it fetched is only there, not trusted: which revision counts is for `controller.desired` to say. It never
writes to its source, and where root fetches from somebody else's repository, git there runs as them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from controller.errors import Blocked, Transient
from controller.git.access import Access
from controller.git.address import address
from controller.git.objects import Objects
from controller.git.process import Git
from controller.git.refs import owner_of, read_ref, valid_branch

FETCHED = "refs/voxnix/fetched"
PATIENCE = 60.0
"""Seconds that one fetch may take."""


class Mirror(Objects):
    """A bare mirror at `path` of one `branch` of `source`, a local path or an ssh or https address.

    `access` opens one on another machine; `patience` bounds each fetch, in seconds.
    """

    def __init__(
        self,
        path: Path,
        source: str,
        *,
        branch: str = "main",
        access: Access | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.path = Path(os.path.abspath(path))
        self.branch = valid_branch(branch)
        self.patience = patience
        place = address(source)
        self.local = Path(os.path.abspath(source)) if place.local else None
        self.source = str(self.local or source)
        far = None if place.local else place
        super().__init__(Git(self.path, (place.protocol,), far=far, access=access or Access()))

    def fetch(self) -> str | None:
        """Bring the branch over if it has moved; the commit it is at, None where there is no such branch yet.

        No process when a local source has not moved. Raises `Transient` when it cannot be fetched now, and
        `Blocked` when what is there cannot be a source at all.
        """
        tip: str | None = None
        if self.local is not None:
            if not self.local.is_dir():
                raise Transient(f"there is no state repo at {self.local}", hint="`voxnix init DIR` makes one")
            tip = read_ref(self.local, f"refs/heads/{self.branch}")
            if tip is None:
                return None
            if tip == self.fetched():
                return tip
        self._prepare()
        try:
            self.git.run(*self._command(), timeout=self.patience)
        except Transient as error:
            self._drop_drafts()
            if "couldn't find remote ref" in error.what:
                self._require_none_before()
                return None
            what = f"the state repo {self.source} could not be fetched: {error.what}"
            raise Transient(what, hint=error.hint) from error
        return self.fetched()

    def _require_none_before(self) -> None:
        """Where there is no such branch on another machine: raise `Blocked` if there was one."""
        if self.git.far and self.fetched():
            hint = "push it there again, or set `branch` to another"
            raise Blocked(f"the state repo {self.source} has no branch {self.branch} any more", hint=hint)

    def fetched(self) -> str | None:
        """The tip that the last fetch brought."""
        return read_ref(self.path, FETCHED) if self.path.is_dir() else None

    def tidy(self, accepted: str) -> None:
        """Pack what is here, drop what neither `accepted` nor the last fetch needs. Slow: for once a day."""
        self.git.run("update-ref", "refs/voxnix/accepted", accepted)
        self.git.run("repack", "-a", "-d", "-q", timeout=600.0)
        self.git.run("prune", "--expire=now", timeout=600.0)

    def start_over(self) -> None:
        """Throw the copy away, since it turned out to be damaged: the next fetch makes it anew."""
        if (self.path / "HEAD").is_file() and (self.path / "refs").is_dir():
            away = Path(tempfile.mkdtemp(prefix=".damaged-", dir=self.path.parent))
            self.path.rename(away / "mirror")
            shutil.rmtree(away, ignore_errors=True)

    def _prepare(self) -> None:
        """Make the mirror where there is none; it appears under its name only when it is complete."""
        if (self.path / "HEAD").is_file() and (self.path / "objects").is_dir():
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".mirror-", dir=self.path.parent))
            Git(draft).run("init", "--bare", "--quiet", "--template=", f"--initial-branch={self.branch}")
            draft.rename(self.path)
        except OSError as error:
            raise Blocked(f"the mirror {self.path} cannot be made: {error.strerror}") from error

    def _command(self) -> tuple[str, ...]:
        """The fetch: this branch only, no tags, nothing pruned, nothing run afterwards."""
        self._drop_stale_locks()
        owner = owner_of(self.local) if self.local else None
        upload: tuple[str, ...] = ()
        if owner is not None:
            become = f"setpriv --reuid={owner[0]} --regid={owner[1]} --clear-groups"
            upload = (f"--upload-pack={become} --no-new-privs git-upload-pack",)
        quiet = ("--quiet", "--no-tags", "--no-write-fetch-head")
        alone = ("--no-auto-maintenance", "--no-recurse-submodules")
        return ("fetch", *quiet, *alone, *upload, "--end-of-options", self.source, *self._refspecs())

    def _refspecs(self) -> tuple[str, ...]:
        """What is brought over, and where to."""
        return (f"+refs/heads/{self.branch}:{FETCHED}",)

    def _drop_stale_locks(self) -> None:
        """Remove the lock that a killed fetch left: one controller owns the mirror, nobody else holds it."""
        with contextlib.suppress(OSError):
            (self.path / f"{FETCHED}.lock").unlink()

    def _drop_drafts(self) -> None:
        """Remove what a fetch that was stopped has left half done: it may be large, and is tried again and again."""
        for draft in (self.path / "objects/pack").glob("tmp_*"):
            with contextlib.suppress(OSError):
                draft.unlink()
