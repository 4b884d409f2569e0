"""Writing a tidy state file from values: the inverse of `parse`. Pure.

Every text is written so that no YAML reader can take it for something else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from controller.spec.fields import FieldRule, FileKind, Shape, fields_of
from controller.spec.forms import Form, Kind, size_text
from controller.spec.scalars import lookalike

_PLAIN = re.compile(r"[A-Za-z0-9/](?:[A-Za-z0-9 _./@+-]|:(?=[A-Za-z0-9/]))*(?<! )")
_WIDTH = 96


def render(values: Mapping[str, Any], kind: FileKind = FileKind.SPEC, *, schema: str = "") -> str:
    """A state file that says `values` (as `FileResult.values` holds them), fields in the order of the manual.

    `schema` is the path or URL of a JSON Schema, named in a first line that editors read. Raises KeyError for a
    field that this kind of file does not have.
    """
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    rules = fields_of(kind)
    if unknown := set(values) - set(rules):
        raise KeyError(sorted(unknown)[0])
    for rule in rules.values():
        if rule.name in values:
            lines += _field(kind, rule, values[rule.name])
    return "\n".join(lines) + "\n" if lines else "{}\n"


def _field(kind: FileKind, rule: FieldRule, value: Any, indent: str = "") -> list[str]:
    """The lines of one field."""
    head = f"{indent}{rule.name}:"
    if value is None:
        return [f"{head} null"]
    if rule.shape is Shape.SECTION:
        inner = fields_of(kind, rule.name)
        if unknown := set(value) - set(inner):
            raise KeyError(f"{rule.name}.{sorted(unknown)[0]}")
        lines = [line for r in inner.values() if r.name in value for line in _field(kind, r, value[r.name], "  ")]
        return [head, *lines] if lines else [f"{head} {{}}"]
    assert rule.form is not None
    if rule.shape is Shape.PAIRS:
        pairs = [f"{indent}  {_text(key)}: {_scalar(rule.form, item)}" for key, item in value.items()]
        return [head, *pairs] if pairs else [f"{head} {{}}"]
    if rule.shape is Shape.MANY:
        return _list(head, indent, [_scalar(rule.form, item) for item in value])
    if isinstance(value, str) and (block := _block(value, indent)):
        return [f"{head} |", *block]
    return [f"{head} {_scalar(rule.form, value)}"]


def _list(head: str, indent: str, items: list[str]) -> list[str]:
    """A list on one line where it fits, else one item a line."""
    line = f"{head} [{', '.join(items)}]"
    return [line] if len(line) <= _WIDTH else [head, *(f"{indent}  - {item}" for item in items)]


def _scalar(form: Form, value: Any) -> str:
    if form.kind is Kind.BOOLEAN:
        return "true" if value else "false"
    if form.kind is Kind.SIZE:
        return size_text(value)
    if form.kind is Kind.NUMBER:
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value) if form.kind in (Kind.WHOLE, Kind.MOMENT) else _text(str(value))


def _text(text: str) -> str:
    """A text as a scalar: plain where that is beyond doubt, else in double quotes."""
    if _PLAIN.fullmatch(text) and not lookalike(text):
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    named = {"\n": "\\n", "\t": "\\t"}.get(character)
    code = ord(character)
    return named or (f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}")


def _block(text: str, indent: str) -> list[str]:
    """The lines of a block scalar, for texts of several lines that it can hold; else none."""
    lines = text.split("\n")
    if len(lines) < 3 or lines.pop() or lines[0].startswith(" ") or not lines[0] or not lines[-1]:
        return []
    if not all(line.isprintable() and line == line.rstrip() for line in lines):
        return []
    return [f"{indent}  {line}" if line else "" for line in lines]
