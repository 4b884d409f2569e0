"""What hands do before they hand an action on: ZFS moves data under a running container, they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import Transient
from controller.host.files import Files
from controller.host.hands import Hands
from controller.host.machines import Deadlines, Machines
from controller.host.nixos import Systems
from controller.host.secrets import Deliveries, SecretStore
from controller.host.sim import Bind, SimHost, create, foreign
from controller.host.storage import Storage
from controller.plan.actions import Action, CreateDataset, MoveDataset, PrepareStorage, Stop, ToTrash

DEV, LAB = "tank/users/alice/containers/dev", "tank/users/alice/containers/lab"
TRASH = "tank/trash/dev-u1-20261101T120000Z"
MARKS = (("uid", "u1"), ("owner", "alice"), ("name", "dev"))
THROWN = (*MARKS, ("trashed", "2026-11-01T12:00:00+00:00"))


class Nobody:
    """A ledger in which nothing is written down."""

    def owe(self, uid: str, name: str, node_id: str) -> None:
        raise AssertionError((uid, name, node_id))

    def paid(self, node_id: str) -> None:
        raise AssertionError(node_id)

    def decided(self, commit: str) -> None:
        raise AssertionError(commit)

    def trust(self, token: str) -> None:
        raise AssertionError(token)


class Box:
    """A simulated host, and hands on it."""

    def __init__(self, directory: Path) -> None:
        self.host: SimHost = create(directory)
        files = Files(self.host.root)
        deliveries = Deliveries(files, SecretStore(files))
        quick = Deadlines(start=1.5, stop=0.3, kill=0.3, probe=0.5, poll=0.01)
        machines = Machines(self.host, files, deliveries, quick)
        systems = Systems(self.host, files, machines, deliveries, "/lib")
        self.storage = Storage(self.host, files, "tank")
        self.hands = Hands(machines, self.storage, systems, None, Nobody())

    async def there(self, dataset: str) -> bool:
        return dataset in (await self.storage.observe()).datasets


@pytest.mark.parametrize("move", [ToTrash(DEV, TRASH, THROWN), MoveDataset(DEV, LAB, MARKS)])
async def test_data_moves_only_while_its_container_is_down(tmp_path: Path, move: Action) -> None:
    box = Box(tmp_path / "host")
    for action in (PrepareStorage(), CreateDataset(DEV, MARKS, 0)):
        await box.hands.act(action)
    foreign(box.host, "dev", binds=[Bind(f"/{DEV}/home", "/home", False)])
    with pytest.raises(Transient, match=r"dev is still up \(active\), so its data is not moved"):
        await box.hands.act(move)
    assert await box.there(DEV)
    await box.hands.act(Stop("dev"))
    await box.hands.act(move)
    assert await box.there(move.target)
    assert not await box.there(DEV)
    box.host.close()
