"""A proposal: one container's file as somebody wants it, what that changes, and what it may cost. Pure.

It is drawn up by code from typed values, so that no text of anybody's can become YAML of its own. Comments and order
of the file stay where fields do not change.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.snapshot import DEFAULTS, State, path_of
from controller.audit import describe
from controller.errors import BadInput, InvalidFiles
from controller.spec.document import Entries, read_document
from controller.spec.parse import parse_file
from controller.spec.render import render
from controller.spec.result import FileResult

DIFF_LINES = 60
"""Lines of a diff that a message shows."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of `state/NAME.yaml` on top of commit `base`, and the subject of its commit.

    `risks` say in words what somebody could lose by it; with any, it needs a confirmation. `decision` is a one-shot
    act (a trailer and its value) that is asked for instead of, or with, a change of the file; `steps` are what the
    controller already holds for it, in words.
    """

    name: str
    base: str
    before: bytes | None
    after: bytes | None
    subject: str
    risks: tuple[str, ...] = ()
    bytes: int = 0
    decision: tuple[str, str] | None = None
    steps: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The file that it changes."""
        return path_of(self.name)

    @property
    def removes(self) -> bool:
        """Whether the container would go."""
        return self.before is not None and self.after is None

    @property
    def digest(self) -> str:
        """Differs whenever what would be done differs: the file before and after, and the decision."""
        parts = [self.name.encode(), self.before or b"-", self.after or b"-", repr(self.decision).encode()]
        return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]

    @property
    def diff(self) -> str:
        """What changes in the file, as people know it from git; its end left out where it is long."""
        old, new = ((data or b"").decode("utf-8", "replace").splitlines() for data in (self.before, self.after))
        source = f"a/{self.path}" if self.before is not None else "/dev/null"
        target = f"b/{self.path}" if self.after is not None else "/dev/null"
        lines = list(difflib.unified_diff(old, new, source, target, lineterm="", n=1))
        rest = len(lines) - DIFF_LINES
        return "\n".join(lines if rest <= 0 else [*lines[:DIFF_LINES], f"… and {rest} lines more"])

    def words(self, state: State) -> str:
        """The change in a few words: `quota 5G → 10G`."""
        if self.before == self.after:
            return self.subject
        before, after = (_read(self.path, data, state) for data in (self.before, self.after))
        defaults = state.defaults if state.defaults is not DEFAULTS else None
        return "; ".join(describe(self.path, before, after, defaults).words)


def _read(path: str, data: bytes | None, state: State) -> FileResult | None:
    return None if data is None else parse_file(path, data, modules=state.library.modules)


def amended(path: str, before: bytes | None, values: Mapping[str, Any], modules: Mapping[str, str]) -> bytes:
    """The file with these values: of one that is there, only the fields that change are written anew.

    Raises `InvalidFiles` if the values cannot be, with the mistakes as people are told them.
    """
    whole = render(values).encode()
    fresh = parse_file(path, whole, modules=modules)
    if not fresh.valid:
        raise InvalidFiles(fresh.problems)
    if dict(fresh.values) != dict(values):
        raise BadInput("one of the values cannot be written as it was given", hint="use plain words and numbers")
    if before is None:
        return whole
    was = parse_file(path, before, modules=modules)
    try:
        patched = _patched(before, was.values, fresh.values)
    except (InvalidFiles, UnicodeDecodeError):
        return whole
    again = parse_file(path, patched, modules=modules)
    return patched if again.valid and dict(again.values) == dict(fresh.values) else whole


def _patched(before: bytes, was: Mapping[str, Any], now: Mapping[str, Any]) -> bytes:
    """The file with its changed top-level fields replaced where they stand, and new ones at its end."""
    text = before.decode().replace("\r\n", "\n")
    root = read_document("", before).root
    if not isinstance(root, Entries):
        raise InvalidFiles(())
    lines = text.rstrip("\n").split("\n")
    starts = [key.line - 1 for key, _ in root.pairs]
    kept = lines[: starts[0]] if starts else []
    for (key, _), start, end in zip(root.pairs, starts, [*starts[1:], len(lines)], strict=True):
        chunk = lines[start:end]
        if was.get(key.text) == now.get(key.text):
            kept += chunk
            continue
        if key.text in now:
            kept += render({key.text: now[key.text]}).rstrip("\n").split("\n")
        kept += _trailing(chunk)
    for name in now:
        if name not in was:
            kept += render({name: now[name]}).rstrip("\n").split("\n")
    return ("\n".join(kept) + "\n").encode()


def _trailing(chunk: list[str]) -> list[str]:
    """Empty lines and comments at the left margin below a field: they belong to the next one."""
    end = len(chunk)
    while end > 1 and (not chunk[end - 1].strip() or chunk[end - 1].startswith("#")):
        end -= 1
    return chunk[end:]
