"""A state file that two people changed since a common ancestor: one text with both changes, or their clashes. Pure.

Text comes first, so that comments and layout stay; but a text counts only if it says exactly the fields that both
sides want. Where lines get in each other's way, the file is put together key by key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from controller.git.fields import (
    Agreed,
    Clash,
    Fields,
    Leaf,
    Path,
    combine,
    fields_of_text,
    read,
)
from controller.spec.document import MAX_BYTES, Entries

TextMerge = Callable[[bytes, bytes, bytes, bool], bytes | None]
"""Merge lines: ours, ancestor, theirs, and whether to keep both sides where they clash; None: they clash."""

_WHOLE = "a file"
"""Stands for a file as a whole where its fields cannot be compared."""
_LEAD = re.compile(r"#.*")
_SILENT = re.compile(r"(#.*)?\s*")
_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9 _./@+:,-]*(?<! )")


@dataclass(frozen=True, slots=True)
class Merged:
    """What both sides agree on: the file's new content; None: it is removed."""

    content: bytes | None


def merge(
    before: bytes | None, ours: bytes | None, theirs: bytes | None, merge_text: TextMerge
) -> Merged | tuple[Clash, ...]:
    """Both sides' changes in one file, or everything in which they clash. None stands for "there is no such file"."""
    if theirs in (before, ours):
        return Merged(ours)
    if before == ours:
        return Merged(theirs)
    clash = Clash("", *(None if text is None else _WHOLE for text in (before, ours, theirs)))
    if before is None or ours is None or theirs is None:
        return (clash,)
    texts = (before, ours, theirs)
    was, mine, other = (fields_of_text(text) for text in texts)
    if was is None or mine is None or other is None:
        return (clash,)
    agreed = combine(was, mine, other)
    if not isinstance(agreed, Agreed):
        return agreed
    for candidate in _candidates(texts, agreed.fields, merge_text):
        if len(candidate) <= MAX_BYTES and fields_of_text(candidate) == agreed.fields:
            return Merged(candidate)
    return (clash,)


