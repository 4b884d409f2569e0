"""The hooks of a state repo: put there, brought up to date, and never over anybody else's."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest

from controller.errors import Blocked
from controller.gate.hooks import CONFIG, HOOKS, install, missing
from tests.cli import Shell
from tests.pushing import snapshot


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch).begin()


def config(path, key):
    words = ["git", "config", "--file", str(path / "config"), key]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def test_they_are_executable_and_start_voxnix_with_the_options(shell):
    assert missing(shell.path) == list(HOOKS)
    written = install(shell.path, ["--config", "/etc/a b.toml", "--host", "sim:/x"])
    assert [place.name for place in written] == list(HOOKS)
    assert missing(shell.path) == []
    for name, place in zip(HOOKS, written, strict=True):
        assert place.stat().st_mode & 0o777 == 0o755
        assert f"exec \"$program\" hook {name} --config '/etc/a b.toml' --host sim:/x\n" in place.read_text()
    assert {key: config(shell.path, key) for key in CONFIG} == dict(CONFIG)


def test_twice_is_as_good_as_once(shell):
    install(shell.path, [])
    before = snapshot(shell.path)
    install(shell.path, [])
    assert snapshot(shell.path) == before


def test_they_are_brought_up_to_date(shell):
    install(shell.path, ["--host", "sim:/old"])
    install(shell.path, ["--host", "sim:/new"])
    assert "sim:/new" in (shell.path / "hooks/pre-receive").read_text()
    assert not list((shell.path / "hooks").glob(".*"))


@pytest.mark.parametrize("name", HOOKS)
@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_hook_of_somebody_else_is_in_the_way_and_nothing_changes(shell, name, kind):
    place = shell.path / "hooks" / name
    place.parent.mkdir(exist_ok=True)
    if kind == "file":
        place.write_text("#!/bin/sh\necho mine\n")
    else:
        place.symlink_to("/bin/true" if kind == "link" else "/nowhere")
    before = snapshot(shell.path) if kind != "dangling" else None
    with pytest.raises(Blocked, match=f"hooks/{name} is there already, and is not voxnix's") as caught:
        install(shell.path, [])
    assert "move it away" in caught.value.hint
    assert before is None or snapshot(shell.path) == before
    assert config(shell.path, "receive.denyDeletes") == ""


@pytest.mark.parametrize("spoil", [lambda place: place.chmod(0o644), lambda place: place.unlink()])
def test_what_is_missing_is_told(shell, spoil):
    install(shell.path, [])
    spoil(shell.path / "hooks/post-receive")
    assert missing(shell.path) == ["post-receive"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a repository to another user")
def test_a_repository_of_another_user_stays_theirs(shell):
    nobody = pwd.getpwnam("nobody")
    shell.directory.chmod(0o755)
    for parent in shell.directory.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o755)
    for place in [shell.path, *shell.path.rglob("*")]:
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
    install(shell.path, [])
    owners = {place.stat().st_uid for place in shell.path.rglob("*")}
    assert owners == {nobody.pw_uid}
    assert missing(shell.path) == []


def test_a_program_that_is_gone_refuses_the_push_and_says_so(shell):
    (hook, _) = install(shell.path, [])
    text = hook.read_text()
    program = next(
        line.partition("program=$(command -v voxnix) || program=")[2] for line in text.splitlines() if "||" in line
    )
    hook.write_text(text.replace(program, "/nowhere/voxnix"))
    done = subprocess.run([str(hook)], env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "voxnix is not installed here, so this push cannot be judged and is not taken" in done.stderr
