"""Commits as values, and the pure parsers of what git prints about them. No I/O.

What a commit says was written by strangers: author and time are claims, and a name may hold any character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

CHANGES_FORMAT = "--format=tformat:%H %ct"
"""What `parse_changes` reads, with `-z --raw --no-abbrev -c`."""
LOG_FORMAT = "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%ct%x00%B"
"""What `parse_log` reads, with `-z --raw --no-abbrev`."""
_TRAILER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*):(.*)")


@dataclass(frozen=True, slots=True)
class Blob:
    """What a tree says of one path: the mode as git writes it (`100644`) and the object id."""

    mode: str
    oid: str


@dataclass(frozen=True, slots=True)
class Touched:
    """One path that a commit changed; None on the side where it does not exist."""

    path: str
    before: Blob | None
    after: Blob | None


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as it was written. `author` and `email` are claims; `at`, the committer's time, is one too.

    `changes` are against the first parent; for a merge, `merged` has them against each parent in order.
    """

    sha: str
    parents: tuple[str, ...]
    author: str
    email: str
    at: datetime
    message: str
    changes: tuple[Touched, ...] = ()
    merged: tuple[tuple[Touched, ...], ...] = ()

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """See `trailers`."""
        return trailers(self.message)

    def against(self, parent: str) -> tuple[Touched, ...]:
        """The changes against one of its parents."""
        return self.merged[self.parents.index(parent)] if self.merged else self.changes


def trailers(message: str) -> tuple[tuple[str, str], ...]:
    """The `Key: value` lines of the last paragraph, unless it is also the first: a subject is no trailer."""
    text = message.replace("\r\n", "\n").strip()
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", text)
    if len(paragraphs) < 2:
        return ()
    found = (_TRAILER.fullmatch(line) for line in paragraphs[-1].split("\n"))
    return tuple((match[1], match[2].strip(" \t")) for match in found if match)


def parse_log(out: bytes) -> Iterator[Commit]:
    """Commits of `git log` in our format: six fields, then pairs of raw line and path, all ended by NUL."""
    tokens = out.split(b"\0")
    at = 0
    while at + 5 < len(tokens):
        sha, parents, author, email, seconds, message = tokens[at : at + 6]
        at += 6
        changes = []
        while at + 1 < len(tokens) and tokens[at].lstrip(b"\n").startswith(b":"):
            changes.append(_touched(tokens[at].lstrip(b"\n"), tokens[at + 1]))
            at += 2
        yield Commit(
            sha.decode(),
            tuple(parents.decode().split()),
            _line(author),
            _line(email),
            _time(seconds),
            text(message).strip("\n"),
            tuple(changes),
        )


def parse_differences(out: bytes) -> tuple[tuple[Touched, ...], ...]:
    """What `git diff-tree --stdin --raw -z --always` answers: for each line asked, the paths that differ."""
    found: list[list[Touched]] = []
    tokens = iter(out.split(b"\0"))
    for token in tokens:
        if token.startswith(b":"):
            found[-1].append(_touched(token, next(tokens)))
        elif token:
            found.append([])
    return tuple(map(tuple, found))


def parse_tree(out: bytes) -> Mapping[str, Blob]:
    """What `git ls-tree -r -z` answers, by path."""
    found = {}
    for line in filter(None, out.split(b"\0")):
        meta, _, path = line.partition(b"\t")
        mode, _, oid = meta.decode().split(" ")
        found[text(path)] = Blob(mode, oid)
    return found


def parse_changes(out: bytes) -> tuple[dict[str, tuple[str, datetime]], dict[str, list[str]]]:
    """Of a `git log -z --raw -c`: each path's last commit and its time; its blob ids, newest first."""
    changed: dict[str, tuple[str, datetime]] = {}
    versions: dict[str, list[str]] = {}
    commit = ("", _time(b"0"))
    tokens = iter(out.split(b"\0"))
    for token in tokens:
        meta = token.lstrip(b"\n")
        if not meta.startswith(b":"):
            sha, _, seconds = meta.partition(b" ")
            commit = (sha.decode(), _time(seconds)) if sha else commit
            continue
        path = text(next(tokens))
        changed.setdefault(path, commit)
        oid = meta.split(b" ")[-2].decode()
        if oid.strip("0"):
            versions.setdefault(path, []).append(oid)
    return changed, versions


def text(data: bytes) -> str:
    """Bytes as text that can be printed and stored; a byte that is not UTF-8 becomes a visible escape."""
    return data.decode("utf-8", "backslashreplace")


def _touched(meta: bytes, path: bytes) -> Touched:
    """`:100644 100755 OLD NEW M` and its path."""
    old_mode, new_mode, old, new, _ = meta[1:].decode().split(" ")
    return Touched(text(path), _blob(old_mode, old), _blob(new_mode, new))


def _blob(mode: str, oid: str) -> Blob | None:
    return Blob(mode, oid) if oid.strip("0") else None


def _time(seconds: bytes) -> datetime:
    """A commit's time; one beyond what a calendar holds counts as the beginning of time."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _line(data: bytes) -> str:
    return "".join(character for character in text(data) if character.isprintable())
