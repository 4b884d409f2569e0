"""Commits on a branch that others commit to as well: made on top of what it is at, or not at all.

Never forces a branch, and never writes over what somebody else has changed meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from controller.errors import BadInput, Transient
from controller.git.commits import Touched
from controller.git.writing import Author

TRIES = 8


class Writable(Protocol):
    """A branch that is committed to: of a `StateRepo`, or of a `Remote` that is pushed to."""

    def head(self) -> str | None:
        """The commit that it is at now."""
        ...

    def put(
        self,
        head: str | None,
        changes: Mapping[str, bytes | None],
        message: str,
        author: Author,
        trailers: Sequence[tuple[str, str]] = (),
    ) -> str | None:
        """Commit on top of `head`; None if the branch is no longer there."""
        ...


class Line(Writable, Protocol):
    """One that also tells what differs between its commits."""

    branch: str

    def differences(self, pairs: Sequence[tuple[str, str]]) -> tuple[tuple[Touched, ...], ...]:
        """For each pair of commits, old and new, the paths that differ."""
        ...


def commit(
    line: Line,
    changes: Mapping[str, bytes | None],
    message: str,
    author: Author,
    trailers: Sequence[tuple[str, str]],
    expect: str | None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Commit `changes` and move the branch, made again on top where it has moved meanwhile; the commit's id.

    `expect` is the commit that the changes were made for. Raises `BadInput` where one of their paths has changed since,
    and `Transient` where the branch keeps moving.
    """
    base = expect
    for attempt in range(TRIES):
        sleep(0.02 * attempt)
        head = line.head()
        base = base if base is not None else head
        if base != head:
            _require_untouched(line, base, head, changes)
        sha = line.put(head, changes, message, author, trailers)
        if sha is not None:
            return sha
        base = head
    raise Transient(f"the branch {line.branch} keeps moving", hint="try again")


def _require_untouched(line: Line, base: str | None, head: str | None, paths: Collection[str]) -> None:
    """Raise `BadInput` if one of `paths` differs between two commits."""
    if base is None or head is None:
        raise BadInput(f"the branch {line.branch} was made or removed meanwhile", hint="look and repeat")
    (differences,) = line.differences([(base, head)])
    moved = sorted({touched.path for touched in differences} & set(paths))
    if moved:
        raise BadInput(
            f"{', '.join(moved)} changed meanwhile (commit {head[:10]})",
            hint="look at it and repeat what you meant to do",
        )
