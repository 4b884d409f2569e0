"""What a git that was killed, or a writer, leaves in a repository: locks, scratch refs, objects received by half.

Looked for where something is written anyhow, without a process; gone only when it is far older than whatever may still
be at work. Follows no link below the repository, and never touches a branch or an object.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from controller.errors import VoxnixError
from controller.git.process import Git
from controller.git.refs import list_refs

LOCKED = 120.0
"""Seconds after which nobody holds a lock any more: git does for milliseconds."""
WRITING = 3600.0
"""Seconds after which nobody writes under a scratch ref any more."""
RECEIVING = 86_400.0
"""Seconds after which nobody sends objects any more; a slow push may take long."""
_FOLDER = "refs/voxnix"
_SCRATCH = re.compile(rf"{_FOLDER}/writing-([0-9a-f]{{8,12}})-[0-9a-f]{{12}}")


def scratch_ref() -> str:
    """A ref that nobody else writes to, for a commit that no branch has yet; its name says since when it is there."""
    return f"{_FOLDER}/writing-{int(time.time()):08x}-{uuid.uuid4().hex[:12]}"


def sweep(git: Git) -> None:
    """Drop what killed writers and receivers left. What cannot be dropped now stays for the next time."""
    now = time.time()
    with contextlib.suppress(VoxnixError, OSError):
        if old := list(_forgotten(git.directory, now)):
            git.run("update-ref", "-z", "--stdin", stdin="".join(f"delete {ref}\0\0" for ref in old).encode())
    for folder in ("objects", "objects/pack"):
        with contextlib.suppress(OSError), _opened(git.directory, folder) as place:
            _drop_halves(place, now)


def drop_lock(repository: Path, ref: str) -> bool:
    """Remove the lock of `ref` (or of `packed-refs`) that a killed git left; False where there is none so old.

    Of several who try, one does: nobody removes the lock that the next git has taken since.
    """
    folder, _, name = f"{ref}.lock".rpartition("/")
    try:
        with _opened(repository, folder) as place, _claimed(name, place) as found:
            at = os.stat(name, dir_fd=place, follow_symlinks=False)
            if (at.st_ino, at.st_dev) != (found.st_ino, found.st_dev) or time.time() - at.st_mtime <= LOCKED:
                return False
            os.unlink(name, dir_fd=place)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _claimed(name: str, place: int) -> Iterator[os.stat_result]:
    """A file that we alone of all who clear up look at; raises `OSError` where another one does."""
    held = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield os.fstat(held)
    finally:
        os.close(held)


def _forgotten(repository: Path, now: float) -> Iterator[str]:
    """The scratch refs whose writers are gone."""
    for ref in list_refs(repository, _FOLDER):
        match = _SCRATCH.fullmatch(ref)
        if match and now - int(match[1], 16) > WRITING:
            yield ref


def _drop_halves(place: int, now: float) -> None:
    """Remove git's temporary files and folders of objects that nobody sends any more."""
    for name in os.listdir(place):
        if not name.startswith("tmp_"):
            continue
        with contextlib.suppress(OSError):
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            if now - found.st_mtime <= RECEIVING:
                continue
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(name, dir_fd=place)
            else:
                os.unlink(name, dir_fd=place)


@contextlib.contextmanager
def _opened(repository: Path, folder: str) -> Iterator[int]:
    """A descriptor of a folder of the repository, reached without following a link."""
    opened = [os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        for part in filter(None, folder.split("/")):
            opened.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened[-1]))
        yield opened[-1]
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)
