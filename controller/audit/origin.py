"""Who set each field of a state file last: `git blame` by fields and list items instead of lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.audit.fields import Leaf, leaves
from controller.spec.result import FileResult


@dataclass(frozen=True, slots=True)
class Source:
    """A commit that changed a file: its whole id, and the file's path at that time."""

    commit: str
    path: str


Facts = Mapping[tuple[str, str], Source]
"""Of fields and values that were in force at some time: who set them last. A list has one entry an item."""


@dataclass(frozen=True, slots=True)
class Version:
    """What one commit made of a file, against its first parent; None where the file was not there.

    `joined`: the commit is a merge, so what is new against the first parent may be older all the same.
    `inherited` is what a file begins with that took over from another (`renamed_from`).
    """

    source: Source
    before: FileResult | None
    after: FileResult | None
    joined: bool = False
    inherited: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """One field, or one item of a list (`modules` with the value `git`), and the commit that set it last.

    `source` is None where no known commit did: the history was cut off, or cannot be followed.
    """

    field: str
    value: str
    source: Source | None
    item: bool = False


def origins(versions: Iterable[Version]) -> tuple[tuple[Origin, ...], Facts]:
    """The fields of the newest readable version, each with who set it last; and all that is to be handed on.

    `versions` are in the order of time, the oldest first. One that cannot be read had no effect, so it is passed over:
    what then differs from the last readable one is the doing of the next.
    """
    facts: dict[tuple[str, str], Source] = {}
    shown: dict[str, Leaf] = {}
    for version in versions:
        if version.after is not None and not version.after.valid:
            continue
        before = shown if version.before is not None and not version.before.valid else _leaves(version.before)
        shown = _leaves(version.after)
        kept = dict.fromkeys([*_pairs(before), *version.inherited])
        facts |= version.inherited
        for key in _pairs(shown):
            if key not in kept and not (version.joined and key in facts):
                facts[key] = version.source
    found = tuple(
        Origin(name, value, facts.get((name, value)), isinstance(shown[name], tuple)) for name, value in _pairs(shown)
    )
    return found, facts


def _leaves(version: FileResult | None) -> dict[str, Leaf]:
    return leaves(version.values, version.kind) if version is not None and version.valid else {}


def _pairs(said: Mapping[str, Leaf]) -> list[tuple[str, str]]:
    """Field and value of all that is said, a list item by item."""
    items = ((name, leaf if isinstance(leaf, tuple) else (leaf,)) for name, leaf in said.items())
    return [(name, value) for name, values in items for value in values]
