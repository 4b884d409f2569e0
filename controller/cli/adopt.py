"""`voxnix adopt`: bring a container that somebody made by hand under a spec, after saying what that means."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from controller.cli import text
from controller.cli.client import Away
from controller.cli.session import Session, checked_name, confirm, pass_session, root_name
from controller.errors import BadInput

COPIED = ("home", "root", "var/lib")
"""What of a root tree comes along into the new dataset."""
TREES = "var/lib/nixos-containers"


@click.command()
@click.argument("name")
@click.option("--owner", metavar="TENANT", required=True, help="Whose it will be.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--wait/--no-wait", default=True, help="Wait a few seconds until the controller has seen it.")
@pass_session
def adopt(session: Session, name: str, owner: str, yes: bool, wait: bool) -> None:
    """Bring the foreign container NAME under a spec of OWNER's, after showing what that means."""
    checked_name(name)
    system_path, state = _foreign(session, name)
    changes = _spec(session, name, owner)
    sizes = {part: _bytes(session.settings.root / TREES / name / part) for part in COPIED}
    for line in _meaning(name, owner, system_path, state, sizes):
        session.say(line)
    confirm(f"Adopt {name}?", yes=yes)
    _record(session, name, system_path)
    sha = session.repo.commit(changes, f"adopt {name}", session.author, expect=session.head)
    session.tell_seen(session.seen(sha, wait=wait), f"{name} is adopted for {owner}")


def _foreign(session: Session, name: str) -> tuple[str, str]:
    """The installed system of a foreign container and what its machine is; raises `BadInput` for any other name."""
    foreign, machines = _observed(session)
    others = [line.removeprefix("machine ") for line in foreign if line.startswith("machine ")]
    if name not in others:
        if name in machines and machines[name]["state"] != "absent":
            raise BadInput(f"{name} is one of ours already", hint=f"voxnix status {name}")
        hint = text.suggestion(name, others) if others else "there is no foreign container on this host"
        raise BadInput(f"there is no foreign container {name}", hint=hint)
    machine = machines[name]
    installed = machine["installed"]
    if not installed:
        raise BadInput(f"{name} is only half installed ({machine['state']}), which cannot be adopted")
    return str(installed["system_path"]), str(machine["state"])


def _observed(session: Session) -> tuple[list[str], dict[str, Any]]:
    """What is foreign on the host, and its machines by name: from the controller, or by a look of our own."""
    try:
        found = session.client.get("/v1/observed")
        return list(session.client.get("/v1/status")["foreign"]), dict(found["machines"]["value"] or {})
    except Away:
        return asyncio.run(_look(session))


async def _look(session: Session) -> tuple[list[str], dict[str, Any]]:
    from controller.looks import observed
    from controller.wiring import controller

    async with controller(session.settings) as at_work:
        look = await at_work.look()
    return list(look.plan.foreign), dict(observed(look.observed)["machines"]["value"] or {})


def _spec(session: Session, name: str, owner: str) -> dict[str, bytes | None]:
    """The spec to commit; raises `BadInput` where there is one, or no such tenant."""
    from controller.spec.render import render

    tenants = session.repo.tree(session.head, "state/tenants")
    known = [path.rpartition("/")[2].removesuffix(".yaml") for path in tenants]
    if owner not in known:
        raise BadInput(f"there is no tenant {text.clean(owner)}", hint=text.suggestion(owner, known))
    path = f"state/{name}.yaml"
    if session.repo.read(session.head, [path]):
        return {}
    content = render({"owner": owner, "modules": [], "description": f"Adopted on {datetime.now(UTC):%Y-%m-%d}."})
    return {path: content.encode()}


def _meaning(name: str, owner: str, system: str, state: str, sizes: dict[str, int]) -> list[str]:
    """What adoption means, for this container."""
    copied = ", ".join(f"/{part} ({text.size(size)})" for part, size in sizes.items())
    return [
        f"{text.heading(name)} is {state}; its system is {system}.",
        "To adopt it means:",
        "  · it is stopped, for as long as the copy takes",
        f"  · copied into a dataset of {owner}'s: {copied}",
        "  · its system is replaced by one built from its spec, which begins with no modules",
        "  · everything else in its root tree is not kept once the container is removed",
        "  · from then on its file in the state repo decides about it",
        "",
    ]


def _record(session: Session, name: str, system_path: str) -> None:
    from controller.plan.memory import Adoption
    from controller.store import Event
    from controller.wiring import open_store

    now = datetime.now(UTC)
    store = open_store(session.settings, create=True)
    assert store is not None
    with store:
        store.adopt(Adoption(name, system_path, root_name(), now))
        store.record([Event(now, "adopted", f"{name} is to be adopted", container=name, cause=f"by {root_name()}")])


def _bytes(folder: Path) -> int:
    """What a tree holds, in bytes, no link followed; what cannot be read counts as nothing."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.lstat(os.path.join(place, file)).st_size
            except OSError:
                continue
    return total
