"""Pushes with the real git client into a state repo that `voxnix init` has made, hooks and all, and what is left after.

A case costs one push: its commits are made by hand (`tests.loose`), the gate stays in a thread of this process, and
sshd is a script. `Way` says which of these are real.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from controller.cli.app import main
from controller.gate.door import Door
from controller.gate.hook import gate_of
from controller.gate.push import DOOR
from controller.git import Author, StateRepo
from controller.git.serving import command
from controller.host.sim import create
from controller.settings import Settings, load
from tests.keygen import Key, signed_commit
from tests.loose import Content, Loose, listed, merged, message_of, put, raw_commit
from tests.pushers import AGENT, ALICE, ALICE_SIGNS, BOB, BOB_SIGNS, STRANGER, tenant

PROJECT = Path(__file__).parent.parent
MAIN = "refs/heads/main"
CAROL, CAROL_SIGNS, DAVE, DAVE_SIGNS = Key("carol"), Key("carol signs"), Key("dave"), Key("dave signs")
ERIN = Key("erin")
PEOPLE: Mapping[str, Key | None] = {
    "root": None,
    "alice": ALICE,
    "bob": BOB,
    "carol": CAROL,
    "dave": DAVE,
    "agent": AGENT,
    "stranger": STRANGER,
}
"""Who pushes, and their key; root pushes to the path."""
SIGNERS: Mapping[str, Key] = {"alice": ALICE_SIGNS, "bob": BOB_SIGNS, "carol": CAROL_SIGNS, "dave": DAVE_SIGNS}
SIGNERS = {**SIGNERS, "agent": AGENT, "stranger": STRANGER}
LIMITED = "limits: {containers: 3, storage: 20G, memory: 8G}\ntailnet_tags: ['tag:web']\n"
WORLD: tuple[Mapping[str, str | None], ...] = (
    {
        "state/tenants/alice.yaml": tenant("Alice", ALICE, ALICE_SIGNS, role="admin"),
        "state/tenants/bob.yaml": tenant("Bob", BOB, BOB_SIGNS) + LIMITED,
        "state/tenants/carol.yaml": tenant("Carol", CAROL, CAROL_SIGNS),
        "state/tenants/dave.yaml": tenant("Dave", DAVE, DAVE_SIGNS),
        "state/tenants/erin.yaml": tenant("Erin", ERIN, Key("erin signs")),
        "state/dev.yaml": "owner: alice\nmodules: [git, workspace]\n",
        "state/web.yaml": "owner: bob\nmodules: [git, workspace]\n",
        "state/api.yaml": "owner: bob\nmodules: [tailscale]\ntailnet: {tags: ['tag:web']}\n",
        "state/old.yaml": "owner: alice\n",
        "README.md": "The state of things.\n",
    },
    {"state/tenants/dave.yaml": None, "state/old.yaml": None},
)
"""The commits of root from which cases start. Dave is no tenant any more; data of Erin's waits in the trash."""
SOMEBODY = Author("Root", "root@example.org")


class Way(StrEnum):
    """How a push is judged and brought."""

    DOOR = "door"
    """By the gate that stays; a script does for a key what `voxnix serve` would become."""
    ALONE = "alone"
    """By the hook itself."""
    SERVE = "serve"
    """By the hook itself, and a key comes through the real `voxnix serve`."""


@dataclass(frozen=True)
class Pushed:
    """What became of a push: git's exit code, and what the pusher was told, without `remote: `."""

    code: int
    told: str

    @property
    def taken(self) -> bool:
        return self.code == 0


