"""JSON Schema of state files, for editors: completion, hover texts, and red lines before a commit.

Pure. It describes files *as written* (sizes as `5G`); `parse` remains the judge, and knows more than a schema can say.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from controller.spec.fields import FieldRule, FileKind, Shape, fields_of
from controller.spec.forms import MOMENT_PATTERN, SIZE_PATTERN, Form, Kind, size_text

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TITLES = {
    FileKind.SPEC: ("voxnix container", "One container: state/NAME.yaml. The file's name is the container's."),
    FileKind.TENANT: ("voxnix tenant", "A person who may own containers: state/tenants/ID.yaml."),
    FileKind.POLICY: ("voxnix policy", "What is asked of who changes the state: state/policy.yaml."),
    FileKind.DEFAULTS: ("voxnix defaults", "What specs need not repeat: state/defaults.yaml. Lists are replaced."),
}


def schemas(modules: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """JSON Schemas (draft 2020-12) by kind of file: `spec`, `tenant`, `policy`, `defaults`.

    `modules` are the names of the module library; without them any well-formed module name passes.
    """
    return {str(kind): _file(kind, sorted(modules)) for kind in _TITLES}


def _file(kind: FileKind, modules: list[str]) -> dict[str, Any]:
    title, description = _TITLES[kind]
    head = {"$schema": DIALECT, "title": title, "description": description}
    return head | _object(kind, "", modules)


def _object(kind: FileKind, section: str, modules: list[str]) -> dict[str, Any]:
    """The schema of a whole file, or of one section of it."""
    rules = fields_of(kind, section)
    required = [rule.name for rule in rules.values() if rule.required]
    properties = {rule.name: _field(kind, rule, modules) for rule in rules.values()}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _field(kind: FileKind, rule: FieldRule, modules: list[str]) -> dict[str, Any]:
    """The schema of one field, with its description and default."""
    if rule.shape is Shape.SECTION:
        schema = _object(kind, rule.name, modules)
    elif rule.shape is Shape.MANY:
        items = {"enum": modules} if rule.name == "modules" and modules else _scalar(rule.form)
        schema = {"type": "array", "items": items, "uniqueItems": True}
    elif rule.shape is Shape.PAIRS:
        names = {"propertyNames": _scalar(rule.key_form)} if rule.key_form else {}
        schema = {"type": "object", "additionalProperties": _scalar(rule.form), **names}
    else:
        schema = _scalar(rule.form)
    if rule.optional:
        schema["type"] = [schema["type"], "null"]
    default = _default(rule)
    return {"description": rule.description} | schema | ({} if default is None else {"default": default})


def _default(rule: FieldRule) -> Any:
    """The default as a file would write it; None where there is none to show."""
    value = rule.default
    if value is None or isinstance(value, BaseModel | datetime):
        return None
    if rule.form is not None and rule.form.kind is Kind.SIZE:
        return size_text(value)
    return list(value) if isinstance(value, tuple) else value


def _scalar(form: Form | None) -> dict[str, Any]:
    """The schema of one value as written."""
    assert form is not None
    if form.words:
        return {"type": "string", "enum": list(form.words)}
    if form.kind is Kind.BOOLEAN:
        return {"type": "boolean"}
    if form.kind in (Kind.WHOLE, Kind.NUMBER):
        kind = "integer" if form.kind is Kind.WHOLE else "number"
        return {"type": kind, "minimum": form.low, "maximum": form.high}
    special = {Kind.SIZE: SIZE_PATTERN, Kind.MOMENT: MOMENT_PATTERN}
    pattern = special.get(form.kind, form.pattern)
    return {"type": "string"} | ({"pattern": f"^(?:{pattern})$"} if pattern else {})
