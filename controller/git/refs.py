"""Read refs of a repository as plain files: no process, nothing followed, nothing trusted.

The repository may be writable by others: no symbolic link is followed below it, and what is not a regular
file of a sensible size is not read. Never writes.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from controller.errors import BadInput, Blocked

OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A whole object id."""
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_PACKED_LIMIT = 16 * 2**20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def valid_branch(name: str) -> str:
    """`name`, if it is a branch name that cannot be mistaken for anything else; raises `BadInput`."""
    parts = name.split("/")
    if not _BRANCH.fullmatch(name) or ".." in name or any(part.endswith((".lock", ".")) for part in parts):
        raise BadInput(f"{name!r} is not a branch name", hint="letters, digits, - _ . and /")
    return name


def read_ref(repository: Path, ref: str) -> str | None:
    """The commit id that `ref` (such as `refs/heads/main`) has; None: there is no such ref.

    Raises `Blocked` where the repository cannot be read, or keeps its refs in a way that is not understood.
    """
    try:
        loose = _read(repository, ref, 256)
        if loose is not None:
            return _oid(loose.decode("ascii", "replace").strip(), repository, ref)
        packed = _read(repository, "packed-refs", _PACKED_LIMIT)
    except NotADirectoryError as error:
        raise Blocked(
            f"{repository}: {ref} cannot be read as a file",
            hint="links and reftable are not supported: use a plain `git init --bare` repository",
        ) from error
    except OSError as error:
        raise Blocked(f"{repository}: {ref} cannot be read: {error.strerror}") from error
    for line in (packed or b"").decode("utf-8", "replace").splitlines():
        oid, _, name = line.partition(" ")
        if name == ref:
            return _oid(oid, repository, ref)
    return None


def list_refs(repository: Path, folder: str) -> list[str]:
    """The names of the refs that lie in `folder` (such as `refs/voxnix`), whatever they point at; none below it.

    Raises `Blocked` and `OSError` where the repository cannot be read.
    """
    packed = (_read(repository, "packed-refs", _PACKED_LIMIT) or b"").decode("utf-8", "replace").splitlines()
    names = {line.partition(" ")[2] for line in packed if line[:1] not in ("#", "^")}
    found = {name for name in names if name.rpartition("/")[0] == folder}
    with contextlib.suppress(FileNotFoundError), contextlib.ExitStack() as stack:
        place = os.open(repository, _FOLDER)
        stack.callback(os.close, place)
        for part in folder.split("/"):
            place = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=place)
            stack.callback(os.close, place)
        found.update(f"{folder}/{name}" for name in os.listdir(place) if not name.endswith(".lock"))
    return sorted(found)


def owner_of(repository: Path) -> tuple[int, int] | None:
    """User and group to become for git in `repository`: None unless we are root and it is somebody else's."""
    if os.geteuid() != 0:
        return None
    try:
        found = os.stat(repository, follow_symlinks=True)
    except OSError:
        return None
    return None if found.st_uid == 0 else (found.st_uid, found.st_gid)


def _oid(text: str, repository: Path, ref: str) -> str:
    if not OID.fullmatch(text):
        raise Blocked(f"{repository}: {ref} is not a commit id: {text[:60]!r}")
    return text


def _read(repository: Path, relative: str, limit: int) -> bytes | None:
    """A file below `repository`, reached without following links; None where there is none."""
    *folders, last = relative.split("/")
    opened = [os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        try:
            for folder in folders:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                opened.append(os.open(folder, flags, dir_fd=opened[-1]))
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            opened.append(os.open(last, flags, dir_fd=opened[-1]))
        except FileNotFoundError:
            return None
        found = os.fstat(opened[-1])
        if stat.S_ISDIR(found.st_mode):
            return None
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            raise Blocked(f"{repository}: {relative} is not a plain file of at most {limit} bytes")
        return os.read(opened[-1], limit)
    finally:
        for descriptor in reversed(opened):
            os.close(descriptor)
