"""A push as git tells its hooks of it: which refs are to move, and from whom it comes. Pure, and quick to import."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.errors import BadInput, Problem

DOOR = "voxnix/door.sock"
"""Where a running gate answers, in the state repo."""
LONGEST = 2**20
"""Bytes of what git tells a hook that are read."""
_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Update:
    """One ref that is to move from `old` to `new`; "" where it is not there on that side."""

    old: str
    new: str
    ref: str


@dataclass(frozen=True, slots=True)
class Push:
    """A push that waits for its answer.

    `key` is the fingerprint of the key that sshd has checked, empty for a push to the repository's path; `by` who
    that was, for people. `quarantine` is the folder in which git keeps the new objects until the push is taken.
    """

    updates: tuple[Update, ...]
    key: str = ""
    by: str = ""
    quarantine: str = ""


def read_updates(text: str) -> tuple[Update, ...]:
    """The lines that git gives to `pre-receive` and `post-receive`; raises `BadInput` for anything else."""
    found = []
    for line in text.splitlines():
        words = line.split(" ", 2)
        if len(words) != 3 or not all(_OID.fullmatch(word) for word in words[:2]):
            raise BadInput("this is not what git tells a hook", hint="git starts it, in the state repo")
        old, new = (word if word.strip("0") else "" for word in words[:2])
        found.append(Update(old, new, words[2]))
    return tuple(found)


def misdirected(updates: Sequence[Update], branch: str) -> Iterator[Problem]:
    """What is wrong with the refs themselves: only the state branch may be pushed, and it may only go on."""
    seen: set[str] = set()
    for update in updates:
        shown = ascii(update.ref)[1:-1][:120]
        if update.ref in seen:
            yield Problem(shown, 0, 0, "this push would move the same branch twice", "one step")
        seen.add(update.ref)
        if update.ref != f"refs/heads/{branch}":
            hint = f"`git push origin HEAD:{branch}`; keep other branches and tags in your own clone"
            yield Problem(shown, 0, 0, "only the state branch may be pushed here", f"`refs/heads/{branch}`", hint)
        elif not update.new:
            hint = "to take containers away, remove their files and push that"
            yield Problem(shown, 0, 0, "the state branch cannot be deleted", "", hint)


def told(push: Push) -> Mapping[str, object]:
    """A push as a JSON value."""
    return {
        "updates": [[update.old, update.new, update.ref] for update in push.updates],
        "key": push.key,
        "by": push.by,
        "quarantine": push.quarantine,
    }


def heard(value: Any) -> Push:
    """A push from such a value; raises `BadInput` for what is none."""
    try:
        updates = tuple(Update(_oid(old), _oid(new), _word(ref)) for old, new, ref in value["updates"])
        return Push(updates, *(_word(value[name]) for name in ("key", "by", "quarantine")))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput("this is no push") from error


def _oid(value: object) -> str:
    word = _word(value)
    if word and not _OID.fullmatch(word):
        raise ValueError("no object id")
    return word


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise ValueError("no word")
    return value
