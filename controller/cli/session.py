"""What all commands share: the settings, the published status, the state repo, and how answers are printed.

Everything is opened when it is first asked for, so that a command pays only for what it uses.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from controller.cli import text
from controller.errors import BadInput, VoxnixError

if TYPE_CHECKING:
    from controller.cli.client import Client
    from controller.git import Author, StateRepo
    from controller.git.remote import Remote
    from controller.host.run import Runner
    from controller.host.secrets import SecretStore
    from controller.settings import Settings
    from controller.spec.state import Library
    from controller.store import Store

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What may be the name of a container, ours or a foreign one."""
SEEN_WITHIN = 5.0
"""Seconds that a decision waits for the controller to have seen it."""


class NothingKnown(BadInput):
    """No controller has run for this host, so there is no status of anything."""


@dataclass
class Session:
    """One run of `voxnix`. `options` are the ones given before the command; `environment` the variables that count,
    the process's own if None.
    """

    options: Mapping[str, str | None]
    json: bool = False
    environment: Mapping[str, str] | None = None

    @cached_property
    def settings(self) -> Settings:
        """Options over environment over file."""
        from controller.settings import load

        return load(self.options, self.environment)

    @cached_property
    def client(self) -> Client:
        """The way to the running controller, if one runs."""
        from controller.cli.client import Client

        return Client(self.settings.socket)

    @property
    def far(self) -> bool:
        """Whether the state repo is on another machine."""
        from controller.git.address import address

        return not address(self.settings.repository).local

    @cached_property
    def repo(self) -> StateRepo | Remote:
        """The state repo, to be read and written to, here or on another machine."""
        if self.far:
            from controller.cli.remote import open_remote

            return open_remote(self)
        return self.here

    @cached_property
    def here(self) -> StateRepo:
        """The state repo on this machine; raises `BadInput` where it is on another one."""
        from controller.git import StateRepo

        if self.far:
            what = (
                f"the state repo {self.settings.repository} is on another machine, and this is for one on this machine"
            )
            raise BadInput(what, hint="run this where the state repo is")
        return StateRepo(self.settings.repository, branch=self.settings.branch)

    @cached_property
    def head(self) -> str:
        """The commit that the state repo is at, as seen when this command began; raises `BadInput` for an empty one."""
        if self.far:
            from controller.git.remote import Remote

            assert isinstance(self.repo, Remote)
            head = self.repo.fetched()
        else:
            head = self.repo.head()
        if head is None:
            raise BadInput(f"nothing was committed to {self.settings.repository} yet")
        return head

    @cached_property
    def author(self) -> Author:
        """Who runs this command, as far as they say."""
        from controller.git import caller

        return caller()

    @cached_property
    def library(self) -> Library:
        """The Nix module library."""
        from controller.wiring import modules

        return modules(self.settings)

    @property
    def runner(self) -> Runner:
        """Whoever answers host commands."""
        from controller.wiring import runner

        return runner(self.settings)

    @property
    def secrets(self) -> SecretStore:
        """Where secrets are kept on the host."""
        from controller.host.files import Files
        from controller.host.secrets import SecretStore

        return SecretStore(Files(self.settings.root))

    def store(self) -> Store | None:
        """The store, for reading; None where no controller has ever run."""
        from controller.store import Store

        return Store.open(self.settings.store, readonly=True)

    def document(self) -> dict[str, Any]:
        """The published status document; from the controller, or else from its store. Raises `NothingKnown`.

        `live` in it says which of the two it came from.
        """
        from controller.cli.client import Away

        try:
            return {**self.client.get("/v1/status"), "live": True}
        except Away:
            found = self._stored()
        if found is None:
            raise NothingKnown(
                "nothing is known yet: no controller has run for this host",
                hint="`voxnix apply` converges once, `voxnix run` keeps at it",
            )
        return found

    def _stored(self) -> dict[str, Any] | None:
        store = self.store()
        if store is None:
            return None
        with store:
            summary = json.loads(store.summary() or "null")
            containers = [json.loads(row) for row in store.statuses().values()]
            suspended = store.memory().suspended
        if summary is None:
            return None
        found = {"by": suspended.by, "at": suspended.at, "reason": suspended.reason} if suspended else None
        return {**summary, "suspended": found, "controller": None, "containers": containers, "live": False}

    def container(self, name: str) -> dict[str, Any]:
        """One container's published status; raises `BadInput` that suggests the nearest name."""
        containers = self.document()["containers"]
        for status in containers:
            if status["name"] == name:
                return dict(status)
        hint = text.suggestion(name, [status["name"] for status in containers])
        raise BadInput(f"there is no container {text.clean(name)}", hint=hint)

    def answer(self, value: object, lines: Iterable[str] = ()) -> None:
        """Print an answer: `value` with --json, else `lines`."""
        if self.json:
            click.echo(json.dumps(value, indent=2, default=str))
            return
        told = "\n".join(lines)
        if told:
            click.echo(told)

    def say(self, line: str = "") -> None:
        """One line for people; nothing with --json."""
        if not self.json:
            click.echo(line)

    def seen(self, sha: str, *, wait: bool) -> dict[str, Any]:
        """Make the controller look at a commit and wait a little until it has; what there is to say about it.

        The keys: `commit`, `controller` (whether one runs), `seen`, `refused` (why the commit was not taken).
        """
        told: dict[str, Any] = {"commit": sha, "controller": self.client.poke() or self._published() is not None}
        told |= {"seen": False, "refused": ""}
        deadline = time.monotonic() + SEEN_WITHIN
        while told["controller"] and wait and time.monotonic() < deadline:
            published = self._published() or {}
            told |= {"seen": self._contains(published.get("revision"), sha), "refused": published.get("refused") or ""}
            if told["seen"] or sha[:10] in told["refused"]:
                break
            time.sleep(0.05)
        return told

    def tell_seen(self, told: Mapping[str, Any], done: str) -> None:
        """Say what `seen` found; raises `BadInput` where the controller refused the commit."""
        sha = str(told["commit"])
        if sha[:10] in told["refused"]:
            raise BadInput(f"the controller refused commit {sha[:10]}: {text.clean(told['refused'], lines=True)}")
        if told["seen"]:
            after = "the controller has seen it"
        elif told["controller"]:
            after = "the controller has been told"
        else:
            after = "no controller runs: `voxnix apply` carries it out"
        self.answer(dict(told), [f"{done}: commit {sha[:10]}; {after}"])

    def _published(self) -> dict[str, Any] | None:
        with suppress(VoxnixError):
            return dict(self.client.get("/v1/status"))
        return None

    def _contains(self, revision: object, sha: str) -> bool:
        """Whether a published revision is the commit, or a later one."""
        if not isinstance(revision, str) or not revision:
            return False
        if revision == sha:
            return True
        with suppress(VoxnixError):
            return not self.repo.commits(revision, sha)
        return False


pass_session = click.make_pass_decorator(Session)


def root_name() -> str:
    """Who acts as root: the person behind sudo, as far as that is known."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that matters; raises `BadInput` where nobody can answer, or the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("nobody is there to confirm this", hint="say --yes if it is meant")
    if not click.confirm(question, default=False):
        raise BadInput("nothing was done")


def checked_name(name: str) -> str:
    """`name`, if it can be a container's; it becomes part of a host command."""
    if not NAME.fullmatch(name):
        raise BadInput(f"{text.clean(name)!r} cannot be the name of a container")
    return name
