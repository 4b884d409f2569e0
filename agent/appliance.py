"""The controller, as the agent sees it: its published status, plan, events and logs, read over its socket.

It changes nothing and keeps nothing. Every answer is the newest; questions run in threads, so that a slow socket
holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agent.person import Person
from controller.cli.client import Away, Client
from controller.errors import BadInput

Json = Mapping[str, Any]
EVENTS = 200
LOG_LINES = 200
"""Lines of a journal that are asked for at most."""


class Appliance:
    """One controller's socket."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def status(self) -> Json:
        """The status document. Raises `Away` where no controller answers."""
        found: Json = await asyncio.to_thread(self._client.get, "/v1/status")
        return found

    async def containers(self, person: Person) -> list[Json]:
        """The published containers that a person may look at: their own, an admin's are all."""
        document = await self.status()
        return visible(document, person)

    async def container(self, name: str, person: Person) -> Json | None:
        """One container's published status, if there is one that the person may look at."""
        return next((one for one in await self.containers(person) if one["name"] == name), None)

    async def plan(self) -> Json:
        """The plan of a look made now."""
        found: Json = await asyncio.to_thread(self._client.get, "/v1/plan", fresh=1)
        return found

    async def events(self, name: str, *, after: int | None = None, limit: int = EVENTS) -> Sequence[Json]:
        """Events of one container, oldest first."""
        query = {"name": name, "limit": limit, "after": after}
        answer = await asyncio.to_thread(self._client.get, "/v1/events", **query)
        return list(answer["events"])

    async def all_events(self, *, after: int | None = None, limit: int = EVENTS) -> Sequence[Json]:
        """Events of everything, oldest first."""
        answer = await asyncio.to_thread(self._client.get, "/v1/events", limit=limit, after=after)
        return list(answer["events"])

    async def logs(self, name: str, person: Person, lines: int) -> str:
        """The end of a container's journal, raw. Raises `BadInput` for one that is not the person's."""
        whose = None if person.admin else person.id
        path = f"/v1/logs/{name}"
        answer = await asyncio.to_thread(self._client.get, path, lines=min(lines, LOG_LINES), tenant=whose)
        return str(answer["text"])

    async def poke(self) -> bool:
        """Ask for a pass; whether that was let."""
        return await asyncio.to_thread(self._client.poke)


def visible(document: Json, person: Person) -> list[Json]:
    """The containers of a status document that a person may look at."""
    return [one for one in document["containers"] if person.admin or one["owner"] == person.id]


__all__ = ["Appliance", "Away", "BadInput", "Json", "visible"]
