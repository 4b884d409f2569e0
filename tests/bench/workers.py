"""Processes that measure themselves, from the side of whoever asks them. What they do is in `worker`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-m", "tests.bench.worker")


class Worker:
    """One running worker, asked by lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def answer(self) -> dict[str, Any]:
        """Its next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended: {self._process.args!r}; its words are above")
        return dict(json.loads(line))

    def rounds(self, count: int) -> dict[str, Any]:
        """Let it go round `count` times."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return self.answer()


@contextmanager
def worker(*args: object) -> Iterator[Worker]:
    """A worker that ends with the block."""
    with _running(*args) as process:
        yield Worker(process)


@contextmanager
def tailnet(devices: Path) -> Iterator[str]:
    """A control plane that lists these devices, in a process of its own; its address."""
    with _running("tailnet", devices) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@contextmanager
def _running(*args: object) -> Iterator[subprocess.Popen[str]]:
    argv = (*PROGRAM, *map(str, args))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