@dataclass
class Ground:
    """A state repo with hooks, a clone in which commits are made by hand, and a gate that stays."""

    directory: Path
    world: Sequence[Mapping[str, str | None]] = WORLD
    trash: Collection[str] = ("erin",)
    delegate: Key = AGENT
    files: dict[str, Mapping[bytes, tuple[str, str]]] = field(default_factory=dict)
    """The files of every commit made here, by its id."""

    def __post_init__(self) -> None:
        self.path, self.sim = self.directory / "state.git", self.directory / "box"
        config = self.directory / "config.toml"
        config.write_text(f'name = "box"\npush_wait = 0.0\ndelegate_keys = "{self.delegate.public}"\n')
        self.options = {"config": str(config), "host": f"sim:{self.sim}"}
        create(self.sim)
        with contextlib.redirect_stdout(io.StringIO()):
            words = [word for name, value in self.options.items() for word in (f"--{name}", value)]
            assert main([*words, "init", str(self.path), "--tenant", "alice", "--name", "Alice"]) == 0
        self.repo = StateRepo(self.path)
        for number, changes in enumerate(self.world):
            texts = {path: None if text is None else text.encode() for path, text in changes.items()}
            self.repo.commit(texts, f"world {number}", SOMEBODY)
        head = self.repo.head()
        assert head is not None
        self.base = head
        self.before = snapshot(self.path)
        self.clone = Loose(self.directory / "clone.git")
        self._clone()
        self.settings: Settings = load({**self.options, "state": str(self.path)}, {})

    def _clone(self) -> None:
        shutil.copytree(self.path / "objects", self.clone.path / "objects")
        (self.clone.path / "refs/heads").mkdir(parents=True)
        (self.clone.path / "HEAD").write_text(f"ref: {MAIN}\n")
        (self.clone.path / "refs/tags").mkdir()
        for ref in (MAIN, "refs/heads/mine", "refs/tags/v0"):
            (self.clone.path / ref).write_text(f"{self.base}\n")
        (self.clone.path / "config").write_text("[core]\nrepositoryformatversion = 0\nbare = true\ncompression = 0\n")
        for sha in (self.base, self.parent(self.base)):
            tree = self.repo.tree(sha, ".")
            self.files[sha] = {path.encode(): (blob.mode, blob.oid) for path, blob in tree.items()}

    def parent(self, sha: str) -> str:
        return self.repo.show(sha).parents[0]

    @contextlib.contextmanager
    def open(self) -> Iterator[Ground]:
        """With the gate in a thread."""
        door = Door(replace(gate_of(self.settings), trash=lambda: self.trash))
        door.open()
        thread = threading.Thread(target=door.serve)
        thread.start()
        try:
            yield self
        finally:
            door.stop()
            thread.join()
            door.close()

    def commit(self, case: Mapping[str, Any], known: Mapping[str, str]) -> str:
        """One commit as a case says it; see `tests/cases/pushes/README.md`.

        Of several parents, what the others changed since `base` comes along.
        """
        parents = [known[name] for name in listed(case.get("parents", "base"))]
        files = dict(self.files[parents[0]] if parents else {})
        if case.get("drop"):
            files = {path: entry for path, entry in files.items() if not path.startswith(b"state/")}
        for other in parents[1:]:
            files = merged(files, self.files[self.base], self.files[other])
        if "like" in case:
            files = dict(self.files[known[case["like"]]])
        for path, content in case.get("files", {}).items():
            put(self.clone, files, path, self._longer(path, content, files))
        tree = case["tree"](self.clone, files) if callable(case.get("tree")) else self.clone.tree(files)
        raw = raw_commit(tree, parents, message_of(case).encode(), head=case.get("head", ()))
        if signer := case.get("signed"):
            raw = signed_commit(raw, SIGNERS[signer])
        for old, new in case.get("alter", {}).items():
            assert old.encode() in raw
            raw = raw.replace(old.encode(), new.encode())
        sha = self.clone.write("commit", raw)
        self.files[sha] = files
        return sha

    def _longer(self, path: str, content: Content, files: Mapping[bytes, tuple[str, str]]) -> Content:
        """A file's content; with `more`, what it had and that."""
        if not isinstance(content, Mapping) or "more" not in content:
            return content
        oid = files[path.encode()][1]
        return self.repo.blobs([oid])[oid].decode() + content["more"]

    def make(self, case: Mapping[str, Any]) -> dict[str, str]:
        """The commits of a case, by their names; `tip` is the last one."""
        known = {"base": self.base, "before": self.parent(self.base)}
        last = "base"
        for number, one in enumerate(case.get("commits", [case])):
            name = one.get("id", f"c{number}")
            known[name] = known["tip"] = self.commit({"parents": last, **one}, known)
            last = name
        return known

    def push(
        self,
        by: str,
        refs: Sequence[str],
        way: Way = Way.DOOR,
        *,
        words: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> Pushed:
        """Push with the real client."""
        key = PEOPLE[by]
        address = "voxnix-git@appliance:state.git" if key else str(self.path)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH": str(self._ssh(key, way)) if key else "/bin/false",
            "GIT_SSH_VARIANT": "simple",
            "LC_ALL": "C.UTF-8",
        }
        with self._alone(way is not Way.DOOR):
            done = subprocess.run(
                ["git", f"--git-dir={self.clone.path}", "push", *words, address, *refs],
                cwd=self.directory,
                env=environment | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        return Pushed(done.returncode, told(done.stderr))

    @contextlib.contextmanager
    def _alone(self, alone: bool) -> Iterator[None]:
        """With the gate out of the hooks' sight."""
        place, away = self.path / DOOR, self.directory / "door.sock"
        if not alone or not place.exists():
            yield
            return
        place.rename(away)
        try:
            yield
        finally:
            away.rename(place)

    def _ssh(self, key: Key, way: Way) -> Path:
        """A script in the place of `ssh`, with an sshd behind it that has checked this key."""
        place = self.directory / f"ssh-{way}-{key.name}"
        if place.exists():
            return place
        if way is Way.SERVE:
            words = [word for name, value in self.options.items() for word in (f"--{name}", value)]
            words = [sys.executable, "-m", "controller.main", *words, "--state", str(self.path), "serve"]
            run = f'SSH_ORIGINAL_COMMAND="$*" PYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.join(words)} --key '
            place.write_text(f"#!/bin/sh\nshift\n{run}{shlex.quote(key.fingerprint)}\n")
        else:
            more = {f"VOXNIX_{name.upper()}": value for name, value in self.options.items()}
            more |= {"VOXNIX_STATE": str(self.path), "VOXNIX_KEY": key.fingerprint}
            argv, environment = command(self.path, "git-receive-pack", more)
            variables = [f"{name}={value}" for name, value in environment.items()]
            place.write_text(f"#!/bin/sh\nexec {shlex.join(['env', '-i', *variables, *argv])}\n")
        place.chmod(0o755)
        return place

    def changed(self) -> list[str]:
        """What is not as it was before the push: paths in the repository."""
        now = snapshot(self.path)
        return sorted(path for path in {*now, *self.before} if now.get(path) != self.before.get(path))

    def restore(self) -> None:
        """Make the repository what it was."""
        for path in reversed(self.changed()):
            place, content = self.path / path, self.before.get(path)
            if content is None and place.is_dir():
                place.rmdir()
            elif content is None:
                place.unlink()
            else:
                place.write_bytes(content)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file and folder below a folder, but for the gate's socket; a folder is marked as one."""
    found = {}
    for place in folder.rglob("*"):
        if not place.is_socket():
            found[str(place.relative_to(folder))] = b"\0folder" if place.is_dir() else place.read_bytes()
    return found


def told(err: bytes) -> str:
    """What git passed on, without its own margin, colours and trailing blanks."""
    text = re.sub(r"\x1b\[[0-9;]*[mK]", "", err.decode("utf-8", "replace"))
    return "\n".join(line.removeprefix("remote: ").rstrip() for line in text.replace("\r", "\n").split("\n"))
