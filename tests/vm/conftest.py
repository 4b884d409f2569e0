"""The virtual machine of the session: one boot, one pool, shared by all tests, which keep to datasets of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.contract.parity import parity, show
from tests.host.appliance import Appliance
from tests.host.image import held
from tests.vm.image import disk
from tests.vm.machine import Machine

__all__ = ["parity"]


@pytest.fixture(scope="session")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine with the pool `tank`."""
    directory = tmp_path_factory.mktemp("vm")
    kept = disk()
    machine = Machine(kept, directory)
    with held(kept):
        try:
            yield machine.boot().make_pool()
        finally:
            machine.cut()
            shutil.rmtree(directory)


@pytest.fixture(scope="session")
def box(vm: Machine) -> Appliance:
    """The machine with a state repo and two tenants."""
    return Appliance(vm)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how far OpenZFS agrees with the simulation."""
    show(terminalreporter, "on OpenZFS in a virtual machine")
