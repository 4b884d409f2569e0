"""Who may have a shell where. Pure: facts in, a tenant out.

Whatever was said is held against what the controller has accepted and what is installed on the host: both have to say
that the container is the caller's, so that one whose owner is just changing is nobody's but an admin's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.entry.request import Request
from controller.errors import BadInput
from controller.observed.facts import Document, Machine, MachineState
from controller.receive import Keys


@dataclass(frozen=True, slots=True)
class Person:
    """A tenant, as far as it matters here."""

    ssh_keys: tuple[str, ...]
    signing_keys: tuple[str, ...]
    admin: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the controller has accepted: the tenants by id, the agent's keys, and this appliance's id."""

    people: Mapping[str, Person]
    delegates: tuple[str, ...]
    appliance: str


def tenant_of(key: str, accepted: Accepted) -> str:
    """The tenant whose key this is; raises `BadInput` for nobody's, and for the agent's."""
    owner = Keys(accepted.people, accepted.delegates).pushing.get(key)
    if owner is None:
        raise BadInput("this key is no tenant's any more", hint="ask an admin to add it to your `ssh_keys`")
    if owner.tenant is None:
        raise BadInput("the agent's key opens no shell", hint="come with a key of your own")
    return owner.tenant


def require_theirs(request: Request, tenant: str, accepted: Accepted, owner: str | None, machine: Machine) -> None:
    """Raise `BadInput` unless the tenant may enter this container now.

    `owner` is the one that is published for it, None where there is no such container. What is not theirs and what is
    not there are not told apart.
    """
    document = machine.installed.document if machine.installed else None
    said = {owner} if document is None else {owner, document.owner}
    theirs = owner is not None and (accepted.people[tenant].admin or said == {tenant})
    if not theirs or (machine.installed is not None and not _ours(document, request.name, accepted.appliance)):
        raise BadInput(f"{tenant} has no container {request.name}", hint="`status` lists what there is")
    if machine.installed is None or machine.state is not MachineState.RUNNING:
        raise BadInput(f"{request.name} is {machine.state}, so nobody can enter it", hint=f"`status {request.name}`")


def _ours(document: Document | None, name: str, appliance: str) -> bool:
    """Whether an installed system bears this appliance's marks, and this name."""
    return document is not None and document.name == name and appliance != "" and document.appliance == appliance
