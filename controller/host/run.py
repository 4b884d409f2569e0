"""Run one host command. The only place in voxnix that starts a host process.

Never a shell, never the caller's environment, never an inherited terminal (but for `interact`), and never a
process left behind: on a timeout or a cancellation the whole process group is killed and reaped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.errors import Blocked, Transient

ENVIRONMENT = {
    "LC_ALL": "C",
    "PATH": "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/var/empty",
    "XDG_CACHE_HOME": "/var/cache/voxnix",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}
OUTPUT_LIMIT = 64 * 2**20
"""Bytes of stdout read from one command; one that says more is killed (`zfs get` of 5,000 containers says 17 MiB)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command answered. A non-zero `code` is a fact here, not yet a failure: drivers decide."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The command's own words, for people: stderr, or else the last lines of stdout; at most 600 characters."""
        text = self.err.strip() or self.out.strip() or f"exit code {self.code}, without a word"
        return text if len(text) <= 600 else "… " + text[-600:]


class Runner(Protocol):
    """Whoever answers host commands: the real host (`Processes`) or the simulated one (`sim.SimHost`)."""

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        """Run `argv` to its end, at most `timeout` seconds.

        Raises `Transient` when the time is up and `Blocked` when there is no such program.
        """
        ...

    def interact(self, argv: Sequence[str]) -> int:
        """Run `argv` on the caller's own terminal, for `enter` and `logs --follow`; its exit code."""
        ...


class Processes:
    """Commands as processes of this machine."""

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        """See `Runner.run`."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                limit=2**20,
            )
        except FileNotFoundError as error:
            raise Blocked(f"{argv[0]}: no such program on this host", hint="run `voxnix doctor`") from error
        except OSError as error:
            raise Transient(f"{argv[0]} could not be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(timeout):
                out, err = await _talk(process, stdin)
        except TimeoutError as error:
            raise Transient(f"{_short(argv)}: no end after {timeout:.0f} s, stopped") from error
        finally:
            await _end(process)
        return Result(tuple(argv), process.returncode or 0, out, err)

    def interact(self, argv: Sequence[str]) -> int:
        """See `Runner.interact`."""
        return subprocess.run(list(argv), check=False).returncode


async def _talk(process: asyncio.subprocess.Process, stdin: str | None) -> tuple[str, str]:
    """Feed stdin and collect both outputs, bounded, until the process ends."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, err, _ = await asyncio.gather(_collect(process.stdout), _collect(process.stderr), _feed(process.stdin, stdin))
    await process.wait()
    return out, err


async def _feed(stream: asyncio.StreamWriter | None, text: str | None) -> None:
    """Write all of stdin and close it; a command that does not read it is no error."""
    if stream is None or text is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(text.encode())
        await stream.drain()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.close()
        await stream.wait_closed()


async def _collect(stream: asyncio.StreamReader) -> str:
    """All of a stream as text, undecodable bytes replaced."""
    parts: list[bytes] = []
    size = 0
    while part := await stream.read(2**18):
        size += len(part)
        if size > OUTPUT_LIMIT:
            raise Transient(f"a command printed more than {OUTPUT_LIMIT // 2**20} MiB, stopped")
        parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the process group, reap the process, close its pipes; harmless when it has ended.

    The pipes are closed too because a descendant in a group of its own may still hold their other ends.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        await asyncio.shield(process.wait())
    process._transport.close()  # type: ignore[attr-defined]


def _short(argv: Sequence[str]) -> str:
    """A command for a message: its first words."""
    text = " ".join(argv[:6])
    return text if len(argv) <= 6 else text + " …"
