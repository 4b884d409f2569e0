"""Reading files that others made: step by step from an open directory, no symlink followed, nothing special opened.

Names and sizes are claims of strangers. Nothing is written, but for copies into a directory that the caller opened.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.errors import BadInput, Blocked

MOST = 10_000
"""Entries of one directory that are listed."""
PIECE = 2**20
"""Bytes read at once."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KINDS = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "symlink"}


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a directory; `size` in bytes, `changed` in seconds since 1970. `kind` may also be `special`."""

    name: str
    kind: str
    size: int
    changed: float


@contextlib.contextmanager
def real_folder(root: Path, path: str) -> Iterator[int]:
    """A directory below a trusted `root`, opened step by step; raises `Blocked` at a symlink, a file or a gap."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in filter(None, path.split("/")):
            try:
                inner = os.open(part, _FOLDER, dir_fd=handle)
            except OSError as error:
                raise Blocked(f"{path}: {part} is not a real directory ({error.strerror})") from error
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def inside(top: int, parts: Sequence[str]) -> Iterator[int]:
    """A directory below the open one `top`. Raises `BadInput` that says which part is none."""
    handle = os.dup(top)
    try:
        for depth, part in enumerate(parts, 1):
            _require(handle, part, "folder", "/".join(parts[:depth]))
            inner = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def kind(top: int, parts: Sequence[str]) -> str:
    """What is at a path below `top`. Raises `BadInput` where nothing is, or a symlink is on the way."""
    if not parts:
        return "folder"
    with inside(top, parts[:-1]) as folder:
        return _kind(_status(folder, parts[-1], "/".join(parts)))


def entries(top: int, parts: Sequence[str], most: int = MOST) -> tuple[list[Found], bool]:
    """What is in a directory, by name, and whether that is all of it: at most `most` entries are looked at."""
    found: list[Found] = []
    with inside(top, parts) as folder, os.scandir(folder) as scan:
        for entry in scan:
            if len(found) == most:
                return sorted(found, key=lambda each: each.name), False
            status = entry.stat(follow_symlinks=False)
            found.append(Found(entry.name, _kind(status), status.st_size, status.st_mtime))
    return sorted(found, key=lambda each: each.name), True


@contextlib.contextmanager
def opened(top: int, parts: Sequence[str]) -> Iterator[tuple[int, os.stat_result]]:
    """A plain file below `top`, opened, and what it says of itself; anything else is `BadInput` and not opened."""
    with inside(top, parts[:-1]) as folder:
        _require(folder, parts[-1], "file", "/".join(parts))
        handle = os.open(parts[-1], _FILE, dir_fd=folder)
    try:
        yield handle, os.fstat(handle)
    finally:
        os.close(handle)


def pour(handle: int, write: Callable[[bytes], object]) -> int:
    """Pass a file on piece by piece; how many bytes it had."""
    total = 0
    while piece := os.read(handle, PIECE):
        write(piece)
        total += len(piece)
    return total


def copy(handle: int, status: os.stat_result, folder: int, name: str) -> int:
    """Copy an open file into an open directory: whole or not at all, never over another. Bytes copied.

    Mode and time are kept, and for root the owner; set-user-id bits are not. Raises `BadInput` where there is no room
    for what the file says to hold, or a file of that name.
    """
    room = os.fstatvfs(folder)
    if status.st_size > room.f_bavail * room.f_frsize:
        raise BadInput(f"{name} says to hold {status.st_size} bytes; there is no room for that")
    draft = f".voxnix-{secrets.token_hex(8)}"
    target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(target, "wb") as file:
            total = pour(handle, file.write)
            file.flush()
            if os.geteuid() == 0:
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
            os.utime(file.fileno(), ns=(status.st_mtime_ns, status.st_mtime_ns))
            os.fsync(file.fileno())
        os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError as error:
        raise BadInput(f"there is a {name} already", hint="name another folder: nothing is written over") from error
    finally:
        os.unlink(draft, dir_fd=folder)
    return total


def _status(folder: int, name: str, shown: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        raise BadInput(f"there is no {shown} in this snapshot") from error


def _require(folder: int, name: str, wanted: str, shown: str) -> None:
    found = _kind(_status(folder, name, shown))
    if found == "symlink":
        target = os.readlink(name, dir_fd=folder)
        raise BadInput(f"{shown} is a symlink, which is not followed", hint=f"it leads to {target}: name that")
    if found != wanted:
        raise BadInput(f"{shown} is no {wanted}, but a {found}{' file' if found == 'special' else ''}")


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "special")
