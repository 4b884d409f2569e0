"""Controllers in processes of their own that are killed at a command, and what is found after the next one has run.

A case is one kill: a copy of the host as it was before a step, a process that converges until SIGKILL ends it before,
within or after its n-th command, and a fresh process that converges to the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from controller.errors import Blocked
from controller.host.sim import Fault, SimHost
from controller.loop import Controller
from controller.plan.model import Plan, Reason
from tests.box import Box, FakeClock
from tests.chaos.portrait import differences, portrait
from tests.chaos.virtual import run

ROUNDS = 8
RESYNC = 61.0
_UID = re.compile(r"\b[0-9a-f]{16}\b|(?<=-)[0-9a-f]{8}(?=-TIME)")
_WRITTEN_ONCE = ("/objects/", "/nix/")
RESTLESS = frozenset({Reason.BACKING_OFF, Reason.UNKNOWN_SOURCE, Reason.STARTING, Reason.STOPPING})


@dataclass(frozen=True)
class Case:
    """One kill: at the `number`-th command of a step, in `mode`; within it after its `part`-th effect."""

    number: int
    mode: str
    part: int = 1
    command: str = ""

    def __str__(self) -> str:
        part = f" (part {self.part})" if self.mode == "die-during" else ""
        return f"{self.mode} {self.number}{part}: {self.command}"

    @property
    def fault(self) -> Fault:
        return Fault(nth=self.number, mode=self.mode, step=self.part)


class CountingHost(SimHost):
    """Counts, of every command, the moments at which half of it is done."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parts: Counter[int] = Counter()
        self.words: dict[int, str] = {}

    def _passage(self, words: tuple[str, ...]) -> Any:
        return _Counted(super()._passage(words), self, words)


class _Counted:
    def __init__(self, passage: Any, host: CountingHost, words: tuple[str, ...]) -> None:
        self._passage = passage
        self._host = host
        host.words[passage.number] = " ".join(words)

    async def through(self, effect: Callable[..., Any]) -> Any:
        def part() -> None:
            self._host.parts[self._passage.number] += 1

        return await self._passage.through(lambda _: effect(part))


async def settle(box: Box, act: Callable[[str], None] = lambda _: None) -> None:
    """One controller that converges, and again, until nothing happens any more but by a person or a far hour."""
    async with alone(box, tell=lambda progress: act(_acted(progress))) as controller:
        await _rounds(box, controller)


async def finish(box: Box) -> dict[str, Any]:
    """The same, and what the appliance looks like then."""
    async with alone(box) as controller:
        await _rounds(box, controller)
        return portrait(box, await controller.look())


async def _rounds(box: Box, controller: Controller) -> None:
    for _ in range(ROUNDS):
        settled = await controller.converge()
        if settled.plan.revision == box.repo.head() and not _restless(settled.plan):
            break
        await asyncio.sleep(RESYNC)
    await controller.stop()


@asynccontextmanager
async def alone(box: Box, **options: Any) -> AsyncIterator[Controller]:
    """A controller, once nobody else is at work: a git that a killed one was starting may still hold its lock."""
    async with AsyncExitStack() as stack:
        for left in reversed(range(100)):
            try:
                found = await stack.enter_async_context(box.controller(**options))
                break
            except Blocked as error:
                if "another controller" not in error.what or not left:
                    raise
                await asyncio.to_thread(time.sleep, 0.02)
        yield found


def _acted(progress: Any) -> str:
    return type(progress.step.action).__name__ if progress.step and progress.moment == "done" else ""


def _restless(plan: Plan) -> bool:
    return bool(plan.lanes) or any(wait.reason in RESTLESS for wait in plan.waits)


def sound(box: Box) -> list[str]:
    """What is wrong with the store as a database."""
    with contextlib.closing(sqlite3.connect(box.settings.store)) as connection:
        answers = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    return [f"the store is damaged: {answer}" for answer in answers if answer != "ok"]


