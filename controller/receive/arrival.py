"""One entry of the receive log: which commits came, when, and with whose key; as a value and as a line. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from controller.receive.fingerprint import FINGERPRINT

VERSION = 1
AT_ONCE = 1_000
"""Commits that one line names at most; more become several lines."""
LONGEST = 128 * 2**10
"""Bytes that a line may have."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BY = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Commits that came in together. `at` is the receiving side's clock, never the committer's.

    `key` is the fingerprint of the key that sshd had checked; empty where the appliance's root, or the owner of the
    state repo, brought them there. `by` is the user or person that did, for people. `via` is `ssh`, `path` (a push
    to the path of the repository) or `cli` (a commit that a command made).
    """

    commits: tuple[str, ...]
    at: datetime
    key: str = ""
    by: str = ""
    via: str = "ssh"

    def lines(self) -> Iterator[bytes]:
        """The entry as the log has it, with line ends."""
        for start in range(0, len(self.commits), AT_ONCE):
            part = replace(self, commits=self.commits[start : start + AT_ONCE])
            row: dict[str, Any] = {"v": VERSION, "at": part.at.astimezone(UTC).isoformat(), "via": part.via}
            row |= {"key": part.key} if part.key else {}
            row |= {"by": part.by} if part.by else {}
            row["commits"] = part.commits
            yield json.dumps(row, separators=(",", ":")).encode() + b"\n"


def read_line(line: bytes) -> Arrival | None:
    """The entry that a line holds; None for what is none, whole or in part."""
    if len(line) > LONGEST:
        return None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or row.get("v") != VERSION:
        return None
    at, key, by, via, commits = (row.get(name, "") for name in ("at", "key", "by", "via", "commits"))
    if not all(isinstance(word, str) for word in (at, key, by, via)) or not _commits(commits):
        return None
    if (key and not FINGERPRINT.fullmatch(key)) or (by and not _BY.fullmatch(by)) or via not in ("ssh", "path", "cli"):
        return None
    if bool(key) is (via != "ssh"):
        return None
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        return None
    return None if when.tzinfo is None else Arrival(tuple(commits), when, key, by, via)


def _commits(value: object) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not 0 < len(value) <= AT_ONCE:
        return False
    return all(isinstance(sha, str) and _COMMIT.fullmatch(sha) for sha in value)
