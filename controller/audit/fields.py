"""The fields of a state file as texts, and how two versions of a file differ, field by field. Pure.

Every value is told as the file would write it, so that sizes read `5G` and not as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.spec.fields import FieldRule, FileKind, Shape, fields_of
from controller.spec.forms import Form, Kind, size_text
from controller.spec.result import FileResult

Values = Mapping[str, Any]
"""The values of one file, as `FileResult.values` holds them."""
Leaf = str | tuple[str, ...]
"""What one field says: a text, or the items of a list."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that two versions of a file do not agree on.

    `before` and `after` are what either says, none for the version that does not mention it. Of a `many` field, a
    list, they are the items that the other version lacks.
    """

    field: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    many: bool = False

    def flipped(self) -> Difference:
        """The same, seen from the other version."""
        return Difference(self.field, self.after, self.before, self.many)


def leaves(values: Values, kind: FileKind) -> dict[str, Leaf]:
    """All that a file says, by field (`owner`, `workspace.quota`, `env.EDITOR`), in the order of the manual.

    An empty list or map is left out: it says what its absence says. What no field is called is left out too.
    """
    found: dict[str, Leaf] = {}
    for name, rule in fields_of(kind).items():
        if name not in values:
            continue
        value = values[name]
        if rule.shape is Shape.SECTION:
            inner = fields_of(kind, name)
            parts = value if isinstance(value, Mapping) else {}
            found |= {f"{name}.{key}": _leaf(inner[key], part) for key, part in parts.items() if key in inner}
        elif rule.shape is Shape.PAIRS:
            pairs = value if isinstance(value, Mapping) else {}
            found |= {f"{name}.{key}": _said(rule.form, part) for key, part in pairs.items()}
        else:
            found[name] = _leaf(rule, value)
    return {field: leaf for field, leaf in found.items() if leaf != ()}


def usual_leaves(kind: FileKind, defaults: FileResult | None = None) -> dict[str, Leaf]:
    """What holds where a file of this kind is silent: what `defaults` say, or else what is built in."""
    found: dict[str, Leaf] = {}
    for name, rule in fields_of(kind).items():
        inner = fields_of(kind, name) if rule.shape is Shape.SECTION and rule.default is not None else {}
        found |= {f"{name}.{key}": _leaf(part, part.default) for key, part in inner.items() if _usual(part)}
        if rule.shape in (Shape.ONE, Shape.MANY) and _usual(rule):
            found[name] = _leaf(rule, rule.default)
    if kind is FileKind.SPEC and defaults is not None and defaults.valid:
        found |= leaves(defaults.values, FileKind.DEFAULTS)
    return found


def _usual(rule: FieldRule) -> bool:
    """Whether a field has a value where nobody gave it one."""
    return rule.default not in (None, "", ())


def differences(before: Values, after: Values, kind: FileKind) -> tuple[Difference, ...]:
    """What two versions of a file differ in; the order of a list's items does not count.

    Seen from the other side it is the same, flipped: `differences(b, a) == tuple(d.flipped() for d in ...(a, b))`.
    """
    old, new = leaves(before, kind), leaves(after, kind)
    order = {name: index for index, name in enumerate(fields_of(kind))}
    names = sorted(old.keys() | new.keys(), key=lambda field: (order[field.partition(".")[0]], field))
    found = (_difference(name, old.get(name), new.get(name)) for name in names)
    return tuple(one for one in found if one.before != one.after)


def _difference(field: str, old: Leaf | None, new: Leaf | None) -> Difference:
    if isinstance(old, tuple) or isinstance(new, tuple):
        had, has = _items(old), _items(new)
        gone = tuple(item for item in had if item not in has)
        return Difference(field, gone, tuple(item for item in has if item not in had), many=True)
    return Difference(field, () if old is None else (old,), () if new is None else (new,))


def _items(leaf: Leaf | None) -> tuple[str, ...]:
    if leaf is None:
        return ()
    return leaf if isinstance(leaf, tuple) else (leaf,)


def _leaf(rule: FieldRule, value: Any) -> Leaf:
    if rule.shape is Shape.MANY and isinstance(value, list | tuple):
        return tuple(_said(rule.form, item) for item in value)
    return _said(rule.form, value)


def _said(form: Form | None, value: Any) -> str:
    """One value as a file writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if form and form.kind is Kind.SIZE and isinstance(value, int):
        return size_text(value)
    if form and form.kind is Kind.NUMBER and isinstance(value, int | float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)
