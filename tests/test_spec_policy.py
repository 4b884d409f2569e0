"""What `state/policy.yaml` asks for, and that a slip in it never opens what was closed."""

from __future__ import annotations

import pytest

from controller.spec.fields import FileKind
from controller.spec.parse import classify, parse_file
from controller.spec.policy import identity_required
from controller.spec.render import render
from controller.spec.schema import schemas

POLICY = "state/policy.yaml"


def read(files):
    return [parse_file(path, text.encode(), modules=()) for path, text in files.items()]


@pytest.mark.parametrize(
    ("files", "required"),
    [
        ({}, False),
        ({"state/dev.yaml": "owner: alice\n"}, False),
        ({POLICY: "identity: open\n"}, False),
        ({POLICY: ""}, False),
        ({POLICY: "identity: required\n"}, True),
        ({POLICY: "identity: perhaps\n"}, True),
        ({POLICY: "identity:\n"}, True),
        ({POLICY: "identity: [open]\n"}, True),
        ({POLICY: "identiy: open\n"}, True),
        ({POLICY: "identity: open\nidentity: open\n"}, True),
        ({POLICY: "\x00"}, True),
        ({"state/Policy.yaml": "identity: open\n"}, True),
        ({"state/policy.yml": "identity: open\n"}, True),
        ({POLICY: "identity: open\n", "state/policy.yml": "identity: open\n"}, True),
        ({"state/tenants/policy.yaml": "name: P\n"}, False),
        ({"policy.yaml": "identity: required\n"}, False),
    ],
)
def test_what_is_asked_for(files, required):
    assert identity_required(read(files)) is required


def test_a_policy_is_no_container():
    assert classify(POLICY) == (FileKind.POLICY, "policy", None)
    assert classify("state/policy.yml")[2] is not None


def test_mistakes_are_explained():
    [result] = read({POLICY: "identity: requierd\n"})
    [problem] = result.problems
    assert (problem.line, problem.column) == (1, 11)
    assert "required" in f"{problem.expected} {problem.hint}"


def test_it_is_written_and_described():
    assert render({"identity": "required"}, FileKind.POLICY) == "identity: required\n"
    assert schemas()["policy"]["properties"]["identity"]["enum"] == ["required", "open"]
