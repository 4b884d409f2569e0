"""Who speaks from which chat, by the tenants of the accepted revision. Pure; a surface asks it and nobody else."""

from __future__ import annotations

from collections.abc import Mapping

from agent.person import Person
from controller.spec.model import Tenant


def person(tenants: Mapping[str, Tenant], name: str) -> Person | None:
    """A tenant as a person; None for one that there is not."""
    found = tenants.get(name)
    return Person(name, found.name, found.role) if found else None


def speakers(tenants: Mapping[str, Tenant]) -> Mapping[int, Person]:
    """Persons by the chats that speak for them. A chat that several tenants claim speaks for nobody."""
    claims: dict[int, list[str]] = {}
    for name, tenant in tenants.items():
        for chat in set(tenant.telegram):
            claims.setdefault(chat, []).append(name)
    return {
        chat: Person(names[0], tenants[names[0]].name, tenants[names[0]].role)
        for chat, names in claims.items()
        if len(names) == 1
    }


def chats(tenants: Mapping[str, Tenant], name: str) -> list[str]:
    """Where a tenant is told news."""
    return [str(chat) for chat, found in speakers(tenants).items() if found.id == name]
