"""The receive log: `voxnix/received.jsonl` in the bare state repo, written before the branch moves.

Whoever can write it says who brought a commit, so it is believed only while nobody but the repository's owner and root
can: no link is followed, and what lies on the way to it must be theirs alone. It grows to a bound, and one older file
is kept. It judges nothing.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controller.errors import Blocked
from controller.receive.arrival import Arrival, read_line

FOLDER, NAME, OLDER = "voxnix", "received.jsonl", "received.1.jsonl"
LIMIT = 16 * 2**20
"""Bytes after which a new file is begun; twice that is read at most. A commit takes 43 of them."""
_CHUNK = 256 * 2**10
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_APPEND = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """What the log says of some commits: their latest entries, by commit.

    `distrust` says why the log is not believed at all, if so; `damaged` counts lines that could not be read.
    """

    arrivals: dict[str, Arrival] = field(default_factory=dict)
    distrust: str = ""
    damaged: int = 0


class _Distrusted(Exception):
    """The log, or what leads to it, is not what only its owner can have made."""


class ReceiveLog:
    """The receive log of the bare repository at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, arrival: Arrival) -> bool:
        """Write an entry, so that it outlives a power cut; False for a user who is neither root nor the owner.

        Raises `Blocked` where it cannot be written, or would not be believed.
        """
        try:
            with ExitStack() as stack:
                top = self._opened(stack, self.path, _DIRECTORY & ~os.O_NOFOLLOW)
                owner = os.fstat(top)
                if os.geteuid() not in (0, owner.st_uid):
                    return False
                folder = self._folder(stack, top, owner)
                with _locked(folder, owner) as log:
                    _write(log, b"".join(arrival.lines()))
        except _Distrusted as error:
            raise Blocked(f"the receive log of {self.path} is not written: {error}") from error
        except OSError as error:
            raise Blocked(f"the receive log of {self.path} cannot be written: {error.strerror}") from error
        return True

    def find(self, commits: Collection[str]) -> Found:
        """The latest entry of each of these commits that has one, read from the end as far as needed."""
        wanted, found, damaged = set(commits), dict[str, Arrival](), 0
        try:
            with ExitStack() as stack:
                top = self._opened(stack, self.path, _DIRECTORY & ~os.O_NOFOLLOW)
                owner = os.fstat(top)
                _require_theirs(owner, owner, str(self.path), stat.S_IFDIR)
                folder = self._opened(stack, FOLDER, _DIRECTORY, top)
                _require_theirs(os.fstat(folder), owner, FOLDER, stat.S_IFDIR)
                for line in self._lines(folder, owner):
                    if not wanted:
                        break
                    arrival = read_line(line)
                    damaged += arrival is None
                    for sha in wanted.intersection(arrival.commits if arrival else ()):
                        assert arrival is not None
                        found[sha] = arrival
                    wanted -= found.keys()
        except FileNotFoundError:
            pass
        except _Distrusted as error:
            return Found(distrust=str(error))
        except OSError as error:
            return Found(distrust=f"it cannot be read: {error.strerror}")
        return Found(found, damaged=damaged)

    def mark(self) -> object:
        """A value that differs whenever `find` may answer something else."""
        marks = []
        for path in (self.path, self.path / FOLDER, self.path / FOLDER / NAME):
            try:
                at = path.lstat()
            except OSError:
                return None
            marks.append((at.st_ino, at.st_mode, at.st_uid, at.st_size if path.name == NAME else 0))
        return tuple(marks)

    def _lines(self, folder: int, owner: os.stat_result) -> Iterator[bytes]:
        """The lines of the log and of the one before it, the last one first; what has no line end yet is left out."""
        for name in (NAME, OLDER):
            try:
                log = os.open(name, _READ, dir_fd=folder)
            except FileNotFoundError:
                continue
            try:
                _require_theirs(os.fstat(log), owner, f"{FOLDER}/{name}", stat.S_IFREG)
                yield from _backwards(log)
            finally:
                os.close(log)

    def _folder(self, stack: ExitStack, top: int, owner: os.stat_result) -> int:
        """The log's folder, made where there is none."""
        try:
            os.mkdir(FOLDER, 0o700, dir_fd=top)
        except FileExistsError:
            pass
        else:
            _give(self._opened(stack, FOLDER, _DIRECTORY, top), owner)
            os.fsync(top)
        folder = self._opened(stack, FOLDER, _DIRECTORY, top)
        _require_theirs(os.fstat(folder), owner, FOLDER, stat.S_IFDIR)
        return folder

    @staticmethod
    def _opened(stack: ExitStack, path: Path | str, flags: int, folder: int | None = None) -> int:
        """A descriptor that is closed with `stack`; a link where none may be counts as distrust."""
        try:
            descriptor = os.open(path, flags, dir_fd=folder)
        except NotADirectoryError as error:
            raise _Distrusted(f"{path} is no plain folder") from error
        stack.callback(os.close, descriptor)
        return descriptor


