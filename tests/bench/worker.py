"""The processes that measure themselves: `python -m tests.bench.worker KIND …`, told by lines, answering in JSON.

`passes DIR COUNT URL`: a controller on a recorded host; its first answer is the cold pass, and every line on stdin
that says how many gives as many warm ones. `floor DIR`: the same with nothing but `cat`. `memory`: a bare interpreter
with our imports. `tailnet FILE`: a control plane. Each ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.bench.clocks import peak_memory

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
"""Audit events of the interpreter, one for each way of starting a process."""


class Starts:
    """Counts the processes that this interpreter starts, whoever in it does."""

    def __init__(self) -> None:
        self.count = 0
        sys.addaudithook(self._heard)

    def _heard(self, event: str, _: tuple[Any, ...]) -> None:
        if event in STARTS:
            self.count += 1


async def rounds(once: Callable[[], Awaitable[object]], starts: Starts) -> None:
    """For each line on stdin, a number: as many rounds, and what each took as one line of JSON."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        taken = []
        for _ in range(int(line)):
            before, cpu, wall = starts.count, time.process_time(), time.perf_counter()
            await once()
            spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            taken.append(spent | {"processes": starts.count - before})
        say({"rounds": taken, "memory": peak_memory()})


def say(value: object) -> None:
    """One answer."""
    print(json.dumps(value), flush=True)


async def passes(directory: Path, count: int, url: str) -> None:
    """A controller on the recorded host: cold, then warm passes that find nothing to do."""
    starts = Starts()
    began = time.perf_counter()
    async with replayed(directory, url) as found:
        await found.begin()

        async def once() -> None:
            plan = await found.once()
            if plan.lanes or plan.waits or plan.holds:
                raise RuntimeError(f"the host is not converged: {plan}"[:500])

        await once()
        phases = [json.loads(row)["phase"] for row in found.store.statuses().values()]
        if phases != ["ready"] * count:
            raise RuntimeError(f"not all of {count} are ready: {sorted(set(phases))}, {len(phases)}")
        say({"cpu": time.process_time(), "wall": time.perf_counter() - began, "processes": starts.count})
        await rounds(once, starts)


@asynccontextmanager
async def replayed(directory: Path, url: str) -> AsyncIterator[Any]:
    """The controller that `controller.wiring` would make, with recordings in place of the host's commands."""
    from controller.desired import Desires
    from controller.git import Mirror
    from controller.host.controlplane import TailscaleV2, read_credentials
    from controller.host.files import Files
    from controller.host.nixos import library
    from controller.host.sim.setup import CREDENTIALS
    from controller.loop import Clock, Controller
    from controller.settings import Settings
    from controller.store import Store
    from controller.wiring import Host, boot_id, policy
    from tests.bench.replay import Replay

    settings = Settings(state=str(directory / "state.git"), host=f"sim:{directory / 'box'}", name="box")
    clock = Clock(boot=boot_id())
    async with AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(settings.store, create=True))
        plane = TailscaleV2(url, read_credentials(Files(settings.root), CREDENTIALS))
        stack.push_async_callback(plane.close)
        host = Host.of(settings, Replay(directory / "recordings"), plane, store, clock.now)
        mirror = Mirror(settings.data / "mirror.git", settings.repository)
        known = library(settings.modules)
        desires = Desires(mirror, store, known, settings.name, trash=lambda: host.trash_of, now=clock.now)
        yield Controller(store, desires, host.observe, host.act, policy(settings), clock)


async def least(files: Sequence[Path]) -> None:
    """The same recordings, printed and thrown away."""
    from tests.bench.replay import floor

    say({})
    await rounds(lambda: floor(files), Starts())


def memory() -> None:
    """Everything that a controller imports, and nothing done with it."""
    import importlib

    libraries = ("aiohttp", "apscheduler.schedulers.asyncio", "dbus_fast.aio", "git", "watchfiles")
    host = ("controller.host.controlplane", "controller.host.hands", "controller.host.observe")
    ours = ("api", "desired", "git", "loop", "wiring", "store")
    modules = (*libraries, *host, *(f"controller.{name}" for name in ours))
    for name in modules:
        importlib.import_module(name)
    say({"memory": peak_memory()})


def main(kind: str, *args: str) -> None:
    """Be one of the processes described above."""
    if kind == "passes":
        asyncio.run(passes(Path(args[0]), int(args[1]), args[2]))
    elif kind == "floor":
        asyncio.run(least(sorted((Path(args[0]) / "recordings").iterdir())))
    elif kind == "tailnet":
        from tests.bench.replay import tailnet

        asyncio.run(tailnet(Path(args[0]).read_text()))
    else:
        memory()


if __name__ == "__main__":
    main(*sys.argv[1:])
