"""What is written is read back as the same values, by our reader and, where it could misread, by plain YAML."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.spec.fields import FileKind
from controller.spec.parse import parse_file
from controller.spec.render import render

MODULES = ("git", "fish", "tailscale", "workspace", "nix-tools")


def section(**fields):
    return st.fixed_dictionaries({}, optional=fields)


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True)
TRICKY = ["no", "1:30", "~", "2026-12-24", "a: b", "a #b", "- x", "*x", "{a}", "'q'", '"', "\\n", "x ", " x", "", "#"]
LINES = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30) | st.sampled_from(TRICKY)
PROSE = LINES | st.lists(LINES, max_size=4).map("\n".join) | st.just("one\ntwo\n")
SIZES = st.integers(64, 4096).map(lambda count: count * 2**20)
TAGS = st.lists(st.from_regex(r"tag:[a-zA-Z][a-zA-Z0-9-]{0,5}", fullmatch=True), unique=True, max_size=3)
SPECS = st.fixed_dictionaries(
    {"owner": st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)},
    optional={
        "name": st.just("dev"),
        "modules": st.lists(st.sampled_from(MODULES), unique=True),
        "power": st.sampled_from(["running", "stopped"]),
        "workspace": section(quota=SIZES, restore=st.sampled_from(["latest", "never"])),
        "tailnet": section(hostname=st.none() | NAMES, tags=TAGS, ssh=st.booleans()),
        "resources": section(
            memory=SIZES, cpus=st.integers(1, 6400).map(lambda percent: percent / 100), tasks=st.integers(16, 10**6)
        ),
        "env": st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True), LINES, max_size=4),
        "secrets": st.lists(NAMES, unique=True, max_size=30),
        "schedule": st.none() | section(start=st.just("*/5 8 * * 1-5"), timezone=st.just("Europe/Berlin")),
        "expires": st.none() | st.just("2030-01-01T00:00:00+01:00"),
        "paused": st.booleans(),
        "host": st.none() | NAMES,
        "renamed_from": st.none() | NAMES.filter(lambda name: name != "dev"),
        "description": PROSE,
    },
)


@given(SPECS)
@settings(max_examples=300, deadline=None)
def test_a_spec_that_is_written_is_read_back(values):
    text = render(values)
    result = parse_file("state/dev.yaml", text.encode(), modules=MODULES)
    assert result.problems == (), text
    assert result.values == values, text


@given(st.dictionaries(st.sampled_from(["A", "no", "y"]), LINES, min_size=1))
@settings(deadline=None)
def test_no_reader_of_yaml_takes_a_text_for_something_else(env):
    plain = yaml.safe_load(render({"owner": "alice", "env": env}))
    assert list(plain["env"].values()) == list(env.values())


def test_a_tidy_file():
    values = {
        "description": "Workbench.\nSecond line.\n",
        "owner": "alice",
        "modules": ["git", "fish"],
        "workspace": {"quota": 20 * 2**30},
        "resources": {"cpus": 2.0, "memory": 1536 * 2**20},
        "env": {"EDITOR": "vi", "DEBUG": "1"},
        "schedule": {"start": "0 8 * * 1-5"},
        "paused": False,
    }
    assert render(values, schema="../spec.json") == (
        "# yaml-language-server: $schema=../spec.json\n"
        "owner: alice\n"
        "modules: [git, fish]\n"
        "workspace:\n  quota: 20G\n"
        "resources:\n  memory: 1536M\n  cpus: 2\n"
        'env:\n  EDITOR: vi\n  DEBUG: "1"\n'
        'schedule:\n  start: "0 8 * * 1-5"\n'
        "paused: false\n"
        "description: |\n  Workbench.\n  Second line.\n"
    )


def test_long_lists_go_one_a_line():
    text = render({"owner": "alice", "secrets": [f"a-rather-long-secret-{n}" for n in range(6)]})
    assert "secrets:\n  - a-rather-long-secret-0\n" in text


def test_tenants_and_defaults_are_written_too():
    tenant = {"name": "Alice", "role": "admin", "telegram": [-5], "limits": {"storage": 2**40}}
    text = render(tenant, FileKind.TENANT)
    assert parse_file("state/tenants/alice.yaml", text.encode(), modules=()).values == tenant
    assert render({}, FileKind.DEFAULTS) == "{}\n"


@pytest.mark.parametrize("values", [{"ownr": "alice"}, {"resources": {"mem": 1}}])
def test_an_unknown_field_is_not_written(values):
    with pytest.raises(KeyError):
        render(values)
