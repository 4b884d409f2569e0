"""How far a real host agrees with what the simulated one claims: a table by command."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest

VERBS = frozenset({"zfs", "zpool", "systemctl", "machinectl", "extra-container"})
"""Programs whose first word says what they do."""
PROPERTY = "parity"


class Parity:
    """What the commands of one case answered, against what the case says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def saw(self, argv: Sequence[str], *, agrees: bool) -> None:
        """Note one command."""
        verb = next((word for word in argv[1:] if not word.startswith("-")), "") if argv[0] in VERBS else ""
        self.seen.append((f"{argv[0]} {verb}".strip(), agrees))


def table(reports: Iterable[Any]) -> list[str]:
    """Lines of a table: command, cases that use it, commands given, how many of them answered as claimed."""
    cases: dict[str, set[str]] = {}
    given: dict[str, list[bool]] = {}
    for report in reports:
        for command, agrees in dict(report.user_properties).get(PROPERTY, ()):
            cases.setdefault(command, set()).add(report.nodeid)
            given.setdefault(command, []).append(agrees)
    if not given:
        return []
    wide = max(map(len, given))
    lines = [f"{'command':{wide}}  cases  given  agree"]
    for command in sorted(given):
        answers = given[command]
        lines.append(f"{command:{wide}}  {len(cases[command]):5}  {len(answers):5}  {sum(answers):5}")
    answers = [agrees for each in given.values() for agrees in each]
    together = len(set().union(*cases.values()))
    return [*lines, f"{'together':{wide}}  {together:5}  {len(answers):5}  {sum(answers):5}"]


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Iterator[Parity]:
    """Collects what the commands of a case answer."""
    seen = Parity()
    yield seen
    request.node.user_properties.append((PROPERTY, seen.seen))


def show(terminalreporter: pytest.TerminalReporter, where: str) -> None:
    """Print the table of a real host at the end of a run."""
    ended = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = table(report for report in ended if getattr(report, "when", "") == "teardown")
    if lines:
        terminalreporter.section(f"parity: what the simulated host claims, {where}")
        for line in lines:
            terminalreporter.write_line(line)
