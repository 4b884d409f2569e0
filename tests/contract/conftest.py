"""The host of each case, and the table that tells how far a real one agrees with the simulation."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.hosts import Host, Real, Simulated
from tests.contract.parity import parity, show

__all__ = ["parity"]

KIND = os.environ.get("VOXNIX_CONTRACT_HOST", "sim")


@pytest.fixture(scope="session")
def real() -> Iterator[Host | None]:
    """The real host that the environment asks for, for the whole session; none for a simulated one."""
    if KIND == "sim":
        yield None
    elif KIND == "testhost":
        from tests.host.fleet import Fleet

        with Fleet() as fleet:
            yield Real(fleet.make("contract").boot().make_pool())
    else:
        raise ValueError(f"VOXNIX_CONTRACT_HOST={KIND}: expected sim or testhost")


@pytest.fixture
async def host(tmp_path: Path, real: Host | None) -> AsyncIterator[Host]:
    """A host with an empty dataset `POOL/contract`, cleaned up afterwards."""
    made = real or Simulated(tmp_path / "host")
    place = f"mountpoint=/{made.pool}/contract"
    result = await made.runner.run(["zfs", "create", "-o", place, f"{made.pool}/contract"], timeout=60)
    assert result.code == 0, result.said
    try:
        yield made
    finally:
        await made.clean()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the parity of a real host."""
    if KIND != "sim":
        show(terminalreporter, "on a host in namespaces")
