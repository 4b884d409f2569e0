"""Read commits, trees and blobs of one repository, in batches: one process a question, whatever its size.

Reads git objects only, never a work tree or an index, and judges nothing of what it reads.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from controller.errors import BadInput
from controller.git.commits import (
    CHANGES_FORMAT,
    LOG_FORMAT,
    Blob,
    Commit,
    Touched,
    parse_changes,
    parse_differences,
    parse_log,
    parse_tree,
)
from controller.git.process import Git, GitFailed
from controller.git.refs import OID

COMMIT_LIMIT = 10_000
"""Commits looked at in one question."""
_RAW = ("-z", "--raw", "--no-abbrev", "--no-renames")
_LOG = ("log", *_RAW, "--no-notes", "--no-mailmap", "--encoding=UTF-8", LOG_FORMAT)
_REVISION = re.compile(r"[A-Za-z0-9_@{}~^./:+-]{1,200}")


class Objects:
    """Questions to one repository's objects. Revisions given here are whole commit ids, but for `resolve`."""

    def __init__(self, git: Git) -> None:
        self.git = git

    def resolve(self, revision: str) -> str:
        """The id of the commit that a person calls `revision`; raises `BadInput` if there is none."""
        if revision.startswith("-") or not _REVISION.fullmatch(revision):
            raise BadInput(f"{revision!r} is not a revision")
        name = f"{revision}^{{commit}}"
        try:
            out = self.git.run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        except GitFailed as error:
            raise BadInput(f"there is no revision {revision!r} in this repository") from error
        return out.decode().strip()

    def commits(self, old: str | None, new: str) -> tuple[Commit, ...]:
        """The commits that `new` has and `old` has not, parents before children, each with its changes.

        At most `COMMIT_LIMIT`, the newest. One process, and a second one if there are merges among them.
        Raises `GitFailed` if either is not here.
        """
        since = (f"^{_oid(old)}",) if old else ()
        flags = ("--topo-order", "--reverse", f"--max-count={COMMIT_LIMIT}", "--diff-merges=off")
        out = self.git.run(*_LOG, *flags, _oid(new), *since, "--")
        return self._with_merges(tuple(parse_log(out)))

    def log(self, revision: str, path: str | None = None, *, limit: int = 100) -> tuple[Commit, ...]:
        """History up to `revision`, newest first; with `path`, of that file, and only what changed in it."""
        paths = (f":(literal){path}",) if path else ()
        flags = (f"--max-count={limit}", "--diff-merges=first-parent")
        return tuple(parse_log(self.git.run(*_LOG, *flags, _oid(revision), "--", *paths)))

    def show(self, sha: str) -> Commit:
        """One commit with its changes."""
        out = self.git.run(*_LOG, "--max-count=1", "--diff-merges=off", _oid(sha), "--")
        return self._with_merges(tuple(parse_log(out)))[0]

    def tree(self, revision: str, *folders: str) -> Mapping[str, Blob]:
        """Every file below `folders` (by default `state`) at a revision, by path."""
        folders = folders or ("state",)
        return parse_tree(self.git.run("ls-tree", "-r", "-z", "--full-tree", _oid(revision), "--", *folders))

    def blobs(self, oids: Collection[str], *, limit: int = 64 * 2**10) -> Mapping[str, bytes]:
        """The contents of blobs by id, each cut off after `limit` + 1 bytes, so that "too long" can be told.

        One process; one more for each blob that is too long. What is not here or is no blob is left out.
        """
        found: dict[str, bytes] = {}
        todo = [_oid(oid) for oid in dict.fromkeys(oids)]
        while todo:
            todo = todo[self._batch(todo, limit, found) :]
        return found

    def sizes(self, oids: Collection[str]) -> Mapping[str, int]:
        """How many bytes objects have, by id; what is not here is left out. One process, none for no ids."""
        if not oids:
            return {}
        lines = "".join(f"{_oid(oid)}\n" for oid in oids)
        out = self.git.run("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=lines.encode()).decode()
        found = (line.split(" ") for line in out.splitlines())
        return {oid: int(size) for oid, size in found if size.isdecimal()}

    def read(self, revision: str, paths: Collection[str]) -> Mapping[str, bytes]:
        """The contents of some files at a revision, by path; those that it does not have are left out."""
        tree = self.tree(revision, *sorted({path.partition("/")[0] for path in paths}))
        wanted = {path: tree[path].oid for path in paths if path in tree}
        data = self.blobs(wanted.values())
        return {path: data[oid] for path, oid in wanted.items() if oid in data}

    def last_changes(self, revision: str) -> tuple[Mapping[str, tuple[str, datetime]], Mapping[str, list[str]]]:
        """Of every path that `state/` ever had: the commit that last changed it and its time; its blob ids,
        newest first.

        One process over the whole history; a path that is gone has its deletion as its last change.
        """
        flags = ("-c", "--topo-order", CHANGES_FORMAT)
        return parse_changes(self.git.run("log", *_RAW, *flags, _oid(revision), "--", "state", timeout=600.0))

    def differences(self, pairs: Sequence[tuple[str, str]]) -> tuple[tuple[Touched, ...], ...]:
        """For each pair of commits, old and new, the paths that differ. One process for all."""
        if not pairs:
            return ()
        lines = "".join(f"{_oid(new)} {_oid(old)}\n" for old, new in pairs)
        return parse_differences(self.git.run("diff-tree", "--stdin", "-r", *_RAW, "--always", stdin=lines.encode()))

    def _batch(self, todo: Sequence[str], limit: int, found: dict[str, bytes]) -> int:
        """Read blobs in order until the end or one that is too long; how many were dealt with."""
        with self.git.stream("cat-file", "--batch", "--buffer", stdin="\n".join([*todo, ""]).encode()) as out:
            for done, oid in enumerate(todo, 1):
                header = out.readline().decode("ascii", "replace").split()
                if header[1:] == ["missing"]:
                    continue
                if len(header) != 3:
                    raise GitFailed("git cat-file ended in the middle of an answer", code=-1)
                size = int(header[2])
                data = out.read(min(size, limit + 1))
                if header[1] == "blob":
                    found[oid] = data
                if size > limit:
                    return done
                out.read(1)
        return len(todo)

    def _with_merges(self, commits: tuple[Commit, ...]) -> tuple[Commit, ...]:
        """The commits, merges among them with their changes against each parent."""
        pairs = [(parent, commit.sha) for commit in commits if len(commit.parents) > 1 for parent in commit.parents]
        found = iter(self.differences(pairs))
        full = []
        for commit in commits:
            if len(commit.parents) > 1:
                merged = tuple(next(found) for _ in commit.parents)
                full.append(replace(commit, changes=merged[0], merged=merged))
            else:
                full.append(commit)
        return tuple(full)


def _oid(name: str) -> str:
    if not OID.fullmatch(name):
        raise BadInput(f"{name[:60]!r} is not a commit id")
    return name
