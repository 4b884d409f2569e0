"""The power fails in the middle of convergence, again and again: all that was asked for comes about, nothing is lost.

A cut kills the host's PID 1, and with it ZFS, the controller and all containers at once. The pool's file outlives it
as the kernel has it: this shows what a crash of everything above the disk does, not what a torn disk does.
"""

from __future__ import annotations

import random
import re
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.host.appliance import Appliance
from tests.host.machine import Down

pytestmark = [pytest.mark.host, pytest.mark.power]

CUTS = 25
"""Cuts for one host; there are two hosts."""
MODULES = ("git", "fish", "tmux", "python", "go")
WRITER = """
use IO::Handle;
open(my $file, ">>", $ARGV[0]) or die;
$file->autoflush(1);
$| = 1;
for (my $n = 0; ; $n++) { print $file "$n\\n"; $file->sync or die; print "$n\\n"; select(undef, undef, undef, 0.002) }
"""
"""Appends numbers to one open file, each synced before it is told."""


class Writer:
    """Somebody at work in a container: what was synced, as told from there."""

    def __init__(self, box: Appliance, name: str, file: str) -> None:
        self.place = f"/tank/users/alice/containers/{name}/workspace/{file}"
        self.name = name
        self.synced = -1
        enter = ("systemd-run", "-M", name, "--wait", "--pipe", "--collect", "-q", "perl", "-e", WRITER)
        self._process = subprocess.Popen(
            box.host.within([*enter, f"/workspace/{file}"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):
                self.synced = int(line)

    def end(self) -> None:
        """Wait until nothing more is told; the host is off by now."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Life:
    """What people commit to one appliance, and what must be so in the end."""

    def __init__(self, box: Appliance, chance: random.Random) -> None:
        self.box = box
        self.chance = chance
        self.specs: dict[str, dict[str, object]] = {}
        self.born = 0
        self.held: list[tuple[str, str, int]] = []

    def change(self) -> str:
        """One to three changes in one commit."""
        changed: dict[str, dict[str, object] | None] = {}
        for _ in range(self.chance.randint(1, 3)):
            changed.update(self._one())
        for name, spec in changed.items():
            self.specs.pop(name, None) if spec is None else self.specs.update({name: spec})
        return self.box.commit(**changed)

    def _one(self) -> dict[str, dict[str, object] | None]:
        if len(self.specs) < 3 or (len(self.specs) < 5 and self.chance.random() < 0.2):
            self.born += 1
            return {f"c{self.born}": self._spec()}
        name = self.chance.choice(sorted(self.specs))
        kind = self.chance.choice(("modules", "modules", "power", "quota", "limits", "remove"))
        spec = dict(self.specs[name])
        if kind == "remove" and len(self.specs) > 3:
            return {name: None}
        if kind == "power":
            spec["power"] = "stopped" if spec.get("power", "running") == "running" else "running"
        elif kind == "quota":
            spec["workspace"] = {"quota": f"{self.chance.randint(40, 90)}M"}
        elif kind == "limits":
            spec["resources"] = {"tasks": self.chance.randint(200, 900)}
        else:
            spec["modules"] = self._spec()["modules"]
        return {name: spec}

    def _spec(self) -> dict[str, object]:
        modules = sorted(self.chance.sample(MODULES, 2))
        return {"owner": "alice", "modules": [*modules, "workspace"], "workspace": {"quota": "40M"}}

    def converge(self, revision: str) -> None:
        """Wait until all is as the specs say, approving of removals that are held for being many."""
        approved: set[str] = set()
        since = datetime.now(UTC)

        def done() -> bool:
            status = self.box.status()
            if not status or datetime.fromisoformat(status["passed_at"]) < since:
                return False
            for hold in status.get("holds", ()):
                if hold["id"] not in approved:
                    self.box.voxnix("approve", hold["id"], "--yes", "--no-wait")
                    approved.add(hold["id"])
            phases = {each["name"]: each["phase"] for each in status.get("containers", ())}
            return (bool(approved) or status.get("revision") == revision) and phases == dict.fromkeys(
                self.specs, "ready"
            )

        self.box.until(done, f"{sorted(self.specs)} to be ready", 90)
        if approved:
            self.box.host.do("git", "-C", "/srv/work", "pull", "-q", "--rebase", "origin", "main")

    def up(self) -> list[str]:
        """The containers that shall run."""
        return sorted(name for name, spec in self.specs.items() if spec.get("power", "running") == "running")


def inspect(life: Life) -> None:
    """The host has just what the specs say: machines, systems, datasets; and the pool is sound."""
    host = life.box.host
    listed = sorted(
        part.split('"')[0] for part in host.do("machinectl", "list", "--output=json").split('"machine":"')[1:]
    )
    assert listed == life.up()
    confs = sorted(line.removesuffix(".conf") for line in host.do("ls", "/etc/nixos-containers").split())
    assert confs == sorted(life.specs)
    below = "tank/users/alice/containers"
    datasets = host.do("zfs", "list", "-H", "-o", "name", "-r", "-d", "1", below).split()[1:]
    assert sorted(each.rpartition("/")[2] for each in datasets) == sorted(life.specs)
    assert host.do("zpool", "status", "-x").strip() == "all pools are healthy"


@pytest.mark.parametrize("seed", [1, 2])
def test_power_cuts_lose_nothing_and_all_converges(box: Appliance, seed: int, figure: Callable[[str], None]) -> None:
    chance = random.Random(seed)
    life = Life(box, chance)
    box.run()
    life.converge(life.change())
    synced = cuts = 0
    for cut in range(CUTS):
        writers = [Writer(box, name, f"log-{cut}") for name in life.up()[:3]]
        deadline = time.monotonic() + 20
        while any(writer.synced < 0 for writer in writers) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert all(writer.synced >= 0 for writer in writers), "nobody could write"
        revision = life.change()
        time.sleep(chance.uniform(0, 2.5))
        box.host.cut()
        for writer in writers:
            writer.end()
        box.host.boot(wait=False)
        reached(box)
        life.converge(revision)
        for writer in writers:
            synced += found(life, writer)
        inspect(life)
        cuts += 1
    figure(f"power cuts, host {seed}: {cuts} of {CUTS} survived; {synced} synced writes, all there")


def reached(box: Appliance) -> None:
    """Wait until the host answers after a cut."""
    try:
        box.host.wait_up()
    except Down as error:
        raise AssertionError(str(error)) from error


def found(life: Life, writer: Writer) -> int:
    """How many synced writes of a writer are in its file, wherever its dataset is now; fails unless all are."""
    if writer.name in life.specs:
        lines = life.box.host.do("cat", writer.place).splitlines()
    else:
        lines = thrown_away(life.box, writer)
    numbers = [int(line) for line in lines if line.isdigit()]
    assert numbers[: writer.synced + 1] == list(range(writer.synced + 1)), f"{writer.name}: lost synced writes"
    return writer.synced + 1


def thrown_away(box: Appliance, writer: Writer) -> list[str]:
    """The lines of a writer's file in the trash, read through a clone of the removal's snapshot."""
    datasets = box.host.do("zfs", "list", "-H", "-o", "name", "-r", "tank/trash").split()
    [dataset] = [each for each in datasets if re.fullmatch(rf"tank/trash/{writer.name}-[^/]*/workspace", each)]
    snapshot = box.host.do("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", dataset).split()[-1]
    box.host.do("zfs", "clone", "-o", "mountpoint=/tank/look", snapshot, "tank/look")
    lines = box.host.do("cat", f"/tank/look/{writer.place.rpartition('/')[2]}").splitlines()
    box.host.do("zfs", "destroy", "tank/look")
    return lines