def process(work: Callable[[], None]) -> int:
    """Run `work` in a process of its own; how that ended, as `os.waitpid` tells it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - a process of its own, which tells how it ended
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@dataclass(frozen=True)
class Start:
    """A host before a step, kept in `directory`, and the clock at that moment."""

    directory: Path
    clock: FakeClock

    def copy(self, to: Path) -> Box:
        """A copy of it, as a box."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.directory, to, symlinks=True, copy_function=_copied)
        return self.box(to)

    def box(self, at: Path, host: type[SimHost] = SimHost) -> Box:
        return Box(at, clock=replace(self.clock), host_type=host, die=suicide, library=at / "nix")


def _copied(source: str, target: str) -> None:
    """Copy a file; one that nobody ever writes to again is shared."""
    if any(part in source for part in _WRITTEN_ONCE):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def suicide() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def converge(box: Box) -> None:
    """What a controller process does, with the clock of its box going on as it waits."""
    run(settle(box), lambda seconds: box.clock.pass_(timedelta(seconds=seconds)))


def _adopt_orphans() -> None:
    """Become the parent of what a killed controller leaves behind, such as a git that still holds its locks."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _await_orphans() -> None:
    """Until all of it has ended: a service manager ends a service's whole group before it starts it again."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def strike(
    start: Start, case: Case, place: Path, expected: dict[str, Any], *, loose: bool = False
) -> tuple[str, list[str]]:
    """One case; whether the controller was killed (`killed`, `missed`), and what was not as expected afterwards.

    `loose` takes another uid for the expected one.
    """
    box = start.copy(place)
    box.host.faults.add(case.fault)
    box.host.close()
    _adopt_orphans()
    status = process(lambda: converge(start.box(place)))
    _await_orphans()
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status:
        return "missed", [f"the controller ended with status {status}"]
    found = place / "portrait.json"

    def recover() -> None:
        again = start.box(place)
        again.host.faults.clear()
        passing = lambda seconds: again.clock.pass_(timedelta(seconds=seconds))  # noqa: E731
        found.write_text(json.dumps(run(finish(again), passing)))

    status = process(recover)
    if status:
        return "killed", [f"the fresh controller ended with status {status}"]
    texts = [json.dumps(expected), found.read_text()]
    one, two = (json.loads(_UID.sub("UID", text) if loose else text) for text in texts)
    problems = differences(one, two) + sound(box)
    return "killed" if killed else "missed", problems


def side_by_side(jobs: Sequence[Callable[[Path], dict[str, Any]]], scratch: Path, workers: int) -> list[dict[str, Any]]:
    """What the jobs return, in order; run by `workers` processes, each with a place of its own below `scratch`."""
    gc.freeze()
    pids = []
    for worker in range(workers):
        pid = os.fork()
        if not pid:
            _work(jobs[worker::workers], scratch / f"worker-{worker}", scratch / f"results-{worker}")
        pids.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    gc.unfreeze()
    if any(codes):
        raise RuntimeError(f"a worker failed: {codes}")
    found: list[dict[str, Any]] = [{}] * len(jobs)
    for worker in range(workers):
        lines = (scratch / f"results-{worker}").read_text().splitlines()
        found[worker::workers] = [json.loads(line) for line in lines]
    return found


def _work(jobs: Iterable[Callable[[Path], dict[str, Any]]], place: Path, results: Path) -> None:
    code = 1
    try:
        with results.open("w") as file:
            for job in jobs:
                file.write(json.dumps(job(place)) + "\n")
        code = 0
    except BaseException:  # noqa: BLE001 - a process of its own, which tells how it ended
        traceback.print_exc()
    finally:
        shutil.rmtree(place, ignore_errors=True)
        sys.stderr.flush()
        os._exit(code)


def cases(host: CountingHost, before: int) -> Iterator[Case]:
    """Every kill that a run of commands allows: before, after each part of, and after each command."""
    for number, words in sorted(host.words.items()):
        nth = number - before
        yield Case(nth, "die-before", command=words)
        for part in range(1, host.parts[number] + 1):
            yield Case(nth, "die-during", part, words)
        yield Case(nth, "die-after", command=words)
