"""Random people, accidents and failures against one appliance; then a quiet hour, after which all must be as told.

Users write tokens into their data all the time. Whatever happens, a token is gone only if its trash expired, was
purged after an approval, or a person destroyed the dataset by hand; and what others made is as it was.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.errors import VoxnixError
from controller.host.sim import Fault
from controller.host.sim.zfs_data import Disk
from controller.plan.model import Plan
from tests.box import Box, FakeClock, Killed
from tests.chaos.people import BOB, DRIFT, NAMES, NOW, PLACES, specs, template
from tests.chaos.portrait import datasets
from tests.chaos.verdict import converged
from tests.chaos.virtual import run
from tests.chaos.watch import WatchedHost, is_live, uid_of

DEEP = bool(os.environ.get("VOXNIX_DEEP"))


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
        self.box.commit({}, "restart", Voxnix_Restart=data.draw(st.sampled_from((*self.host.uids(), "0" * 16))))

    @rule(data=st.data(), now=NOW)
    def roll_back(self, data: st.DataObject, now: bool | Fault) -> None:
        tree = Disk(self.host.world).tree()
        live = [each for name, each in tree.datasets.items() if is_live(name) and each.snapshots and uid_of(each)]
        if live:
            chosen = data.draw(st.sampled_from(live))
            shot = data.draw(st.sampled_from(chosen.snapshots))
            self.box.commit({}, "back", Voxnix_Rollback_Data=f"{uid_of(chosen)} {shot.name}")
            self._then(now)

    @rule(data=st.data(), to=st.sampled_from((*NAMES, "", "", "")), now=NOW)
    def restore(self, data: st.DataObject, to: str, now: bool | Fault) -> None:
        piece = data.draw(st.sampled_from((*self.host.pieces(), "nothing-1-2")))
        self.box.commit({}, "restore", Voxnix_Restore=f"{piece} as {to}" if to else piece)
        self._then(now)

    @rule(data=st.data(), now=NOW)
    def purge(self, data: st.DataObject, now: bool | Fault) -> None:
        self.box.commit({}, "purge", Voxnix_Purge=data.draw(st.sampled_from((*self.host.pieces(), "0" * 16))))
        self._then(now)

    # Users

    @rule()
    def write(self) -> None:
        """Everybody writes something new into every place that is to last."""
        tree = Disk(self.host.world).tree()
        for name, each in tree.datasets.items():
            if not (is_live(name) and each.mounted and uid_of(each)):
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
            for dataset in self.host.live(name):
                self._outside("zfs", "unmount", f"{dataset}/workspace")
                self._outside("zfs", "unmount", dataset)
        self._then(now)

    @rule(name=st.sampled_from(NAMES), child=st.booleans())
    def destroy_by_hand(self, name: str, child: bool) -> None:
        self._outside("systemctl", "stop", f"container@{name}.service")
        for dataset in self.host.live(name):
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
            gc.collect()

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
        converged(look)
        self._apply()
        assert not self.host.changes, self.host.changes
        with sqlite3.connect(self.box.settings.store) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()

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


Appliance.TestCase.settings = settings(
    max_examples=400 if DEEP else 20,
    stateful_step_count=40 if DEEP else 20,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestAppliance = pytest.mark.filterwarnings(
    # a controller that dies within this process leaves connections half made, which the kernel would have closed
    "ignore:unclosed:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)(Appliance.TestCase)
