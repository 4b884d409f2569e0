"""Random people, accidents and failures against one appliance; then a quiet hour, after which all must be as told.

Users write tokens into their data all the time. Whatever happens, a token is gone only if its trash expired, was
purged after an approval, or a person destroyed the dataset by hand; and what others made is as it was.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.errors import VoxnixError
from controller.host.sim import Fault, foreign
from controller.host.sim.zfs_data import Disk
from controller.loop import SETTLED, Look
from controller.observed import Known
from controller.plan.model import Plan, Reason
from controller.spec.state import Wanted
from tests.box import Box, FakeClock, Killed
from tests.chaos.portrait import datasets
from tests.chaos.virtual import run
from tests.chaos.watch import WatchedHost

DEEP = bool(os.environ.get("VOXNIX_DEEP"))
NAMES = ("dev", "web", "api", "lab", "job")
OWNERS = ("alice", "bob")
MODULES = ("git", "tailscale", "workspace")
BOB = ("name: Bob\n", "name: Bob\nlimits: {storage: 50G}\n", "nmae: Bob\n", "name: Bob\ntailnet_tags: ['tag:lab']\n")
WAITS = SETTLED | {
    Reason.INVALID_FILE,
    Reason.OWNER_MISSING,
    Reason.FOREIGN,
    Reason.MISSING,
    Reason.HELD,
    Reason.QUOTA_BELOW_USE,
    Reason.SECRET_MISSING,
}
"""Why something may still wait after a quiet hour."""
ALIEN = "tank/users/alice/containers/theirs"
PLACES = ("home", "root", "var-lib", "workspace")


@st.composite
def specs(draw: Any) -> dict[str, Any]:
    """One container's spec, without its name."""
    modules = draw(st.sets(st.sampled_from(MODULES)))
    spec: dict[str, Any] = {"owner": draw(st.sampled_from(OWNERS)), "modules": sorted(modules)}
    if "workspace" in modules:
        quota, restore = draw(st.sampled_from(("1G", "2G"))), draw(st.sampled_from(("latest", "latest", "never")))
        spec["workspace"] = {"quota": quota, "restore": restore}
    extras: dict[str, st.SearchStrategy[Any]] = {
        "power": st.sampled_from(("running", "stopped")),
        "resources": st.sampled_from(({"memory": "1G"}, {"cpus": 0.5, "tasks": 99})),
        "schedule": st.sampled_from(({"start": "0 8 * * *", "stop": "0 20 * * *"}, {"stop": "0 0 * * *"})),
        "expires": st.sampled_from(("2026-03-03T00:00:00Z", "2026-04-20T00:00:00Z")),
        "paused": st.just(True),
        "env": st.sampled_from(({"A": "1"}, {"A": "2"})),
    }
    for key in draw(st.sets(st.sampled_from(sorted(extras)), max_size=2)):
        spec[key] = draw(extras[key])
    return spec


DRIFT = ("stop", "kill", "crash", "destroy", "half", "unmount")
MODES = ("fail", "hang", "garble", "die-before", "die-during", "die-after")
CHANGES = (
    *("zfs create", "zfs set", "zfs rename", "zfs snapshot", "zfs (un)?mount", "zfs (clone|promote|inherit)"),
    *("systemctl (start|stop)", "extra-container", "nix-build", "http (POST|DELETE)", "tailscale (up|logout|status)"),
)
faults = st.one_of(
    st.builds(Fault, nth=st.integers(1, 60), mode=st.sampled_from(MODES)),
    st.builds(
        Fault,
        match=st.sampled_from(CHANGES),
        nth=st.integers(1, 3),
        mode=st.sampled_from(MODES),
        times=st.sampled_from((1, 1, 3)),
        step=st.integers(1, 2),
    ),
)
NOW = st.one_of(st.just(False), st.just(True), faults)
"""Whether the controller looks at once, and what it then meets with."""


