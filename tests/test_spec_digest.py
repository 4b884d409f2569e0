"""What changes a system digest, and what must never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.spec.digest import canonical, digest_of, own_digest, system_digest, system_part
from controller.spec.model import ContainerSpec
from controller.spec.state import Library

LIBRARY = Library({}, "lib1")
BASE = {"name": "dev", "owner": "alice", "modules": ["git", "tailscale", "workspace"], "env": {"A": "1"}}


def digest(**more):
    return system_digest(ContainerSpec.model_validate(BASE | more), LIBRARY)


@pytest.mark.parametrize(
    "change",
    [
        {"power": "stopped"},
        {"workspace": {"quota": 2**30, "restore": "never"}},
        {"tailnet": {"hostname": "other", "tags": ["tag:x"], "ssh": False}},
        {"resources": {"memory": 2**30, "cpus": 1.0, "tasks": 100}},
        {"secrets": ["a", "bob/b"]},
        {"schedule": {"start": "0 8 * * *"}},
        {"expires": "2030-01-01T00:00:00Z"},
        {"paused": True},
        {"host": "nuc"},
        {"renamed_from": "old"},
        {"description": "words"},
        {"modules": ["workspace", "git", "tailscale"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_never_rebuilds(change):
    assert digest(**change) == digest()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "web"},
        {"owner": "bob"},
        {"modules": ["git", "tailscale"]},
        {"modules": [*BASE["modules"], "fish"]},
        {"env": {"A": "2"}},
        {"env": {}},
    ],
    ids=str,
)
def test_what_rebuilds(change):
    assert digest(**change) != digest()


def test_the_library_rebuilds():
    spec = ContainerSpec.model_validate(BASE)
    assert system_digest(spec, LIBRARY) != system_digest(spec, Library({}, "lib2"))


def test_every_field_was_thought_of():
    known = {"power", "workspace", "tailnet", "resources", "secrets", "schedule", "expires", "paused", "host"}
    known |= {"renamed_from", "description", "name", "owner", "modules", "env"}
    assert set(ContainerSpec.model_fields) == known


def test_the_own_digest_counts_what_the_file_says_of_its_system():
    own = own_digest("dev", {"owner": "alice", "modules": ["git", "fish"]})
    assert own == own_digest("dev", {"owner": "alice", "modules": ["fish", "git"], "power": "stopped"})
    assert own != own_digest("web", {"owner": "alice", "modules": ["git", "fish"]})
    assert own != own_digest("dev", {"owner": "alice"})
    assert own != own_digest("dev", {"owner": "alice", "modules": ["git", "fish"], "env": {}})


def test_the_shape_of_a_digest():
    assert digest_of({"b": [1, "é"], "a": None}) == digest_of({"a": None, "b": [1, "é"]})
    assert len(digest_of({})) == 32
    assert canonical({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"\\u00e9"]}'
    assert system_part(ContainerSpec.model_validate(BASE)) == {
        "name": "dev",
        "owner": "alice",
        "modules": ["git", "tailscale", "workspace"],
        "env": {"A": "1"},
        "workspace": True,
        "tailscale": True,
    }


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers()))
def test_the_order_of_keys_never_counts(value):
    assert digest_of(dict(reversed(value.items()))) == digest_of(value)
