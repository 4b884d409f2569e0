"""The contract tables against OpenZFS as a kernel module: what the simulated host and ZFS on FUSE stand for.

Cases that ZFS on FUSE cannot show (`only: sim`) are played here too, for they say what OpenZFS does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.hosts import Host, Real, until
from tests.contract.parity import Parity
from tests.contract.test_tables import cases, play
from tests.vm.machine import Machine

pytestmark = pytest.mark.vm

ABOUT = "zfs-"
"""The table in which the file system has the word; containers have theirs on the test host."""


class OpenZfs(Real):
    """The machine, cleaned as quickly as it can be: emulated, every command counts."""

    async def clean(self) -> None:
        """See `Host.clean`: no case here makes a container."""
        scraps = ["zfs", "destroy", "-R", f"{self.pool}/contract"]
        result = await until(self, scraps, lambda result: result.code == 0)
        assert result.code == 0, result.said
        await self._did("rm", "-rf", f"/{self.pool}/contract")


@pytest.fixture
async def host(vm: Machine) -> AsyncIterator[Host]:
    made = OpenZfs(vm)
    await made._did("zfs", "create", "-o", f"mountpoint=/{made.pool}/contract", f"{made.pool}/contract")
    yield made
    await made.clean()


def asked() -> list[Any]:
    return [param for param in cases() if str(param.id).startswith(ABOUT)]


@pytest.mark.parametrize("case", asked())
async def test_table(host: Host, case: dict[str, Any], parity: Parity) -> None:
    known = {"pool": host.pool, "top": f"{host.pool}/contract"}
    for step in case["steps"]:
        await play(host, {"run": step} if isinstance(step, str) else step, known, parity)
