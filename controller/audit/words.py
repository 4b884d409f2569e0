"""What a commit made of one state file, in a few words: `quota 5G → 10G`, `modules +fish −git`, `removed`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from controller.audit.fields import Difference, Leaf, differences, leaves, usual_leaves
from controller.spec.fields import FileKind
from controller.spec.parse import classify, parse_file
from controller.spec.result import FileResult

LONGEST = 48
"""Characters of one value; a longer one is cut."""
MOST = 6
"""Items of a list, and words on one file, that are told; of more, how many there are."""
_PLAIN = ("workspace", "resources")
"""Sections whose fields are called by their own names alone."""
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_TEXTS = ("description",)
"""Fields of which only is told that they changed."""


class Sort(StrEnum):
    """What became of a file."""

    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a commit made of one file: `words` for people, `fields` for programs.

    `name` is the container or tenant that the file stands for, and empty for any other file. `problem` says what is
    wrong with the new version, if anything is: it then had no effect.
    """

    path: str
    kind: FileKind
    name: str
    sort: Sort
    words: tuple[str, ...]
    fields: tuple[Difference, ...] = ()
    problem: str = ""


def read_state(path: str, data: bytes) -> FileResult:
    """One version of a state file, as it was meant: no module in it is unknown, whatever the library has today."""
    return parse_file(path, data, modules=set(_WORD.findall(data.decode("utf-8", "replace"))))


def describe(
    path: str, before: FileResult | None, after: FileResult | None, defaults: FileResult | None = None
) -> FileChange:
    """What became of the file at `path`; None on the side where it does not exist, or is no plain file.

    `defaults` are those at the commit: where a version of a spec is silent, they are what it means.
    """
    kind, name, _ = classify(path)
    sort = Sort.NEW if before is None else Sort.REMOVED if after is None else Sort.CHANGED
    name = name if kind in (FileKind.SPEC, FileKind.TENANT) else ""
    if after is None:
        return FileChange(path, kind, name, sort, (str(sort),), _fields(kind, before, after))
    if not after.valid:
        problem = _problem(after)
        return FileChange(path, kind, name, sort, (f"{_prefix(sort)}invalid: {problem}",), problem=problem)
    if kind is FileKind.OTHER:
        return FileChange(path, kind, name, sort, (str(sort),))
    fields = _fields(kind, before, after)
    if before is None:
        said = _defaults(fields) if kind is FileKind.DEFAULTS else _summary(after)
        return FileChange(path, kind, name, sort, (f"new: {said}",), fields)
    if not before.valid:
        return FileChange(path, kind, name, sort, (f"valid again: {_summary(after)}",))
    usual = usual_leaves(kind, defaults)
    words = tuple(_few([_told(one, usual.get(one.field)) for one in fields]))
    return FileChange(path, kind, name, sort, words or ("only its wording",), fields)


def _defaults(fields: Sequence[Difference]) -> str:
    """What new defaults say: `quota 7G; modules git`."""
    words = [f"{_label(one.field)} {', '.join(_few([_cut(item) for item in one.after]))}" for one in fields]
    return "; ".join(_few(words)) or "nothing"


def _fields(kind: FileKind, before: FileResult | None, after: FileResult | None) -> tuple[Difference, ...]:
    """The fields that differ, where both sides can be read."""
    if kind is FileKind.OTHER or any(side is not None and not side.valid for side in (before, after)):
        return ()
    return differences(before.values if before else {}, after.values if after else {}, kind)


def _prefix(sort: Sort) -> str:
    return "new, but " if sort is Sort.NEW else ""


def _problem(result: FileResult) -> str:
    """The first mistake of a file, and how many more there are."""
    first, more = result.problems[0], len(result.problems) - 1
    place = f"line {first.line}, " if first.line else ""
    return f"{place}{first.message}" + (f" (and {more} more)" if more else "")


def _summary(result: FileResult) -> str:
    """What a new file asks for: `git, fish; 20G; stopped`."""
    said = leaves(result.values, result.kind)
    if result.kind is FileKind.TENANT:
        return "; ".join(_cut(str(said[key])) for key in ("name", "role") if key in said)
    modules = said.get("modules", ())
    parts = [", ".join(_few([_cut(item) for item in modules]))] if isinstance(modules, tuple) and modules else []
    parts += [str(said[key]) for key in ("workspace.quota",) if key in said]
    parts += ["stopped"] if said.get("power") == "stopped" else []
    parts += ["paused"] if said.get("paused") == "true" else []
    parts += [f"{word} {said[key]}" for key, word in (("renamed_from", "was"), ("expires", "until")) if key in said]
    other = [_label(field) for field in said if field not in ("name", "owner", *_TEXTS)]
    return "; ".join(parts) or ", ".join(_few(other)) or "nothing but defaults"


def _told(one: Difference, usual: Leaf | None) -> str:
    """One difference in a few words; `usual` is what holds where a version is silent."""
    label = _label(one.field)
    if one.many:
        gone = [f"−{_cut(item)}" for item in one.before]
        return " ".join([label, *_few([*(f"+{_cut(item)}" for item in one.after), *gone], "…")])
    if one.field in _TEXTS:
        return f"{label} {'added' if not one.before else 'removed' if not one.after else 'changed'}"
    said = {*one.before, *one.after}
    silent = "none" if usual is None else "default" if usual in said else str(usual)
    old, new = (_cut(side[0]) if side else silent for side in (one.before, one.after))
    return f"{label} {old} → {new}"


def _label(field: str) -> str:
    """What people call a field: `quota`, `memory`, `tailnet ssh`, `env EDITOR`."""
    section, _, name = field.partition(".")
    return name if name and section in _PLAIN else field.replace(".", " ", 1)


def _cut(text: str) -> str:
    """One value on one line, of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _few(words: Sequence[str], rest: str = "and") -> list[str]:
    """The words, or the first of them and how many more there are."""
    if len(words) <= MOST:
        return list(words)
    return [*words[: MOST - 1], f"{rest} {len(words) - MOST + 1} more"]
