"""Many people who push at once: clones with real git, some by key, in front of an appliance of real processes.

What each of them does comes from a stream of its own that a seed begins; who comes first, the machine decides.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from controller.cli.client import Away, Client
from controller.settings import Settings, load
from controller.sockets import answered
from tests.keygen import Key

PATIENCE = 60.0
"""Seconds after which what was to come about is missed."""
VOXNIX = str(Path(sys.executable).with_name("voxnix"))
RACED = ("[rejected]", "[remote rejected]")
"""How git says that somebody else was first."""


def wait(until: Callable[[], object], what: str) -> None:
    """Look again and again until something is so."""
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.02)


@dataclass
class Post:
    """The appliance: a state repo with its hooks, a gate that stays running, a controller on a simulated host."""

    place: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.place / "state.git"

    @property
    def config(self) -> Path:
        return self.place / "config.toml"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of whoever runs the test, so that nothing of it counts."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        who = {f"GIT_{role}_{key}": "somebody" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        plain = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(self.place)}
        return {"PATH": path, "LC_ALL": "C.UTF-8", **plain, **who}

    @property
    def settings(self) -> Settings:
        """What its processes go by."""
        return load({"config": str(self.config), "state": str(self.state)}, environment={})

    def words(self, *words: str) -> list[str]:
        return [VOXNIX, "--config", str(self.config), "--state", str(self.state), *words]

    def voxnix(self, *words: str) -> str:
        """A command of root's."""
        return run(self.words(*words), self.place, self.environment)

    def git(self, *words: str) -> str:
        return run(["git", f"--git-dir={self.state}", *words], self.place, self.environment)

    def begin(self) -> None:
        """Make host and state repo; nobody waits after a push, to see what becomes of it."""
        self.config.write_text(f'host = "sim:{self.place / "box"}"\npush_wait = 0\n')
        run([VOXNIX, "sim", "create", str(self.place / "box")], self.place, self.environment)
        self.voxnix("init", str(self.state), "--tenant", "alice")

    def start(self, name: str) -> None:
        """Start `door` or `run`, and wait until it answers."""
        place = self.state / "voxnix/door.sock" if name == "door" else self.settings.socket
        with (self.place / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.words(name), cwd=self.place, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait(lambda: self.running[name].poll() is not None or answered(place), f"{name} answers")
        assert self.running[name].poll() is None, (self.place / f"{name}.log").read_text()

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """End one of its processes, and reap it."""
        if process := self.running.pop(name, None):
            process.send_signal(number)
            process.wait(PATIENCE)

    def status(self) -> Mapping[str, object]:
        """What the controller publishes; nothing while none runs."""
        try:
            return dict(Client(self.settings.socket, timeout=10.0).get("/v1/status"))
        except Away:
            return {}


def run(argv: list[str], place: Path, environment: Mapping[str, str]) -> str:
    """What a command that has to succeed prints."""
    done = subprocess.run(argv, cwd=place, env=environment, capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout.decode().strip()


@dataclass(frozen=True)
class Change:
    """What a clone wanted: one file with new contents (None: gone), and the subject that its commit bears."""

    path: str
    content: str | None
    subject: str


@dataclass
class Clone:
    """A work tree of somebody's: `tenant`'s, who comes with a `key`, or by the repository's path."""

    post: Post
    name: str
    tenant: str
    key: Key | None
    shared: str
    """A file that another clone edits too."""
    chance: random.Random
    road: AbstractContextManager[object] = field(default_factory=nullcontext)
    accepted: list[tuple[str, Change]] = field(default_factory=list)
    told: list[Change] = field(default_factory=list)
    races: int = 0
    killed: int = 0

    @property
    def tree(self) -> Path:
        return self.post.place / self.name

    @property
    def environment(self) -> dict[str, str]:
        ssh = {"GIT_SSH": str(self.post.place / f"ssh-{self.name}"), "GIT_SSH_VARIANT": "simple"}
        return self.post.environment | ssh

    def begin(self) -> None:
        """Clone; who has a key goes through an sshd that is no more than a script."""
        source = str(self.post.state)
        if self.key:
            script = self.post.place / f"ssh-{self.name}"
            serve = shlex.join(self.post.words("serve", "--key", self.key.fingerprint))
            script.write_text(f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" exec env -u GIT_SSH {serve}\n')
            script.chmod(0o755)
            source = "voxnix-git@appliance:state.git"
        run(["git", "clone", "-q", source, str(self.tree)], self.post.place, self.environment)

    def git(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        argv = ["git", "-C", str(self.tree), *words]
        return subprocess.run(argv, env=self.environment, capture_output=True, check=False, timeout=PATIENCE)

    def good(self, *words: str) -> str:
        return run(["git", "-C", str(self.tree), *words], self.tree, self.environment)

    def work(self, pushes: int, stop: threading.Event, accepted: Callable[[], None], kill: frozenset[int]) -> None:
        """Change one thing after the other until so many pushes were accepted; the `kill`-th ones are cut off.

        All come at once to begin with; who loses then, and who comes later, queues for `self.road`: more at a time
        would but lose more races to each other.
        """
        number = 0
        while len(self.accepted) < pushes and not stop.is_set():
            number += 1
            change = self._change(number)
            self._commit(change)
            done = number == 1 and self._push(change)
            if not done:
                with self.road:
                    done = self._bring(change, kill=number in kill)
            if done:
                self.accepted.append((self.good("rev-parse", "HEAD"), change))
                accepted()

    def _change(self, number: int) -> Change:
        """Something else than what is there now; first of all, what another one changes at the same moment."""
        if self.shared and (number == 1 or self.chance.random() < 0.25):
            return self._edit(self.shared, number)
        name = f"{self.name}{self.chance.choice('ab')}"
        path = f"state/{name}.yaml"
        if not (self.tree / path).exists():
            return Change(path, _spec(self.tenant, self.chance.randint(1, 40)), f"{self.name} {number} create {name}")
        if self.chance.random() < 0.15:
            return Change(path, None, f"{self.name} {number} remove {name}")
        return self._edit(path, number)

    def _edit(self, path: str, number: int) -> Change:
        text = (self.tree / path).read_text()
        if path != self.shared and self.chance.random() < 0.4:
            old, new = ("running", "stopped") if "running" in text else ("stopped", "running")
            return Change(path, text.replace(old, new), f"{self.name} {number} power {path}")
        quota = int(text.partition("quota: ")[2].partition("G")[0])
        mine = range(1 + int(self.name[-1]) % 2, 41, 2)
        wanted = self.chance.choice([one for one in mine if one != quota])
        changed = text.replace(f"quota: {quota}G", f"quota: {wanted}G")
        return Change(path, changed, f"{self.name} {number} quota {path}")

    def _commit(self, change: Change) -> None:
        place = self.tree / change.path
        if change.content is None:
            place.unlink()
        else:
            place.write_text(change.content)
        self.good("add", "-A")
        self.good("commit", "-q", "-m", change.subject)

    def _bring(self, change: Change, *, kill: bool) -> bool:
        """Pull and push until it is in, or somebody else's change of the same lines was first."""
        cut_off = False
        while self._pull(change):
            if cut_off and not self.good("rev-list", "origin/main..HEAD"):
                return True
            if kill and not cut_off:
                cut_off = True
                self._cut_off()
            elif self._push(change):
                return True
        return False

    def _push(self, change: Change) -> bool:
        """Whether nobody else was first."""
        done = self.git("push", "-q", "origin", "main")
        said = done.stderr.decode()
        assert done.returncode == 0 or any(word in said for word in RACED), (change.subject, done)
        assert "hook declined" not in said, said
        self.races += done.returncode != 0
        return done.returncode == 0

    def _pull(self, change: Change) -> bool:
        """Rebase onto what came; a clash is told, and the change given up."""
        done = self.git("pull", "-q", "--rebase", "origin", "main")
        if done.returncode == 0:
            return True
        said = (done.stdout + done.stderr).decode()
        assert "CONFLICT" in said, said
        assert change.path in said, said
        self.good("rebase", "--abort")
        self.good("reset", "-q", "--hard", "origin/main")
        self.told.append(change)
        return False

    def _cut_off(self) -> None:
        """Push, and be killed while the other side is at it."""
        process = subprocess.Popen(
            ["git", "-C", str(self.tree), "push", "-q", "origin", "main"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        receiving = self.post.state / "objects"
        wait(lambda: process.poll() is not None or any(receiving.glob("tmp_objdir-*")), "a push is under way")
        process.kill()
        self.killed += process.wait() == -signal.SIGKILL


def _spec(owner: str, quota: int) -> str:
    return f"owner: {owner}\nmodules: [workspace]\npower: running\nworkspace: {{quota: {quota}G}}\n"
