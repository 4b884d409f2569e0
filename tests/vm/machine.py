"""One virtual machine: started, spoken to, cut from its power.

It boots from a fresh overlay over the kept disk, with a second disk for the pool, and is emulated, so that it needs
no help from the processor. Commands go over a virtio-serial port to `hands.py` inside. Never talks to a network.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from controller.errors import Blocked, Transient
from controller.host.run import Result
from tests.host.commands import Commands
from tests.host.image import quietly

POOL_DISK = "4G"
MEMORY = 3072
"""MiB."""
BOOT = 240
"""Seconds that a boot may take until the machine answers."""


KERNEL = "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off SYSTEMD_UNIT_PATH=/etc/systemd-mutable/system:"
"""The kernel's words: those it does not know reach systemd, which is told of the units that are linked in later."""


class Down(Exception):
    """The machine is not up, or did not come up; the text has the end of its console."""


class Machine(Commands):
    """A machine in `directory`, booted from `disk` (see `image.disk`). It satisfies `controller.host.run.Runner`."""

    def __init__(self, disk: Path, directory: Path) -> None:
        self.directory = directory
        self._disk = disk
        self._process: subprocess.Popen[bytes] | None = None
        self._hands: Hands | None = None
        directory.mkdir(parents=True, exist_ok=True)
        backing = ["-b", str(disk / "root.img"), "-F", "raw"]
        quietly(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(directory / "root.qcow2")])
        quietly(["qemu-img", "create", "-q", "-f", "qcow2", str(directory / "pool.qcow2"), POOL_DISK])

    @property
    def console(self) -> Path:
        """What kernel and systemd said on the console since the last start."""
        return self.directory / "console.log"

    def boot(self) -> Machine:
        """Start it, and wait until all that it starts with has started. Raises `Down`, with the console's end."""
        address = self.directory / "hands.sock"
        address.unlink(missing_ok=True)
        with (self.directory / "qemu.log").open("wb") as said:
            self._process = subprocess.Popen(
                self._command(address), stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        try:
            self._hands = Hands(address, self._process)
            state = self.call("systemctl", "is-system-running", "--wait", timeout=BOOT).out.strip()
            if state != "running":
                raise Down(f"it is {state}:\n{self.call('systemctl', '--failed', '--no-legend', '--plain').out}")
        except Exception as error:
            self.cut()
            raise Down(f"the machine did not boot: {error!r}\n{self._last_words()}") from error
        return self

    def _command(self, address: Path) -> list[str]:
        files = (self.directory / "root.qcow2", self.directory / "pool.qcow2")
        drives = [f"file={file},format=qcow2,if=virtio,cache=unsafe" for file in files]
        return [
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=512"),
            *("-cpu", "Nehalem", "-smp", "2"),
            *("-m", str(MEMORY), "-display", "none", "-no-reboot", "-nodefaults", "-serial", f"file:{self.console}"),
            *("-kernel", str(self._disk / "vmlinuz"), "-initrd", str(self._disk / "initrd.img")),
            *("-append", KERNEL),
            *(word for drive in drives for word in ("-drive", drive)),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=hands,path={address},server=on,wait=off"),
            *("-device", "virtserialport,chardev=hands,name=voxnix", "-device", "virtio-rng-pci"),
        ]

    def _last_words(self) -> str:
        files = [file for file in (self.directory / "qemu.log", self.console) if file.exists()]
        return "\n".join("".join(file.read_text(errors="replace") for file in files).splitlines()[-60:])

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        """See `controller.host.run.Runner.run`."""
        number, answer = self._ask(_task(argv, timeout, stdin))
        try:
            return _result(argv, await asyncio.wrap_future(answer), timeout)
        except asyncio.CancelledError:
            self._ask({"kill": number})
            raise

    def interact(self, argv: Sequence[str]) -> int:
        """Nobody has a terminal in there."""
        raise AssertionError(f"{argv[0]}: no terminal")

    def call(self, *argv: str, stdin: str | None = None, timeout: float = 300) -> Result:
        """Run a command inside to its end, whatever its exit code."""
        _, answer = self._ask(_task(argv, timeout, stdin))
        return _result(argv, answer.result(timeout + 60), timeout)

    def make_pool(self) -> Machine:
        """The pool `tank`, on the second disk."""
        self.do("zpool", "create", "-m", "none", "tank", "/dev/vdb")
        return self

    @property
    def up(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.poll() is None

    def _ask(self, task: dict[str, Any]) -> tuple[int, Future[Any]]:
        if self._hands is None:
            raise Transient("the machine is off")
        return self._hands.ask(task)

    def put(self, path: str, content: bytes) -> None:
        """Write a file inside, and the directories above it."""
        _fine(self._ask({"put": path, "data": base64.b64encode(content).decode()})[1].result(120))

    def get(self, path: str) -> bytes:
        """Read a file inside."""
        return base64.b64decode(_fine(self._ask({"get": path})[1].result(120))["data"])

    def reboot(self) -> None:
        """Boot again, in good order."""
        self.off()
        self.boot()

    def off(self) -> None:
        """Power off in good order."""
        if self._process and self.up:
            with contextlib.suppress(Transient):
                self.call("systemctl", "poweroff", timeout=60)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(120)
        self.cut()

    def cut(self) -> None:
        """Cut the power: what the machine has not written to its disks is lost."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._hands:
            self._hands.close()
        self._process = self._hands = None


class Hands:
    """The line to `hands.py` in the machine: many tasks at a time, each answered once, or failed when the line ends."""

    def __init__(self, address: Path, process: subprocess.Popen[bytes]) -> None:
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._socket = _connected(address, process)
        threading.Thread(target=self._listen, daemon=True).start()
        self.ask({})[1].result(BOOT)

    def ask(self, task: dict[str, Any]) -> tuple[int, Future[Any]]:
        """Hand over a task: its id, and what will be its answer."""
        answer: Future[Any] = Future()
        with self._lock:
            number = next(self._ids)
            self._waiting[number] = answer
            try:
                self._socket.sendall(json.dumps(task | {"id": number}).encode() + b"\n")
            except OSError as error:
                self._waiting.pop(number)
                raise Transient("the machine is gone") from error
        return number, answer

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._socket.makefile("rb") as lines:
            for line in lines:
                said = json.loads(line)
                with self._lock:
                    answer = self._waiting.pop(said["id"], None)
                if answer and not answer.cancelled():
                    answer.set_result(said)
        with self._lock:
            left, self._waiting = self._waiting, {}
        for answer in left.values():
            if not answer.cancelled():
                answer.set_exception(Transient("the machine is gone"))

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _connected(address: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    ended = time.monotonic() + 30
    while True:
        try:
            line.connect(str(address))
        except (FileNotFoundError, ConnectionRefusedError):
            if process.poll() is not None or time.monotonic() > ended:
                raise
            time.sleep(0.02)
        else:
            return line


def _task(argv: Sequence[str], timeout: float, stdin: str | None) -> dict[str, Any]:
    return {"argv": list(argv), "timeout": timeout, "stdin": base64.b64encode((stdin or "").encode()).decode()}


def _fine(said: dict[str, Any]) -> dict[str, Any]:
    if "fault" in said:
        raise RuntimeError(said["fault"])
    return said


def _result(argv: Sequence[str], said: dict[str, Any], timeout: float) -> Result:
    if said.get("fault") == "missing":
        raise Blocked(f"{argv[0]}: no such program on this host", hint="run `voxnix doctor`")
    if said.get("fault") == "late":
        raise Transient(f"{' '.join(argv[:6])}: no end after {timeout:.0f} s, stopped")
    _fine(said)
    out, err = (base64.b64decode(said[name]).decode("utf-8", "replace") for name in ("out", "err"))
    return Result(tuple(argv), said["code"], out, err)
