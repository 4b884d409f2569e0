"""Hypothesis strategies for whole worlds: what git says, what a host looks like, what is remembered. Nothing is run.

Worlds are strange on purpose: every part is drawn by itself, so that specs, data, machines, devices, trash and memory
agree only sometimes. Small pools of names, owners and uids make them meet.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

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
from controller.plan.view import stamp
from controller.spec.model import ContainerSpec, Tenant
from controller.spec.state import Decision, DecisionKind, Desired, Wanted
from tests.any_spec import Draw, T, digests, seldom, short, specs
from tests.world import GIB, NOW, POLICY, World

NAMES = ("db", "dev", "lab", "web")
OLD = "old"
LABELS = tuple(
    f"voxnix-{stamp(NOW - timedelta(days=days, minutes=1))}-{why}"
    for days, why in ((40, "system"), (20, "system"), (9, "daily"), (8, "daily"), (3, "destroy"), (0, "daily"))
)
PROBLEM = Problem("state/x.yaml", 1, 1, "it has a mistake")


def uid_of(name: str, twin: int = 0) -> str:
    """The uid that a container of this name has in these worlds."""
    return short("uid", name, twin) * 2


@st.composite
def worlds(draw: Draw, *, calm: bool = False) -> World:
    """Any world whose machines and storage are known; a `calm` one has nothing that keeps lanes from running."""
    build = _Build(draw, calm)
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4)):
        build.container(name)
    build.rename()
    build.leftovers()
    return build.world()


class _Build:
    """Puts a world together, one container at a time."""

    def __init__(self, draw: Draw, calm: bool) -> None:
        self.draw = draw
        self.calm = calm
        self.containers: dict[str, Wanted] = {}
        self.removed: dict[str, str] = {}
        self.datasets: dict[str, Dataset] = {}
        self.machines: dict[str, Machine] = {}
        self.devices: dict[str, Device] = {}
        self.entries: dict[str, Entry] = {}
        self.decisions: list[Decision] = []
        self.adopted: dict[str, Adoption] = {}
        self.backoff: dict[str, Backoff] = {}
        self.delegated: set[str] = set()
        self.paused: set[str] = set()

    def pick(self, *choices: T) -> T:
        return self.draw(st.sampled_from(choices))

    def rare(self, value: T, other: T) -> T:
        return self.draw(seldom(value, other))

    def container(self, name: str) -> None:
        """Something of one name, in git, on the host, or both."""
        spec = self.draw(specs(name, calm=self.calm))
        self.git(name, spec)
        if self.pick(True, True, False):
            self.data(name, self.rare("bob" if spec.owner == "alice" else "alice", spec.owner), spec)
        self.machine(name, spec)
        if self.pick(True, False):
            self.entry(name, spec)
        if self.rare(True, False):
            self.trash(name, spec.owner)
        if not self.calm and self.rare(True, False):
            self.backoff[name] = Backoff(2, NOW + timedelta(minutes=3), "it failed", self.pick("c-" + name, "c-x"))

    def git(self, name: str, spec: ContainerSpec) -> None:
        kind = self.pick("wanted", "wanted", "wanted", "removed", "never")
        commit = "c-" + name
        if self.rare(True, False):
            self.delegated.add(commit)
        if kind == "removed":
            self.removed[name] = commit
            if self.rare(True, False):
                self.paused.add(name)
        elif kind == "wanted":
            digest, own = digests(spec, "lib2")
            frozen = () if self.calm else self.rare((PROBLEM,), ())
            last = self.rare(None, spec) if frozen else spec
            changed = NOW - timedelta(hours=self.pick(1, 20, 100))
            moved = self.rare("there", None)
            self.containers[name] = Wanted(name, last, commit, digest, own, frozen, changed, moved)

    def data(self, name: str, owner: str, spec: ContainerSpec) -> None:
        path = POLICY.dataset(owner, name)
        uid, node = uid_of(name), "n-" + name
        marks = {"uid": uid, "appliance": self.rare("app2", "app1"), "name": name, "owner": owner}
        if self.rare(True, False):
            marks = {}
        enrolled = self.pick("no", "no", "key", "node", "node")
        if marks and enrolled != "no":
            marks["key"] = f"k-{name}:1"
            if enrolled == "node":
                marks |= {"node": node, "tailnet": f"{spec.hostname},ssh,tag:vox"}
            if self.pick(True, True, False):
                tags = self.rare((), ("tag:vox",))
                self.devices[node] = Device(node, name, name, tags, key_id=f"k-{name}")
        if marks and self.rare(True, False):
            marks |= {"trashed": stamp(NOW), "aside": "c-left"}
        self.dataset(path, marks)
        if self.pick(True, False):
            if marks:
                self.datasets[path] = replace(
                    self.datasets[path], marks={**self.datasets[path].marks, "workspace": "1"}
                )
            if self.pick(True, True, False):
                self.dataset(path + "/workspace", {"part": "workspace"})

    def dataset(self, path: str, marks: dict[str, str], *, mounted: bool = True) -> None:
        self.datasets[path] = Dataset(
            path,
            used=self.pick(1, 7) * GIB,
            referenced=self.pick(GIB // 2, 2 * GIB),
            refquota=self.pick(0, GIB, 5 * GIB),
            mounted=self.rare(False, True) if mounted else False,
            mountpoint=f"/{path}",
            marks={**marks, "token": path},
            snapshots=tuple(sorted(self.draw(st.lists(st.sampled_from(LABELS), unique=True, max_size=3)))),
        )

    def trash(self, name: str, owner: str) -> None:
        """One or two pieces of trash of a container."""
        for twin in range(self.pick(1, 1, 2)):
            at = NOW - timedelta(days=self.pick(1, 29, 31), seconds=twin)
            uid = uid_of(name, self.pick(0, twin))
            path = f"{POLICY.trash}/{name}-{uid[:8]}-{stamp(at)}"
            marks = {"uid": uid, "appliance": "app1", "name": name, "owner": owner, "trashed": stamp(at)}
            if self.rare(True, False):
                marks["aside"] = self.pick("r-" + name, "r-gone")
            if self.rare(True, False):
                marks["trashed"] = "garbled"
            if self.rare(True, False):
                marks["node"] = "n-" + name
            self.dataset(path, marks, mounted=False)
            if self.pick(True, False):
                self.dataset(path + "/workspace", {"part": "workspace"}, mounted=False)

    def machine(self, name: str, spec: ContainerSpec) -> None:
        digest, own = digests(spec, self.pick("lib1", "lib2", "lib2"))
        own = self.rare("own-before", own)
        document = Document(self.rare("app2", "app1"), self.rare("other", uid_of(name)), name, spec.owner, digest, own)
        installed = Installed(f"/nix/store/{name}", self.rare(None, document))
        up = {"registered": True, "addresses": ("10.0.0.7",)}
        active = {"active": "active", "sub": "running"}
        limits = self.pick({}, {"memory_max": spec.resources.memory, "cpu_quota": 2.0, "tasks_max": 4096})
        runtime = self.pick(None, dict.fromkeys(spec.secrets, "current"), {"token": "stale"})
        kinds: dict[str, dict[str, Any]] = {
            "absent": {},
            "partial": {"partial": True},
            "stopped": {"installed": installed, "unit": limits},
            "running": {"installed": installed, **up, "unit": {**active, **limits}},
            "starting": {"installed": installed, **up, "unit": {"active": "activating", "sub": "start", "job": True}},
            "stopping": {"installed": installed, **up, "unit": {"active": "deactivating", "sub": "stop-sigterm"}},
            "looping": {"installed": installed, "unit": {"active": "activating", "sub": "auto-restart", "restarts": 3}},
            "failed": {"installed": installed, "unit": {"active": "failed", "result": "exit-code"}},
            "orphan": {**up, "unit": active},
            "tombstone": {"unit": {"active": "failed"}},
        }
        kind = self.pick("running", "running", "stopped", "absent", *kinds)
        if self.calm and kind in ("starting", "stopping", "looping"):
            kind = "running"
        values = dict(kinds[kind])
        unit = UnitFacts(**values.pop("unit", {}))
        if kind != "absent" or self.pick(True, False):
            self.machines[name] = Machine(name, unit, runtime=runtime if kind != "absent" else None, **values)
        foreign = document.appliance != "app1" or installed.document is None
        if foreign and self.pick(True, False):
            self.adopted[name] = Adoption(name, installed.system_path, "root", NOW)

    def entry(self, name: str, spec: ContainerSpec) -> None:
        uid = uid_of(name, self.rare(1, 0))
        since = self.rare(NOW - timedelta(minutes=self.pick(5, 90)), None)
        node = self.pick("", "n-" + name)
        power, system = self.pick("", "running", "stopped"), self.pick("", digests(spec, "lib2")[0])
        self.entries[uid] = Entry(uid, name, spec.owner, system, node, power, since)

    def rename(self) -> None:
        """Sometimes a container is the renamed one of another, of which something may be left."""
        names = [n for n, w in self.containers.items() if w.spec and not w.frozen]
        if not names or not self.rare(True, False):
            return
        name = self.pick(*names)
        wanted = self.containers[name]
        assert wanted.spec is not None
        spec = wanted.spec.model_copy(update={"renamed_from": OLD})
        self.containers[name] = replace(wanted, spec=spec)
        old = spec.model_copy(update={"name": OLD})
        self.removed[OLD] = wanted.revision
        self.data(OLD, spec.owner, old)
        self.machine(OLD, old)
        self.entry(OLD, old)

    def leftovers(self) -> None:
        """Devices, debts, decisions and datasets that nothing else brought."""
        if self.pick(True, False):
            self.devices["n-stray"] = Device("n-stray", "stray", "stray", (self.pick("tag:vox", "tag:other"),))
        if self.pick(True, False):
            uid = uid_of("gone")
            self.devices["n-owed"] = Device("n-owed", "gone", "gone", ("tag:vox",), key_id="k-gone")
            self.trash("gone", self.pick("alice", "bob", "ghost"))
            self.entries.setdefault(uid, Entry(uid, "gone", "alice", "", self.pick("", "n-owed")))
        trash = [p for p in self.datasets if p.startswith(POLICY.trash + "/") and p.count("/") == 2]
        for _ in range(self.pick(0, 0, 0, 1, 2)):
            self.decision(trash)

    def decision(self, trash: list[str]) -> None:
        kind = self.pick(*DecisionKind)
        name = self.pick(*NAMES)
        piece = self.pick(*trash).rsplit("/", 1)[1] if trash else "nothing-1"
        argument = {DecisionKind.RESTORE: piece, DecisionKind.PURGE: self.pick(piece, uid_of(name))}.get(
            kind, uid_of(name)
        )
        details = {
            DecisionKind.RESTORE: self.pick("", *NAMES),
            DecisionKind.ROLLBACK_DATA: self.pick(*LABELS, "voxnix-none"),
        }
        by = self.pick("alice", "bob", "root")
        delegate = self.rare(True, False)
        self.decisions.append(
            Decision(
                kind,
                argument,
                f"r-{name}" if all(d.commit != f"r-{name}" for d in self.decisions) else f"d-{len(self.decisions)}",
                NOW - timedelta(days=self.pick(0, 1, 6, 8)),
                by,
                by != "bob" and not delegate,
                details.get(kind, ""),
                delegate,
            )
        )

    def world(self) -> World:
        desired = Desired(
            "c-head",
            self.containers,
            {
                "alice": Tenant(id="alice", name="Alice", role="admin"),
                "bob": Tenant(id="bob", name="Bob"),
            },
            self.removed,
            frozenset() if self.calm else self.rare(frozenset({"bob"}), frozenset()),
            tuple(self.decisions),
            paused_when_removed=frozenset(self.paused),
            delegated=frozenset(self.delegated),
        )
        nodes = sorted(self.devices)
        owed = self.draw(st.lists(st.sampled_from(nodes), unique=True, max_size=2)) if nodes else []
        memory = Memory(
            inventory=self.entries,
            backoff=self.backoff,
            debts={node: Debt(uid_of("gone"), "gone", node, NOW) for node in owed},
            decided=frozenset(self.rare({"r-dev", "r-web"}, set())),
            destroys={uid_of(name): NOW - timedelta(minutes=m) for name, m in self.rare((("dev", 20), ("x", 70)), ())},
            adopted=self.adopted,
            suspended=None if self.calm else self.rare(Suspension("root", NOW, "work"), None),
            rebuilt="" if self.calm else self.rare("2026-11-23", ""),
            clock_steady=True if self.calm else self.rare(False, True),
        )
        return World(desired, self.observed(), memory)

    def observed(self) -> Observed:
        full = self.rare(95, 40)
        prepared = self.rare(False, True)
        tailnet = self.pick(Known(self.devices), Known(self.devices), Unknown("no answer"), NotConfigured())
        stored = {"alice": frozenset({"token"}), "bob": frozenset[str]()}
        clock = Known(True) if self.calm else self.pick(*[Known(True)] * 6, Known(False), Unknown("no answer"))
        return Observed(
            machines=Known(self.machines),
            storage=Known(StorageFacts(full, 100 - full, prepared, self.datasets)),
            tailnet=Known(self.devices) if self.calm else tailnet,
            clock=clock,
            secrets=self.rare(Unknown("no answer"), Known(stored)),
        )
