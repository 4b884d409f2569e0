"""Test hosts for the tests: one that a module shares, or as many as a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.host.appliance import Appliance
from tests.host.fleet import Fleet
from tests.host.machine import Machine


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """The session's hosts."""
    with Fleet() as made:
        yield made


@pytest.fixture
def new_host(fleet: Fleet) -> Iterator[Callable[[str], Machine]]:
    """Makes booted hosts with the pool `tank` each, for one test."""
    made: list[Machine] = []

    def make(name: str) -> Machine:
        machine = fleet.make(name)
        made.append(machine)
        return machine.boot().make_pool()

    yield make
    for machine in made:
        machine.remove()


@pytest.fixture
def host(new_host: Callable[[str], Machine]) -> Machine:
    """A booted host with the pool `tank`."""
    return new_host("host")


@pytest.fixture
def box(host: Machine) -> Appliance:
    """The same host with a state repo and two tenants."""
    return Appliance(host)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a line for the end of the run: what was measured."""
    return lambda line: request.node.user_properties.append(("figure", line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured."""
    ended = [report for reports in terminalreporter.stats.values() for report in reports]
    lines = [
        value
        for report in ended
        if getattr(report, "when", "") == "teardown"
        for kind, value in report.user_properties
        if kind == "figure"
    ]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)