@contextmanager
def _locked(folder: int, owner: os.stat_result) -> Iterator[int]:
    """The log, opened for appending by one at a time, a new one where there is none or it is full."""
    lock = _made("lock", folder, owner)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = _made(NAME, folder, owner)
        if os.fstat(log).st_size > LIMIT:
            os.close(log)
            os.rename(NAME, OLDER, src_dir_fd=folder, dst_dir_fd=folder)
            log = _made(NAME, folder, owner)
        try:
            yield log
        finally:
            os.close(log)
    finally:
        os.close(lock)


def _made(name: str, folder: int, owner: os.stat_result) -> int:
    """A file of the folder, opened for appending; made, and given to the repository's owner, where there is none."""
    try:
        made = os.open(name, _APPEND | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    except FileExistsError:
        try:
            made = os.open(name, _APPEND, dir_fd=folder)
        except OSError as error:
            raise _Distrusted(f"{FOLDER}/{name} is no plain file") from error
        try:
            _require_theirs(os.fstat(made), owner, f"{FOLDER}/{name}", stat.S_IFREG)
        except _Distrusted:
            os.close(made)
            raise
        return made
    _give(made, owner)
    os.fsync(folder)
    return made


def _give(descriptor: int, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _write(log: int, data: bytes) -> None:
    """Append whole lines; one that a power cut tore is ended first."""
    size = os.fstat(log).st_size
    if size and os.pread(log, 1, size - 1) != b"\n":
        data = b"\n" + data
    while data:
        data = data[os.write(log, data) :]
    os.fsync(log)


def _backwards(log: int) -> Iterator[bytes]:
    """The whole lines of a file, the last one first, of its last `LIMIT` bytes and a little more.

    What follows the last line end is being written, or was torn by a power cut, and is left out.
    """
    end = os.fstat(log).st_size
    least, begun, ended = max(0, end - LIMIT - _CHUNK), b"", False
    while end > least:
        start = max(least, end - _CHUNK)
        begun, *lines = (os.pread(log, end - start, start) + begun).split(b"\n")
        end = start
        if not ended and lines:
            lines.pop()
            ended = True
        elif not ended:
            begun = b""
        yield from filter(None, reversed(lines))
    if begun and ended and least == 0:
        yield begun


def _require_theirs(at: os.stat_result, owner: os.stat_result, name: str, kind: int) -> None:
    """Raise `_Distrusted` unless only root and the repository's owner can have written this."""
    if stat.S_IFMT(at.st_mode) != kind or (kind == stat.S_IFREG and at.st_nlink != 1):
        raise _Distrusted(f"{name} is no plain {'folder' if kind == stat.S_IFDIR else 'file'}")
    if at.st_uid not in (0, owner.st_uid):
        raise _Distrusted(f"{name} belongs to user {at.st_uid}, not to the repository's owner")
    if at.st_mode & 0o022:
        raise _Distrusted(f"others may write {name}: `chmod go-w` it, then look at what it says")