@cache
def template() -> Path:
    """An appliance with a foreign machine, foreign datasets and foreign devices; copied for each example."""
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="voxnix-state-", dir=shared if os.access(shared, os.W_OK) else None))
    box = Box(place / "template")
    box.commit({"dev": "owner: bob\n"})
    run(box.apply())
    foreign(box.host, "alien", files={"/home/ann/notes.txt": "theirs"})
    for name in ("tank/other", ALIEN, "tank/trash/theirs"):
        run(box.outside("zfs", "create", "-p", name))
    box.host.root.joinpath(ALIEN, "file.txt").write_text("theirs")
    with box.host.state.write() as db:
        for number, tag in ((901, "tag:other"), (902, "tag:vox")):
            db.execute(
                "INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?, '', '', 0, 0, NULL, 0, '')",
                (f"n{number}FOREIGN", number, f"other{number}", "dev", json.dumps([tag]), f"mkey:{number}"),
            )
    box.host.close()
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


class Appliance(RuleBasedStateMachine):
    """One appliance, and all who have to do with it."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=template()))
        shutil.copytree(template() / "template", self.place / "here", symlinks=True)
        self.clock = FakeClock()
        self.clock.pass_(timedelta(hours=1))
        self.box = Box(self.place / "here", self.clock, host_type=WatchedHost)
        assert isinstance(self.box.host, WatchedHost)
        self.host = self.box.host
        self.specs: dict[str, dict[str, Any] | None] = {"dev": {"owner": "bob", "modules": []}}
        self.plan: Plan | None = None
        self.holds: dict[str, tuple[str, ...]] = {}
        self.written: dict[str, str] = {}
        self.boots = 1
        self.foreign = self._foreign()

    # People who commit

    @rule(name=st.sampled_from((*NAMES, "alien")), spec=specs(), now=NOW)
    def want(self, name: str, spec: dict[str, Any], now: bool | Fault) -> None:
        self._commit({name: spec})
        self._then(now)

    @precondition(lambda self: any(self.specs.values()))
    @rule(data=st.data(), spec=specs(), now=NOW)
    def edit(self, data: st.DataObject, spec: dict[str, Any], now: bool | Fault) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, found in self.specs.items() if found)))
        self._commit({name: {**(self.specs[name] or {}), **{key: spec[key] for key in spec if key != "owner"}}})
        self._then(now)

    @precondition(lambda self: any(self.specs.values()))
    @rule(data=st.data(), now=NOW)
    def drop(self, data: st.DataObject, now: bool | Fault) -> None:
        names = sorted(name for name, found in self.specs.items() if found)
        gone = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        self._commit(dict.fromkeys(gone))
        self._then(now)

    @precondition(lambda self: any(self.specs.values()))
    @rule(data=st.data(), new=st.sampled_from(NAMES), now=NOW)
    def rename(self, data: st.DataObject, new: str, now: bool | Fault) -> None:
        old = data.draw(st.sampled_from(sorted(name for name, found in self.specs.items() if found)))
        if old not in (new, "alien") and not self.specs.get(new):
            self._commit({old: None, new: {**(self.specs[old] or {}), "renamed_from": old}})
            self._then(now)

    @precondition(lambda self: any(self.specs.values()))
    @rule(data=st.data())
    def hand_over(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, found in self.specs.items() if found)))
        spec = self.specs[name] or {}
        self._commit({name: {**spec, "owner": "bob" if spec["owner"] == "alice" else "alice"}})

    @rule(name=st.sampled_from(NAMES), text=st.sampled_from(("owner: alice\nmodulse: []\n", "- {", "owner: carol\n")))
    def err(self, name: str, text: str) -> None:
        if self.specs.get(name):
            self.box.commit({name: text})

    @rule(text=st.sampled_from(BOB))
    def tenant(self, text: str) -> None:
        self.box.commit({"state/tenants/bob.yaml": text})

    # Decisions

    @precondition(lambda self: self.plan and self.plan.holds)
    @rule(data=st.data(), now=NOW)
    def approve(self, data: st.DataObject, now: bool | Fault) -> None:
        assert self.plan
        hold = data.draw(st.sampled_from(self.plan.holds))
        for lane in hold.lanes:
            if lane.key.startswith(("trash:", "purge:")):
                self.host.purges |= {
                    step.action.dataset.rsplit("/", 1)[1] for step in lane.steps if hasattr(step.action, "dataset")
                }
        self.box.commit({}, "approve", Voxnix_Approve=hold.id)
        self._then(now)

    @rule(hold=st.sampled_from(("0" * 12, "feedbeefcafe")))
    def approve_nothing(self, hold: str) -> None:
        self.box.commit({}, "approve", Voxnix_Approve=hold)

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        self.box.commit({}, "restart", Voxnix_Restart=data.draw(st.sampled_from((*self._uids(), "0" * 16))))

    @rule(data=st.data(), now=NOW)
    def roll_back(self, data: st.DataObject, now: bool | Fault) -> None:
        tree = Disk(self.host.world).tree()
        live = [each for name, each in tree.datasets.items() if _is_live(name) and each.snapshots and _uid(each)]
        if live:
            chosen = data.draw(st.sampled_from(live))
            shot = data.draw(st.sampled_from(chosen.snapshots))
            self.box.commit({}, "back", Voxnix_Rollback_Data=f"{_uid(chosen)} {shot.name}")
            self._then(now)

    @rule(data=st.data(), to=st.sampled_from((*NAMES, "", "", "")), now=NOW)
    def restore(self, data: st.DataObject, to: str, now: bool | Fault) -> None:
        piece = data.draw(st.sampled_from((*self._pieces(), "nothing-1-2")))
        self.box.commit({}, "restore", Voxnix_Restore=f"{piece} as {to}" if to else piece)
        self._then(now)

    @rule(data=st.data(), now=NOW)
    def purge(self, data: st.DataObject, now: bool | Fault) -> None:
        self.box.commit({}, "purge", Voxnix_Purge=data.draw(st.sampled_from((*self._pieces(), "0" * 16))))
        self._then(now)

    # Users

    @rule()
    def write(self) -> None:
        """Everybody writes something new into every place that is to last."""
        tree = Disk(self.host.world).tree()
        for name, each in tree.datasets.items():
            if not (_is_live(name) and each.mounted and _uid(each)):
                continue
            child = tree.datasets.get(f"{name}/workspace")
            for part in PLACES if child and child.mounted else PLACES[:-1]:
                folder = self.host.root / name / part
                if folder.is_dir():
                    token = f"token-{len(self.written)}"
                    (folder / token).write_text(token)
                    self.written[token] = f"{name}/{part}"

    # Accidents and others

    @rule(name=st.sampled_from(NAMES), act=st.sampled_from(DRIFT), now=NOW)
    def drift(self, name: str, act: str, now: bool | Fault) -> None:
        unit = f"container@{name}.service"
        if act in ("stop", "unmount"):
            self._outside("systemctl", "stop", unit)
        if act == "kill":
            self._outside("machinectl", "terminate", name)
        if act == "crash":
            self._outside("systemctl", "kill", "-s", "KILL", unit)
        if act == "destroy":
            self._outside("extra-container", "destroy", name)
        if act == "half":
            self.host.world.path(f"/etc/nixos-containers/{name}.conf").unlink(missing_ok=True)
        if act == "unmount":
            for dataset in self._live(name):
                self._outside("zfs", "unmount", f"{dataset}/workspace")
                self._outside("zfs", "unmount", dataset)
        self._then(now)

    @rule(name=st.sampled_from(NAMES), child=st.booleans())
    def destroy_by_hand(self, name: str, child: bool) -> None:
        self._outside("systemctl", "stop", f"container@{name}.service")
        for dataset in self._live(name):
            doomed = f"{dataset}/workspace" if child else dataset
            self.host.release(doomed)
            self._outside("zfs", "destroy", "-r", doomed)
        self.host.released -= {token for _, token in self.host.tokens()}

    @rule(data=st.data())
    def lose_a_device(self, data: st.DataObject) -> None:
        rows = self.host.state.rows("SELECT node_id FROM devices WHERE node_id NOT LIKE '%FOREIGN' ORDER BY node_id")
        if rows:
            node = data.draw(st.sampled_from([row["node_id"] for row in rows]))
            with self.host.state.write() as db:
                db.execute("DELETE FROM devices WHERE node_id = ?", (node,))

    @rule(up=st.booleans())
    def tailnet(self, up: bool) -> None:
        self.host.configure(tailnet_up=up)

    @rule(boots=st.sampled_from((0.0, "crash", "hang")), name=st.sampled_from(NAMES))
    def boots(self, boots: float | str, name: str) -> None:
        self.host.configure(boots={name: boots})

    @rule()
    def reboot(self) -> None:
        self.boots += 1
        self.clock.boot = f"boot-{self.boots}"
        self.host.reboot()

    @rule(hours=st.sampled_from((0.1, 1, 9, 30, 24 * 8, 24 * 31)), now=NOW)
    def time_passes(self, hours: float, now: bool | Fault) -> None:
        self.clock.pass_(timedelta(hours=hours))
        self._then(now)

    @rule(hours=st.sampled_from((-30, -2, 2, 24 * 40)))
    def clock_jumps(self, hours: int) -> None:
        self.clock.jump(timedelta(hours=hours))

    @rule()
    def lose_the_store(self) -> None:
        for file in self.box.settings.data.glob("store.db*"):
            file.unlink()

    # The controller

    @rule(calm=st.booleans())
    def apply(self, calm: bool) -> None:
        if calm:
            self.host.faults.clear()
        self._apply()

    @invariant()
    def nothing_forbidden_was_run(self) -> None:
        assert not self.host.crimes, self.host.crimes

    @invariant()
    def no_token_is_lost(self) -> None:
        lost = self.written.keys() - self.host.released - {token for _, token in self.host.tokens()}
        assert not lost, {token: self.written[token] for token in lost}

    @invariant()
    def nothing_foreign_was_touched(self) -> None:
        assert self._foreign() == self.foreign

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self._quiet()
        finally:
            self.host.close()
            shutil.rmtree(self.place, ignore_errors=True)

    def _quiet(self) -> None:
        """Nobody does anything any more for some hours; then all is as told."""
        self.host.faults.clear()
        self.host.configure(tailnet_up=True, boots={})
        for name, unit in self.host.units().items():
            if unit.outcome == "hang":
                self._outside("systemctl", "stop", f"container@{name}.service")
        still = 0
        for _ in range(15):
            self.host.changes.clear()
            self.clock.pass_(timedelta(minutes=20))
            self._apply()
            still = still + 1 if self.plan and not self.host.changes else 0
            if still == 2:
                break
        self.nothing_forbidden_was_run()
        self.no_token_is_lost()
        self.nothing_foreign_was_touched()
        self.host.changes.clear()
        look = run(self.box.look(), self._passing)
        self._converged(look)
        self._apply()
        assert not self.host.changes, self.host.changes
        with sqlite3.connect(self.box.settings.store) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()

    def _converged(self, look: Look) -> None:
        """Observed equals desired, but for what is held or waits for a good reason."""
        assert look.plan.empty, look.plan.lanes
        wrong = [wait for wait in look.plan.waits if wait.reason not in WAITS]
        assert not wrong, wrong
        if not isinstance(look.desired, Known):
            return
        apart = {wait.key for wait in look.plan.waits} | {name for hold in look.plan.holds for name in hold.names}
        for name, wanted in look.desired.value.containers.items():
            if name not in apart:
                self._as_wanted(look, name, wanted)
        ours = [path.rsplit("/", 1)[1] for path in look.observed.storage.value.datasets if _is_live(path)]
        wanted = look.desired.value.containers.values()
        apart |= {each.spec.renamed_from for each in wanted if each.name in apart and each.spec}
        extra = set(ours) - look.desired.value.containers.keys() - apart - {"theirs"}
        assert not extra, extra

    def _as_wanted(self, look: Look, name: str, wanted: Wanted) -> None:
        spec = wanted.spec
        assert spec is not None
        path = f"tank/users/{spec.owner}/containers/{name}"
        found, machine = look.observed.storage.value.datasets, look.observed.machines.value[name]
        data = found[path]
        assert (data.mounted, data.marks["name"], data.marks["owner"]) == (True, name, spec.owner)
        if spec.has_workspace:
            child = found[f"{path}/workspace"]
            assert (child.mounted, child.refquota) == (True, spec.workspace.quota)
        document = machine.installed.document
        assert (document.uid, document.digest) == (data.marks["uid"], wanted.digest)
        down = machine.state in ("stopped", "failed")
        assert down if look.plan.power[name] == "stopped" else machine.state == "running", machine
        if machine.state == "running":
            unit, limits = machine.unit, spec.resources
            assert (unit.memory_max, unit.cpu_quota, unit.tasks_max) == (limits.memory, limits.cpus, limits.tasks)
            devices = look.observed.tailnet.value
            if spec.on_tailnet:
                assert devices[data.marks["node"]].hostname == spec.hostname
            else:
                assert "node" not in data.marks

    def _then(self, now: bool | Fault) -> None:
        if isinstance(now, Fault):
            self.host.faults.add(now)
        if now:
            self._apply()

    def _apply(self) -> None:
        self.host.dead = False
        try:
            self.plan = run(self.box.apply(), self._passing).plan
        except Killed:
            self.plan = None
        except VoxnixError:
            self.plan = None

    def _passing(self, seconds: float) -> None:
        self.clock.pass_(timedelta(seconds=seconds))

    def _commit(self, changes: dict[str, dict[str, Any] | None]) -> None:
        fitting = {name: _fitting(spec) if spec else None for name, spec in changes.items()}
        self.specs |= fitting
        self.box.commit({name: json.dumps(spec) if spec else None for name, spec in fitting.items()})

    def _outside(self, *argv: str) -> None:
        run(self.box.outside(*argv), self._passing)

    def _live(self, name: str) -> list[str]:
        tree = Disk(self.host.world).tree()
        return [path for path, each in tree.datasets.items() if path.endswith(f"/containers/{name}") and _uid(each)]

    def _uids(self) -> tuple[str, ...]:
        tree = Disk(self.host.world).tree()
        return tuple(sorted(_uid(each) for name, each in tree.datasets.items() if _is_live(name) and _uid(each)))

    def _pieces(self) -> tuple[str, ...]:
        tree = Disk(self.host.world).tree()
        return tuple(
            sorted(
                path.rsplit("/", 1)[1]
                for path in tree.datasets
                if path.startswith("tank/trash/") and path.count("/") == 2 and "theirs" not in path
            )
        )

    def _foreign(self) -> Any:
        """What others made, as it is now."""
        found = {path: each for path, each in datasets(self.box).items() if "theirs" in path or path == "tank/other"}
        links = [
            self.host.world.path(path)
            for path in ("/etc/nixos-containers/alien.conf", "/etc/systemd-mutable/system/container@alien.service")
        ]
        rows = self.host.state.rows("SELECT * FROM devices WHERE node_id LIKE '%FOREIGN' ORDER BY node_id")
        tree = self.host.root / "var/lib/nixos-containers/alien/home/ann/notes.txt"
        return found, [os.readlink(link) for link in links], [tuple(row) for row in rows], tree.read_text()


def _fitting(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec without a section whose module it has not."""
    return {key: value for key, value in spec.items() if key != "workspace" or "workspace" in spec["modules"]}


def _uid(dataset: Any) -> str:
    return str(dataset.local.get("voxnix:uid", ""))


def _is_live(path: str) -> bool:
    return path.startswith("tank/users/") and path.count("/") == 4 and "/containers/" in path


Appliance.TestCase.settings = settings(
    max_examples=400 if DEEP else 20,
    stateful_step_count=40 if DEEP else 20,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestAppliance = Appliance.TestCase
