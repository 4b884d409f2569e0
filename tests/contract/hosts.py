"""The hosts that the contract suite can run on, behind one small interface.

`VOXNIX_CONTRACT_HOST=sim` (the default) gives every case a fresh simulated host. `real` uses this machine, as root:
`VOXNIX_CONTRACT_POOL` names the pool (a dataset `contract` is made and destroyed on it), and
`VOXNIX_CONTRACT_DEFINE` a program that is called with a container name and `HOST:GUEST` binds, and prints the store
path of a definition for `extra-container create`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from controller.host.run import Processes, Result, Runner
from controller.host.sim import Bind, SimHost, create, define

CONTAINERS = ("cta", "ctb", "ctz")
"""The container names that cases use, and that `clean` removes."""


class Host(Protocol):
    """Where a case runs: `runner` answers commands, `root` is where host paths start, `top` a dataset for scraps."""

    runner: Runner
    root: Path
    pool: str
    simulated: bool

    async def define(self, name: str, binds: Sequence[str] = ()) -> str:
        """The store path of a definition of one container."""
        ...

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Set what only a simulated host can be told."""
        ...

    async def clean(self) -> None:
        """Leave nothing behind."""
        ...


class Simulated:
    """A simulated host, fresh for each case."""

    simulated = True
    pool = "tank"

    def __init__(self, directory: Path) -> None:
        self._host = create(directory)
        self.runner: Runner = self._host
        self.root = self._host.root

    @property
    def sim(self) -> SimHost:
        """The host itself."""
        return self._host

    async def define(self, name: str, binds: Sequence[str] = ()) -> str:
        """See `Host.define`."""
        pairs = [bind.split(":") for bind in binds]
        return define(self._host, name, binds=[Bind(host, guest, False) for host, guest in pairs])

    def configure(self, settings: Mapping[str, Any]) -> None:
        """See `Host.configure`."""
        self._host.configure(**settings)

    async def clean(self) -> None:
        """Close it; the directory is the test's own."""
        self._host.close()


class Real:
    """This machine."""

    simulated = False
    root = Path("/")

    def __init__(self) -> None:
        self.runner: Runner = Processes()
        self.pool = os.environ.get("VOXNIX_CONTRACT_POOL", "tank")

    async def define(self, name: str, binds: Sequence[str] = ()) -> str:
        """See `Host.define`."""
        result = await self.runner.run([os.environ["VOXNIX_CONTRACT_DEFINE"], name, *binds], timeout=300)
        assert result.code == 0, result.said
        return result.out.strip()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """A real host cannot be told anything; cases that need it are for the simulated one."""
        raise AssertionError(f"a real host takes no settings: {settings}")

    async def clean(self) -> None:
        """Stop and remove what cases may have left."""
        for name in CONTAINERS:
            unit = f"container@{name}.service"
            for argv in (
                ["systemctl", "stop", unit],
                ["extra-container", "destroy", name],
                ["systemctl", "reset-failed", unit],
            ):
                await self.runner.run(argv, timeout=120)
        scraps = ["zfs", "destroy", "-R", f"{self.pool}/contract"]
        await until(self, scraps, lambda result: result.code == 0 or "does not exist" in result.err)


def make(directory: Path) -> Host:
    """The host that the environment asks for."""
    kind = os.environ.get("VOXNIX_CONTRACT_HOST", "sim")
    if kind == "sim":
        return Simulated(directory)
    if kind == "real":
        return Real()
    raise ValueError(f"VOXNIX_CONTRACT_HOST={kind}: expected sim or real")


async def until(host: Host, argv: Sequence[str], fits: Any, seconds: float = 30) -> Result:
    """Repeat a command until its result fits, at most some seconds; the last result."""
    ended = asyncio.get_running_loop().time() + seconds
    while True:
        result = await host.runner.run(argv, timeout=60)
        if fits(result) or asyncio.get_running_loop().time() > ended:
            return result
        await asyncio.sleep(0.02)
