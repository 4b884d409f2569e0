"""Proposals as values: what of a file stays, and that no value becomes YAML of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wishes
from agent.person import Person
from agent.proposal import amended
from agent.snapshot import read_state
from agent.wishes import Wish
from controller.errors import BadInput, VoxnixError
from controller.spec.parse import parse_file
from controller.spec.render import render
from controller.spec.state import Library
from tests.test_spec_render import MODULES, SPECS

BOB = Person("bob", "Bob")
LIBRARY = Library({"git": "Git", "fish": "Fish", "workspace": "A workspace", "tailscale": "Tailscale"}, "d")
FILE = b"""# yaml-language-server: $schema=../schema/spec.json
owner: bob
# what I need
modules: [git]   # for now

# keep it small
resources:
  memory: 1G
description: mine
"""


def state(**files: bytes):
    data = {f"state/{name}.yaml": content for name, content in files.items()}
    return read_state("c" * 40, {**data, "state/tenants/bob.yaml": b"name: Bob\n"}, LIBRARY)


def test_only_what_changes_is_written_anew():
    found = wishes.change(state(dev=FILE), BOB, "dev", Wish(add_modules=["fish"])).after
    assert found == FILE.replace(b"modules: [git]   # for now", b"modules: [git, fish]")


def test_a_new_field_goes_to_the_end_and_comments_stay():
    found = wishes.power(state(dev=FILE), BOB, "dev", "stopped").after
    assert found == FILE + b"power: stopped\n"


def test_a_field_that_goes_leaves_the_others():
    values = dict(parse_file("state/dev.yaml", FILE, modules=LIBRARY.modules).values)
    del values["resources"]
    found = amended("state/dev.yaml", FILE, values, LIBRARY.modules)
    assert found == FILE.replace(b"resources:\n  memory: 1G\n", b"")


def test_the_diff_shows_the_file():
    proposal = wishes.power(state(dev=FILE), BOB, "dev", "stopped")
    assert "+power: stopped" in proposal.diff
    assert proposal.words(state(dev=FILE)) == "power running → stopped"


EVIL = [
    "x\nowner: alice",
    "a: b",
    "&a *a",
    "!!python/object x",
    "'",
    '"',
    "# x",
    "{}",
    "\u2028owner: alice",
    "\x00",
    "%x",
]


@pytest.mark.parametrize("text", EVIL)
def test_no_text_becomes_yaml(text):
    for wish in (
        Wish(description=text),
        Wish(env={"A": text}),
        Wish(env={text: "x"}),
        Wish(hostname=text),
        Wish(add_modules=[text]),
        Wish(quota=text),
        Wish(memory=text),
    ):
        try:
            found = wishes.change(state(dev=FILE), BOB, "dev", wish).after
        except VoxnixError:
            continue
        read = parse_file("state/dev.yaml", found, modules=LIBRARY.modules)
        assert read.valid
        assert read.values["owner"] == "bob"
        assert set(read.values) <= {"owner", "modules", "resources", "description", "env"}


@pytest.mark.parametrize("text", [*EVIL, "2030-01-01T00:00:00Z\nowner: alice", "tomorrow", "2030-01-01"])
def test_no_moment_becomes_yaml(text):
    with pytest.raises(VoxnixError):
        wishes.expire(state(dev=FILE), BOB, "dev", text, datetime(2026, 1, 1, tzinfo=UTC), 30)


@pytest.mark.parametrize("text", [*EVIL, "* * *", "0 8 * * 1-5\nowner: alice"])
def test_no_schedule_becomes_yaml(text):
    with pytest.raises(VoxnixError):
        wishes.schedule(state(dev=FILE), BOB, "dev", start=text, stop=None, timezone="UTC")


@pytest.mark.parametrize("name", ["../tenants/bob", "Dev", "dev-", "a" * 12, "", "dev.yaml", "defaults/x", "state/dev"])
def test_no_name_becomes_a_path(name):
    for draw in (
        lambda: wishes.create(state(dev=FILE), BOB, name, Wish()),
        lambda: wishes.power(state(dev=FILE), BOB, name, "stopped"),
        lambda: wishes.destroy(state(dev=FILE), BOB, name, size=0, until=""),
    ):
        with pytest.raises(BadInput):
            draw()


def test_secrets_do_not_go_into_git():
    with pytest.raises(BadInput, match="looks like a secret"):
        wishes.change(state(dev=FILE), BOB, "dev", Wish(env={"API_TOKEN": "abcdefgh"}))


def test_the_digest_is_of_what_would_be_done():
    proposal = wishes.power(state(dev=FILE), BOB, "dev", "stopped")
    assert replace(proposal, base="d" * 40).digest == proposal.digest
    assert replace(proposal, after=b"owner: bob\n").digest != proposal.digest


@pytest.mark.parametrize(("text", "size"), [("10G", 10 * 2**30), ("512 MB", 512 * 2**20), ("1gib", 2**30)])
def test_sizes(text, size):
    assert wishes.size(text) == size


def test_names_that_files_of_the_whole_state_have_are_no_containers():
    for name in ("defaults", "policy"):
        with pytest.raises(VoxnixError):
            wishes.create(state(), BOB, name, Wish())


COMMENTS = st.lists(st.sampled_from(["", "# a note", "# it's mine: yes", "  # indented"]), max_size=3)


@given(SPECS, SPECS, st.data())
@settings(max_examples=300, deadline=None)
def test_a_file_that_is_amended_says_exactly_what_was_wanted(before, after, data):
    lines = []
    for line in render(before).splitlines():
        top = line[:1].isalpha()
        lines += [*(data.draw(COMMENTS) if top else []), line]
    text = ("\n".join(lines) + "\n").encode()
    was = parse_file("state/dev.yaml", text, modules=MODULES)
    wanted = parse_file("state/dev.yaml", render(after).encode(), modules=MODULES)
    if not (was.valid and wanted.valid):
        return
    content = amended("state/dev.yaml", text, wanted.values, dict.fromkeys(MODULES, ""))
    read = parse_file("state/dev.yaml", content, modules=MODULES)
    assert read.valid
    assert dict(read.values) == dict(wanted.values)
    assert amended("state/dev.yaml", text, was.values, dict.fromkeys(MODULES, "")) == text
