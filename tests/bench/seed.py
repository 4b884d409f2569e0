"""A simulated host with many converged containers, and what its tools say of them, written down.

One container is converged for real; the others are its copies, row by row and file by file, each with a system of its
own. A look with the real drivers, parsers and planner then has to find nothing to do, or there is no seed.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.git import Author, StateRepo
from controller.host.run import Result, Runner
from controller.host.sim import SimHost, create
from controller.host.sim.setup import API_KEY
from controller.host.sim.tailnet import SimTailnet
from controller.observed import Known, Unknown
from controller.plan.view import snapshot_label
from controller.settings import Settings
from controller.spec.state import Desired
from controller.store import Store
from controller.wiring import controller
from tests.bench.copies import DATASET, FIRST, OWNER, copy

DAILIES = 7
"""Snapshots of each dataset, as many as are kept of the daily ones."""
SPEC = f"owner: {OWNER}\nmodules: [fish, git, tailscale, workspace]\nworkspace: {{quota: 2G}}\n"
WHO = Author("Bench", "bench@example.org")
TENANTS = {f"state/tenants/{OWNER}.yaml": b"name: Alice\nrole: admin\n"}


@dataclass(frozen=True, slots=True)
class Seeded:
    """A host of `count` converged containers: its directory, and the file of the devices that its tailnet lists."""

    count: int
    directory: Path
    devices: Path


class Recorder:
    """Passes commands on to a host, and writes down what it says: one file a command, named by the command."""

    def __init__(self, host: Runner, folder: Path) -> None:
        self._host = host
        self._folder = folder

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        """See `Runner.run`. A command that was recorded already is not run again."""
        file = recording(self._folder, argv)
        if file.exists():
            return Result(tuple(argv), 0, file.read_text(), "")
        result = await self._host.run(argv, timeout=timeout * 100, stdin=stdin)
        if result.code != 0:
            raise RuntimeError(f"{argv[:6]} fails on the seeded host: {result.said}")
        file.write_text(result.out)
        return result

    def interact(self, argv: Sequence[str]) -> int:
        """See `Runner.interact`."""
        return self._host.interact(argv)


def recording(folder: Path, argv: Sequence[str]) -> Path:
    """Where the answer to a command is written down."""
    return folder / hashlib.sha256("\0".join(argv).encode()).hexdigest()[:24]


async def seed(directory: Path, count: int) -> Seeded:
    """A new host in `directory` with `count` converged containers, and a store that knows nothing yet."""
    repo = StateRepo.init(directory / "state.git", {**TENANTS, _path(FIRST): SPEC.encode()}, WHO)
    host = create(directory / "box")
    settings = Settings(state=str(repo.path), host=f"sim:{directory / 'box'}", name="box")
    async with controller(settings, run=host) as first:
        settled = await first.converge()
        assert settled.converged, settled.plan
        appliance = first.policy.appliance
    for days in reversed(range(DAILIES)):
        label = snapshot_label(datetime.now(UTC) - timedelta(days=days, minutes=1), "daily")
        await host.behind_our_back(("zfs", "snapshot", "-r", f"{DATASET}@{label}"))
    names = [f"c{number:05d}" for number in range(count - 1)]
    repo.commit({_path(name): SPEC.encode() for name in names}, "Many more", WHO)
    desired = await _desired(settings, host)
    copy(host, [desired.containers[name] for name in (FIRST, *names)])
    recordings = directory / "recordings"
    recordings.mkdir()
    devices = await _look(settings, host, recordings)
    for left in settings.data.glob("store.db*"):
        left.unlink()
    shutil.rmtree(settings.data / "mirror.git")
    with Store.open(settings.store, create=True) as store:
        store.appliance = appliance
    host.close()
    listed = directory / "devices.json"
    listed.write_text(devices)
    return Seeded(count, directory, listed)


def _path(name: str) -> str:
    return f"state/{name}.yaml"


async def _desired(settings: Settings, host: SimHost) -> Desired:
    async with controller(settings, run=host) as found:
        desired = (await asyncio.to_thread(found.desires.read)).desired
    assert isinstance(desired, Known), desired
    return desired.value


async def _look(settings: Settings, host: SimHost, folder: Path) -> str:
    """Look at the whole host with the real drivers; its list of devices. Raises where there is anything to do.

    A simulator of thousands takes longer than a look has patience: what it has said once, it repeats at once.
    """
    async with controller(settings, run=Recorder(host, folder)) as found:
        look = await found.look()
        if isinstance(look.observed.machines, Unknown) or isinstance(look.observed.storage, Unknown):
            look = await found.look()
        if look.plan.lanes or look.plan.waits or look.plan.holds:
            raise RuntimeError(f"the seeded host is not converged: {look.plan.lanes[:1] or look.plan.waits[:1]}")
    async with SimTailnet(host.directory, host=host) as url:
        return await _devices(url)


async def _devices(url: str) -> str:
    import aiohttp

    headers = {"Authorization": f"Bearer {API_KEY}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/api/v2/tailnet/-/devices?fields=all") as answer,
    ):
        assert answer.status == 200
        return await answer.text()
