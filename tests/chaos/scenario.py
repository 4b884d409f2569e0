"""A scenario with every kind of action, in steps.

Each step is what people, time and accidents do to an appliance; what the controller then does about it is where it is
killed. A step that needs an approval first lets a controller run that is not killed, to learn what is held.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controller.host.files import Files
from controller.host.secrets import SecretStore
from controller.host.sim import Fault, foreign
from controller.plan import Adoption
from controller.settings import share
from controller.store import Store
from tests.box import Box
from tests.chaos.killing import Start, converge, process, settle

APPLIANCE = "0123456789abcdef"
DEV = (
    "owner: alice\nmodules: [git, fish, tailscale, workspace]\nsecrets: [token]\n"
    "resources: {memory: 1G, cpus: 1.5, tasks: 512}\n"
)
CHANGED = DEV.replace("fish", "fish, zsh").replace("1G", "2G") + "workspace: {quota: 1G}\n"
LAB = CHANGED.replace("secrets: [token]\n", "") + "renamed_from: dev\n"
BOBS = LAB.replace("alice", "bob").replace("renamed_from: dev\n", "")
UNTAGGED = BOBS.replace("tailscale, ", "")
API = "owner: bob\nmodules: [tailscale]\n"
WEB = "owner: bob\nmodules: [workspace]\n"
TENANTS = {"state/tenants/bob.yaml": 'name: Bob\ntailnet_tags: ["tag:lab"]\n'}

Prepare = Callable[[Box], Awaitable[None]]


@dataclass(frozen=True)
class Step:
    """What happens before the controller is killed, and its name for the table."""

    name: str
    prepare: Prepare
    loose: bool = False
    """A kill may lead to another uid than the one that would have been."""


STEPS: list[Step] = []


def step(name: str, *, loose: bool = False) -> Callable[[Prepare], Prepare]:
    """Add a step to the scenario."""

    def add(prepare: Prepare) -> Prepare:
        STEPS.append(Step(name, prepare, loose))
        return prepare

    return add


def begin(box: Box) -> None:
    """What is there before the first step: an appliance that knows its name, a library, a secret."""
    with Store.open(box.settings.store, create=True) as store:
        store.appliance = APPLIANCE
    secrets(box).put("alice", "token", b"first")


def library(box: Box) -> None:
    """The box's own module library, which a step may change."""
    if box.library and not box.library.exists():
        shutil.copytree(share("nix"), box.library)


def secrets(box: Box) -> SecretStore:
    """The secrets of the host."""
    return SecretStore(Files(box.settings.root))


async def uid(box: Box, name: str) -> str:
    """The uid of a live container."""
    return (await marks(box, name))["uid"]


async def marks(box: Box, name: str) -> dict[str, str]:
    """The marks of a live container's dataset."""
    live = (await box.look()).observed.storage.value.datasets
    [found] = [each for path, each in live.items() if path.endswith(f"/containers/{name}")]
    return dict(found.marks)


async def trash(box: Box, name: str) -> str:
    """The id of the latest piece of trash of a name."""
    found = (await box.look()).observed.storage.value.datasets
    pieces = [path for path in found if path.startswith(f"tank/trash/{name}-") and path.count("/") == 2]
    return max(pieces, key=lambda path: found[path].marks["trashed"]).rsplit("/", 1)[1]


async def approve(box: Box) -> None:
    """Let a controller find what is held, and approve of all of it."""
    await settle(box)
    holds = (await box.look()).plan.holds
    assert holds, "nothing is held"
    for hold in holds:
        box.commit({}, "approve", Voxnix_Approve=hold.id)


def write(box: Box, owner: str, name: str, text: str) -> None:
    """A user writes into every place whose content is to last."""
    for part in ("home", "root", "var-lib", "workspace"):
        folder = box.data(owner, name, part)
        if folder.is_dir():
            (folder / "notes.txt").write_text(f"{part}: {text}")


@step("two containers are made")
async def _(box: Box) -> None:
    box.commit({**TENANTS, "dev": DEV, "api": API}, "begin")


@step("system, quota, limits and a secret change")
async def _(box: Box) -> None:
    write(box, "alice", "dev", "old")
    secrets(box).put("alice", "token", b"second")
    box.commit({"dev": CHANGED})


@step("one is renamed")
async def _(box: Box) -> None:
    write(box, "alice", "dev", "new")
    box.commit({"dev": None, "lab": LAB})


@step("an owner changes, as approved")
async def _(box: Box) -> None:
    box.commit({"lab": BOBS})
    await approve(box)


@step("a schedule stops one")
async def _(box: Box) -> None:
    box.commit({"api": API + "schedule: {start: '0 8 * * *', stop: '0 20 * * *'}\n"})
    await settle(box)
    box.clock.pass_(timedelta(hours=10))


@step("a schedule starts it")
async def _(box: Box) -> None:
    box.clock.pass_(timedelta(hours=11))


