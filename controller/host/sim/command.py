"""One command on its way through the simulated host: what was asked, and what is answered.

Holds what the simulated tools share: their world (directory, clock, database), their answers, their way of ending
with an error, and the checkpoints between two effects at which a test may let the controller die.
"""

from __future__ import annotations

import getopt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from controller.host.sim.state import State


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code, stdout and stderr."""

    code: int = 0
    out: str = ""
    err: str = ""


class Refusal(Exception):
    """A tool that gives up: its message on stderr, and its exit code."""

    def __init__(self, err: str, code: int = 1, out: str = "") -> None:
        super().__init__(err)
        self.answer = Answer(code, out, err if err.endswith("\n") or not err else err + "\n")


@dataclass(frozen=True, slots=True)
class World:
    """The simulated machine itself: its directory, its database, its clock (seconds since 1970)."""

    directory: Path
    state: State
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]

    @property
    def root(self) -> Path:
        """Where the host's `/` is kept."""
        return self.directory / "root"

    def path(self, host_path: str) -> Path:
        """Where a host path is really kept; `..` cannot climb out of the root."""
        parts = [part for part in host_path.split("/") if part not in ("", ".")]
        kept: list[str] = []
        for part in parts:
            kept = kept[:-1] if part == ".." else [*kept, part]
        return self.root.joinpath(*kept)

    def log(self, unit: str, line: str, *, inside: bool = False) -> None:
        """A line for the journal of a container: its unit's on the host, or its own."""
        with self.state.write() as db:
            db.execute(
                "INSERT INTO journal (unit, inside, time, line) VALUES (?, ?, ?, ?)",
                (unit, inside, self.now(), line),
            )


@dataclass(slots=True)
class Call:
    """One command: its words, its stdin, and the hook that runs between two of its effects."""

    world: World
    argv: tuple[str, ...]
    stdin: str | None = None
    interrupt: Callable[[], None] | None = field(default=None)

    @property
    def args(self) -> tuple[str, ...]:
        """The words after the program."""
        return self.argv[1:]

    def checkpoint(self) -> None:
        """Something has been done and something is left to do: here a kill leaves half of the effect."""
        if self.interrupt is not None:
            self.interrupt()


Tool = Callable[[Call], Awaitable[Answer]]


def options(
    program: str, args: Sequence[str], short: str, long: Sequence[str] = (), *, mixed: bool = True
) -> tuple[list[tuple[str, str]], list[str]]:
    """Split `args` into options and words as GNU getopt does; a wrong option is the tool's usage error, rc 1."""
    try:
        split = getopt.gnu_getopt if mixed else getopt.getopt
        found, words = split(list(args), short, list(long))
    except getopt.GetoptError as error:
        raise Refusal(_complaint(program, error)) from error
    return found, words


def _complaint(program: str, error: getopt.GetoptError) -> str:
    long = len(error.opt) > 1
    if "requires argument" in error.msg:
        words = (
            f"option '--{error.opt}' requires an argument" if long else f"option requires an argument -- '{error.opt}'"
        )
    else:
        words = f"unrecognized option '--{error.opt}'" if long else f"invalid option -- '{error.opt}'"
    return f"{program}: {words}"


def iso(seconds: float) -> str:
    """A time as the Tailscale API writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
