"""A pass's view of the world: few commands, side by side, and every source known or unknown for itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from controller.host import observe as observing
from controller.host.controlplane import TailscaleV2, read_credentials
from controller.host.files import Files
from controller.host.machines import Machines
from controller.host.observe import observe
from controller.host.secrets import Deliveries, SecretStore
from controller.host.sim import Fault, SimHost, create, define, foreign
from controller.host.sim.tailnet import SimTailnet
from controller.host.storage import Storage
from controller.host.tailnet import Enrolment, Tailnet
from controller.observed.facts import Device, Known, NotConfigured, Observed, Unknown
from controller.plan.actions import CreateDataset, PrepareStorage

SOURCES = ("machines", "storage", "tailnet", "clock", "secrets")


class Plane:
    """A control plane that lists one device."""

    async def devices(self) -> Mapping[str, Device]:
        return {"n1": Device("n1", "dev", "dev", ("tag:vox",))}


class Box:
    """The drivers on a simulated host with one container of ours and one of others."""

    def __init__(self, directory: Path) -> None:
        self.host = create(directory)
        files = Files(self.host.root)
        self.secrets = SecretStore(files)
        self.storage = Storage(self.host, files)
        self.machines = Machines(self.host, files, Deliveries(files, self.secrets))
        plane: Any = Plane()
        self.tailnet = Enrolment(self.host, files, plane, self.storage, Tailnet("tag:vox"))

    async def look(self) -> Observed:
        return await observe(self.host, self.machines, self.storage, self.tailnet, self.secrets, ["gone"])


@pytest.fixture
async def box(tmp_path: Path) -> Box:
    box = Box(tmp_path / "sim")
    await box.storage.prepare(PrepareStorage())
    await box.storage.create(CreateDataset("tank/users/alice/containers/dev", (("uid", "u1"),)))
    path = define(box.host, "dev", document={"version": 1, "name": "dev"})
    await box.host.behind_our_back(["extra-container", "create", path])
    foreign(box.host, "theirs")
    box.secrets.put("alice", "token", b"x")
    return box


async def test_all_that_is_to_be_known(box: Box) -> None:
    seen = await box.look()
    assert isinstance(seen.machines, Known)
    assert seen.machines.value.keys() == {"dev", "theirs", "gone"}
    assert isinstance(seen.storage, Known)
    assert seen.storage.value.datasets["tank/users/alice/containers/dev"].marks == {"uid": "u1"}
    assert isinstance(seen.tailnet, Known)
    assert seen.clock == Known(True)
    assert seen.secrets == Known({"alice": frozenset({"token"})})


async def test_a_pass_is_six_commands(box: Box) -> None:
    before = box.host.commands
    await box.look()
    assert box.host.commands - before == 6


async def test_commands_of_a_pass_run_side_by_side(box: Box) -> None:
    box.host.configure(latencies={"default": 0.2})
    began = time.monotonic()
    await box.look()
    assert time.monotonic() - began < 0.39


async def test_looking_changes_nothing(box: Box) -> None:
    box.host.configure(log_commands=True)
    await box.look()
    assert not any(entry["mutating"] for entry in box.host.record())


@pytest.mark.parametrize("mode", ["fail", "garble", "hang"])
@pytest.mark.parametrize(
    ("command", "source"),
    [
        ("machinectl list", "machines"),
        ("systemctl show", "machines"),
        ("zfs get .*-r", "storage"),
        ("zfs list", "storage"),
        ("zfs get .* used,available tank$", "storage"),
        ("timedatectl", "clock"),
    ],
)
async def test_a_probe_that_fails_makes_its_source_unknown_and_no_other(
    box: Box, command: str, source: str, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await box.look()
    monkeypatch.setattr(observing, "PATIENCE", 0.3)
    box.host.faults.add(Fault(match=command, mode=mode))
    seen = await box.look()
    for name in SOURCES:
        if name == source:
            found = getattr(seen, name)
            assert isinstance(found, Unknown)
            assert found.why
            assert "\n" not in found.why
        else:
            assert getattr(seen, name) == getattr(before, name), name


async def test_a_tailnet_that_is_not_configured_is_not_unknown(box: Box) -> None:
    seen = await observe(box.host, box.machines, box.storage, None, box.secrets, [])
    assert seen.tailnet == NotConfigured()


@pytest.mark.parametrize("mode", ["fail", "garble"])
async def test_a_control_plane_in_trouble_is_unknown(box: Box, mode: Any) -> None:
    async with SimTailnet(box.host.directory) as url:
        files = Files(box.host.root)
        plane = TailscaleV2(url, read_credentials(files, "/var/lib/voxnix/tailnet.json"))
        tailnet = Enrolment(box.host, files, plane, box.storage, Tailnet("tag:vox"))
        box.host.faults.add(Fault(match="http GET", mode=mode, code=503))
        seen = await observe(box.host, box.machines, box.storage, tailnet, box.secrets, [])
        assert isinstance(seen.tailnet, Unknown)
        seen = await observe(box.host, box.machines, box.storage, tailnet, box.secrets, [])
        assert seen.tailnet == Known({})
        await plane.close()


async def test_a_pass_that_is_cancelled_ends_at_once(box: Box) -> None:
    box.host.faults.add(Fault(mode="hang", times=None))
    task = asyncio.create_task(box.look())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 1)
    assert isinstance(box.host, SimHost)
