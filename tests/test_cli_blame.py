"""`blame`: of each field, who set it last, when, and why."""

from __future__ import annotations

import pytest

from controller.git import Author
from tests.cli import DEV, Shell

PATH = "state/dev.yaml"
BOB = Author("Bob", "bob@example.org")


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch).begin()


def found(shell, name="dev"):
    """Field and value, and the subject of the commit that set it."""
    fields = shell.good("--json", "blame", name).json["fields"]
    return {(row["field"], row["value"]): row.get("subject") for row in fields}


def test_each_field_and_list_item_has_its_commit(shell):
    shell.commit({PATH: DEV}, "first")
    shell.commit({PATH: DEV + "workspace: {quota: 10G, restore: never}\n"}, "quota")
    shell.commit({PATH: "owner: alice\nmodules: [fish, workspace]\nworkspace: {quota: 10G, restore: latest}\n"}, "last")
    assert found(shell) == {
        ("owner", "alice"): "first",
        ("modules", "fish"): "last",
        ("modules", "workspace"): "first",
        ("workspace.quota", "10G"): "quota",
        ("workspace.restore", "latest"): "last",
    }


def test_who_when_and_why(shell):
    message = "raise it\n\nThe build needs room.\n\nRequested-by: carol\nReason: a big build"
    sha = shell.repo.commit({PATH: DEV.encode()}, message, BOB)
    rows = shell.good("--json", "blame", "dev").json["fields"]
    row = rows[0]
    assert (row["author"], row["email"], row["requested_by"], row["reason"]) == (
        "Bob",
        "bob@example.org",
        "carol",
        "a big build",
    )
    assert (row["commit"], row["subject"], row["file"], row["item"]) == (sha, "raise it", PATH, False)
    assert row["at"].startswith("20")
    assert rows[1]["item"]
    told = shell.good("blame", "dev").out
    assert "FIELD" in told
    assert "Bob for carol" in told
    assert "a big build" in told
    assert all(len(line) <= 80 for line in told.splitlines())


def test_what_is_set_back_is_set_by_whoever_did_that(shell):
    for number, quota in enumerate(("5G", "10G", "5G")):
        shell.commit({PATH: f"{DEV}workspace: {{quota: {quota}}}\n"}, f"commit {number}")
    assert found(shell)["workspace.quota", "5G"] == "commit 2"
    assert found(shell)["owner", "alice"] == "commit 0"


def test_an_invalid_version_had_no_effect(shell):
    shell.commit({PATH: DEV}, "first")
    shell.commit({PATH: "owner: [\n"}, "a slip")
    said = shell.good("--json", "blame", "dev").json
    assert said["problem"].startswith("state/dev.yaml:")
    assert {row["subject"] for row in said["fields"]} == {"first"}
    assert "The present file has no effect" in shell.good("blame", "dev").out
    shell.commit({PATH: DEV + "power: stopped\n"}, "mended")
    assert found(shell) == {
        ("owner", "alice"): "first",
        ("modules", "git"): "first",
        ("modules", "workspace"): "first",
        ("power", "stopped"): "mended",
    }


def test_former_names_are_followed(shell):
    shell.commit({"state/one.yaml": DEV}, "one")
    shell.commit({"state/one.yaml": DEV + "power: stopped\n"}, "power")
    shell.commit({"state/one.yaml": None, "state/two.yaml": DEV + "power: stopped\nrenamed_from: one\n"}, "two")
    shell.commit({"state/two.yaml": None}, "two goes first")
    text = "owner: alice\nmodules: [git]\npower: stopped\nrenamed_from: two\n"
    shell.commit({"state/three.yaml": text}, "three")
    assert found(shell, "three") == {
        ("owner", "alice"): "one",
        ("modules", "git"): "one",
        ("power", "stopped"): "power",
        ("renamed_from", "two"): "three",
    }
    assert shell.good("--json", "blame", "three").json["former_names"] == ["two", "one"]
    assert shell.good("--json", "blame", "three").json["fields"][0]["file"] == "state/one.yaml"
    subjects = [row["subject"] for row in shell.good("--json", "history", "three").json]
    assert subjects == ["three", "two goes first", "two", "power", "one"]


def test_names_that_go_round_in_a_circle(shell):
    shell.commit({"state/a.yaml": "owner: alice\nrenamed_from: b\n"}, "a")
    shell.commit({"state/a.yaml": None, "state/b.yaml": "owner: alice\nrenamed_from: a\n"}, "b")
    assert found(shell, "b") == {("owner", "alice"): "a", ("renamed_from", "a"): "b"}


def test_a_container_that_comes_back_is_a_new_one(shell):
    shell.commit({PATH: DEV}, "first")
    shell.commit({PATH: None}, "gone")
    assert "dev was removed in commit" in shell.run("blame", "dev").err
    shell.commit({PATH: DEV}, "again")
    assert set(found(shell).values()) == {"again"}


def test_defaults_count_where_the_file_is_silent(shell):
    defaults = "state/defaults.yaml"
    shell.commit({PATH: DEV + "resources: {memory: 1G}\n"}, "first")
    shell.commit({defaults: "workspace: {quota: 7G}\nresources: {memory: 4G, cpus: 1}\n"}, "defaults")
    shell.commit({defaults: "workspace: {quota: 8G}\nresources: {memory: 4G, cpus: 1}\n"}, "more")
    assert found(shell)["workspace.quota", "8G"] == "more"
    assert found(shell)["resources.cpus", "1"] == "defaults"
    assert found(shell)["resources.memory", "1G"] == "first"
    assert ("resources.memory", "4G") not in found(shell)
    assert "state/defaults.yaml" in shell.good("blame", "dev").out


def test_a_name_that_never_was(shell):
    shell.commit({PATH: DEV})
    said = shell.run("blame", "dve")
    assert said.code == 1
    assert "there never was a state/dve.yaml" in said.err
    assert "did you mean dev?" in said.err
    assert "cannot be the name" in shell.run("blame", "../x").err


def test_nothing_that_a_terminal_obeys(shell):
    text = 'owner: alice\nmodules: [git]\nenv: {A: "\\e[2J"}\ndescription: "x\\e]0;y\\a"\n'
    evil = Author("Ev\x1b[31mil", "e@x")
    shell.repo.commit({PATH: text.encode()}, "bad\x1b[2J subject", evil)
    shell.repo.commit({PATH: DEV.encode()}, "well\u202e done\n\nbody \x1b[2J", evil)
    for words in (("blame", "dev"), ("history",), ("history", "dev")):
        out = shell.good(*words).out
        assert not [c for c in out if not c.isprintable() and c != "\n"], words
