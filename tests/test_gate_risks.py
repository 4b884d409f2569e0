"""What a push is warned of: allowed, and perhaps not meant."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.gate.brief import Side
from controller.gate.risks import risks
from controller.observed import Unknown
from controller.spec.parse import parse_file
from controller.spec.resolve import resolve
from controller.spec.state import Library
from tests.keygen import Key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIBRARY = Library({"git": "", "workspace": ""}, "digest")
ALICE = "name: Alice\nrole: admin\nssh_keys: ['{key}']\n"
KEY, OTHER = Key("alice").public, Key("other").public


def side(**files: str) -> Side:
    """A state with these specs; a path for a name that has a slash in it."""
    texts = {"tenants/alice": ALICE.format(key=KEY), **{name.replace("__", "/"): text for name, text in files.items()}}
    read = {
        f"state/{name}.yaml": parse_file(f"state/{name}.yaml", text.encode(), modules=LIBRARY.modules)
        for name, text in texts.items()
    }
    found = resolve(read, revision="r", changed={}, last={}, last_tenants={}, library=LIBRARY)
    assert not isinstance(found, Unknown)
    assert not found.problems, found.problems
    return Side(found, read)


def spec(more: str = "") -> str:
    """Alice's container."""
    return f"owner: alice\nmodules: [workspace]\n{more}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (None, spec(), ""),
        (None, spec("env: {GITHUB_TOKEN: abc}\n"), "`env.GITHUB_TOKEN` looks like a secret"),
        (None, spec("env: {DB_PASSWORD: abc}\n"), "`env.DB_PASSWORD` looks like a secret"),
        (None, spec("env: {OTHER: tskey-auth-k123}\n"), "`env.OTHER` looks like a secret"),
        (None, spec("env: {EDITOR: vi, KEYBOARD: de, TOKENIZERS: x}\n"), ""),
        (spec("env: {A_TOKEN: abc}\n"), spec("env: {A_TOKEN: abc}\npower: stopped\n"), ""),
        (spec(), spec("expires: 2026-02-01T00:00:00Z\n"), "`expires` is over already"),
        (spec(), spec("expires: 2026-03-01T20:00:00Z\n"), "it is removed soon: `expires` is 2026-03-01 20:00 UTC"),
        (spec(), spec("expires: 2027-03-01T20:00:00Z\n"), ""),
        (spec(), "owner: alice\n", "there is no /workspace any more"),
        (spec("workspace: {quota: 9G}\n"), spec("workspace: {quota: 4G}\n"), "if more than 4G is used"),
        (spec("workspace: {quota: 4G}\n"), spec("workspace: {quota: 9G}\n"), ""),
        (spec(), spec("workspace: {restore: never}\n"), "it comes back empty"),
    ],
)
def test_containers(old: str | None, new: str, said: str) -> None:
    before = side() if old is None else side(dev=old)
    found = [str(problem) for problem in risks(before, side(dev=new), NOW)]
    assert len(found) == bool(said), found
    assert all(problem.startswith("state/dev.yaml: ") and said in problem for problem in found)
    assert not any("abc" in problem for problem in found), "no secret is repeated"


def test_what_was_not_touched_is_not_told() -> None:
    before = side(dev=spec("env: {A_TOKEN: abc}\n"))
    assert list(risks(before, before, NOW)) == []


@pytest.mark.parametrize(
    ("bob", "said"),
    [
        (f"name: Bob\nssh_keys: ['{OTHER}']\n", ""),
        (f"name: Bob\nrole: admin\nsigning_keys: ['{OTHER}']\n", ""),
        ("name: Bob\nrole: admin\n", "bob is an admin without a key"),
        ("name: Bob\n", ""),
    ],
)
def test_tenants(bob: str, said: str) -> None:
    found = [str(problem) for problem in risks(side(), side(tenants__bob=bob), NOW) if "bob" in str(problem)]
    assert bool(found) == bool(said), found
    assert all(said in problem for problem in found)
