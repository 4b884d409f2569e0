"""An appliance at work for tests of the agent: simulated host, real controller and API, and desks in front of it.

The agent's pushes are noted as made with the agent's key, as the receiving side does; so the controller judges them as
a delegate's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.appliance import Appliance
from agent.desk import Desk
from agent.ledger import Ledger
from agent.outbox import Outbox
from agent.person import Button, Heard, Person
from agent.store import Store
from controller.api import Api
from controller.cli.client import Client
from controller.git.remote import Remote
from controller.receive import Arrival, ReceiveLog, fingerprint
from controller.spec.state import Library
from controller.wiring import modules
from tests.box import Box, FakeClock
from tests.keygen import Key

AGENT = Key("agent")
ALICE = Person("alice", "Alice", "admin")
BOB = Person("bob", "Bob")


class PushesAsAgent(Remote):
    """A clone whose pushes the receiving side notes as the agent's. `before_push` is a place to fail in."""

    before_push: Callable[[], None] = staticmethod(lambda: None)
    after_push: Callable[[], None] = staticmethod(lambda: None)

    def _push(self, scratch: str) -> None:
        self.before_push()
        assert self.local is not None
        sha = self.git.run("rev-parse", "--verify", scratch).decode().strip()
        ReceiveLog(self.local).append(Arrival((sha,), datetime.now(UTC), key=fingerprint(AGENT.public)))
        super()._push(scratch)
        self.after_push()


@dataclass
class Office:
    """One appliance with a controller that runs, and an agent's store, clone and outbox beside it."""

    box: Box
    library: Library
    journals: dict[str, str] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    count: int = 0
    store_type: type[Store] = Store

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Begin as a process does: everything anew from disk."""
        self.store = self.store_type(self.box.directory / "agent/agent.db")
        self.appliance = Appliance(Client(self.box.settings.socket))
        self.remote = PushesAsAgent(self.box.directory / "agent/state.git", str(self.box.repo_path))
        self.outbox = Outbox(self.remote, Ledger(self.store), self.appliance, self.library, now=self._seconds)

    def _seconds(self) -> float:
        return self.now.timestamp()

    def reopen(self) -> None:
        """As after a crash of the agent."""
        self.store.close()
        self.open()

    def desk(self, person: Person = BOB, text: str = "please", *, message: str = "") -> Desk:
        """A desk for one message."""
        self.count += 1
        heard = Heard("chat", message or f"m{self.count}", text)
        return Desk(person, heard, self.appliance, self.outbox, self.library.modules, now=lambda: datetime.now(UTC))

    async def logs(self, name: str, lines: int) -> str:
        """A container's journal."""
        del lines
        return self.journals.get(name, "")

    async def phase(self, name: str) -> str:
        """A container's phase, empty where there is none."""
        document = await self.appliance.status()
        return next((one["phase"] for one in document["containers"] if one["name"] == name), "")

    async def until(self, name: str, *phases: str) -> None:
        """Wait until a container is in one of these phases."""
        async with asyncio.timeout(20):
            while await self.phase(name) not in phases:  # noqa: ASYNC110 - it happens in another process's words
                await asyncio.sleep(0.05)

    def commits(self, **trailers: str) -> list[Any]:
        """The commits that bear these trailers, newest first."""
        head = self.box.repo.head()
        assert head
        wanted = {(key.replace("_", "-"), value) for key, value in trailers.items()}
        return [one for one in self.box.repo.log(head) if wanted <= set(one.trailers)]

    def file(self, name: str) -> str | None:
        """A container's file at the head."""
        head = self.box.repo.head()
        assert head
        found = self.box.repo.read(head, [f"state/{name}.yaml"]).get(f"state/{name}.yaml")
        return None if found is None else found.decode()


@asynccontextmanager
async def office(directory: Path, files: Mapping[str, str | None] | None = None) -> AsyncIterator[Office]:
    """An office whose controller runs until the block ends. `files` are committed first, by root."""
    box = Box(directory, clock=FakeClock(wall=datetime.now(UTC)))
    box.settings = replace(box.settings, delegate_keys=AGENT.public)
    if files:
        box.commit(files)
    found = Office(box, modules(box.settings))
    async with box.controller() as controller:
        api = Api(controller, box.settings.socket, logs=found.logs)
        await api.start()
        running = asyncio.create_task(controller.run(box.repo_path / "refs/heads"))
        try:
            async with asyncio.timeout(20):
                while controller.last is None:  # noqa: ASYNC110 - a pass has no event of its own
                    await asyncio.sleep(0.02)
            yield found
        finally:
            controller.halt()
            await running
            await api.stop()
            found.store.close()


@dataclass
class Screen:
    """A surface that keeps what it was shown."""

    texts: dict[str, str] = field(default_factory=dict)
    edits: list[tuple[str, str]] = field(default_factory=list)
    buttons: dict[str, list[Button]] = field(default_factory=dict)

    async def send(self, chat: str, text: str) -> str:
        """Keep a message."""
        message = f"{chat}-{len(self.texts)}"
        self.texts[message] = text
        return message

    async def edit(self, chat: str, message: str, text: str) -> None:
        """Keep an edit."""
        del chat
        assert text != self.texts[message], "an edit that changes nothing is an error on some surfaces"
        self.texts[message] = text
        self.edits.append((message, text))
        self.buttons.pop(message, None)

    async def ask(self, chat: str, text: str, buttons: Any) -> str:
        """Keep a question."""
        message = await self.send(chat, text)
        self.buttons[message] = list(buttons)
        return message

    async def busy(self, chat: str) -> None:
        """Nothing to see."""

    @property
    def last(self) -> str:
        """The text of the newest message."""
        return list(self.texts.values())[-1]

    @property
    def tokens(self) -> list[str]:
        """The tokens of the buttons that are on the screen, newest message last."""
        return [button.token for row in self.buttons.values() for button in row]
