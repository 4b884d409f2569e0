"""One appliance for tests: a simulated host, a bare state repo, and controllers on them. Real git, real drivers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from controller.git import Author, StateRepo
from controller.host.sim import SimHost, create
from controller.loop import Clock, Controller
from controller.observed import Known
from controller.settings import Settings
from controller.wiring import controller

SOMEONE = Author("Alice", "alice@example.org")
TENANTS = {
    "state/tenants/alice.yaml": "name: Alice\nrole: admin\n",
    "state/tenants/bob.yaml": "name: Bob\n",
}


@dataclass
class FakeClock:
    """Wall time and uptime that move only when told to; both start where the real ones are irrelevant."""

    wall: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)
    up: float = 1000.0
    boot: str = "boot-1"

    def pass_(self, by: timedelta) -> None:
        """Time goes by, evenly on both clocks."""
        self.wall += by
        self.up += by.total_seconds()

    def jump(self, by: timedelta) -> None:
        """The wall clock alone moves."""
        self.wall += by

    def seconds(self) -> float:
        """Wall time as the simulated host reads it."""
        return self.wall.timestamp()

    @property
    def clock(self) -> Clock:
        """What a controller reads."""
        return Clock(lambda: self.wall, lambda: self.up, self.boot)


def ends() -> None:
    """Stands in for SIGKILL inside the test's own process."""
    raise Killed


class Killed(BaseException):
    """The controller died at a command."""


@dataclass
class Box:
    """A simulated host with a state repo beside it."""

    directory: Path
    clock: FakeClock = field(default_factory=FakeClock)
    die: Callable[[], None] = ends
    host_type: type[SimHost] = SimHost
    library: Path | None = None
    """Another module library than the one that comes with voxnix."""

    def __post_init__(self) -> None:
        self.sim = self.directory / "box"
        if not self.sim.exists():
            create(self.sim)
            StateRepo.init(self.repo_path, {k: v.encode() for k, v in TENANTS.items()}, author=SOMEONE)
        self.repo = StateRepo(self.repo_path)
        self.host = self.host_type(self.sim, now=self.clock.seconds, die=self.die)
        library = str(self.library) if self.library else ""
        self.settings = Settings(state=str(self.repo_path), host=f"sim:{self.sim}", name="box", library=library)

    @property
    def repo_path(self) -> Path:
        """The bare state repo."""
        return self.directory / "state.git"

    def commit(self, changes: Mapping[str, str | None], message: str = "change", **trailers: str) -> str:
        """Commit specs by container name (`dev`), or other files by path; None removes."""
        files = {_path(name): text.encode() if text is not None else None for name, text in changes.items()}
        said = [(key.replace("_", "-"), value) for key, value in trailers.items()]
        return self.repo.commit(files, message, author=SOMEONE, trailers=said)

    @asynccontextmanager
    async def controller(self, **options: Any) -> AsyncIterator[Controller]:
        """A controller on this appliance, in this process, on the fake clock."""
        async with controller(
            self.settings, clock=self.clock.clock, jitter=lambda: 1.0, run=self.host, **options
        ) as found:
            yield found

    async def apply(self) -> Any:
        """`voxnix apply`: converge once with a controller of its own."""
        async with self.controller() as found:
            try:
                return await found.converge()
            finally:
                await found.stop()

    async def look(self) -> Any:
        """What is, and what would be done."""
        async with self.controller() as found:
            return await found.look()

    async def outside(self, *argv: str) -> str:
        """A command that somebody else runs on the host."""
        return (await self.host.behind_our_back(argv)).out

    async def machines(self) -> dict[str, Any]:
        """The machines as facts, by name."""
        found = (await self.look()).observed.machines
        assert isinstance(found, Known)
        return dict(found.value)

    def data(self, owner: str, name: str, *parts: str) -> Path:
        """A path in a container's data, as the host sees it."""
        return self.host.root.joinpath("tank/users", owner, "containers", name, *parts)


def _path(name: str) -> str:
    return name if "/" in name else f"state/{name}.yaml"
