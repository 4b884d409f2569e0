"""Test hosts: booted, driven, switched off, cut from power, removed.

A host is systemd as PID 1 of its own namespaces, over trees of `image`. It ends with the process that booted it,
however that ends. Only hosts are touched, each by its own PID.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from controller.host.run import Processes, Result
from tests.host.commands import Commands

BOOT = Path(__file__).parent / "boot.sh"
POOL = "/var/lib/testhost/tank.img"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"TERM": "dumb", "HOME": "/root", "LANG": "C.UTF-8", "PATH": PATH}
NAMESPACES = ("--pid", "--fork", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--propagation", "private")
PATIENCE = 60.0
"""Seconds that a boot may take."""


class Down(Exception):
    """A host is not up, or did not come up; the text has the end of its console."""


class Machine(Commands):
    """One test host. `run` answers commands as `controller.host.run.Runner` does; `do` and `sh` are shorter."""

    def __init__(self, name: str, directory: Path, lower: Sequence[Path]) -> None:
        self.name = name
        self.directory = directory
        self._lower = ":".join(map(str, lower))
        self._group = cgroups() / f"voxnix-{directory.parent.name}-{name}"
        self._process: subprocess.Popen[bytes] | None = None
        self._runner = Processes()
        self.pid = 0

    @property
    def root(self) -> Path:
        """The host's file system, seen from the machine. Follow no absolute link in it: it would lead out."""
        return Path(f"/proc/{self.pid}/root")

    @property
    def up(self) -> bool:
        """Whether PID 1 runs."""
        return self._process is not None and self._process.poll() is None

    def boot(self, *, wait: bool = True) -> Machine:
        """Start PID 1, and wait until the host says that it is up. Raises `Down`."""
        assert not self.up
        for part in ("upper", "work", "root", "state/containers", "state/pool", "state/nix/store", "state/nix/var/nix"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        (self.directory / "pid").unlink(missing_ok=True)
        self._group.mkdir(exist_ok=True)
        inner = [str(BOOT), str(self.directory), self._lower, self.name]
        start = ["setpriv", "--pdeathsig", "KILL", "unshare", "--kill-child=KILL", *NAMESPACES, *inner]
        join = f"echo $$ >{shlex.quote(str(self._group))}/cgroup.procs && exec {shlex.join(start)}"
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                ["sh", "-c", join], stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        self._until((self.directory / "pid").exists, "no PID 1")
        self.pid = int((self.directory / "pid").read_text())
        if wait:
            self.wait_up()
        return self

    def wait_up(self) -> None:
        """Wait until systemd has started what it starts with. Raises `Down` if a unit of it failed."""
        self._until(lambda: self._state() in ("running", "degraded"), "no end of its boot")
        state = self._state()
        if state != "running":
            failed = self.call("systemctl", "--failed", "--no-legend", "--plain").out
            raise Down(f"{self.name} is {state}:\n{failed}")

    def off(self) -> None:
        """Shut down in good order."""
        self.call("systemctl", "poweroff")
        self._gone()

    def reboot(self) -> None:
        """Shut down in good order, and boot again."""
        self.off()
        self.boot()

    def cut(self) -> None:
        """Cut the power: PID 1 is killed, and with it everything that ran, in no order."""
        if self.up:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._gone()

    def remove(self) -> None:
        """Cut the power and remove all that there was of the host."""
        self.cut()
        dissolve(self._group)
        shutil.rmtree(self.directory)

    def make_pool(self, size: str = "4G") -> Machine:
        """The pool `tank`, in a sparse file of this size."""
        self.do("truncate", "-s", size, POOL)
        self.do("zpool", "create", "-o", "ashift=12", "-m", "none", "tank", POOL)
        return self

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        """See `controller.host.run.Runner.run`."""
        result = await self._runner.run(self.within(argv), timeout=timeout, stdin=stdin)
        return Result(tuple(argv), result.code, result.out, result.err)

    def interact(self, argv: Sequence[str]) -> int:
        """See `controller.host.run.Runner.interact`."""
        return subprocess.run(self.within(argv), check=False).returncode

    def call(self, *argv: str, stdin: str | None = None, timeout: float = 300) -> Result:
        """Run a command on the host to its end, whatever its exit code."""
        feed = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            self.within(argv), capture_output=True, text=True, errors="replace", timeout=timeout, check=False, **feed
        )
        return Result(argv, done.returncode, done.stdout, done.stderr)

    def within(self, argv: Sequence[str]) -> list[str]:
        """The machine's command for a command of the host: in its namespaces, and in a control group of its own."""
        if not self.up:
            raise Down(f"{self.name} is not up")
        group = self._group / "commands.scope"
        group.mkdir(exist_ok=True)
        settings = [f"{key}={value}" for key, value in ENVIRONMENT.items()]
        enter = ["nsenter", "-t", str(self.pid), "-a", "env", "-i", *settings, *argv]
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(group / "cgroup.procs"), *enter]

    def _state(self) -> str:
        return self.call("systemctl", "is-system-running").out.strip()

    @property
    def _console(self) -> Path:
        return self.directory / "console.log"

    def _gone(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=PATIENCE)
        self.pid = 0

    def _until(self, so: Callable[[], bool], otherwise: str) -> None:
        ended = time.monotonic() + PATIENCE
        while not so():
            if not self.up or time.monotonic() > ended:
                console = "\n".join(self._console.read_text(errors="replace").splitlines()[-20:])
                raise Down(f"{self.name}: {otherwise}; its console ends:\n{console}")
            time.sleep(0.02)


def cgroups() -> Path:
    """Where this machine has its unified control groups."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise SystemExit("Test hosts need control groups of version 2 (mount -t cgroup2).")


def dissolve(group: Path) -> None:
    """Remove a control group with all below it, once what was in it has ended."""
    for _ in range(200):
        for inner, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(inner)
        if not group.exists():
            return
        time.sleep(0.05)
    raise Down(f"{group} does not go: {(group / 'cgroup.procs').read_text().split()} are in it")
