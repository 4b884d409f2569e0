"""What the gate says to a pusher, as lines for git to pass on. Pure, and quick to import.

Git colours the words `error:`, `warning:` and `hint:` at the beginning of a line, and shows all of it as `remote: …`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from controller.errors import Problem, VoxnixError

if TYPE_CHECKING:
    from controller.gate.gate import Answer

MOST = 10
"""Mistakes told at a time; of more, how many there are."""
WIDTH = 400
"""Characters of one line."""
LONGEST_PATH = 120
"""Characters of a path, so that what is wrong with it is told, too."""


def told(answer: Answer) -> list[str]:
    """The answer to a push."""
    lines = [line for problem in answer.warnings[:MOST] for line in _problem("warning", problem)]
    if answer.refusals:
        lines += [line for problem in answer.refusals[:MOST] for line in _problem("error", problem)]
        more = len(answer.refusals) - MOST
        lines += [f"error: and {more} more like this"] if more > 0 else []
        lines += [f"hint: {answer.mending}"] if answer.mending else []
    elif answer.lines:
        lines += ["what this leads to:", *(f"  {line}" for line in answer.lines)]
    return list(harmless(lines))


def failure(error: VoxnixError) -> list[str]:
    """A push that could not be judged."""
    return list(harmless([f"error: {error.what}", *([f"hint: {error.hint}"] if error.hint else [])]))


def harmless(lines: Iterable[str]) -> Iterator[str]:
    """Lines in which nothing is left that a terminal might obey, each of bounded length."""
    for line in lines:
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line.replace("\t", " "))
        yield shown if len(shown) <= WIDTH else shown[: WIDTH - 1] + "…"


def _problem(word: str, problem: Problem) -> Iterator[str]:
    if len(problem.path) > LONGEST_PATH:
        problem = replace(problem, path=f"{problem.path[: LONGEST_PATH - 30]}…{problem.path[-29:]}")
    first, *rest = problem.render().split("\n")
    yield f"{word}: {first}"
    yield from rest
