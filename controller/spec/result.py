"""What was read from one state file, as a value that can be kept between processes.

Pure. A result depends on the file's path and bytes and on the names of the modules, so it may be cached by those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from controller.errors import Problem
from controller.spec.fields import FileKind

FORMAT = 3
"""Grows whenever the same bytes may give another result: a new field, another rule, other words."""

Values = dict[str, Any]
"""Values of a file, JSON-able: sizes in bytes, timestamps as ISO text, sections as maps."""


class Mark(NamedTuple):
    """Where a value stands: line and column from 1, and the line itself (empty if too long to show)."""

    line: int
    column: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file. `stem` is the container or tenant it stands for.

    `values` are the file's own, without defaults; of a file with `problems` they are what could be read, for
    messages only. `marks` say where values stand: `modules.1`, `workspace.quota`, `env.EDITOR`.
    """

    path: str
    kind: FileKind
    stem: str
    values: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()
    marks: Mapping[str, Mark] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong in the file itself."""
        return not self.problems

    def problem(self, mark: str, message: str, expected: str = "", hint: str = "") -> Problem:
        """A problem at a field of this file, or at the nearest enclosing one that it has, or at the whole file."""
        at = self.marks.get(mark)
        while at is None and mark:
            mark = mark.rpartition(".")[0]
            at = self.marks.get(mark)
        line, column, text = at or Mark(0, 0)
        return Problem(self.path, line, column, message, expected, hint, text if text.isprintable() else "")

    def to_json(self) -> str:
        """A compact text from which `from_json` makes an equal value."""
        problems = [astuple(problem) for problem in self.problems]
        row = [FORMAT, self.path, self.kind, self.stem, self.values, problems, self.marks]
        return json.dumps(row, separators=(",", ":"), default=dict)

    @staticmethod
    def from_json(text: str) -> FileResult:
        """The value that `to_json` wrote; raises ValueError when another version, or nobody, wrote it."""
        row = json.loads(text)
        if not isinstance(row, list) or len(row) != 7 or row[0] != FORMAT:
            raise ValueError("not a file result of this version")
        _, path, kind, stem, values, problems, marks = row
        try:
            told = tuple(Problem(*problem) for problem in problems)
            return FileResult(path, FileKind(kind), stem, values, told, {name: Mark(*at) for name, at in marks.items()})
        except (TypeError, AttributeError) as error:
            raise ValueError("not a file result") from error
