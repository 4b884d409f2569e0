"""`history`, `rollback`, `undo`: git tells what was, and going back is a new commit."""

from __future__ import annotations

import pytest

from tests.cli import DEV, Shell

PATH = "state/dev.yaml"
SECOND = DEV + "description: second\n"


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch).begin()


def content(shell, path=PATH):
    return shell.repo.read(shell.repo.head(), [path]).get(path, b"").decode()


def test_history_tells_who_what_and_why(shell):
    shell.commit({PATH: DEV}, "a container for Alice")
    shell.commit({"README.md": "not state"}, "words")
    shell.commit({}, "let it go", Voxnix_Approve="abc123")
    shell.commit({PATH: None}, "no longer\x1b[2J needed")
    rows = shell.good("--json", "history").json
    assert [row["subject"] for row in rows] == [
        "no longer\x1b[2J needed",
        "let it go",
        "a container for Alice",
        "Start with an example",
    ]
    assert [row["changes"] for row in rows] == [["-dev"], [], ["+dev"], ["+tenants/alice", "+tenants/bob"]]
    assert rows[1]["decisions"] == ["Voxnix-Approve: abc123"]
    told = shell.good("history").out
    assert "no longer\\x1b[2J needed" in told
    assert "Alice" in told
    assert [row["changes"] for row in shell.good("--json", "history", "dev").json] == [["-dev"], ["+dev"]]
    assert len(shell.good("--json", "history", "-n", "2").json) == 2


def test_history_of_an_unknown_name(shell):
    shell.commit({PATH: DEV})
    said = shell.run("history", "dve")
    assert said.code == 1
    assert "dve was never in the state repo" in said.err
    assert "did you mean dev?" in said.err


def test_undo_takes_the_last_commit_back(shell):
    shell.commit({PATH: DEV}, "new")
    removed = shell.commit({PATH: None}, "gone")
    said = shell.good("undo", "--reason", "I do need it")
    assert "Undone in state/dev.yaml" in said.out
    assert "voxnix apply" in said.out
    assert content(shell) == DEV
    message = shell.repo.show(shell.repo.head()).message
    assert message.startswith('undo "gone"\n\n')
    assert removed in message
    assert message.endswith("I do need it")


def test_undo_of_a_creation_removes(shell):
    sha = shell.commit({PATH: DEV}, "new")
    shell.commit({"state/web.yaml": DEV}, "another")
    shell.good("undo", sha[:10])
    assert content(shell) == ""
    assert content(shell, "state/web.yaml") == DEV


def test_undo_of_an_undo_is_a_redo(shell):
    shell.commit({PATH: DEV}, "new")
    shell.good("undo")
    shell.good("undo")
    assert content(shell) == DEV


def test_undo_refuses_what_changed_since(shell):
    sha = shell.commit({PATH: DEV}, "new")
    shell.commit({PATH: SECOND}, "second")
    said = shell.run("undo", sha)
    assert said.code == 1
    assert f"state/dev.yaml changed again after commit {sha[:10]}" in said.err
    assert "voxnix rollback" in said.err
    assert content(shell) == SECOND


@pytest.mark.parametrize(
    ("changes", "trailers", "words"),
    [
        ({}, {"Voxnix_Approve": "abc123"}, "is a decision"),
        ({"README.md": "x"}, {}, "changed nothing in the state"),
    ],
)
def test_undo_of_what_changed_no_state(shell, changes, trailers, words):
    shell.commit(changes, "words", **trailers)
    said = shell.run("undo")
    assert said.code == 1
    assert words in said.err


@pytest.mark.parametrize("revision", ["nonsense", "--", "-x", "HEAD~99", "a" * 40])
def test_undo_of_no_revision(shell, revision):
    said = shell.run("undo", "--no-wait", "--", revision)
    assert said.code == 1
    assert "revision" in said.err


def test_rollback_brings_the_previous_version_back(shell):
    shell.commit({PATH: DEV}, "first")
    shell.commit({PATH: SECOND}, "second")
    assert "dev is back at commit" in shell.good("rollback", "dev").out
    assert content(shell) == DEV
    shell.good("rollback", "dev")
    assert content(shell) == SECOND


def test_rollback_to_a_revision(shell):
    first = shell.commit({PATH: DEV}, "first")
    shell.commit({PATH: SECOND}, "second")
    shell.commit({PATH: SECOND + "paused: true\n"}, "third")
    shell.good("rollback", "dev", first, "--reason", "it was better")
    assert content(shell) == DEV
    assert "it was better" in shell.repo.show(shell.repo.head()).message


def test_rollback_of_a_removed_container_brings_it_back(shell):
    shell.commit({PATH: DEV}, "first")
    shell.commit({PATH: None}, "gone")
    shell.good("rollback", "dev")
    assert content(shell) == DEV


def test_rollback_explains_what_cannot_be(shell):
    first = shell.commit({PATH: DEV}, "first")
    assert "has had one version only" in shell.run("rollback", "dev").err
    assert "is already as it was" in shell.run("rollback", "dev", first).err
    assert "there never was a state/web.yaml" in shell.run("rollback", "web").err
    assert "there was no state/dev.yaml at" in shell.run("rollback", "dev", "HEAD~1").err


def test_a_state_repo_elsewhere_is_not_written_to(shell):
    said = shell.run("--state", "ssh://git@box/state.git", "undo", options=False)
    assert said.code == 1
    assert "is on another machine" in said.err


def test_no_state_repo_at_all(shell):
    assert "there is no state repo at" in shell.run("--state", str(shell.directory / "no"), "history").err
    assert "no state repo given" in shell.run("history", options=False).err
