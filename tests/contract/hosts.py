"""The hosts that the contract suite can run on, behind one small interface.

`VOXNIX_CONTRACT_HOST` chooses: `sim` (the default) gives every case a fresh simulated host, `testhost` is one of
`tests/host`. Any real host is a `Real`: a runner, and a library to define containers with; `tests/vm` has one too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from controller.host.run import Result, Runner
from controller.host.sim import Bind, SimHost, create, define

DOWN = ("inactive\n", "failed\n")
CONTAINERS = ("cta", "ctb", "ctz")
"""The container names that cases use, and that `clean` removes."""


class Host(Protocol):
    """Where a case runs: `runner` answers commands, `pool` is a pool on which a dataset `contract` is made."""

    runner: Runner
    pool: str
    simulated: bool

    async def define(self, name: str, binds: Sequence[str] = (), behaves: str = "") -> str:
        """The store path of a definition of one container; `behaves` names how it shall misbehave."""
        ...

    async def configure(self, settings: Mapping[str, Any]) -> None:
        """Change what the host is."""
        ...

    async def write(self, path: str, text: str) -> None:
        """Write a file."""
        ...

    async def mkdir(self, path: str) -> None:
        """Make a directory and what is above it."""
        ...

    async def unlink(self, path: str) -> None:
        """Remove a file or a link."""
        ...

    async def there(self, path: str) -> bool:
        """Whether a path leads to something."""
        ...

    async def clean(self) -> None:
        """Leave nothing behind."""
        ...


BEHAVIOURS: Mapping[str, Mapping[str, Any]] = {
    "never-ready": {"boots": {"cta": "hang"}, "start_timeout": 0.1},
    "slow-boot": {"boots": {"cta": 60}},
    "never-stops": {"stop_seconds": 60},
}
"""How a simulated host is told what a container of a real one does by itself."""


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

    async def define(self, name: str, binds: Sequence[str] = (), behaves: str = "") -> str:
        """See `Host.define`."""
        if behaves:
            self._host.configure(**BEHAVIOURS[behaves])
        pairs = [bind.split(":") for bind in binds]
        return define(self._host, name, binds=[Bind(host, guest, False) for host, guest in pairs])

    async def configure(self, settings: Mapping[str, Any]) -> None:
        """See `Host.configure`."""
        self._host.configure(**settings)

    async def write(self, path: str, text: str) -> None:
        """See `Host.write`."""
        self._place(path).write_text(text)

    async def mkdir(self, path: str) -> None:
        """See `Host.mkdir`."""
        self._place(path).mkdir(parents=True, exist_ok=True)

    async def unlink(self, path: str) -> None:
        """See `Host.unlink`."""
        self._place(path).unlink()

    async def there(self, path: str) -> bool:
        """See `Host.there`."""
        return self._place(path).exists()

    async def clean(self) -> None:
        """Close it; the directory is the test's own."""
        self._host.close()

    def _place(self, path: str) -> Path:
        return self.root / path.lstrip("/")


class Real:
    """A host with the real tools, and the library of `tests/host` in `LIBRARY`, which stands for a build of nixpkgs."""

    simulated = False
    LIBRARY = "/usr/local/share/testhost/library"
    TEMPLATE = "/etc/systemd/system/container@.service"

    def __init__(self, runner: Runner, pool: str = "tank") -> None:
        self.runner = runner
        self.pool = pool

    async def define(self, name: str, binds: Sequence[str] = (), behaves: str = "") -> str:
        """See `Host.define`."""
        pairs = [bind.split(":") for bind in binds]
        document = {
            "version": 1,
            "name": name,
            "uid": name,
            "owner": "alice",
            "digest": "",
            "system": {"modules": [behaves] if behaves else [], "env": {}, "tailscale": False},
            "binds": [{"host": host, "guest": guest, "readOnly": False} for host, guest in pairs],
        }
        if behaves == "never-ready":
            document["system"]["env"]["VOXNIX_TEST_TIMEOUT"] = "1s"
        path = f"/tmp/{name}.json"
        await self.write(path, json.dumps(document))
        argv = ["nix-build", f"{self.LIBRARY}/container.nix", "--argstr", "document", path, "--no-out-link"]
        return (await self._did(*argv)).out.strip()

    async def configure(self, settings: Mapping[str, Any]) -> None:
        """See `Host.configure`: a real host can be without its template, and nothing else."""
        assert settings == {"template": False}, f"a real host cannot be told {settings}"
        await self._did("mv", self.TEMPLATE, f"{self.TEMPLATE}.away")
        await self._did("systemctl", "daemon-reload")

    async def write(self, path: str, text: str) -> None:
        """See `Host.write`."""
        await self._did("tee", path, stdin=text)

    async def mkdir(self, path: str) -> None:
        """See `Host.mkdir`."""
        await self._did("mkdir", "-p", path)

    async def unlink(self, path: str) -> None:
        """See `Host.unlink`."""
        await self._did("rm", path)

    async def there(self, path: str) -> bool:
        """See `Host.there`."""
        return (await self.runner.run(["test", "-e", path], timeout=60)).code == 0

    async def clean(self) -> None:
        """Stop and remove what cases may have left."""
        if await self.there(f"{self.TEMPLATE}.away"):
            await self._did("mv", f"{self.TEMPLATE}.away", self.TEMPLATE)
            await self._did("systemctl", "daemon-reload")
        for name in CONTAINERS:
            unit = f"container@{name}.service"
            await self.runner.run(["systemctl", "stop", "--no-block", unit], timeout=60)
            ended = await until(self, ["systemctl", "is-active", unit], lambda r: r.out in DOWN, seconds=5)
            if ended.out not in DOWN:
                leader = ["machinectl", "kill", name, "--kill-whom=leader", "--signal=SIGKILL"]
                await self.runner.run(leader, timeout=60)
            for argv in (
                ["systemctl", "stop", unit],
                ["extra-container", "destroy", name],
                ["systemctl", "reset-failed", unit],
            ):
                await self.runner.run(argv, timeout=120)
        scraps = ["zfs", "destroy", "-R", f"{self.pool}/contract"]
        await until(self, scraps, lambda result: result.code == 0 or "does not exist" in result.err)
        await self._did("rm", "-rf", f"/{self.pool}/contract")

    async def _did(self, *argv: str, stdin: str | None = None) -> Result:
        result = await self.runner.run(argv, timeout=300, stdin=stdin)
        assert result.code == 0, f"{argv}: {result.said}"
        return result


async def until(host: Host, argv: Sequence[str], fits: Any, seconds: float = 30) -> Result:
    """Repeat a command until its result fits, at most some seconds; the last result."""
    ended = asyncio.get_running_loop().time() + seconds
    while True:
        result = await host.runner.run(argv, timeout=60)
        if fits(result) or asyncio.get_running_loop().time() > ended:
            return result
        await asyncio.sleep(0.02)
