"""A bot at work for tests: the real application against the Bot API server, with a real controller behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_ai.models import Model

from agent.config import AgentConfig
from agent.main import Parts
from agent.progress import Progress
from agent.telegram.pace import Pace
from agent.telegram.post import Post
from agent.telegram.serve import application, polling, put_together, webhook
from tests.agent.botapi import BotApi
from tests.agent.office import Office

ALICE, BOB, STRANGER, GROUP = 11, 22, 666, -100500
"""Accounts, and a group."""
TENANTS = {
    "state/tenants/alice.yaml": f"name: Alice\nrole: admin\ntelegram: [{ALICE}]\n",
    "state/tenants/bob.yaml": f"name: Bob\ntelegram: [{BOB}]\n",
}
EVERY = 0.05
"""Seconds between messages in a chat, here: a twentieth of Telegram's."""


@dataclass
class Bot:
    """A bot of an office, that can be stopped and started anew."""

    office: Office
    api: BotApi
    url: str
    model: Model | None = None
    config: AgentConfig = field(default_factory=lambda: AgentConfig(groups=(GROUP,)))
    first_wait: float = 0.05
    check_every: float = 300.0
    post: Post | None = None

    async def start(self) -> None:
        """A process begins."""
        office = self.office
        config = replace(self.config, telegram_api=self.url)
        parts = Parts(
            office.appliance, office.outbox, office.store, office.library, self.model, office.box.settings, config
        )
        app = application(self.api.token, self.url)
        receive = webhook(config) if config.webhook else polling(5)
        pace = Pace(chat=1.3 * EVERY, group=1.3 * EVERY, overall=0.0)
        self.post, self.news = put_together(parts, app, receive, pace=pace)
        self.post.door.fresh = 0.05
        self.post.check_every = self.check_every
        self.post.surface._first_wait = self.first_wait
        self.post.talk._progress = Progress(office.appliance, office.outbox, every=0.05)
        self.stop_ = asyncio.Event()
        self.running = asyncio.create_task(self.post.run(self.stop_))

    async def listening(self) -> None:
        """Wait until it listens."""
        assert self.post is not None
        async with asyncio.timeout(20):
            await self.post.listening.wait()

    async def stop(self, *, grace: float = 0.0) -> None:
        """The process ends; with no grace, whatever is under way."""
        assert self.post is not None
        self.post.grace = grace
        self.post.farewell = 0.2
        self.stop_.set()
        await self.running

    async def restart(self) -> None:
        """It ended, and begins again with what is on disk."""
        await self.stop()
        self.office.reopen()
        await self.start()


@asynccontextmanager
async def bot(office: Office, **more: Any) -> AsyncIterator[Bot]:
    """A bot that listens until the block ends."""
    api = BotApi(chat_every=EVERY, **more.pop("api", {}))
    found = Bot(office, api, await api.start(), **more)
    for chat in (ALICE, BOB, STRANGER, GROUP):
        api.chats[chat] = {}
    await found.start()
    try:
        await found.listening()
        yield found
    finally:
        await found.stop()
        await api.stop()
