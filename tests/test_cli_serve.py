"""`voxnix serve`: what sshd starts for whoever comes with a key, and all that it does not do for them."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.api import Api
from controller.git import serving
from controller.receive import ReceiveLog
from controller.store import Store
from tests.cli import Shell, container, document
from tests.keygen import Key
from tests.pushers import AGENT, ALICE, BOB, STRANGER, TENANTS, tenant


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SSH_ORIGINAL_COMMAND", raising=False)
    found = Shell(tmp_path, capsys, monkeypatch)
    return found.begin({**TENANTS, "state/web.yaml": "owner: bob\n", "state/dev.yaml": "owner: alice\n"})


@dataclass
class Standing:
    """A controller that has published, and does nothing more."""

    store: Store
    last: None = None

    def poke(self, reason=""):
        raise AssertionError


class TestQuestions:
    @pytest.fixture
    async def ask(self, shell, monkeypatch):
        """Ask over SSH, as it were, while a controller answers."""
        head = shell.repo.head()
        shell.publish(document(container("web", "bob"), container("dev", "alice"), revision=head))

        async def journal(name, lines):
            return f"a line of {name}\x1b[2J\n"

        with shell.store as store:
            path = shell.sim / "root/run/voxnix/api.sock"
            path.parent.mkdir(parents=True, exist_ok=True)
            api = Api(Standing(store), path, logs=journal)
            await api.start()

            async def question(key, words):
                monkeypatch.setenv("SSH_ORIGINAL_COMMAND", words)
                return await asyncio.to_thread(shell.run, "serve", "--key", key.fingerprint)

            yield question
            await api.stop()

    async def test_a_member_sees_what_is_theirs(self, ask):
        said = await ask(BOB, "status")
        assert said.code == 0, said
        assert "web" in said.out
        assert "dev" not in said.out
        assert "web" in (await ask(BOB, "status web")).out
        assert "bob has no container dev" in (await ask(BOB, "status dev")).err

    async def test_an_admin_sees_all(self, ask):
        said = await ask(ALICE, "status")
        assert "web" in said.out
        assert "dev" in said.out
        assert "a line of web" in (await ask(ALICE, "logs web")).out

    async def test_logs_are_shown_harmless_and_to_their_owner(self, ask):
        said = await ask(BOB, "logs web")
        assert "a line of web" in said.out
        assert "\x1b" not in said.out
        assert "bob has no container dev" in (await ask(BOB, "logs dev")).err

    async def test_a_shell_is_refused_with_words(self, ask):
        said = await ask(BOB, "enter web")
        assert said.code == 1
        assert "needs root on the appliance" in said.err

    @pytest.mark.parametrize("key", [STRANGER, AGENT])
    async def test_who_is_nobody_sees_nothing(self, ask, key):
        said = await ask(key, "status")
        assert (said.code, said.out) == (1, "")
        assert "no tenant's" in said.err

    async def test_what_the_branch_says_meanwhile_does_not_matter(self, ask, shell):
        shell.commit({"state/tenants/bob.yaml": tenant("Bob", BOB, Key("x"), role="admin")})
        assert "bob has no container dev" in (await ask(BOB, "status dev")).err

    async def test_what_the_caller_may_set_is_not_asked(self, ask, monkeypatch, shell):
        for name, value in {"VOXNIX_STATE": "/nowhere", "VOXNIX_HOST": "sim:/nowhere", "VOXNIX_CONFIG": "/x"}.items():
            monkeypatch.setenv(name, value)
        assert (await ask(BOB, "status web")).code == 0


class TestServe:
    def test_what_cannot_be_asked_for(self, shell, monkeypatch):
        assert "gives no shell" in shell.run("serve", "--key", BOB.fingerprint).err
        monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "sh -i")
        assert "cannot be asked for here" in shell.run("serve", "--key", BOB.fingerprint).err
        assert "fingerprint" in shell.run("serve", "--key", "alice").err

    def test_without_a_controller_questions_say_so(self, shell, monkeypatch):
        monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "status")
        assert "no controller answers" in shell.run("serve", "--key", BOB.fingerprint).err


PROJECT = Path(__file__).parent.parent
HOOK = """#!{python}
import os
from pathlib import Path
Path({seen!r}).write_text(repr(dict(os.environ)))
os.environ["PYTHONPATH"] = {project!r}
os.execv({python!r}, [{python!r}, "-m", "controller.main", "hook", "pre-receive", "--host", {host!r}])
"""


class Caller:
    """Somebody with git and a key, and an sshd that is no more than a script."""

    def __init__(self, shell, directory: Path) -> None:
        self.shell, self.directory = shell, directory
        self.seen = directory / "environment"
        hook = shell.path / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(
            HOOK.format(python=sys.executable, project=str(PROJECT), host=f"sim:{shell.sim}", seen=str(self.seen))
        )
        hook.chmod(0o755)

    def git(self, key: Key, *words: str, **variables: str):
        serve = [
            sys.executable,
            "-m",
            "controller.main",
            "--state",
            str(self.shell.path),
            "serve",
            "--key",
            key.fingerprint,
        ]
        ssh = self.directory / "ssh"
        ssh.write_text(f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" exec {shlex.join(serve)}\n')
        ssh.chmod(0o755)
        keep = {name: os.environ[name] for name in ("PATH",)}
        environment = keep | {
            "GIT_SSH": str(ssh),
            "GIT_SSH_VARIANT": "simple",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PYTHONPATH": str(PROJECT),
            "HOME": str(self.directory),
        }
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "Bob", f"GIT_{role}_EMAIL": "bob@example.org"}
        return subprocess.run(
            ["git", *words],
            cwd=self.directory,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def good(self, key: Key, *words: str, **variables: str) -> str:
        done = self.git(key, *words, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class TestGit:
    @pytest.fixture
    def caller(self, shell, tmp_path):
        directory = tmp_path / "caller"
        directory.mkdir()
        found = Caller(shell, directory)
        found.good(BOB, "clone", "-q", "voxnix-git@appliance:state.git", "work")
        return found

    def commit(self, caller, message="mine"):
        caller.good(BOB, "-C", "work", "commit", "-q", "--allow-empty", "-m", message)
        return caller.good(BOB, "-C", "work", "rev-parse", "HEAD")

    def test_a_push_moves_the_branch_and_is_noted_with_the_key(self, caller, shell):
        sha = self.commit(caller)
        caller.good(BOB, "-C", "work", "push", "-q", "origin", "main")
        assert shell.repo.head() == sha
        [entry] = ReceiveLog(shell.path).find([sha]).arrivals.values()
        assert (entry.key, entry.via) == (BOB.fingerprint, "ssh")

    def test_hooks_see_our_environment_and_nothing_of_the_callers(self, caller, shell):
        self.commit(caller)
        hostile = {"VOXNIX_KEY": ALICE.fingerprint, "GIT_TRACE": "/tmp/x", "LC_EVIL": "1", "GIT_CONFIG_COUNT": "0"}
        caller.good(BOB, "-C", "work", "push", "-q", "origin", "main", **hostile)
        seen = eval(caller.seen.read_text())
        assert seen["VOXNIX_KEY"] == BOB.fingerprint
        assert seen["VOXNIX_STATE"] == str(shell.path)
        assert not {"LC_EVIL", "GIT_TRACE", "SSH_ORIGINAL_COMMAND"} & seen.keys()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["push", "origin", "HEAD:refs/heads/other"], "only the state branch may be pushed here"),
            (["push", "origin", "HEAD:refs/tags/v1"], "only the state branch may be pushed here"),
            (["push", "origin", "HEAD:refs/notes/voxnix"], "hidden ref"),
            (["push", "origin", "HEAD:refs/voxnix/accepted"], "hidden ref"),
            (["push", "origin", ":refs/heads/main"], "the state branch cannot be deleted"),
            (["push", "--force", "origin", "HEAD~1:refs/heads/main"], "does not go on from where the branch is"),
            (["push", "--force", "origin", "other:refs/heads/main"], "does not go on from where the branch is"),
        ],
    )
    def test_only_the_state_branch_moves_and_only_forward(self, caller, shell, words, said):
        self.commit(caller)
        caller.good(BOB, "-C", "work", "push", "-q", "origin", "main")
        caller.good(BOB, "-C", "work", "checkout", "-q", "-b", "other", "HEAD~1")
        self.commit(caller, "another")
        before = shell.repo.head()
        done = caller.git(BOB, "-C", "work", *words)
        assert done.returncode != 0
        assert said in done.stderr
        assert shell.repo.head() == before

    def test_a_program_that_the_repositorys_settings_name_is_not_run(self, caller, shell, tmp_path):
        mark = tmp_path / "ran"
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\ntouch {mark}\n")
        program.chmod(0o755)
        settings = ("core.fsmonitor", "uploadpack.packObjectsHook", "core.alternateRefsCommand", "core.pager")
        for name in settings:
            subprocess.run(["git", "-C", str(shell.path), "config", name, str(program)], check=True)
        evil = tmp_path / "hooks"
        evil.mkdir()
        (evil / "pre-receive").symlink_to(program)
        subprocess.run(["git", "-C", str(shell.path), "config", "core.hooksPath", str(evil)], check=True)
        self.commit(caller)
        caller.good(BOB, "-C", "work", "push", "-q", "origin", "main")
        caller.good(BOB, "-C", "work", "fetch", "-q", "origin")
        assert not mark.exists()
        assert caller.seen.exists()

    def test_nobody_pushes_where_nothing_notes_who_it_was(self, caller, shell):
        self.commit(caller)
        (shell.path / "hooks/pre-receive").unlink()
        done = caller.git(BOB, "-C", "work", "push", "-q", "origin", "main")
        assert done.returncode != 0
        assert "no pre-receive hook that notes who pushes" in done.stderr

    def test_a_push_that_is_too_big_is_refused(self, caller, shell, monkeypatch):
        argv, _ = serving.command(shell.path, "git-receive-pack", {})
        assert f"receive.maxInputSize={serving.PUSH_BYTES}" in argv

    def test_another_repository_is_not_there(self, caller):
        done = caller.git(BOB, "clone", "-q", "voxnix-git@appliance:/etc/other.git", "x")
        assert done.returncode != 0
        assert "there is no repository '/etc/other.git' here" in done.stderr

    def test_its_environment_is_ours(self, shell):
        _, environment = serving.command(shell.path, "git-upload-pack", {"VOXNIX_KEY": "k"})
        assert environment["VOXNIX_KEY"] == "k"
        assert environment["GIT_CONFIG_NOSYSTEM"] == "1"
        assert json.dumps(dict(environment))
