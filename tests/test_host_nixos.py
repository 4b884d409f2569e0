"""Building, installing and removing systems on the simulated host, and the module library."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Blocked, Transient
from controller.host.files import Files
from controller.host.machines import Deadlines, Machines
from controller.host.nixos import Systems, channel, library
from controller.host.secrets import Deliveries, SecretStore
from controller.host.sim import Fault, SimHost, create
from controller.observed.facts import MachineState
from controller.plan.actions import Build, Deliver, Install, RemoveSystem, Start, Stop
from controller.spec.compose import document
from controller.spec.model import ContainerSpec

NIX = Path(__file__).parent.parent / "nix"
QUICK = Deadlines(start=1.5, stop=0.3, kill=0.3, probe=0.5, poll=0.01)


class Died(BaseException):
    """The controller was killed at this command."""


def dies() -> None:
    raise Died


def text(digest: str = "d1", **changes: Any) -> str:
    spec = ContainerSpec.model_validate({"name": "dev", "owner": "alice", "modules": ("git", "workspace"), **changes})
    return document(spec, appliance="a1", uid="u1", digest=digest, own="o1", dataset="tank/users/alice/containers/dev")


class Box:
    """A simulated host and the drivers on it."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        files = Files(host.root)
        self.deliveries = Deliveries(files, SecretStore(files))
        self.machines = Machines(host, files, self.deliveries, QUICK)
        self.systems = Systems(host, files, self.machines, self.deliveries, str(NIX))
        for bind in json.loads(text())["binds"]:
            files.path(bind["host"]).mkdir(parents=True, exist_ok=True)

    async def bring_up(self, digest: str = "d1") -> None:
        await self.systems.build(Build("dev", digest, text(digest)))
        await self.systems.install(Install("dev", digest))
        self.deliveries.deliver(Deliver("dev", "alice", ()))
        await self.machines.start(Start("dev", ()))

    async def state(self) -> MachineState:
        return (await self.machines.observe(["dev"]))["dev"].state


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(create(tmp_path / "sim"))


async def test_from_document_to_running_system(box: Box) -> None:
    await box.bring_up()
    machine = (await box.machines.observe([]))["dev"]
    assert machine.state is MachineState.RUNNING
    assert machine.installed
    assert machine.installed.document
    assert (machine.installed.document.digest, machine.installed.document.uid) == ("d1", "u1")
    stored = box.host.root / "var/lib/voxnix/documents/dev.json"
    assert stored.stat().st_mode & 0o777 == 0o600
    await box.bring_up()


async def test_another_digest_is_another_system(box: Box) -> None:
    await box.bring_up()
    await box.machines.stop(Stop("dev"))
    await box.bring_up("d2")
    machine = (await box.machines.observe([]))["dev"]
    assert machine.installed
    assert machine.installed.document
    assert machine.installed.document.digest == "d2"


async def test_a_module_that_is_not_there_needs_a_person(box: Box) -> None:
    with pytest.raises(Blocked, match="'gti'"):
        await box.systems.build(Build("dev", "d1", text(modules=("gti",))))


@pytest.mark.parametrize(
    "words",
    [
        "error: unable to download 'https://cache.nixos.org/x': Couldn't resolve host name (6)\n",
        "error: builder for '/nix/store/x.drv' failed with exit code 2\n",
        "error: writing to file: No space left on device\n",
        "error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused\n",
        "killed\n",
    ],
)
async def test_a_build_that_may_go_better_is_tried_again(box: Box, words: str) -> None:
    box.host.faults.add(Fault(match="nix-build", stderr="warning: x\n" + words))
    with pytest.raises(Transient, match="building dev failed"):
        await box.systems.build(Build("dev", "d1", text()))


async def test_a_build_that_says_it_went_well_and_left_nothing(box: Box) -> None:
    box.host.faults.add(Fault(match="nix-build", code=0, stderr=""))
    with pytest.raises(Transient, match="did not leave"):
        await box.systems.build(Build("dev", "d1", text()))
    with pytest.raises(Transient, match="not built any more"):
        await box.systems.install(Install("dev", "d1"))


async def test_an_install_that_says_it_went_well_and_did_nothing(box: Box) -> None:
    await box.systems.build(Build("dev", "d1", text()))
    box.host.faults.add(Fault(match="extra-container create", code=0, stderr="No container services in X\n"))
    with pytest.raises(Transient, match="No container services"):
        await box.systems.install(Install("dev", "d1"))


async def test_an_old_build_is_not_taken_for_the_new_one(box: Box) -> None:
    await box.systems.build(Build("dev", "d1", text()))
    with pytest.raises(Transient, match="another system"):
        await box.systems.install(Install("dev", "d2"))