@step("a restart is asked for")
async def _(box: Box) -> None:
    box.commit({}, "restart", Voxnix_Restart=await uid(box, "lab"))


@step("data goes back, as approved")
async def _(box: Box) -> None:
    write(box, "bob", "lab", "newer")
    found = (await box.look()).observed.storage.value.datasets["tank/users/bob/containers/lab"]
    box.commit({}, "back", Voxnix_Rollback_Data=f"{found.marks['uid']} {found.snapshots[0]}")
    await approve(box)


@step("a foreign container is adopted")
async def _(box: Box) -> None:
    foreign(box.host, "old", files={"/home/ann/notes.txt": "foreign", "/var/lib/app/data": "bytes"})
    box.commit({"old": "owner: alice\nmodules: [workspace]\n", "web": WEB})
    await settle(box)
    write(box, "bob", "web", "mine")
    path = (await box.machines())["old"].installed.system_path
    with Store.open(box.settings.store, create=True) as store:
        store.adopt(Adoption("old", path, "root", box.clock.wall))


@step("one is removed")
async def _(box: Box) -> None:
    write(box, "bob", "api", "kept")
    box.commit({"api": None})


@step("it comes back with its data")
async def _(box: Box) -> None:
    box.clock.pass_(timedelta(hours=2))
    box.commit({"api": API})


@step("it is removed while the tailnet is away")
async def _(box: Box) -> None:
    box.clock.pass_(timedelta(hours=2))
    box.host.configure(tailnet_up=False)
    box.commit({"api": None})


@step("the debt is paid")
async def _(box: Box) -> None:
    box.host.configure(tailnet_up=True)
    box.clock.pass_(timedelta(minutes=30))


@step("a decision restores it under another name", loose=True)
async def _(box: Box) -> None:
    box.commit({"api2": "owner: bob\n"}, "restored", Voxnix_Restore=f"{await trash(box, 'api')} as api2")


@step("data is exchanged for a piece of trash, as approved")
async def _(box: Box) -> None:
    box.clock.pass_(timedelta(hours=2))
    box.commit({}, "exchange", Voxnix_Restore=f"{await trash(box, 'lab')} as lab")
    await approve(box)


@step("a piece of trash is purged, as approved")
async def _(box: Box) -> None:
    box.commit({}, "purge", Voxnix_Purge=await trash(box, "lab"))
    await approve(box)


@step("tailnet tags change")
async def _(box: Box) -> None:
    box.commit({"lab": BOBS + 'tailnet: {tags: ["tag:lab"], hostname: bench}\n'})


@step("a container leaves the tailnet")
async def _(box: Box) -> None:
    box.commit({"lab": UNTAGGED})


@step("one goes that was killed as it enrolled")
async def _(box: Box) -> None:
    box.commit({"api3": API})
    box.host.faults.add(Fault(match="tailscale up", mode="die-after"))
    box.host.close()
    start = Start(box.directory, box.clock)
    process(lambda: converge(start.box(box.directory)))
    box.host.faults.clear()
    box.commit({"api3": None})


@step("a tombstone is cleared")
async def _(box: Box) -> None:
    await box.outside("extra-container", "destroy", "web")
    box.clock.pass_(timedelta(hours=2))
    box.commit({"web": None})


@step("power goes, and somebody unmounts a dataset")
async def _(box: Box) -> None:
    box.host.reboot()
    box.clock.boot = "boot-2"
    await box.outside("systemctl", "stop", "container@lab.service")
    await box.outside("zfs", "unmount", "tank/users/bob/containers/lab/workspace")
    await box.outside("zfs", "unmount", "tank/users/bob/containers/lab")


@step("a library changes, and rolls out")
async def _(box: Box) -> None:
    assert box.library
    (box.library / "modules" / "git.nix").write_text("# git, another one\n{ }\n")
    box.commit({"api2": "owner: bob\nmodules: [git]\n"})


@step("data that vanished begins empty, as approved")
async def _(box: Box) -> None:
    await box.outside("systemctl", "stop", "container@old.service")
    await box.outside("zfs", "destroy", "-r", "tank/users/alice/containers/old")
    await approve(box)


@step("the store is lost, and a removal approved")
async def _(box: Box) -> None:
    for file in box.settings.data.glob("store.db*"):
        file.unlink()
    await settle(box)
    box.commit({"old": None})
    await approve(box)


@step("a month passes: snapshots and trash expire")
async def _(box: Box) -> None:
    box.clock.pass_(timedelta(days=31))


@step("one expires")
async def _(box: Box) -> None:
    box.commit({"api2": "owner: bob\nmodules: [git]\nexpires: 2026-04-06T00:00:00Z\n", "last": "owner: bob\n"})
    await settle(box)
    box.clock.pass_(timedelta(days=5))


def covered(acted: set[str], union: Any) -> set[str]:
    """The kinds of action that a scenario has left out."""
    return {each.__name__ for each in union.__args__} - acted
