"""The command line for tests: `voxnix` in this process, on a state repo and a simulated host in a directory."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from controller.cli.app import main
from controller.git import Author, StateRepo
from controller.host.sim import create
from controller.store import Event, Store

ALICE = Author("Alice", "alice@example.org")
FILES = {
    "state/tenants/alice.yaml": "name: Alice\nrole: admin\n",
    "state/tenants/bob.yaml": "name: Bob\n",
}
DEV = "owner: alice\nmodules: [git, workspace]\n"


@dataclass(frozen=True)
class Said:
    """What a command answered, without colours."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The answer as a value."""
        return json.loads(self.out)


class Shell:
    """Someone at a terminal that is none, in front of one appliance."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.sim = directory / "box"
        self.path = directory / "state.git"
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        for name in ("VOXNIX_STATE", "VOXNIX_HOST", "VOXNIX_CONFIG", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("GIT_AUTHOR_NAME", "Alice")
        monkeypatch.setenv("GIT_AUTHOR_EMAIL", "alice@example.org")
        monkeypatch.setenv("SUDO_USER", "alice")
        monkeypatch.chdir(directory)

    @property
    def repo(self) -> StateRepo:
        """The state repo."""
        return StateRepo(self.path)

    @property
    def store(self) -> Store:
        """The controller's store, for writing what a controller would have."""
        return Store.open(self.sim / "root/var/lib/voxnix/store.db", create=True)

    def begin(self, files: Mapping[str, str] = FILES) -> Shell:
        """Make state repo and host."""
        StateRepo.init(self.path, {path: text.encode() for path, text in files.items()}, ALICE)
        create(self.sim)
        return self

    def commit(self, changes: Mapping[str, str | None], message: str = "change", **trailers: str) -> str:
        """Commit as somebody with a work tree would."""
        files = {path: None if text is None else text.encode() for path, text in changes.items()}
        said = [(key.replace("_", "-"), value) for key, value in trailers.items()]
        return self.repo.commit(files, message, ALICE, said)

    def run(self, *words: str, stdin: str = "", options: bool = True) -> Said:
        """Run a command, with the options for this appliance unless told otherwise."""
        given = ["--state", str(self.path), "--host", f"sim:{self.sim}"] if options else []
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        self._capsys.readouterr()
        code = main([*given, *words])
        out, err = self._capsys.readouterr()
        return Said(code, click.unstyle(out), click.unstyle(err))

    def good(self, *words: str, stdin: str = "") -> Said:
        """Run a command that has to succeed."""
        said = self.run(*words, stdin=stdin)
        assert said.code == 0, said
        return said

    def publish(self, document: Mapping[str, Any], events: list[Event] | None = None) -> None:
        """Put a status into the store, as a controller would."""
        rows = {status["name"]: json.dumps(status) for status in document["containers"]}
        summary = {key: value for key, value in document.items() if key != "containers"}
        with self.store as store:
            store.publish(rows, summary=json.dumps(summary), events=events or [])


def container(name: str, owner: str = "alice", **more: Any) -> dict[str, Any]:
    """A container's published status: well, unless told otherwise."""
    kinds = ("Valid", "Storage", "System", "Power", "Tailnet")
    return {
        "name": name,
        "uid": f"uid-{name}",
        "owner": owner,
        "phase": "ready",
        "power": "running",
        "machine": "running",
        "addresses": ["fe80::1", "10.0.0.2"],
        "tailnet_name": name,
        "conditions": [condition(kind) for kind in kinds],
        **more,
    }


def condition(
    kind: str, status: str = "True", reason: str = "Fine", message: str = "", hint: str = ""
) -> dict[str, Any]:
    """One condition."""
    since = "2026-03-01T11:00:00+00:00"
    return {"type": kind, "status": status, "reason": reason, "message": message, "hint": hint, "since": since}


def document(*containers: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A published status document in which nothing is wrong."""
    return {
        "schema": 1,
        "appliance": "a1",
        "host": "box",
        "revision": "c" * 40,
        "passed_at": "2026-03-01T12:00:00+00:00",
        "sources": {"git": "known", "machines": "known"},
        "problems": [],
        "pool": {"name": "tank", "used": 10, "available": 90},
        "holds": [],
        "waits": [],
        "trash": [],
        "debts": [],
        "foreign": [],
        "stale": [],
        "suspended": None,
        "rebuilt": "",
        "wake": None,
        "refused": "",
        "fetch": "",
        "containers": list(containers),
        **more,
    }


def hold(identity: str = "abc123def456", **more: Any) -> dict[str, Any]:
    """A hold as it is published: the removal of web."""
    return {
        "id": identity,
        "reason": "this would remove the last container of this host",
        "names": ["web"],
        "owner": "bob",
        "admin": True,
        "bytes": 3 * 2**30,
        "refused": "",
        "steps": [
            {"action": "Stop", "name": "web", "reason": "its spec was removed", "cause": "revision c"},
            {
                "action": "ToTrash",
                "dataset": "tank/users/bob/containers/web",
                "target": "tank/trash/x",
                "marks": [],
                "reason": "its spec was removed",
                "cause": "revision c",
            },
        ],
        **more,
    }


def piece(identity: str = "web-1234-20260301T120000Z", **more: Any) -> dict[str, Any]:
    """A piece of trash as it is published."""
    return {
        "id": identity,
        "uid": "uid-web",
        "name": "web",
        "owner": "bob",
        "bytes": 5 * 2**20,
        "since": "2026-03-01T12:00:00+00:00",
        "until": "2026-03-31T12:00:00+00:00",
        "reason": "its spec was removed",
        "aside": False,
        **more,
    }
