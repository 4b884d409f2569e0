"""Failures, named by what happens next, and the problems that people read.

Pure. A foreign error (an exit code, an HTTP status, an exception of a library) is mapped to one of these once,
at the driver that met it; nothing further in looks at foreign errors again.
"""

from __future__ import annotations

from dataclasses import dataclass


class VoxnixError(Exception):
    """Something that a person is told in one message: `what` went wrong, and `hint`, what to do about it."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} ({self.hint})" if self.hint else self.what


class Transient(VoxnixError):
    """May go away by itself: it is retried, with backoff."""


class Waiting(VoxnixError):
    """Nothing is wrong, but something named has to happen first: it is looked at again each pass."""


class Blocked(VoxnixError):
    """Needs a person: repeating it cannot help, though a new commit or a repaired host can."""


class BadInput(VoxnixError):
    """What a person or a file said cannot be taken; nothing was done. Exit code 1, never a traceback."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in one file, told so that it can be mended without reading a manual.

    `line` and `column` count from 1; 0 means that the whole file is meant. `message` says what was found,
    `expected` what would have been right, `hint` what to write instead; `text` is the offending line.
    """

    path: str
    line: int
    column: int
    message: str
    expected: str = ""
    hint: str = ""
    text: str = ""

    @property
    def where(self) -> str:
        """`path:line:column`, as editors and terminals make clickable."""
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.hint:
            parts.append(self.hint)
        return "; ".join(parts)

    def render(self) -> str:
        """The problem as several lines: the message, the line it is about, and a caret below the word."""
        lines = [f"{self.where}: {self.message}"]
        if self.text and self.line:
            lines += [f"    {self.text}", "    " + " " * (self.column - 1) + "^"]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class InvalidFiles(BadInput):
    """One or more files do not validate; `problems` names each mistake."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
