"""The fields of each kind of state file, derived from the models: one table for the reader, writer and schema.

Pure. What may stand in a file differs from the model in two ways only: names and ids are those of the file,
and some fields of a spec have no default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from controller.spec.forms import Form
from controller.spec.model import ContainerSpec, StatePolicy, Tenant


class FileKind(StrEnum):
    """What a file below `state/` is for."""

    SPEC = "spec"
    TENANT = "tenant"
    DEFAULTS = "defaults"
    POLICY = "policy"
    OTHER = "other"
    """Not a state file. With a problem: it looks like one, in the wrong place."""


class Shape(StrEnum):
    """How the value of a field is written: one scalar, a list of them, a map of them, or fields of its own."""

    ONE = "one"
    MANY = "many"
    PAIRS = "pairs"
    SECTION = "section"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One field as files write it. `optional`: whether an empty value (YAML's null) means "none"."""

    name: str
    shape: Shape
    description: str
    default: Any
    required: bool
    optional: bool
    form: Form | None = None
    """Of the value, or of each item of a list, or of each value of a map."""
    key_form: Form | None = None
    section: type[BaseModel] | None = None


OWN_ONLY: Mapping[str, str] = {
    "name": "each container has its own",
    "owner": "each container says whose it is",
    "renamed_from": "it belongs to one container",
    "expires": "it belongs to one container",
    "description": "it belongs to one container",
    "host": "each container says which appliance it is for",
    "paused": "to pause everything, use `voxnix suspend`",
    "tailnet.hostname": "each container has its own",
}
"""Fields of a spec that have no default, and why."""

_MODELS: Mapping[FileKind, type[BaseModel]] = {
    FileKind.SPEC: ContainerSpec,
    FileKind.DEFAULTS: ContainerSpec,
    FileKind.TENANT: Tenant,
    FileKind.POLICY: StatePolicy,
}


@cache
def fields_of(kind: FileKind, section: str = "") -> Mapping[str, FieldRule]:
    """The fields that a kind of file may hold at its top, or within one of its sections, by name."""
    rules = _rules(_MODELS[kind])
    if section:
        inner = rules[section].section
        assert inner is not None
        rules = _rules(inner)
    prefix = f"{section}." if section else ""
    absent = {FileKind.TENANT: {"id"}, FileKind.DEFAULTS: set(OWN_ONLY)}.get(kind, set())
    allowed = {name: rule for name, rule in rules.items() if prefix + name not in absent}
    if kind is FileKind.SPEC and not section:
        allowed["name"] = replace(allowed["name"], required=False)
    return allowed


@cache
def home_of(kind: FileKind, field: str) -> str:
    """The section of a file that has a field of this name: where a misplaced key belongs; empty if nowhere."""
    for name, rule in fields_of(kind).items():
        if rule.shape is Shape.SECTION and field in fields_of(kind, name):
            return name
    return ""


@cache
def _rules(model: type[BaseModel]) -> Mapping[str, FieldRule]:
    return {name: _rule(name, info) for name, info in model.model_fields.items()}


def _rule(name: str, info: FieldInfo) -> FieldRule:
    """One field of a model, as files write it."""
    kind, form, optional = _unwrap(info.annotation)
    form = next((item for item in info.metadata if isinstance(item, Form)), form)
    shape, key_form, section = Shape.ONE, None, None
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        shape, form = Shape.MANY, _unwrap(arguments[0])[1]
    elif origin is Mapping:
        shape, key_form, form = Shape.PAIRS, _unwrap(arguments[0])[1], _unwrap(arguments[1])[1]
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        shape, section = Shape.SECTION, kind
    required = info.is_required()
    default = None if required else info.default
    described = info.description or ""
    return FieldRule(name, shape, described, default, required, optional, form, key_form, section)


def _unwrap(annotation: Any) -> tuple[Any, Form | None, bool]:
    """A type without its annotations and without None, its form, and whether None was allowed."""
    if get_origin(annotation) in (Union, UnionType):
        arguments = get_args(annotation)
        inner = next(item for item in arguments if item is not NoneType)
        return (*_unwrap(inner)[:2], NoneType in arguments)
    extras = getattr(annotation, "__metadata__", ())
    form = next((item for item in extras if isinstance(item, Form)), None)
    return (annotation.__origin__ if extras else annotation), form, False