async def test_removal_leaves_nothing_but_data(box: Box) -> None:
    await box.bring_up()
    notes = box.host.root / "tank/users/alice/containers/dev/home/notes"
    notes.write_text("mine")
    with pytest.raises(Transient, match="still up"):
        await box.systems.remove(RemoveSystem("dev"))
    await box.machines.stop(Stop("dev"))
    await box.systems.remove(RemoveSystem("dev"))
    await box.systems.remove(RemoveSystem("dev"))
    assert await box.state() is MachineState.ABSENT
    for gone in ("run/voxnix/containers/dev", "var/lib/voxnix/documents/dev.json", "var/lib/nixos-containers/dev"):
        assert not (box.host.root / gone).exists()
    assert notes.read_text() == "mine"


async def test_a_removal_that_says_it_went_well_and_did_nothing(box: Box) -> None:
    await box.bring_up()
    await box.machines.stop(Stop("dev"))
    box.host.faults.add(Fault(match="extra-container destroy", code=0, stderr="nixos-container: oops\n"))
    with pytest.raises(Transient, match="stayed: nixos-container: oops"):
        await box.systems.remove(RemoveSystem("dev"))


@pytest.mark.parametrize("mode", ["die-before", "die-during", "die-after"])
@pytest.mark.parametrize("verb", ["up", "remove"])
async def test_killed_at_any_command_and_done_again(tmp_path: Path, verb: str, mode: Any) -> None:
    origin = Box(create(tmp_path / "before"))
    if verb == "remove":
        await origin.bring_up()
        await origin.machines.stop(Stop("dev"))
    origin.host.close()

    async def act(box: Box) -> None:
        if verb == "up":
            await box.bring_up()
        else:
            await box.systems.remove(RemoveSystem("dev"))

    for nth in itertools.count(1):
        place = tmp_path / str(nth)
        shutil.copytree(tmp_path / "before", place, symlinks=True)
        box = Box(SimHost(place, die=dies))
        rule = box.host.faults.add(Fault(nth=nth, mode=mode))
        struck = False
        try:
            await act(box)
        except Died:
            struck = True
        assert struck == bool(box.host.faults.struck(rule))
        box.host.faults.clear()
        again = Box(SimHost(place))
        await act(again)
        expected = MachineState.RUNNING if verb == "up" else MachineState.ABSENT
        assert await again.state() is expected, f"killed at command {nth}"
        box.host.close()
        again.host.close()
        if not struck:
            break
    assert nth > 3


def test_the_library_and_its_digest(tmp_path: Path) -> None:
    found = library(NIX)
    assert {"git", "fish", "tailscale", "workspace", "docker", "base"} <= found.modules.keys()
    assert all(words and len(words) < 80 for words in found.modules.values())
    copy = tmp_path / "nix"
    shutil.copytree(NIX, copy)
    assert library(copy).digest == library(copy).digest != library(copy, "/nix/store/x-nixpkgs").digest
    before = library(copy).digest
    (copy / "modules/git.nix").write_text("# Git\n{ }\n")
    changed = library(copy).digest
    (tmp_path / "flake.lock").write_text("{}")
    locked = library(copy).digest
    assert len({before, changed, locked}) == 3
    assert library(copy, "/nix/store/x-nixpkgs").digest == locked


def test_the_channel_tells_the_revision_of_nixpkgs(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert channel(files) == ""
    place = tmp_path / "nix/var/nix/profiles/per-user/root"
    place.mkdir(parents=True)
    (tmp_path / "nix/store/abc-nixpkgs/nixpkgs").mkdir(parents=True)
    (place / "channels").symlink_to("/nix/store/abc-nixpkgs")
    assert channel(files) == "/nix/store/abc-nixpkgs/nixpkgs"


@pytest.mark.skipif(shutil.which("nix-instantiate") is None, reason="needs nix-instantiate")
def test_every_file_of_the_library_is_nix() -> None:
    files = [str(path) for path in NIX.rglob("*.nix")]
    done = subprocess.run(["nix-instantiate", "--parse", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_document_says_all_that_a_build_needs_and_nothing_else() -> None:
    one = json.loads(text(env={"EDITOR": "vi"}))
    assert one["system"] == {
        "modules": ["git", "workspace"],
        "env": {"EDITOR": "vi"},
        "tailscale": False,
        "workspace": True,
    }
    assert [bind["guest"] for bind in one["binds"]] == ["/home", "/root", "/var/lib", "/workspace", "/run/voxnix"]
    assert [bind["guest"] for bind in one["binds"] if bind["readOnly"]] == ["/run/voxnix"]
    assert one["binds"][3]["host"] == "/tank/users/alice/containers/dev/workspace"
    assert text(modules=("workspace", "git", "git")) == text(modules=("git", "workspace"))
    assert text(power="stopped", description="x", paused=True, secrets=("token",)) == text()
    assert text().isascii()
