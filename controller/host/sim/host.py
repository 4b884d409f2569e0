"""The simulated host: a peer of `Processes` that answers the same commands with the same words.

It keeps everything below one directory, which several processes and runs may share, and adds what tests and the
demo need: latencies, faults, a record of commands, and acts that nobody counts. It decides nothing about
containers; the modules beside it speak for the tools.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from controller.errors import Blocked, Transient
from controller.host.run import Result
from controller.host.sim import installed, power, systemd, units
from controller.host.sim.command import Answer, Call, Refusal, Tool, World
from controller.host.sim.extra_container import WANTS
from controller.host.sim.faults import Faults
from controller.host.sim.passage import LOG, Effect, Interrupt, Passage
from controller.host.sim.state import Settings, State
from controller.host.sim.tools import TOOLS
from controller.host.sim.zfs_change import make
from controller.host.sim.zfs_data import Disk


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class SimHost:
    """One simulated host, kept in `directory` (made by `create`).

    `now` and `sleep` are its clock, in seconds; `die` is what a `die-…` fault calls: it ends this process, or, in a
    test within the process, raises a BaseException of its own.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        die: Callable[[], None] = _kill_myself,
    ) -> None:
        self.directory = Path(directory)
        self.state = State(self.directory)
        self.world = World(self.directory, self.state, now, sleep)
        self.faults = Faults(self.state)
        self._die = die

    @property
    def root(self) -> Path:
        """Where the host's `/` is kept: the root of every host path."""
        return self.world.root

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        """See `Runner.run`."""
        words = tuple(argv)
        tool = self._tool(words)
        passage = self._passage(words)

        async def effect(interrupt: Interrupt) -> Answer:
            return await _end(tool, Call(self.world, words, stdin, interrupt))

        try:
            async with asyncio.timeout(timeout):
                answer = await passage.through(effect)
        except TimeoutError as error:
            short = " ".join(words[:6])
            raise Transient(f"{short}: no end after {timeout:.0f} s, stopped") from error
        return Result(words, answer.code, answer.out, answer.err)

    async def request(self, method: str, path: str, effect: Effect) -> Answer:
        """Let a request to the tailnet pass as a command does: counted, recorded, delayed, struck by faults."""
        return await self._passage(("http", method, path)).through(effect)

    def interact(self, argv: Sequence[str]) -> int:
        """See `Runner.interact`: a small pretended shell for `machinectl shell`, and logs that are followed."""
        from controller.host.sim.terminal import interact

        words = tuple(argv)
        self._tool(words)
        return interact(self.world, words)

    async def behind_our_back(self, argv: Sequence[str], stdin: str | None = None) -> Result:
        """Run a command as somebody else would: no latency, no fault, not counted, not recorded."""
        words = tuple(argv)
        answer = await _end(self._tool(words), Call(self.world, words, stdin))
        return Result(words, answer.code, answer.out, answer.err)

    def configure(self, **changes: Any) -> None:
        """Change settings (see `Settings`), for every process that shares this host."""
        self.state.configure(changes)

    @property
    def settings(self) -> Settings:
        """The settings as they are now."""
        return self.state.settings()

    @property
    def commands(self) -> int:
        """How many commands (and tailnet requests) have been counted."""
        return self.state.count("commands")

    def record(self) -> list[dict[str, Any]]:
        """The recorded commands, oldest first: n, time, argv, code (None: it did not end), mutating."""
        path = self.directory / LOG
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def add_pool(self, name: str, size: int) -> None:
        """A new, empty pool of `size` bytes, mounted at `/NAME`."""
        disk = Disk(self.world)
        disk.make_directories()
        with self.state.write() as db:
            db.execute("INSERT INTO pools VALUES (?, ?, 0, 'ONLINE')", (name, size))
        make(Call(self.world, ("zpool", "create", name)), disk, name, {})

    def set_pool(self, name: str = "tank", **changes: str | int) -> None:
        """Change a pool: its `size`, what others use of it (`other`), both in bytes, or its `health`."""
        with self.state.write() as db:
            for key in ("size", "other", "health"):
                if key in changes:
                    db.execute(f"UPDATE pools SET {key} = ? WHERE name = ?", (changes[key], name))  # noqa: S608

    def reboot(self) -> None:
        """Power cut and boot: machines down, /run empty, datasets mounted, limits gone; what is wanted starts."""
        with self.state.write() as db:
            db.execute("DELETE FROM units")
        shutil.rmtree(self.root / "run", ignore_errors=True)
        (self.root / "run").mkdir()
        disk = Disk(self.world)
        with disk.lock():
            tree = disk.tree()
            mounted = [each for each in tree.datasets.values() if each.mounted]
            for dataset in sorted(mounted, key=lambda each: each.mountpoint, reverse=True):
                disk.unmount(dataset)
            for dataset in sorted(tree.datasets.values(), key=lambda each: each.mountpoint):
                if dataset.mountable and dataset.local.get("canmount") != "noauto":
                    disk.mount(dataset)
        wants = self.world.path(WANTS)
        for link in sorted(wants.glob("container@?*.service")) if wants.is_dir() else ():
            name = systemd.container(link.name)
            if name and installed.has_unit(self.world, name):
                power.begin_start(self.world, name)

    def units(self) -> dict[str, units.Unit]:
        """Every unit that was started since the last boot, by container name; for assertions."""
        return units.load_all(self.world)

    def close(self) -> None:
        """Let go of the database."""
        self.state.close()

    def _tool(self, words: tuple[str, ...]) -> Tool:
        tool = TOOLS.get(words[0].rpartition("/")[2]) if words else None
        if tool is None:
            program = words[0] if words else ""
            raise Blocked(f"{program}: no such program on this host", hint="run `voxnix doctor`")
        return tool

    def _passage(self, words: tuple[str, ...]) -> Passage:
        return Passage(self.world, words, die=self._die, meanwhile=self.behind_our_back)


async def _end(tool: Tool, call: Call) -> Answer:
    try:
        return await tool(call)
    except Refusal as refusal:
        return refusal.answer
