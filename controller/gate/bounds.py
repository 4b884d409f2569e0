"""How much one push may bring, and where it has to go on from: what is looked at before any file is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controller.errors import BadInput, Problem, Transient
from controller.gate.push import Update
from controller.git import Commit, Objects, Touched
from controller.git.objects import COMMIT_LIMIT
from controller.git.process import GitFailed
from controller.spec.document import MAX_BYTES
from controller.spec.fields import FileKind
from controller.spec.parse import classify

BLOB_LIMIT = 2**20
"""Bytes that one file may have; those that count below `state/`, far less."""
MESSAGE_LIMIT = 64 * 2**10
"""Characters of a commit's message; all of them are read wherever history is."""
FILES_LIMIT = 10_000
"""Files that one commit may change."""
CHANGES_LIMIT = 50_000
"""Changes of files in all commits of a push together: a spec that changes costs about 0.15 ms of CPU."""
STATE_LIMIT = 8 * 2**20
"""Bytes of the state files that a push brings, together: a MiB of mistakes takes about 3 s to explain."""
NAME_LIMIT = 255
"""Bytes of a file's name that file systems take."""
_REBASE = "`git pull --rebase`, look at what came, push again"


def since(objects: Objects, update: Update) -> Sequence[Commit]:
    """The commits that a push brings; none where they do not go on from where the branch is."""
    try:
        commits = objects.commits(update.old, update.new)
    except Transient as error:
        if isinstance(error, GitFailed) and "memory" not in error.what:
            return ()
        hint = "push it in parts, and keep big folders elsewhere"
        raise BadInput(f"this push is too much to be looked through: {error.what}", hint=hint) from error
    too_many = len(commits) >= COMMIT_LIMIT
    return commits if too_many or any(update.old in commit.parents for commit in commits) else ()


def unfit(update: Update, commits: Sequence[Commit]) -> Iterator[Problem]:
    """Why a push cannot come in, whatever its files say: it does not go on from the branch, or is too much at once."""
    shown = update.new[:10]
    if not commits:
        message = "this does not go on from where the branch is: somebody pushed meanwhile, or history was rewritten"
        yield Problem(f"commit {shown}", 0, 0, message, "a branch that only grows", _REBASE)
    elif len(commits) >= COMMIT_LIMIT:
        message = f"{COMMIT_LIMIT:,} commits or more at once"
        yield Problem(f"commit {shown}", 0, 0, message, f"fewer than {COMMIT_LIMIT:,}", "push them in parts")
    elif commits[-1].sha != update.new:
        yield Problem(f"object {shown}", 0, 0, "this is a tag", "a commit", f"push {commits[-1].sha[:10]} itself")
    total = sum(len(side) for commit in commits for side in (commit.merged or (commit.changes,)))
    if total > CHANGES_LIMIT:
        message = f"its commits change {total:,} files, counted one by one"
        yield Problem(f"commit {shown}", 0, 0, message, f"at most {CHANGES_LIMIT:,}", "push them in parts")
    for commit in commits:
        most = max(map(len, commit.merged or (commit.changes,)))
        if most > FILES_LIMIT:
            message = f"it changes {most:,} files"
            yield Problem(f"commit {commit.sha[:10]}", 0, 0, message, f"at most {FILES_LIMIT:,}", "keep them elsewhere")


def oversized(objects: Objects, commits: Sequence[Commit]) -> Iterator[Problem]:
    """Files, names and messages that have no place in a state repo, for their size alone."""
    paths = {
        change.after.oid: (change.path, commit.sha)
        for commit in commits
        for change in changes(commit)
        if change.after is not None and change.after.mode != "160000"
    }
    sizes = objects.sizes(paths)
    state = sum(min(size, MAX_BYTES) for oid, size in sizes.items() if _bounded(paths[oid][0]))
    if state > STATE_LIMIT:
        message = f"this brings {state / 2**20:.1f} MiB of state files"
        most = f"at most {STATE_LIMIT // 2**20} MiB at once"
        yield Problem(f"commit {commits[-1].sha[:10]}", 0, 0, message, most, "push them in parts")
    for oid, size in sizes.items():
        path, sha = paths[oid]
        if size > BLOB_LIMIT and not _bounded(path):
            message = f"commit {sha[:10]} brings {size / 2**20:.1f} MiB here"
            most = f"at most {BLOB_LIMIT // 2**20} MiB a file"
            yield Problem(ascii(path)[1:-1][:200], 0, 0, message, most, "keep it elsewhere")
    for commit in commits:
        if len(commit.message) > MESSAGE_LIMIT:
            most = f"at most {MESSAGE_LIMIT // 2**10} Ki characters"
            yield Problem(f"commit {commit.sha[:10]}", 0, 0, "its message is too long", most, "shorten it")
        for change in changes(commit):
            if change.after is not None and any(len(part.encode()) > NAME_LIMIT for part in change.path.split("/")):
                message = "this name is too long for most machines"
                yield Problem(ascii(change.path)[1:-1], 0, 0, message, f"at most {NAME_LIMIT} bytes", "rename it")


def _bounded(path: str) -> bool:
    """Whether a file is read, and bounded then."""
    kind, _, misplaced = classify(path)
    return kind is not FileKind.OTHER and misplaced is None


def changes(commit: Commit) -> Iterator[Touched]:
    """What a commit changes, against any of its parents."""
    return (change for side in (commit.merged or (commit.changes,)) for change in side)
