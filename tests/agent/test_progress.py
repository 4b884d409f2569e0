"""What is said of a container after a commit, by its published status."""

from __future__ import annotations

import pytest

from agent.ledger import Entry, Stage
from agent.person import Person
from agent.progress import failed, line_of
from tests.cli import condition, container, document, hold, piece

BOB = Person("bob", "Bob")
SHA = "a" * 40


def entry(content: bytes | None = b"owner: bob\n", **more) -> Entry:
    values = {"path": "state/dev.yaml", "content": content, "sha": SHA, "stage": Stage.ACCEPTED, **more}
    return Entry("k", "c", "m", "bob", "Bob", "dev", "change dev", "b" * 40, 0.0, **values)


def said(status=None, *, entries=None, events=(), **more):
    found = document(*([status] if status else []), **more)
    return line_of("dev", entries or [entry()], found, events, BOB)


def dev(**more):
    return container("dev", "bob", **more)


def test_ready_says_what_is_usable():
    found = said(dev(tailnet_addresses=["100.64.0.1"], workspace_quota=5 * 2**30))
    assert (found.text, found.settled) == ("✓ dev is running · ssh root@dev · 10.0.0.2 · 5G workspace", True)


def test_on_its_way_tells_the_steps_of_this_commit():
    events = [
        {"kind": "CreateDataset", "revision": SHA},
        {"kind": "Install", "revision": SHA},
        {"kind": "Start", "revision": "other"},
    ]
    found = said(dev(phase="converging"), events=events)
    assert (found.text, found.settled) == ("… dev: on its way · storage ✓ · system ✓", False)


def test_nothing_of_it_yet():
    assert not said().settled


def test_a_failure_says_what_and_what_to_do():
    wrong = [condition("System", "False", "Blocked", "building dev failed: no such module", "correct the spec")]
    found = said(dev(phase="degraded", conditions=wrong))
    assert found.settled
    assert "building dev failed" in found.text
    assert "→ correct the spec" in found.text


def test_a_removal_ends_in_the_trash():
    found = said(entries=[entry(None)], trash=[piece(name="dev", owner="bob")])
    assert found.settled
    assert "5M in the trash until 2026-03-31" in found.text
    assert not said(dev(phase="removing"), entries=[entry(None)]).settled
    assert not said(dev(phase="ready"), entries=[entry(None)]).settled


@pytest.mark.parametrize(
    ("more", "who"),
    [
        ({"owner": "bob", "admin": False}, "say “approve dev”"),
        ({"owner": "bob", "admin": True}, "an admin says"),
        ({"owner": "alice", "admin": False}, "an admin says"),
        ({"owner": "bob", "admin": False, "personal": True}, "an admin"),
    ],
)
def test_a_hold_says_who_can_let_it_go_on(more, who):
    found = said(dev(phase="held"), holds=[hold(names=["dev"], **more)])
    assert found.settled
    assert who in found.text


def test_a_hold_that_this_approves_is_not_told():
    approval = entry(None, path="", trailers=(("Voxnix-Approve", "abc123def456"),))
    found = said(dev(phase="held"), entries=[entry(None), approval], holds=[hold(names=["dev"])])
    assert not found.settled
    refused = said(dev(phase="held"), entries=[approval], holds=[hold(names=["dev"], refused="too late")])
    assert "too late" in refused.text


def test_paused():
    assert "paused" in said(dev(phase="paused")).text


def test_what_had_no_effect():
    assert "refused. no" in failed(entry(stage=Stage.REFUSED, detail="no")).text
    assert "not written" in failed(entry(stage=Stage.DROPPED)).text