def _candidates(texts: tuple[bytes, bytes, bytes], fields: Fields, merge_text: TextMerge) -> Iterator[bytes]:
    """Texts that may say what is agreed on, the one that keeps most of the layout first."""
    before, ours, theirs = texts
    by_lines = merge_text(ours, before, theirs, False)
    if by_lines is not None:
        yield by_lines
    was, mine, other = (_pieces(text) for text in texts)
    if was is not None and mine is not None and other is not None:
        yield _assemble(was, mine, other, fields, merge_text)
    yield "".join(_written(key, fields) for key in dict.fromkeys(path[0] for path in fields)).encode() or b"{}\n"


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A file cut up by its top-level keys.

    `parts` has the lines of each key; `leads` the comment right above it; `gaps` the other silent lines, by the key
    that they follow, and by an empty one those at the top.
    """

    parts: Mapping[str, bytes]
    leads: Mapping[str, bytes]
    gaps: Mapping[str, bytes]


def _pieces(data: bytes) -> _Pieces | None:
    """The pieces of a file whose top-level keys stand on lines of their own; None for any other."""
    document = read(data)
    if document is None or (document.root is not None and not isinstance(document.root, Entries)):
        return None
    pairs = document.root.pairs if document.root else ()
    lines = data.replace(b"\r\n", b"\n").decode().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    starts = [key.line - 1 for key, _ in pairs]
    if any(key.column != 1 for key, _ in pairs) or len(set(starts)) != len(starts):
        return None
    heads = [_lead(lines, start) for start in starts]
    gaps = {"": "".join(lines[: heads[0] if heads else len(lines)])}
    parts, leads = {}, {}
    for index, (key, _) in enumerate(pairs):
        end = heads[index + 1] if index + 1 < len(heads) else len(lines)
        body = end
        while body > starts[index] + 1 and _SILENT.fullmatch(lines[body - 1]):
            body -= 1
        leads[key.text] = "".join(lines[heads[index] : starts[index]])
        parts[key.text] = "".join(lines[starts[index] : body])
        gaps[key.text] = "".join(lines[body:end])
    return _Pieces(*({key: text.encode() for key, text in each.items()} for each in (parts, leads, gaps)))


def _lead(lines: list[str], start: int) -> int:
    """The line at which the comment right above a line begins."""
    while start > 0 and _LEAD.fullmatch(lines[start - 1].rstrip("\n")):
        start -= 1
    return start


def _assemble(before: _Pieces, ours: _Pieces, theirs: _Pieces, fields: Fields, merge_text: TextMerge) -> bytes:
    """The file put together key by key, in their order, with our new keys where we have them."""
    out = []
    for key in _order(list(theirs.parts), list(ours.parts)):
        sides = (before.parts.get(key), ours.parts.get(key), theirs.parts.get(key))
        part = _part(key, *sides, fields, merge_text) if key else b""
        if part:
            out.append(_silent(key, before.leads, ours.leads, theirs.leads, merge_text))
        out += [part, _silent(key, before.gaps, ours.gaps, theirs.gaps, merge_text)]
    return b"".join(out)


Silent = Mapping[str, bytes]
"""Comments and empty lines by the key that they belong to."""


def _silent(key: str, was: Silent, mine: Silent, other: Silent, merge_text: TextMerge) -> bytes:
    """Comments and empty lines as the side that changed them has them, or of both sides."""
    before, ours, theirs = (side.get(key, b"") for side in (was, mine, other))
    if ours == before:
        return theirs
    if theirs in (before, ours):
        return ours
    return merge_text(ours, before, theirs, True) or b""


def _order(theirs: list[str], ours: list[str]) -> list[str]:
    """All keys of both, the empty one for the top of the file first; a new key of ours follows the one before it."""
    keys = ["", *theirs]
    last = ""
    for key in ours:
        if key not in keys:
            keys.insert(keys.index(last) + 1, key)
        last = key
    return keys


def _part(
    key: str, before: bytes | None, ours: bytes | None, theirs: bytes | None, fields: Fields, merge_text: TextMerge
) -> bytes:
    """The lines of one key: as the side that changed them has them, else whatever says what is agreed on."""
    wanted = {path: value for path, value in fields.items() if path[0] == key}
    if not wanted:
        return b""
    if theirs == before and ours is not None:
        return ours
    if ours in (before, theirs) and theirs is not None:
        return theirs
    mine, other = ours or b"", theirs or b""
    for text in (merge_text(mine, before or b"", other, False), mine, other):
        if text and fields_of_text(text) == wanted:
            return text
    return _written(key, wanted).encode()


def _written(key: str, fields: Fields) -> str:
    """A top-level key with what is below it, in lines of our own."""
    return "".join(_lines(fields, (key,), ""))


def _lines(fields: Fields, path: Path, indent: str) -> Iterator[str]:
    head = f"{indent}{_quoted(path[-1])}:"
    if path in fields:
        yield from _value(head, fields[path], indent)
        return
    yield f"{head}\n"
    inner = dict.fromkeys(one[len(path)] for one in fields if one[: len(path)] == path)
    for key in inner:
        yield from _lines(fields, (*path, key), indent + "  ")


def _value(head: str, value: Leaf, indent: str) -> Iterator[str]:
    """A value behind its key or `-`. Whether it says what it should is checked once the file is whole."""
    kind, *rest = value
    items = [one for one in rest if isinstance(one, tuple)]
    if kind == "text":
        text, plain = str(rest[0]), bool(rest[1])
        yield f"{head} {text}\n" if plain and text else f"{head}\n" if plain else f"{head} {_escaped(text)}\n"
    elif kind == "list" and all(one[0] == "text" and (not one[2] or _PLAIN.fullmatch(str(one[1]))) for one in items):
        said = [str(one[1]) if one[2] and "," not in str(one[1]) else _escaped(str(one[1])) for one in items]
        yield f"{head} [{', '.join(said)}]\n"
    elif not items:
        yield f"{head} {'[]' if kind == 'list' else '{}'}\n"
    elif kind == "list":
        yield f"{head}\n"
        for one in items:
            yield from _value(f"{indent}  -", one, indent + "  ")
    else:
        yield f"{head}\n"
        for key, inner in items:
            yield from _value(f"{indent}  {_quoted(str(key))}:", inner, indent + "  ")


def _quoted(key: str) -> str:
    """A key as it can stand before a colon."""
    return key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", key) else _escaped(key)


def _escaped(text: str) -> str:
    """A text in double quotes."""
    special = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(special.get(c) or (c if c.isprintable() else f"\\U{ord(c):08X}") for c in text) + '"'
