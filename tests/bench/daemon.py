"""Rows about the daemon, as its own process on a simulated host: from push to the first change, and doing nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.git import StateRepo
from controller.host.sim import SimHost, create
from tests.bench.clocks import Spread, cpu_of
from tests.bench.seed import SPEC, TENANTS, WHO
from tests.bench.table import Row

PUSHES = 20
"""Pushes that are measured, each of which brings a new container."""
FIRST_CHANGE = 0.1
"""The goal: seconds from `git push` returning to the first command that changes something."""
IDLE_SECONDS, IDLE = 66.0, 0.005
"""How long the daemon is watched while nothing happens, which is longer than its resync; the goal, as a share."""
VOXNIX = (sys.executable, "-m", "controller.main")


@dataclass
class Appliance:
    """A simulated host and a state repo in `directory`, and a clone from which people push."""

    directory: Path
    pushed: int = 0
    idle_since: tuple[float, float] = (0.0, 0.0)
    pid: int = 0
    options: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.repo = StateRepo.init(self.directory / "state.git", TENANTS, WHO)
        self.host: SimHost = create(self.directory / "box")
        self.clone = self.directory / "clone"
        self.options = ("--state", str(self.repo.path), "--host", f"sim:{self.directory / 'box'}")
        self.git("clone", "--quiet", str(self.repo.path), str(self.clone), where=self.directory)

    def git(self, *args: str, where: Path | None = None) -> None:
        """Git as people run it, with no settings but our own."""
        who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER")
               for key, value in (("NAME", WHO.name), ("EMAIL", WHO.email))}  # fmt: skip
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "GIT_CONFIG_NOSYSTEM": "1", **who}
        subprocess.run(("git", *args), cwd=where or self.clone, env=env, check=True, capture_output=True)

    def settled(self) -> bool:
        """Whether the daemon says that all that was pushed is ready."""
        told = subprocess.run((*VOXNIX, *self.options, "--json", "status"), capture_output=True, text=True, check=False)
        if told.returncode:
            return False
        phases = [each["phase"] for each in json.loads(told.stdout)["containers"]]
        return phases == ["ready"] * self.pushed

    def push(self) -> float:
        """Push one more container; seconds from the push returning to the first command that changes the host."""
        self.pushed += 1
        path = self.clone / f"state/c{self.pushed:02d}.yaml"
        path.write_text(SPEC)
        self.git("add", str(path))
        self.git("commit", "--quiet", "--message", f"Add {path.stem}")
        known = len(self.host.record())
        self.git("push", "--quiet", "origin", "HEAD")
        returned = time.time()

        def changed() -> list[dict[str, Any]]:
            return [command for command in self.host.record()[known:] if command["mutating"]]

        wait_for(changed, 10, "a push was not followed by any change")
        first = changed()[0]["time"]
        wait_for(self.settled, 30, "what was pushed did not become ready", every=0.2)
        return float(first - returned)


def wait_for(true: Callable[[], object], seconds: float, otherwise: str, every: float = 0.01) -> None:
    """Wait until something is true; raises where that takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(every)


@contextmanager
def running(directory: Path) -> Iterator[Appliance]:
    """An appliance whose daemon runs, as its own process, until the block ends."""
    appliance = Appliance(directory)
    appliance.host.configure(log_commands=True)
    log = directory / "log"
    argv = (*VOXNIX, *appliance.options, "run")
    with log.open("w") as file, subprocess.Popen(argv, stdout=file, stderr=file) as daemon:
        try:
            wait_for(appliance.settled, 20, f"the daemon does not come up: {log.read_text()[-1000:]}", every=0.1)
            appliance.pid = daemon.pid
            yield appliance
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
    appliance.host.close()


def push_row(appliance: Appliance) -> Row:
    """From `git push` to the first change, over and over."""
    appliance.push()
    times = Spread.of(appliance.push() for _ in range(PUSHES - 1))
    beside = "peers poll every 60 to 120 s"
    shown = f"< {FIRST_CHANGE * 1e3:.0f} ms"
    return Row("git push to first change", times.shown(1e3, "ms"), beside, None, times.median, FIRST_CHANGE, shown)


def rest(appliance: Appliance) -> None:
    """From now on nothing happens: the daemon's idle time begins."""
    appliance.host.configure(log_commands=False)
    time.sleep(2)
    appliance.idle_since = (time.monotonic(), cpu_of(appliance.pid))


def idle_row(appliance: Appliance) -> Row:
    """What the daemon used since `rest`, its host's simulation included."""
    began, used = appliance.idle_since
    time.sleep(max(0.0, began + IDLE_SECONDS - time.monotonic()))
    seconds, spent = time.monotonic() - began, cpu_of(appliance.pid) - used
    share = spent / seconds
    name = f"idle daemon, {appliance.pushed} containers"
    beside = f"{spent * 1e3:,.0f} ms of CPU in {seconds:.0f} s, resync and simulated host included"
    return Row(name, f"{share:.2%} of a CPU", beside, None, share, IDLE, f"≤ {IDLE:.1%}")
