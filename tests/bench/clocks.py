"""What things take: CPU and wall time of processes, their memory, and the spread of what was measured."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

IMPORT = (sys.executable, "-c", "import pydantic")
"""The yardstick for what is started anew."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, middle and largest of some measurements."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        known = sorted(values)
        return Spread(known[0], statistics.median(known), known[-1])

    def shown(self, scale: float, unit: str) -> str:
        """All three, times `scale`: `10 – 12 – 19 ms`."""
        values = (self.low * scale, self.median * scale, self.high * scale)
        return " – ".join(f"{value:,.{0 if self.median * scale >= 20 else 2}f}" for value in values) + f" {unit}"

    def __truediv__(self, divisor: float) -> Spread:
        return Spread(self.low / divisor, self.median / divisor, self.high / divisor)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process took from start to end, in seconds."""

    cpu: float
    wall: float


def taken(argv: Sequence[str], env: Mapping[str, str] | None = None) -> Taken:
    """Run a command to its end; its own CPU time and that of its children, and its wall time."""
    began = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {process.returncode}: {said.decode(errors='replace')[-500:]}")
    return Taken(used.ru_utime + used.ru_stime, wall)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process and its ended children have used, in steps of a clock tick."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def peak_memory() -> int:
    """The most memory that this process ever had, in bytes. (What `getrusage` says may be the parent's.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    (said,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(said.split()[1]) * 1024
