"""The tour's surroundings: a temporary directory with a state repo, a work tree, a simulated host, a controller.

Everything is made by the same means a person would use: the git client, and the `voxnix` command. What was started
is ended by its own id, and the directory removed.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import controller
from controller.cli.client import Away, Client
from controller.errors import VoxnixError
from controller.settings import share

PATIENCE = 20.0
"""Seconds that something which was announced may take."""
IDENTITY = {"user.name": "Alice", "user.email": "alice@example.org", "commit.gpgsign": "false", "core.hooksPath": ""}
PACE = {"default": 0.01, "nix-build": 0.3, "extra-container": 0.05, "systemctl start": 0.05, "zfs": 0.01}
"""Seconds that commands of the simulated host take; six times as long for somebody who watches."""


class NotAsTold(Exception):
    """A step did not turn out as the tour says; the text is what was expected."""


class Stage:
    """One demo's directory and processes; a context manager that cleans both up."""

    def __init__(self, *, slow: bool = False) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="voxnix-demo-"))
        self.repo = self.directory / "state.git"
        self.work = self.directory / "work"
        self.box = self.directory / "box"
        self.config = self.directory / "config.toml"
        self.log = self.directory / "controller.log"
        self.tailnet = True
        self._slow = slow
        self._before = Path.cwd()
        self._controller: subprocess.Popen[bytes] | None = None
        self.client = Client(self.box / "root/run/voxnix/api.sock")

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def options(self) -> list[str]:
        """The options that lead `voxnix` to this stage."""
        return ["--state", str(self.repo), "--host", f"sim:{self.box}", "--config", str(self.config)]

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, and who types here."""
        return {
            "VOXNIX_STATE": str(self.repo),
            "VOXNIX_HOST": f"sim:{self.box}",
            "VOXNIX_CONFIG": str(self.config),
            "GIT_AUTHOR_NAME": IDENTITY["user.name"],
            "GIT_AUTHOR_EMAIL": IDENTITY["user.email"],
        }

    def build(self) -> None:
        """A host, a state repo with two tenants and no container, and a clone of it to work in."""
        from controller.gate.hooks import install
        from controller.git import Author, StateRepo

        self.make_host()
        names = ["defaults.yaml", *(f"tenants/{file.name}" for file in sorted(share("state").glob("tenants/*.yaml")))]
        content = {f"state/{name}": self.example(name) for name in names}
        StateRepo.init(self.repo, content, Author("Alice", IDENTITY["user.email"]), "Two tenants")
        install(self.repo, self.options[2:])
        settings = [word for key, value in IDENTITY.items() for word in ("-c", f"{key}={value}")]
        self.git("clone", "--quiet", *settings, str(self.repo), str(self.work), cwd=self.directory)
        os.environ.update(self.environment)
        os.chdir(self.work)

    def make_host(self) -> None:
        """The simulated host, and the settings that lead to it."""
        from controller.host.sim import create

        host = create(self.box)
        pace = {key: seconds * 6 for key, seconds in PACE.items()} if self._slow else PACE
        host.configure(latencies=pace, boots={"default": 0.8 if self._slow else 0.2})
        host.close()
        self.config.write_text('name = "demo"\nresync = 1.0\npush_wait = 0\n')

    def example(self, name: str) -> bytes:
        """A file of the example state, `dev.yaml` or `tenants/alice.yaml`."""
        return (share("state") / name).read_bytes()

    def git(self, *words: str, cwd: Path | None = None) -> str:
        """Run the git client in the work tree; what it printed. Raises `NotAsTold`."""
        result = self._git(*words, cwd=cwd)
        if result.returncode != 0:
            raise NotAsTold(f"`git {words[0]}` to work; it said: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def push(self, *, refused: bool = False) -> list[str]:
        """Push what is committed; what the state repo said. Raises `NotAsTold` unless it is taken, or `refused`."""
        result = self._git("push", "--quiet")
        if (result.returncode != 0) is not refused:
            raise NotAsTold(f"the push {'not ' if refused else ''}to be taken; git said: {result.stderr.strip()}")
        return [line.rstrip() for line in result.stderr.splitlines() if line.startswith("remote: ")]

    def _git(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', os.defpath)}"
        argv = ["git", *words]
        return subprocess.run(
            argv, cwd=cwd or self.work, env=env, capture_output=True, text=True, check=False, timeout=60
        )

    def voxnix(self, *words: str, code: int = 0) -> None:
        """Run a `voxnix` command, printing as it does. Raises `NotAsTold` on another exit code than `code`."""
        from controller.cli.app import main

        sys.stdout.flush()
        got = main([*self.options, *words])
        if got != code:
            raise NotAsTold(f"`voxnix {words[0]}` to end with exit code {code}; it was {got}")

    def start_controller(self) -> None:
        """Start `voxnix run` as a process of its own, and wait until it answers."""
        with self.log.open("wb") as log:
            self._controller = subprocess.Popen(
                [sys.executable, "-m", "controller.main", *self.options, "run"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": self.python_path(), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.until(lambda: self.status() is not None, "the controller to answer")

    def status(self) -> dict[str, Any] | None:
        """The published status, once there is one."""
        try:
            found: dict[str, Any] = self.client.get("/v1/status")
        except Away:
            if self._controller is not None and self._controller.poll() is not None:
                raise NotAsTold(f"the controller to keep running; it ended: {self.last_words()}") from None
            return None
        return found if "revision" in found else None

    def container(self, name: str) -> Mapping[str, Any]:
        """One container's status; empty if there is none."""
        found = self.status() or {"containers": []}
        return next((status for status in found["containers"] if status["name"] == name), {})

    def events(self, after: int, name: str | None = None) -> list[dict[str, Any]]:
        """What happened since the event `after`."""
        try:
            return list(self.client.get("/v1/events", after=after, name=name, limit=1000)["events"])
        except Away:
            return []

    def last_event(self) -> int:
        """The newest event's id."""
        found = self.client.get("/v1/events", limit=1)["events"]
        return int(found[-1]["id"]) if found else 0

    def devices(self) -> list[str]:
        """Names of the devices on the tailnet, as the controller saw them last."""
        return [device["name"] for device in (self.client.get("/v1/observed")["tailnet"]["value"] or {}).values()]

    def on_host(self, *argv: str) -> str:
        """Run a command on the simulated host, as somebody else would; what it printed. Raises `NotAsTold`."""
        from controller.host.sim import SimHost

        host = SimHost(self.box)
        try:
            result = asyncio.run(host.behind_our_back(argv))
        finally:
            host.close()
        if result.code != 0:
            raise NotAsTold(f"`{shlex.join(argv)}` to work; it said: {result.said}")
        return result.out

    def inside(self, name: str, script: str) -> str:
        """Run a line of shell in a container; what it printed."""
        return self.on_host("systemd-run", "-M", name, "--wait", "--pipe", "--collect", "-q", "sh", "-c", script)

    def until(self, so: Callable[[], bool], expected: str, patience: float = PATIENCE) -> None:
        """Wait until something is so; raises `NotAsTold` when it takes too long."""
        deadline = time.monotonic() + patience
        while not so():
            if time.monotonic() > deadline:
                raise NotAsTold(f"{expected} within {patience:.0f} s")
            time.sleep(0.05)

    def logged(self, words: str) -> bool:
        """Whether the controller's log has these words."""
        return words in self.log.read_text(errors="replace")

    def last_words(self) -> str:
        """The end of the controller's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-15:])

    def shell(self) -> None:
        """Leave the user at a prompt in the work tree, where `voxnix` and `git` act on this stage."""
        tools = self.directory / "bin"
        tools.mkdir()
        shim = tools / "voxnix"
        command = shlex.join([sys.executable, "-m", "controller.main"])
        shim.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(self.python_path())} exec {command} "$@"\n')
        shim.chmod(0o755)
        shell = os.environ.get("SHELL") or "/bin/sh"
        env = {**os.environ, **self.environment, "PATH": f"{tools}:{os.environ.get('PATH', '')}"}
        env["PS1"] = "(voxnix demo) $ "
        words = [shell]
        if Path(shell).name == "bash":
            rc = self.directory / "bashrc"
            rc.write_text("[ -f ~/.bashrc ] && . ~/.bashrc\nPS1='(voxnix demo) \\W $ '\n")
            words += ["--rcfile", str(rc)]
        subprocess.run(words, cwd=self.work, env=env, check=False)

    def end(self) -> None:
        """End the controller, by its own id, and remove the directory."""
        import shutil

        running = self._controller
        if running is not None and running.poll() is None:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(timeout=10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()
        os.chdir(self._before)
        shutil.rmtree(self.directory, ignore_errors=True)

    def python_path(self) -> str:
        """Where Python finds voxnix, wherever it is called from."""
        return str(Path(str(controller.__file__)).parent.parent)


def explained(error: Exception) -> str:
    """What went wrong, in words."""
    return str(error) if isinstance(error, NotAsTold | VoxnixError) else repr(error)
