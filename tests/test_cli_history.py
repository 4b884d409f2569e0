"""`history`, `rollback`, `undo`: git tells what was, and going back is a new commit."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest

from controller.audit import Deed, Held, render_note
from controller.audit.note import note_of
from controller.git import Author
from controller.git.notes import write_notes
from tests.cli import ALICE, DEV, Shell

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


def test_history_tells_every_change_in_words(shell):
    shell.commit({PATH: "owner: alice\nmodules: [git, fish]\nworkspace: {quota: 20G}\n"}, "new")
    text = "owner: alice\nmodules: [git, zsh]\nworkspace: {quota: 10G}\npower: stopped\n"
    shell.commit({PATH: text}, "change\n\nBecause.", Requested_by="bob", Reason="it is enough")
    shell.commit({PATH: "owner: [\n"}, "a slip")
    shell.commit({PATH: None}, "no more")
    rows = shell.good("--json", "history", "dev").json
    assert [row["files"][0]["words"] for row in rows[::2]] == [
        ["removed"],
        ["modules +zsh −fish", "power running → stopped", "quota 20G → 10G"],
    ]
    assert rows[1]["files"][0]["words"][0].startswith("invalid: line ")
    assert rows[1]["files"][0]["problem"]
    assert rows[3]["files"][0]["words"] == ["new: git, fish; 20G"]
    assert (rows[2]["requested_by"], rows[2]["reason"], rows[2]["email"]) == (
        "bob",
        "it is enough",
        "alice@example.org",
    )
    assert rows[2]["files"][0]["fields"][0] == {
        "field": "modules",
        "before": ["fish"],
        "after": ["zsh"],
        "list": True,
    }
    told = shell.good("history", "dev").out
    for words in (
        "Alice for bob",
        "why: it is enough",
        "~ dev: modules +zsh −fish; power running → stopped",
        "- dev: rem",
    ):
        assert words in told


def test_the_defaults_of_the_time_speak_where_a_version_is_silent(shell):
    defaults = "state/defaults.yaml"
    silent, said = "owner: alice\n", "owner: alice\nworkspace: {quota: 20G}\n"
    shell.commit({PATH: silent}, "new")
    shell.commit({PATH: said}, "said")
    shell.commit({defaults: "workspace: {quota: 7G}\n"}, "defaults")
    shell.commit({PATH: silent}, "silent")
    shell.commit({defaults: "workspace: {quota: 9G}\n"}, "more")
    shell.commit({PATH: said}, "said again")
    shell.commit({defaults: None}, "none")
    shell.commit({PATH: silent}, "silent again")
    rows = shell.good("--json", "history", "dev").json
    assert [row["files"][0]["words"][0] for row in rows[:-1]] == [
        "quota 20G → 5G",
        "quota 9G → 20G",
        "quota 20G → 7G",
        "quota 5G → 20G",
    ]
    rows = shell.good("--json", "history", "-n", "3").json
    assert [row["files"][0]["words"] for row in rows] == [["quota 20G → 5G"], ["removed"], ["quota 9G → 20G"]]


def test_the_body_of_a_message_is_the_reason_where_no_trailer_is(shell):
    shell.commit({PATH: DEV}, "new\n\nFor the course.\n\nIt begins\non Monday.", Requested_by="bob")
    shell.commit({PATH: SECOND}, "subject only")
    rows = shell.good("--json", "history", "dev").json
    assert [row["reason"] for row in rows] == ["", "For the course.\n\nIt begins\non Monday."]


def test_decisions_in_words(shell):
    said = {
        "Voxnix-Approve": ("abc123", "approves of abc123"),
        "Voxnix-Purge": ("u1", "purges the data of u1 for good"),
        "Voxnix-Restore": ("web-1 as old", "brings web-1 back from the trash as old"),
        "Voxnix-Rollback-Data": ("u1 daily-1", "rolls the data of u1 back to daily-1"),
        "Voxnix-Restart": ("u1", "restarts u1 once"),
        "Voxnix-Nonsense": ("x", "Voxnix-Nonsense: x"),
    }
    for key, (value, _) in said.items():
        shell.commit({}, "words", **{key.replace("-", "_"): value})
    rows = shell.good("--json", "history").json
    assert [row["decided"] for row in rows[:-1]] == [[words] for _, words in reversed(said.values())]


def test_what_a_commit_led_to_and_who_approved(shell):
    sha = shell.commit({PATH: DEV}, "new")
    approval = shell.commit({}, "let it", Voxnix_Approve="abc123", Requested_by="carol")
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def deed(name, kind, **more):
        return Deed(sha, name, kind, "why", start, start + timedelta(seconds=90), **more)

    deeds = [deed("dev", "CreateDataset"), deed("dev", "Start"), deed("web", "Install", error="no space", tries=3)]
    held = [Held("abc123", "this would remove the last container", ("dev",), False), Held("def", "a purge", ("web",))]
    note = note_of("box", deeds, held, [("dev", "the pool is full")])
    write_notes(shell.repo, {sha: lambda present: render_note(note, present)}, ALICE)
    rows = shell.good("--json", "history").json
    (led,) = rows[1]["led_to"]
    assert (led["host"], led["outcome"]) == ("box", "failed")
    assert led["actions"][2] == {
        "container": "web",
        "kind": "Install",
        "reason": "why",
        "began": "2026-03-01T12:00:00+00:00",
        "ended": "2026-03-01T12:01:30+00:00",
        "error": "no space",
        "hint": "",
        "tries": 3,
        "outcome": "failed",
    }
    assert rows[1]["approved"] == [
        {
            "hold": "abc123",
            "what": "this would remove the last container",
            "commit": approval,
            "at": rows[0]["at"],
            "author": "Alice",
            "requested_by": "carol",
        }
    ]
    assert rows[0]["decided"] == ["approves of abc123 (dev): this would remove the last container"]
    told = " ".join(shell.good("history").out.split())
    for words in (
        "✓ dev: create dataset, start; done 2026-03-01",
        "took 2 min",
        "✗ web: install failed 2026-03-01",
        "3 tries: no space",
        "‖ waits for an approval (def): a purge",
        "… dev waits: the pool is full",
        "✓ approved by Alice for carol,",
    ):
        assert words in told
    of_dev = shell.good("--json", "history", "dev").json
    assert [row["subject"] for row in of_dev] == ["let it", "new"]
    assert {action["container"] for action in of_dev[1]["led_to"][0]["actions"]} == {"dev"}


@pytest.mark.parametrize(
    "note",
    [
        b"words",
        b"\xff",
        b'{"schema": 1, "hosts": {"\\u001b[2J": {"outcome": "\\u001b", "refused": "\\u001b[31m"}}}',
        b'{"schema": 1, "hosts": {"b": {"containers": {"dev": {"steps": [{"began": "x"}, 1]}, "x": 1}, "held": 3}}}',
    ],
)
def test_a_note_that_says_nothing_sensible_does_no_harm(shell, note):
    sha = shell.commit({PATH: DEV}, "new")
    write_notes(shell.repo, {sha: lambda _: note}, ALICE)
    assert shell.good("--json", "history").json[0]["commit"] == sha
    out = shell.good("history").out
    assert not [c for c in out if not c.isprintable() and c != "\n"]


def test_lines_fit_the_terminal(shell, monkeypatch):
    long = "x" * 300
    author = Author("A" * 100, "a@x")
    text = f"{DEV}env: {{LONG: {long}}}\ndescription: {long}\n"
    shell.repo.commit({PATH: text.encode(), f"state/{long[:100]}.yaml": b"x"}, f"{long}\n\n{long} {long}", author)
    shell.commit({"state/dev.yaml": "[", **{f"state/c{n}.yaml": DEV for n in range(30)}}, "many")
    for columns, widest in (("80", 80), ("20", 40), ("300", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        assert max(map(len, shell.good("history").out.splitlines())) <= widest
    assert "and 23 more files" in shell.good("history").out


def test_merges_are_told_as_such(shell):
    base = shell.commit({PATH: DEV}, "new")
    side = shell.commit({PATH: SECOND}, "on a branch")
    git = shell.repo.git
    git.run("update-ref", "refs/heads/main", base)
    main = shell.commit({"state/web.yaml": DEV}, "meanwhile")
    tree = "".join(
        f"{blob.mode} blob {blob.oid}\t{path.removeprefix('state/')}\n"
        for path, blob in {**shell.repo.tree(main), **{PATH: shell.repo.tree(side)[PATH]}}.items()
        if path.count("/") == 1
    )
    folder = git.run("mktree", stdin=tree.encode()).decode().strip()
    top = git.run("mktree", stdin=f"040000 tree {folder}\tstate\n".encode()).decode().strip()
    identity = "author A <a> 1 +0000\ncommitter A <a> 9999999999 +0000\n"
    raw = f"tree {top}\nparent {main}\nparent {side}\n{identity}\nmerge it\n"
    merge = git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode()).decode().strip()
    git.run("update-ref", "refs/heads/main", merge)
    row = shell.good("--json", "history").json[0]
    assert row["merge"]
    assert "~dev" in row["changes"]
    assert "merges" in shell.good("history").out
    fields = shell.good("--json", "blame", "dev").json["fields"]
    assert {row["field"]: row["subject"] for row in fields}["description"] == "on a branch"


def test_a_long_history_takes_few_processes(shell, tmp_path, monkeypatch):
    head = f"from {shell.repo.head()}\n"
    stream = [
        f"commit refs/heads/main\ncommitter A <a> {n} +0000\ndata 1\nx\n{'' if n else head}"
        f"M 100644 inline state/c{n % 50}.yaml\ndata <<END\nowner: alice\nworkspace: {{quota: {n + 1}G}}\nEND\n"
        for n in range(1000)
    ]
    shell.repo.git.run("fast-import", "--quiet", "--force", stdin="".join(stream).encode())
    shas = shell.repo.git.run("rev-list", "main").decode().split()
    note = render_note(note_of("box", []))
    write_notes(shell.repo, {sha: lambda _: note for sha in shas}, ALICE)
    log = tmp_path / "processes"
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {shutil.which("git")} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")

    def processes(*words):
        log.write_text("")
        answer = shell.good(*words)
        return answer, len([line for line in log.read_text().splitlines() if "--git-dir" in line])

    answer, count = processes("--json", "history", "-n", "2000")
    assert len(answer.json) == len(shas)
    assert all(row["led_to"] for row in answer.json)
    assert count <= 7
    answer, count = processes("--json", "history")
    assert len(answer.json) == 20
    assert count <= 7
    answer, count = processes("--json", "history", "c7")
    assert len(answer.json) == 20
    assert count <= 9
    assert processes("--json", "blame", "c7")[1] <= 6
