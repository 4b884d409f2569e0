"""One state file as a set of fields: what two people changed in it, and whether both can have their way. Pure.

A field is a path of keys with the value that stands there as it was written; a list counts as one value. What a
value means is not asked: two ways to write the same size are two values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.errors import InvalidFiles
from controller.spec.document import Document, Entries, Items, Node, read_document

Path = tuple[str, ...]
"""The keys that lead to a field: `("workspace", "quota")`. Empty: the file as a whole."""
Leaf = tuple[object, ...]
"""A value as it was written, comparable."""
Fields = Mapping[Path, Leaf]

SHOWN = 120
"""Characters of a value that are shown to people."""


@dataclass(frozen=True, slots=True)
class Clash:
    """One field that two sides set to different values: what it was, and what each wants. None: it is not there.

    An empty `field` means the file as a whole.
    """

    field: str
    before: str | None
    ours: str | None
    theirs: str | None


@dataclass(frozen=True, slots=True)
class Agreed:
    """The fields that a file has once both sides have had their way."""

    fields: Fields


def fields_of_text(data: bytes | None) -> Fields | None:
    """The fields of a file; none of one that is not there. None for a file that cannot be read as fields."""
    if data is None:
        return {}
    document = read(data)
    return None if document is None else fields_of_node(document.root)


def read(data: bytes) -> Document | None:
    """The document, where it is one map of unique keys, or holds nothing but comments; else None."""
    try:
        document = read_document("", data)
    except InvalidFiles:
        return None
    usable = document.root is None or isinstance(document.root, Entries)
    return document if usable and not document.problems else None


def fields_of_node(node: Node | None, above: Path = ()) -> dict[Path, Leaf]:
    """The fields below a node; a map without any keys is a value itself, but for the whole file."""
    if node is None:
        return {}
    if isinstance(node, Entries) and (node.pairs or not above):
        found: dict[Path, Leaf] = {}
        for key, value in node.pairs:
            found |= fields_of_node(value, (*above, key.text))
        return found
    return {above: leaf(node)}


def leaf(node: Node) -> Leaf:
    """A value in a form that can be compared."""
    if isinstance(node, Entries):
        return ("map", *((key.text, leaf(value)) for key, value in node.pairs))
    if isinstance(node, Items):
        return ("list", *map(leaf, node.nodes))
    return ("text", node.text, node.plain)


def words(value: Leaf | None) -> str | None:
    """A value for people, cut off where it is long."""
    if value is None:
        return None
    kind, *rest = value
    if kind == "text":
        said = str(rest[0])
    elif kind == "list":
        said = f"[{', '.join(words(one) or '' for one in rest if isinstance(one, tuple))}]"
    else:
        pairs = (one for one in rest if isinstance(one, tuple))
        said = f"{{{', '.join(f'{key}: {words(inner)}' for key, inner in pairs)}}}"
    return said if len(said) <= SHOWN else said[: SHOWN - 1] + "…"


def differences(before: Fields, after: Fields) -> dict[Path, Leaf | None]:
    """The fields that were set, changed or taken away (None)."""
    paths = [*before, *(path for path in after if path not in before)]
    return {path: after.get(path) for path in paths if before.get(path) != after.get(path)}


def combine(before: Fields, ours: Fields, theirs: Fields) -> Agreed | tuple[Clash, ...]:
    """Both sides' changes of the same fields together; or every field on which they do not agree.

    Where one side sets a value and the other something inside it, they do not agree either.
    """
    mine, other = differences(before, ours), differences(before, theirs)
    clashes = [
        Clash(".".join(path), words(before.get(path)), words(value), words(other[path]))
        for path, value in mine.items()
        if path in other and other[path] != value
    ]
    merged = dict(theirs)
    for path, value in mine.items():
        if value is None:
            merged.pop(path, None)
        else:
            merged[path] = value
    clashes += [
        Clash(".".join(path), whole(before, path), whole(ours, path), whole(theirs, path)) for path in _covered(merged)
    ]
    return tuple(sorted(set(clashes), key=lambda clash: clash.field)) if clashes else Agreed(merged)


def whole(fields: Fields, path: Path) -> str | None:
    """What stands at a path, a value or a section, for people; None where nothing does."""
    if path in fields:
        return words(fields[path])
    inner = {".".join(key[len(path) :]): value for key, value in fields.items() if key[: len(path)] == path}
    return words(("map", *inner.items())) if inner else None


def _covered(fields: Fields) -> set[Path]:
    """Paths that have a value of their own and fields below it, which no file can say."""
    return {path[:depth] for path in fields for depth in range(1, len(path)) if path[:depth] in fields}
