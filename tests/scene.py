"""Reads the compact YAML of `tests/cases/plan/` into the values that `plan` is given. See `README.md` there.

A container that the host has is as its spec wants it, unless the case says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from controller.errors import Problem
from controller.observed import (
    Dataset,
    Device,
    Document,
    Installed,
    Known,
    Machine,
    NotConfigured,
    Observed,
    StorageFacts,
    UnitFacts,
    Unknown,
)
from controller.plan.memory import Adoption, Backoff, Debt, Entry, Memory, Suspension
from controller.plan.tailnet import tailnet_mark
from controller.plan.view import stamp
from controller.spec.model import ContainerSpec, Tenant
from controller.spec.state import Decision, DecisionKind, Desired, Wanted
from tests.world import GIB, NOW, POLICY, World

FRESH = "voxnix-20261123T000000Z-daily"
SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
KINDS = {
    "approve": DecisionKind.APPROVE,
    "purge": DecisionKind.PURGE,
    "restore": DecisionKind.RESTORE,
    "rollback": DecisionKind.ROLLBACK_DATA,
    "restart": DecisionKind.RESTART,
}
UNITS: dict[str, dict[str, Any]] = {
    "running": {"active": "active", "sub": "running"},
    "starting": {"active": "activating", "sub": "start"},
    "stopping": {"active": "deactivating", "sub": "stop-sigterm"},
    "looping": {"active": "activating", "sub": "auto-restart", "restarts": 4},
    "failed": {"active": "failed", "result": "exit-code"},
    "orphan": {"active": "active", "sub": "running"},
    "tombstone": {"active": "failed"},
}
UP = ("running", "starting", "stopping", "orphan")
NOT_INSTALLED = ("absent", "partial", "orphan", "tombstone")


class Scene:
    """One case: the world that it describes."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        self.case = case
        self.now = NOW + span(case.get("later", "0s"))
        self.datasets: dict[str, Dataset] = {}
        self.machines: dict[str, Machine] = {}
        self.devices: dict[str, Device] = {}
        self.entries: dict[str, Entry] = {}
        self.wanted = {name: self._wanted(name, said or {}) for name, said in case.get("want", {}).items()}
        for name, said in case.get("have", {}).items():
            self._container(name, {"machine": said} if isinstance(said, str) else dict(said or {}))
        for piece in case.get("trash", []):
            self._trash(**piece)
        for name, said in case.get("devices", {}).items():
            self.devices[name] = Device(name, name, name, tuple(said.get("tags", ["tag:vox"])), key_id=said.get("key"))
        for name, said in case.get("remember", {}).get("inventory", {}).items():
            uid = said.get("uid", f"u-{name}")
            self.entries[uid] = Entry(uid, name, said.get("owner", "alice"), node_id=said.get("node", ""))

    def world(self) -> World:
        """What `plan` is given."""
        return World(self._desired(), self._observed(), self._memory(), self.now, POLICY)

    def _wanted(self, name: str, said: Mapping[str, Any]) -> Wanted:
        values = {"name": name, "owner": "alice", **said}
        extra = {key: values.pop(key) for key in list(values) if key.startswith("_")}
        spec = ContainerSpec.model_validate(values)
        library, frozen = extra.get("_library", "lib"), extra.get("_frozen")
        own = digest_of(spec)
        return Wanted(
            name,
            None if frozen == "never valid" else spec,
            extra.get("_revision", f"c-{name}"),
            f"{own}-{library}",
            own,
            (Problem(f"state/{name}.yaml", 2, 1, "a mistake"),) if frozen else (),
            NOW - span(extra.get("_changed", "100h")),
            extra.get("_moved_from"),
        )

    def _spec(self, name: str, said: dict[str, Any]) -> ContainerSpec:
        """What the container on the host was made by: its spec, but for what the case says of it."""
        wanted = self.wanted.get(name)
        asked = wanted.spec.model_dump() if wanted and wanted.spec else {"name": name, "owner": "alice"}
        keys = ("owner", "modules", "env", "resources", "secrets", "workspace")
        return ContainerSpec.model_validate({**asked, **{key: said[key] for key in keys if key in said}})

    def _container(self, name: str, said: dict[str, Any]) -> None:
        spec = self._spec(name, said)
        uid = said.get("uid", f"u-{name}")
        if said.get("data", True):
            self._data(name, uid, spec, said)
        self.machines[name] = self._machine(name, uid, spec, said)
        if said.get("remembered", True):
            at = said.get("removing")
            removing = self.now - span(at) if at else None
            node = f"n-{name}" if spec.on_tailnet else ""
            power = said.get("power", "running")
            self.entries[uid] = Entry(uid, name, spec.owner, f"{digest_of(spec)}-lib", node, power, removing)

    def _data(self, name: str, uid: str, spec: ContainerSpec, said: dict[str, Any]) -> None:
        marks = {"uid": uid, "appliance": "app1", "name": name, "owner": spec.owner, "created": "20260101T000000Z"}
        if spec.on_tailnet and said.get("node", "listed") != "none":
            tags = ("tag:vox", *spec.tailnet.tags)
            asked = tailnet_mark(spec.hostname, ssh=spec.tailnet.ssh, tags=tags)
            marks |= {"node": f"n-{name}", "key": f"k-{name}:1", "tailnet": said.get("enrolled", asked)}
            if said.get("node", "listed") == "listed":
                self.devices[f"n-{name}"] = Device(f"n-{name}", name, name, tags, online=True, key_id=f"k-{name}")
        if spec.has_workspace:
            marks["workspace"] = "20260101T000000Z"
        if said.get("data") == "foreign":
            marks = {}
        path = POLICY.dataset(spec.owner, name)
        self._dataset(path, {**marks, **said.get("marks", {})}, said, mounted=said.get("data") != "unmounted")
        if spec.has_workspace and said.get("workspace_there", True):
            self._dataset(
                f"{path}/workspace",
                {"part": "workspace"},
                {**said, "quota": said.get("ws_quota")},
                quota=spec.workspace.quota,
            )

    def _dataset(
        self, path: str, marks: dict[str, str], said: Mapping[str, Any], *, mounted: bool = True, quota: int = 0
    ) -> None:
        self.datasets[path] = Dataset(
            path,
            used=GIB,
            referenced=said.get("referenced", GIB // 2),
            refquota=said.get("quota") or quota,
            mounted=mounted,
            mountpoint=f"/{path}",
            marks={key: value for key, value in {**marks, "token": path}.items() if value},
            snapshots=tuple(said.get("snapshots", (FRESH,))),
        )

    def _machine(self, name: str, uid: str, spec: ContainerSpec, said: dict[str, Any]) -> Machine:
        state = said.get("machine", "running")
        own = digest_of(spec)
        digest = f"{own}-{said.get('library', 'lib')}"
        document = Document(said.get("appliance", "app1"), said.get("system_uid", uid), name, spec.owner, digest, own)
        installed = Installed(f"/nix/store/{name}", None if said.get("appliance") == "none" else document)
        limits = {"memory_max": spec.resources.memory, "cpu_quota": spec.resources.cpus, "tasks_max": 4096}
        unit = UnitFacts(**UNITS.get(state, {}), **({} if said.get("limits") == "lost" else limits))
        delivered = dict.fromkeys(spec.secrets, "current")
        return Machine(
            name,
            unit,
            installed=None if state in NOT_INSTALLED else installed,
            partial=state == "partial",
            registered=state in UP,
            runtime=None if state == "absent" else said.get("runtime", delivered),
        )

    def _trash(
        self, name: str, owner: str = "alice", age: str = "1d", uid: str = "", aside: str = "", **more: Any
    ) -> None:
        at = stamp(NOW - span(age))
        marks = {"uid": uid or f"u-{name}", "appliance": "app1", "name": name, "owner": owner, "trashed": at}
        if aside:
            marks["aside"] = aside
        path = f"{POLICY.trash}/{name}-{age}"
        self._dataset(path, {**marks, **more.get("marks", {})}, more, mounted=False)

    def _desired(self) -> Desired:
        case = self.case
        tenants = {"alice": Tenant(id="alice", name="Alice", role="admin"), "bob": Tenant(id="bob", name="Bob")}
        return Desired(
            "c-head",
            self.wanted,
            tenants,
            {name: str(commit) for name, commit in case.get("removed", {}).items()},
            frozenset(case.get("frozen_tenants", ())),
            tuple(self._decision(index, dict(said)) for index, said in enumerate(case.get("decisions", []))),
            paused_when_removed=frozenset(case.get("paused_when_removed", ())),
            delegated=frozenset(case.get("delegated", ())),
        )

    def _decision(self, index: int, said: dict[str, Any]) -> Decision:
        kind = next(key for key in said if key in KINDS)
        by = said.get("by", "root")
        delegate = said.get("delegate", False)
        return Decision(
            KINDS[kind],
            said[kind],
            said.get("commit", f"r{index + 1}"),
            NOW - span(said.get("age", "1h")),
            by,
            by != "bob" and not delegate,
            said.get("to", ""),
            delegate,
        )

    def _observed(self) -> Observed:
        unknown, full = self.case.get("unknown", []), self.case.get("full", 40)
        sources: dict[str, Any] = {
            "machines": Known(self.machines),
            "storage": Known(StorageFacts(full, 100 - full, self.case.get("prepared", True), self.datasets)),
            "tailnet": NotConfigured() if self.case.get("tailnet") == "none" else Known(self.devices),
            "clock": Known(self.case.get("clock") != "unsynchronised"),
            "secrets": Known({"alice": frozenset(self.case.get("secrets", ())), "bob": frozenset()}),
        }
        return Observed(**{name: Unknown("no answer") if name in unknown else at for name, at in sources.items()})

    def _memory(self) -> Memory:
        said = self.case.get("remember", {})
        suspended = said.get("suspended")
        return Memory(
            inventory=self.entries,
            backoff={key: self._backoff(one) for key, one in said.get("backoff", {}).items()},
            debts={node: Debt("u-gone", "gone", node, NOW) for node in said.get("debts", ())},
            decided=frozenset(said.get("decided", ())),
            destroys={uid: self.now - span(ago) for uid, ago in said.get("destroys", {}).items()},
            adopted={name: Adoption(name, f"/nix/store/{name}", "root", NOW) for name in said.get("adopted", ())},
            suspended=Suspension("root", NOW, suspended) if suspended else None,
            rebuilt=said.get("rebuilt", ""),
            clock_steady=self.case.get("clock") != "jumped",
        )

    def _backoff(self, said: Mapping[str, Any]) -> Backoff:
        return Backoff(
            said.get("attempts", 1),
            self.now + span(said.get("in", "5m")),
            said.get("message", "it failed"),
            said.get("revision", "c-dev"),
            blocked=said.get("blocked", False),
            roll_out=said.get("roll_out", ""),
        )


def digest_of(spec: ContainerSpec) -> str:
    """What a system is built from, as readable text instead of a digest."""
    env = ",".join(f"{key}={value}" for key, value in sorted(spec.env.items()))
    return "+".join([spec.name, spec.owner, *sorted(spec.modules), *filter(None, [env])])


def span(text: str) -> timedelta:
    """`20m`, `1h`, `31d` as a length of time."""
    match = re.fullmatch(r"(-?\d+)([smhd])", text)
    assert match, text
    return timedelta(**{SPANS[match[2]]: int(match[1])})
