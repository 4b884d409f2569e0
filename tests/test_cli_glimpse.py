"""`voxnix files`: snapshots, folders and single files, on the simulated host."""

from __future__ import annotations

import asyncio
import os

import pytest

from controller.settings import load
from controller.wiring import sweep
from tests.cli import Shell

DATA = "tank/users/alice/containers/dev"
FIRST, SECOND = "voxnix-20260301T120000Z-daily", "voxnix-20260302T120000Z-system"
SPEC = "owner: alice\nmodules: [git, workspace]\n"


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    made = Shell(tmp_path, capsys, monkeypatch).begin()
    made.commit({"state/dev.yaml": SPEC})
    made.good("apply")
    workspace = made.sim / "root" / DATA / "workspace"
    (workspace / "notes.txt").write_text("first\n")
    (workspace / "src").mkdir()
    (workspace / "src/main.py").write_text("print()\n")
    (workspace / "evil\x1b[2J").write_text("")
    (workspace / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(workspace / "pipe")
    snapshot(made, FIRST)
    (workspace / "notes.txt").write_text("second\n")
    (workspace.parent / "home/alice").mkdir()
    (workspace.parent / "home/alice/.profile").write_text("umask 077\n")
    (workspace.parent / "var-lib/db").write_text("rows\n")
    snapshot(made, SECOND)
    (workspace / "notes.txt").unlink()
    return made


def snapshot(shell, label):
    assert shell.good("sim", "exec", "zfs", "snapshot", "-r", f"{DATA}@{label}").code == 0


def test_snapshots_are_listed_with_when_and_why(shell):
    said = shell.good("files", "dev").out
    assert FIRST in said
    assert "by the clock" in said
    rows = shell.good("--json", "files", "dev").json
    assert {"snapshot": SECOND, "at": "2026-03-02T12:00:00+00:00", "why": rows[-1]["why"]} == rows[-1]
    assert "before its system changed" in rows[-1]["why"]


def test_a_folder_is_listed_harmlessly(shell):
    assert shell.good("files", "dev", "--at", FIRST).out.split() == ["/home", "/root", "/var/lib", "/workspace"]
    assert shell.good("files", "dev", "--at", FIRST, "/var").out.split() == ["/var/lib"]
    said = shell.good("files", "dev", "--at", FIRST, "/workspace").out
    assert "\x1b" not in said
    assert "evil\\x1b[2J" in said
    assert "src/" in said
    found = {one["name"]: one for one in shell.good("--json", "files", "dev", "--at", FIRST, "workspace/").json}
    assert found["notes.txt"]["bytes"] == 6
    assert found["passwd"]["kind"] == "symlink"
    assert shell.good("files", "dev", "--at", FIRST, "/root").out == "The folder is empty.\n"


def test_one_file_is_printed_as_it_was(shell):
    assert shell.good("files", "dev", "--at", FIRST, "/workspace/notes.txt").out == "first\n"
    assert shell.good("files", "dev", "--at", "latest", "/workspace/notes.txt").out == "second\n"
    assert shell.good("files", "dev", "--at", "20260302", "home/alice/.profile").out == "umask 077\n"
    assert shell.good("files", "dev", "--at", SECOND, "/var/lib/db").out == "rows\n"


def test_files_are_copied_beside_live_data_which_stays(shell):
    said = shell.good("files", "dev", "--at", SECOND, "--to", "back", "/workspace/notes.txt", "/workspace/src/main.py")
    assert said.out.split() == ["back/notes.txt", "7B", "back/main.py", "8B"]
    assert (shell.directory / "back/notes.txt").read_text() == "second\n"
    assert not (shell.sim / "root" / DATA / "workspace/notes.txt").exists()
    again = shell.run("files", "dev", "--at", SECOND, "--to", "back", "/workspace/notes.txt")
    assert "already" in again.err
    clones = shell.good("sim", "exec", "zfs", "list", "-H", "-o", "name", "-r", "tank/looking").out
    assert clones.split() == ["tank/looking"]


def test_the_data_of_a_removed_container_can_be_looked_at_too(shell):
    shell.commit({"state/dev.yaml": None})
    shell.good("apply")
    (piece,) = shell.good("--json", "trash", "list").json
    assert shell.good("files", piece["id"], "--at", FIRST, "/workspace/notes.txt").out == "first\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dve",), "did you mean dev?"),
        (("dev", "/workspace"), "say from which snapshot"),
        (("dev", "--at", "voxnix-2026"), "say which"),
        (("dev", "--at", "nope"), "there is no snapshot nope"),
        (("dev", "--at", FIRST, "/etc/passwd"), "is not kept in snapshots"),
        (("dev", "--at", FIRST, "/workspace/../../etc"), "goes upwards"),
        (("dev", "--at", FIRST, "/workspace/passwd"), "a symlink, which is not followed"),
        (("dev", "--at", FIRST, "/workspace/pipe/x"), "there is no pipe"),
        (("dev", "--at", FIRST, "/workspace/none"), "there is no none"),
        (("dev", "--at", FIRST, "/workspace", "/home"), "one folder or file at a time"),
        (("dev", "--at", FIRST, "--to", "out"), "say which files"),
        (("dev", "--at", FIRST, "--to", "out", "/workspace/src"), "is no file, but a folder"),
        (("--json", "dev", "--at", FIRST, "/workspace/notes.txt"), "a file is not JSON"),
    ],
)
def test_what_cannot_be_had_is_said(shell, words, said):
    answer = shell.run("files", *words)
    assert answer.code == 1
    assert said in answer.err


def test_a_controller_that_starts_removes_what_a_killed_reader_left(shell):
    shell.good("sim", "exec", "zfs", "create", "-o", "mountpoint=none", "-o", "voxnix:part=looking", "tank/looking")
    left = "tank/looking/bbbbbbbbbbbbbbbb"
    options = ("-o", "voxnix:part=looking", "-o", "mountpoint=none")
    shell.good("sim", "exec", "zfs", "clone", *options, f"{DATA}/workspace@{FIRST}", left)
    asyncio.run(sweep(load({"host": f"sim:{shell.sim}"}, {})))
    assert left not in shell.good("sim", "exec", "zfs", "list", "-H", "-o", "name").out.split()
