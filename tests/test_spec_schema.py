"""The JSON Schemas agree with the models, and with what the reader takes; the example state is good."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from controller.spec.fields import OWN_ONLY
from controller.spec.model import ContainerSpec, Tenant
from controller.spec.parse import parse_file
from controller.spec.resolve import resolve
from controller.spec.schema import schemas
from controller.spec.state import Library

ROOT = Path(__file__).parent.parent
# fmt: off
MODULES = [
    "base", "git", "fish", "zsh", "tmux", "neovim", "helix", "tailscale", "workspace", "python", "node",
    "go", "rust", "docker", "postgres", "nix-tools", "direnv",
]
# fmt: on
CASES = [
    pytest.param(case, id=case["about"])
    for name in ("fields", "files", "scalars")
    for case in yaml.safe_load((ROOT / "tests" / "cases" / "spec" / f"{name}.yaml").read_text())
]


class Strings(yaml.SafeLoader):
    """YAML as editors read it (1.2): timestamps and words such as `no` are texts."""


Strings.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] in ("null", "int", "float") or (tag.endswith("bool") and first in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def faults(schema, value, at=""):
    """Where a value breaks a schema: enough of JSON Schema for what ours use."""
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds or []
    if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return [f"{at}: not {kinds}"]
    if isinstance(value, bool) and "boolean" not in kinds:
        return [f"{at}: a boolean"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: not in enum")
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at}: pattern")
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: out of bounds")
    if isinstance(value, list):
        found += [fault for item in value for fault in faults(schema.get("items", {}), item, f"{at}[]")]
        if schema.get("uniqueItems") and len(set(map(str, value))) < len(value):
            found.append(f"{at}: twice")
    if isinstance(value, dict):
        found += [f"{at}: {key} missing" for key in schema.get("required", []) if key not in value]
        for key, item in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            found += [f"{at}: {key} unknown"] if inner is False else faults(inner or {}, item, f"{at}.{key}")
            found += faults(schema.get("propertyNames", {}), key, f"{at} key")
    return found


def kind_of(path):
    return "tenant" if "/tenants/" in path else "defaults" if path.endswith("defaults.yaml") else "spec"


@pytest.mark.parametrize("case", [case for case in CASES if "values" in case.values[0]])
def test_what_the_reader_takes_the_schema_takes(case):
    path = case.get("path", "state/dev.yaml")
    if parse_file(path, case["text"].encode(), modules=MODULES).kind != "other":
        value = yaml.load(case["text"], Loader=Strings)
        assert faults(schemas(MODULES)[kind_of(path)], {} if value is None else value) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("spec", "power: running"),
        ("spec", "owner: alice\nmodulse: [git]"),
        ("spec", "owner: alice\nmodules: [gti]"),
        ("spec", "owner: alice\nmodules: [git, git]"),
        ("spec", "owner: alice\nworkspace: {quota: 5}"),
        ("spec", "owner: alice\nworkspace: {quota: 5g}"),
        ("spec", "owner: alice\nenv: {A: 1}"),
        ("spec", "owner: alice\nenv: {1A: x}"),
        ("spec", "owner: alice\nexpires: 2026-12-24"),
        ("spec", "owner: alice\nresources: {tasks: 1}"),
        ("spec", "owner: alice\npower: on"),
        ("defaults", "owner: alice"),
        ("defaults", "tailnet: {hostname: x}"),
        ("tenant", "role: member"),
        ("tenant", "id: bob\nname: Bob"),
    ],
)
def test_what_the_schema_sees(kind, text):
    assert faults(schemas(MODULES)[kind], yaml.load(text, Loader=Strings))


def test_the_schemas_have_the_fields_of_the_models():
    found = schemas()
    top = {name for name in OWN_ONLY if "." not in name}
    assert list(found["spec"]["properties"]) == list(ContainerSpec.model_fields)
    assert set(found["defaults"]["properties"]) == set(ContainerSpec.model_fields) - top
    assert set(found["tenant"]["properties"]) == set(Tenant.model_fields) - {"id"}
    for name in ("workspace", "tailnet", "resources"):
        part = ContainerSpec.model_fields[name].annotation
        assert list(found["spec"]["properties"][name]["properties"]) == list(part.model_fields)


def test_every_field_is_described():
    def undescribed(schema, at):
        for name, inner in schema.get("properties", {}).items():
            yield from () if inner.get("description") else (f"{at}.{name}",)
            yield from undescribed(inner, f"{at}.{name}")

    assert [name for kind, schema in schemas().items() for name in undescribed(schema, kind)] == []


def test_sizes_are_described_as_files_write_them():
    quota = schemas()["spec"]["properties"]["workspace"]["properties"]["quota"]
    assert quota["default"] == "5G"
    assert re.search(quota["pattern"], "512M")


def test_the_example_state_is_good():
    paths = sorted((ROOT / "state").rglob("*.yaml"))
    files = {}
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        files[name] = parse_file(name, path.read_bytes(), modules=MODULES)
        assert faults(schemas(MODULES)[kind_of(name)], yaml.load(path.read_text(), Loader=Strings)) == []
    desired = resolve(
        files,
        revision="r",
        changed={},
        last={},
        last_tenants={},
        library=Library(dict.fromkeys(MODULES, ""), "x"),
    )
    assert desired.problems == ()
    assert desired.containers.keys() == {"dev", "scratch", "web"}
    assert {tenant.role for tenant in desired.tenants.values()} == {"admin", "member"}
    assert desired.containers["dev"].spec.on_tailnet
