"""A stage for trying requests: an appliance that stands still, and an outbox that only notes what would be sent.

The same tools, approvals and assistants work on it as on a real one. Nothing leaves the process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.appliance import Appliance, Json
from agent.ledger import Entry, Ledger, Stage
from agent.outbox import Commit, Outbox
from agent.person import Person
from agent.snapshot import State, read_state
from agent.store import Store
from controller.cli.client import Client
from controller.errors import BadInput
from controller.spec.state import Library

REVISION = "5" * 40
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BOB = Person("bob", "Bob")
_GIB = 2**30
_SPECS = {
    "dev": "owner: bob\nmodules: [git, workspace, tailscale]\n",
    "web": "owner: bob\nmodules: [node, workspace, tailscale]\npower: stopped\n",
    "api": "owner: bob\nmodules: [python, workspace, tailscale]\n",
    "old-box": "owner: bob\nmodules: [git]\n",
    "prod": "owner: alice\nmodules: [git, tailscale]\n",
}
_TENANTS = {
    "alice": "name: Alice\nrole: admin\n",
    "bob": "name: Bob\nlimits:\n  containers: 8\n  storage: 100G\n",
}
_LOG = "listening on :8080\nGET /health 200\n"


class StagedAppliance(Appliance):
    """Published facts that never change; `logs` by container over an ordinary one."""

    def __init__(self, logs: Mapping[str, str] | None = None, descriptions: Mapping[str, str] | None = None) -> None:
        super().__init__(Client(Path("/nonexistent")))
        self._logs = dict(logs or {})
        self._descriptions = dict(descriptions or {})

    async def status(self) -> Json:
        """Five containers of two people; `api` is down, `web` is stopped."""
        containers = [
            _container("dev"),
            _container("web", machine="stopped", power="stopped"),
            _container("api", phase="degraded", machine="failed"),
            _container("old-box", workspace_quota=0),
            _container("prod", owner="alice"),
        ]
        for one in containers:
            one["description"] = self._descriptions.get(one["name"], "")
        trash = {
            "id": "t1",
            "uid": "u",
            "name": "gone",
            "owner": "bob",
            "bytes": _GIB,
            "reason": "its spec was removed",
        }
        return {
            **{"schema": 1, "revision": REVISION, "passed_at": NOW.isoformat(), "refused": "", "fetch": ""},
            **{"sources": {"git": "known"}, "pool": {"name": "tank", "used": 40 * _GIB, "available": 60 * _GIB}},
            **{"holds": [], "waits": [], "suspended": None, "containers": containers},
            "trash": [{**trash, "since": "2026-02-20T00:00:00+00:00", "until": "2026-03-22T00:00:00+00:00"}],
        }

    async def events(self, name: str, *, after: int | None = None, limit: int = 0) -> Sequence[Json]:
        """One event."""
        del after, limit
        at = NOW.isoformat()
        return [{"id": 1, "at": at, "kind": "phase", "message": "degraded: it does not start", "revision": ""}] * (
            name == "api"
        )

    async def logs(self, name: str, person: Person, lines: int) -> str:
        """What a container wrote."""
        del lines
        if await self.container(name, person) is None:
            raise BadInput(f"there is no container {name}")
        return self._logs.get(name, _LOG)

    async def poke(self) -> bool:
        """Nobody looks."""
        return False


class StagedOutbox(Outbox):
    """The staged state; what is sent is noted in `sent`, and taken at once."""

    def __init__(self, appliance: Appliance, library: Library) -> None:
        self._memory = Store(":memory:")
        super().__init__(
            Outbox.remote(Path("/nonexistent"), "/nonexistent.git", "main"), Ledger(self._memory), appliance, library
        )
        specs = {f"state/{name}.yaml": text.encode() for name, text in _SPECS.items()}
        tenants = {f"state/tenants/{name}.yaml": text.encode() for name, text in _TENANTS.items()}
        self._state = read_state(REVISION, {**specs, **tenants}, library)
        self.sent: list[Entry] = []

    async def state(self, revision: str | None = None) -> State:
        """As it was, with what was sent."""
        del revision
        return self._state

    async def log(self, path: str | None = None, *, limit: int = 20) -> tuple[Commit, ...]:
        """There is no history here."""
        del path, limit
        return ()

    async def blobs(self, oids: set[str]) -> Mapping[str, bytes]:
        """Nor are there objects."""
        del oids
        return {}

    async def contains(self, tip: str, sha: str) -> bool:
        """Everything is taken at once."""
        del tip, sha
        return True

    async def send(self, entry: Entry) -> Entry:
        """Note an entry, and let the state follow it."""
        done = replace(entry, stage=Stage.ACCEPTED, sha=f"{len(self.sent):040x}")
        self.sent.append(done)
        if entry.path:
            data = {key: value for key, value in self._state.data.items() if key != entry.path}
            added = {} if entry.content is None else {entry.path: entry.content}
            self._state = read_state(REVISION, {**data, **added}, self._state.library)
        return done

    def close(self) -> None:
        """Nothing is kept."""
        self._memory.close()


def _container(name: str, **more: Any) -> dict[str, Any]:
    """A container's published status."""
    down = more.get("phase") == "degraded"
    power = {"type": "Power", "status": "False" if down else "True", "reason": "CrashLoop" if down else "Running"}
    power |= {"message": "api keeps failing to start: exit code 1" if down else "", "hint": "see its logs"}
    return {
        **{"name": name, "uid": f"uid-{name}", "owner": "bob", "phase": "ready", "power": "running"},
        **{"machine": "running", "addresses": ["10.100.0.101"], "tailnet_name": name, "modules": ["git", "workspace"]},
        **{"tailnet_addresses": ["100.64.0.1"], "home_used": 2**20, "home_quota": 0, "workspace_used": _GIB},
        **{"workspace_quota": 5 * _GIB, "snapshots": ["20260301T000000Z-daily", "20260302T000000Z-daily"]},
        **{
            "conditions": [{**power, "since": NOW.isoformat()}],
            "attempts": 3 * down,
            "retry_at": None,
            "expires": None,
        },
        **more,
    }
