"""Notes on commits, under `refs/notes/voxnix` of the state repo: read in a batch, written by compare-and-swap.

What a note says is for `controller.audit`; here it is bytes. Notes written by others in the meantime are kept. Never
touches a branch; a process that is killed leaves the notes as they were, or as they should be.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from controller.errors import Transient, VoxnixError
from controller.git.commits import parse_tree
from controller.git.leftovers import drop_lock
from controller.git.mirror import Mirror
from controller.git.objects import Objects
from controller.git.process import GitFailed
from controller.git.refs import OID, read_ref
from controller.git.repo import Author, StateRepo

NOTES = "refs/notes/voxnix"
NOTE_LIMIT = 256 * 2**10
"""Bytes of one note that are read; a longer one is not one of ours."""
_TRIES = 8


class Mend(Protocol):
    """Makes of a commit's present note, if it has one, the new one."""

    def __call__(self, present: bytes | None) -> bytes:
        """The new note, whole."""
        ...


def read_notes(repo: Objects, path: Path, commits: Collection[str]) -> Mapping[str, bytes]:
    """The notes of those of `commits` that have one. Two processes, however many they are; none without any notes."""
    tip = read_ref(path, NOTES)
    return _read(repo, tip, commits) if tip else {}


def write_notes(repo: StateRepo | Mirror, changes: Mapping[str, Mend], author: Author) -> int:
    """Write notes on commits, in one commit of their own; how many have changed.

    A commit that is not in the repository is passed over. Raises `GitFailed` where nothing can be written, and
    `Transient` where the notes keep moving. Blocks for half a second at most where others write at the same time.
    """
    known = _present(repo, changes)
    failed: VoxnixError = Transient(f"the notes of {repo.path} keep moving", hint="try again")
    for attempt in range(_TRIES):
        time.sleep(0.02 * attempt)
        tip = read_ref(repo.path, NOTES)
        present = _read(repo, tip, known) if tip else {}
        fresh = {sha: changes[sha](present.get(sha)) for sha in known}
        fresh = {sha: note for sha, note in fresh.items() if note != present.get(sha)}
        if not fresh:
            return 0
        try:
            repo.git.run("fast-import", "--quiet", "--done", "--date-format=raw", stdin=_stream(tip, fresh, author))
        except GitFailed as error:
            if read_ref(repo.path, NOTES) == tip:
                if "File exists" not in error.what:
                    raise
                failed = error
                drop_lock(repo.path, NOTES)
            continue
        return len(fresh)
    raise failed


def send_notes(mirror: Mirror, changes: Mapping[str, Mend], author: Author) -> int:
    """As `write_notes`, into the repository that `mirror` is a copy of, with the credentials that fetch from it.

    Raises `GitFailed` where that cannot be reached or takes no notes.
    """
    failed: VoxnixError = Transient(f"the notes of {mirror.source} keep moving", hint="try again")
    for attempt in range(_TRIES):
        time.sleep(0.1 * attempt)
        _bring(mirror)
        written = write_notes(mirror, changes, author)
        if not written:
            return 0
        try:
            mirror.git.run("push", "--quiet", "--no-verify", mirror.source, f"{NOTES}:{NOTES}")
        except GitFailed as error:
            if not any(word in error.what for word in ("fetch first", "non-fast-forward", "cannot lock ref")):
                raise
            failed = error
            continue
        return written
    raise failed


def _bring(mirror: Mirror) -> None:
    """Bring the notes over as they are there; what was written here and never sent is written anew."""
    quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
    try:
        mirror.git.run("fetch", *quiet, "--end-of-options", mirror.source, f"+{NOTES}:{NOTES}")
    except GitFailed as error:
        if "couldn't find remote ref" not in error.what:
            raise
        mirror.git.run("update-ref", "-d", NOTES)


def _read(repo: Objects, tip: str, commits: Collection[str]) -> Mapping[str, bytes]:
    wanted = set(commits)
    tree = parse_tree(repo.git.run("ls-tree", "-r", "-z", "--full-tree", tip))
    found = {path.replace("/", ""): blob.oid for path, blob in tree.items()}
    oids = {sha: oid for sha, oid in found.items() if sha in wanted}
    data = repo.blobs(oids.values(), limit=NOTE_LIMIT)
    return {sha: data[oid] for sha, oid in oids.items() if len(data.get(oid, b"")) <= NOTE_LIMIT and oid in data}


def _present(repo: Objects, commits: Collection[str]) -> list[str]:
    """Those of `commits` that the repository has; git refuses notes on any other."""
    asked = [sha for sha in commits if OID.fullmatch(sha)]
    out = repo.git.run("cat-file", "--batch-check=%(objecttype)", stdin="\n".join([*asked, ""]).encode())
    kinds = out.decode("ascii", "replace").splitlines()
    return [sha for sha, kind in zip(asked, kinds, strict=False) if kind == "commit"]


def _stream(tip: str | None, notes: Mapping[str, bytes], author: Author) -> bytes:
    """What `git fast-import` reads. It moves the ref itself, and only if that is still at `tip`."""
    stream = [b"commit %s\ncommitter %s\ndata 5\nnotes\n" % (NOTES.encode(), author.line(int(time.time())))]
    if tip:
        stream.append(b"from %s\n" % tip.encode())
    for sha, note in sorted(notes.items()):
        stream.append(b"N inline %s\ndata %d\n%s\n" % (sha.encode(), len(note), note))
    stream.append(b"\ndone\n")
    return b"".join(stream)
