"""State files read once: a blob that was seen before at its path is not parsed again, not even after a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from controller.errors import Problem
from controller.git import Blob, GitFailed, Objects
from controller.spec.fields import FileKind
from controller.spec.parse import classify, parse_file
from controller.spec.result import FORMAT, FileResult
from controller.spec.state import Library
from controller.store import Store

_PLAIN = ("100644", "100755", "100664")
_SPARE = 1_000
_AT_ONCE = 1_000
"""Files whose contents are in memory at the same time: 64 MiB at most."""

Key = tuple[str, str]
"""Blob id and path."""


class Files:
    """What was made of each blob at each path, kept in memory and, where there is one, in the store."""

    def __init__(self, objects: Objects, library: Library, store: Store | None = None) -> None:
        self.objects = objects
        self._modules = frozenset(library.modules)
        self._store = store
        self._known: dict[Key, FileResult] = {}
        self._kept: dict[Key, str] | None = None
        self._new: dict[Key, FileResult] = {}
        words = "\n".join(sorted(self._modules)).encode()
        self.reader = f"{FORMAT}-{hashlib.sha256(words).hexdigest()[:16]}"

    def read(self, entries: Mapping[str, Blob]) -> dict[str, FileResult]:
        """The results of some files, by path. A process for each thousand of them, none if all were seen before.

        Raises `GitFailed` where the repository does not have what its trees name.
        """
        return dict(zip(entries, self.read_each(list(entries.items())), strict=True))

    def read_each(self, entries: Sequence[tuple[str, Blob]]) -> list[FileResult]:
        """As `read`, in order, for paths that may come several times with different blobs."""
        unseen = [(path, blob) for path, blob in entries if self._recall((blob.oid, path)) is None]
        for start in range(0, len(unseen), _AT_ONCE):
            self._read_new(unseen[start : start + _AT_ONCE])
        return [self._known[blob.oid, path] for path, blob in entries]

    def _read_new(self, unseen: Sequence[tuple[str, Blob]]) -> None:
        """Read some files that were not seen before, in one process."""
        wanted = {blob.oid for path, blob in unseen if _counts(path) and blob.mode in _PLAIN}
        data = self.objects.blobs(wanted)
        if missing := wanted - data.keys():
            raise GitFailed(f"{len(missing)} blobs are missing, such as {min(missing)}", code=-1)
        for path, blob in unseen:
            result = _odd(path, blob) or parse_file(path, data.get(blob.oid, b""), modules=self._modules)
            self._known[blob.oid, path] = self._new[blob.oid, path] = result

    def save(self, present: Mapping[str, Blob]) -> None:
        """Keep what is new in the store; forget old results once they are many. `present` is the accepted tree."""
        keep = {(blob.oid, path) for path, blob in present.items()}
        if self._store is not None and self._new:
            self._store.put_results(self.reader, {key: result.to_json() for key, result in self._new.items()})
            self._store.trim_results(keep)
        self._new.clear()
        if len(self._known) > len(keep) + _SPARE:
            self._known = {key: result for key, result in self._known.items() if key in keep}

    def forget(self, present: Collection[Key]) -> None:
        """Forget old results once they are many, but for those of `present`; nothing is kept in the store."""
        self._new.clear()
        if len(self._known) > len(present) + _SPARE:
            keep = set(present)
            self._known = {key: result for key, result in self._known.items() if key in keep}

    def _recall(self, key: Key) -> FileResult | None:
        """A result from memory, or from the store."""
        found = self._known.get(key)
        if found is None and self._store is not None:
            if self._kept is None:
                self._kept = self._store.results(self.reader)
            text = self._kept.pop(key, None)
            if text is not None:
                try:
                    found = self._known[key] = FileResult.from_json(text)
                except (ValueError, TypeError):
                    found = None
        return found


def _counts(path: str) -> bool:
    """Whether the contents of a file at this path matter."""
    kind, _, misplaced = classify(path)
    return kind is not FileKind.OTHER and misplaced is None


def _odd(path: str, blob: Blob) -> FileResult | None:
    """The result of what is no plain file, such as a link: it is not looked into."""
    if blob.mode in _PLAIN:
        return None
    kind, stem, _ = classify(path)
    return FileResult(path, kind, stem, {}, (Problem(path, 0, 0, "this is not a plain file", "a plain file"),))
