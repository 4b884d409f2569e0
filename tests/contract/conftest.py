"""The host of each case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.hosts import Host, make


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """A host with an empty dataset `POOL/contract`, cleaned up afterwards."""
    made = make(tmp_path / "host")
    await made.clean() if not made.simulated else None
    place = f"mountpoint=/{made.pool}/contract"
    result = await made.runner.run(["zfs", "create", "-o", place, f"{made.pool}/contract"], timeout=60)
    assert result.code == 0, result.said
    try:
        yield made
    finally:
        await made.clean()
