"""The host's own files, below a root: `/` on a real host, a directory on a simulated one.

Paths are the host's (`/etc/…`); symlinks are resolved within the root, as the host would see them. Files are
written whole or not at all, and private. Below users' data no symlink is ever followed, and nothing there is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from controller.errors import Blocked, Transient

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOPS = 40
"""Symlinks followed in one path before it counts as a loop, as in the kernel."""


class Files:
    """Reads, lists and writes files of the host whose tree is at `root`. Unexpected errors are `Transient`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._prefix = str(root).rstrip("/")

    def path(self, host_path: str) -> Path:
        """Where a path of the host is for us. Raises ValueError for one that is relative or has `..` in it."""
        return Path(self._at(host_path))

    def _at(self, host_path: str) -> str:
        if not host_path.startswith("/") or "/.." in host_path:
            raise ValueError(f"not an absolute path of the host: {host_path!r}")
        return self._prefix + host_path

    def resolve(self, host_path: str) -> str | None:
        """The path that `host_path` leads to through all its symlinks; None where nothing is at the end."""
        todo = host_path.split("/")[::-1]
        done = ""
        hops = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            try:
                target = os.readlink(f"{self._prefix}{done}/{part}")
            except OSError as error:
                if error.errno != errno.EINVAL:
                    return None
                done = f"{done}/{part}"
                continue
            hops += 1
            if hops > _HOPS:
                return None
            if target.startswith("/"):
                done = ""
            todo += target.split("/")[::-1]
        return done or "/"

    def there(self, host_path: str) -> bool:
        """Whether something bears this name, if only a symlink to nowhere."""
        return os.path.lexists(self._at(host_path))

    def read(self, host_path: str, limit: int = 2**20) -> str | None:
        """The text of a file, symlinks followed within the root; None where there is no such file.

        More than `limit` bytes, and bytes that are not UTF-8, are errors (`Blocked`).
        """
        real = self.resolve(host_path)
        return None if real is None else self.read_resolved(real, limit)

    def read_resolved(self, host_path: str, limit: int = 2**20) -> str | None:
        """`read` for a path that `resolve` has just answered."""
        with _explained(host_path):
            try:
                with open(self._at(host_path), "rb", buffering=0) as file:
                    data = file.read(limit + 1)
            except (FileNotFoundError, IsADirectoryError):
                return None
        if len(data) > limit:
            raise Blocked(f"{host_path} is longer than {limit} bytes")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Blocked(f"{host_path} is not UTF-8 text") from error

    def link(self, host_path: str) -> str | None:
        """The target of a symlink; an empty text for what is none, None where nothing is."""
        with _explained(host_path):
            try:
                return os.readlink(self._at(host_path))
            except OSError:
                return "" if self.there(host_path) else None

    def names(self, host_path: str) -> list[str]:
        """What is in a directory; nothing where there is none."""
        with _explained(host_path):
            try:
                return os.listdir(self._at(host_path))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def links(self, host_path: str) -> Mapping[str, str]:
        """The entries of a directory: the target of each symlink, and an empty text for what is none."""
        with _explained(host_path):
            try:
                with os.scandir(self._at(host_path)) as entries:
                    return {e.name: os.readlink(e.path) if e.is_symlink() else "" for e in entries}
            except (FileNotFoundError, NotADirectoryError):
                return {}

    def read_dated(self, host_path: str, limit: int = 2**20) -> tuple[bytes, int]:
        """The bytes of a real file and its time of change, which belong together; raises `Transient`."""
        with _explained(host_path):
            handle = os.open(self._at(host_path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                return file.read(limit), os.fstat(file.fileno()).st_mtime_ns

    def status(self, host_path: str) -> os.stat_result | None:
        """`lstat` of a path, or None where nothing is."""
        try:
            return os.lstat(self._at(host_path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def make_private(self, host_path: str) -> None:
        """Make a directory (0700) and those above it that are missing."""
        with _explained(host_path):
            target = self.path(host_path)
            for folder in (*reversed(target.parents), target):
                with contextlib.suppress(FileExistsError):
                    folder.mkdir(mode=0o700)

    def write(self, host_path: str, data: bytes, *, mode: int = 0o600, mtime_ns: int | None = None) -> None:
        """Write a private file whole: readers, and a host after a power cut, see the old one or the new one.

        `mtime_ns` is the time of change that it shall bear, in nanoseconds; else it bears the present.
        """
        target = self.path(host_path)
        draft = target.with_name(f".{target.name}.new")
        with _explained(host_path):
            draft.unlink(missing_ok=True)
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                if mtime_ns is not None:
                    os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
                os.fsync(file.fileno())
            os.replace(draft, target)
            _sync_folder(target.parent)

    def remove(self, host_path: str) -> None:
        """Remove a file or a symlink; nothing where there is none."""
        with _explained(host_path):
            self.path(host_path).unlink(missing_ok=True)

    def remove_tree(self, host_path: str) -> None:
        """Remove a directory of ours with all that is in it, following no symlink; or nothing."""
        with _explained(host_path), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._at(host_path))

    def ensure_folders(self, mountpoint: str, names: Mapping[str, int]) -> None:
        """Make the directories `names` (name → mode) in a dataset, through real directories only.

        Raises `Blocked` where a symlink or a file is in the way.
        """
        with self._real_folder(mountpoint) as parent:
            for name, mode in names.items():
                with _explained(f"{mountpoint}/{name}"):
                    try:
                        os.mkdir(name, mode, dir_fd=parent)
                        is_new = True
                    except FileExistsError:
                        is_new = False
                with self._step(parent, name, mountpoint) as folder:
                    if is_new:
                        os.fchmod(folder, mode)
            os.fsync(parent)

    def is_real_folder(self, host_path: str) -> bool:
        """Whether a path is a directory and no part of it a symlink."""
        try:
            with self._real_folder(host_path):
                return True
        except Blocked:
            return False

    def set_mode(self, host_path: str, mode: int) -> None:
        """Change the mode of a real directory, reached through real directories only."""
        with self._real_folder(host_path) as folder:
            os.fchmod(folder, mode)

    @contextlib.contextmanager
    def _real_folder(self, host_path: str) -> Iterator[int]:
        """A directory opened step by step from the root; raises `Blocked` at a symlink, a file or a gap."""
        self._at(host_path)
        with contextlib.ExitStack() as stack:
            folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, folder)
            for part in filter(None, host_path.split("/")):
                folder = stack.enter_context(self._step(folder, part, host_path))
            yield folder

    @contextlib.contextmanager
    def _step(self, folder: int, name: str, host_path: str) -> Iterator[int]:
        try:
            inner = os.open(name, _FOLDER, dir_fd=folder)
        except OSError as error:
            raise Blocked(
                f"{host_path}: {name} is not a real directory ({error.strerror})",
                hint="voxnix follows no symlink among users' data: look at it, and move it away",
            ) from error
        try:
            yield inner
        finally:
            os.close(inner)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _explained(host_path: str) -> Iterator[None]:
    """Map what the operating system says to `Transient`, with the path."""
    try:
        yield
    except OSError as error:
        raise Transient(f"{host_path}: {error.strerror or error}") from error
