"""Where a bot is put together: its token, how updates come, and what goes on beside it."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import secrets
import signal
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from telegram import Bot
from telegram.error import TelegramError
from telegram.ext import ApplicationBuilder

from agent.budget import Preferences
from agent.config import AgentConfig
from agent.models import credential
from agent.news import News
from agent.store import Store
from agent.telegram.door import Accepted, Door
from agent.telegram.enrol import LIFE, Claim, Enrolment
from agent.telegram.pace import Pace
from agent.telegram.post import AT_ONCE, KINDS, App, Post
from agent.telegram.surface import TelegramSurface
from controller.errors import BadInput
from controller.spec.model import TENANT_PATTERN

if TYPE_CHECKING:
    from agent.main import Parts

log = logging.getLogger(__name__)

POLL = 30
"""Seconds that Telegram may hold an empty answer back."""
TOKEN = re.compile(r"[0-9]{6,12}:[A-Za-z0-9_-]{30,64}")


def token_of(path: str) -> str:
    """The bot's token, from a file that nobody else can read, or from the credential `telegram_token`."""
    where, text = path or "the credential telegram_token", credential("telegram_token")
    if path:
        file = Path(path)
        try:
            found = file.stat()
            text = file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise BadInput(f"{path}: {reason}", hint="it has the token that @BotFather gave") from None
        if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in (0, os.geteuid()):
            raise BadInput(f"{path}: others can read or change this", hint=f"chmod 600 {path}")
    if not TOKEN.fullmatch(text):
        raise BadInput(f"{where}: there is no bot token in it", hint='token_file = "/etc/voxnix/telegram-token"')
    return text


def application(token: str, api: str) -> App:
    """The library's application: every chat at once, and nothing of its own kept."""
    builder = ApplicationBuilder().token(token).base_url(f"{api.rstrip('/')}/bot").job_queue(None)
    builder = builder.connect_timeout(10).read_timeout(20).write_timeout(20).pool_timeout(20)
    return builder.concurrent_updates(AT_ONCE).build()


def polling(timeout: int = POLL) -> Callable[[App], Awaitable[None]]:
    """Ask for what is new, again and again."""

    async def receive(app: App) -> None:
        assert app.updater is not None
        await app.updater.start_polling(
            timeout=timeout, allowed_updates=KINDS, bootstrap_retries=-1, error_callback=_unreached
        )

    return receive


def webhook(config: AgentConfig) -> Callable[[App], Awaitable[None]]:
    """Be told what is new, at an address that only Telegram's secret opens. The secret is new at every start."""

    async def receive(app: App) -> None:
        assert app.updater is not None
        host, _, port = config.listen.rpartition(":")
        path = config.webhook.removeprefix("https://").partition("/")[2].strip("/")
        start = functools.partial(
            app.updater.start_webhook,
            url_path=re.escape(path),
            webhook_url=config.webhook,
            secret_token=secrets.token_urlsafe(32),
            allowed_updates=KINDS,
            bootstrap_retries=-1,
        )
        if config.listen.startswith("/"):
            await start(unix=config.listen)
        elif host and port.isdecimal():
            await start(listen=host, port=int(port))
        else:
            raise BadInput(f"listen = {config.listen!r} is no address", hint='listen = "127.0.0.1:8443"')

    return receive


def _unreached(error: TelegramError) -> None:
    """What polling meets: the library tries again by itself."""
    log.warning("nothing new could be had from Telegram: %s", error.message)


async def serve(parts: Parts, token: str) -> None:
    """Be there until SIGTERM or SIGINT."""
    config = parts.config
    app = application(token, config.telegram_api)
    post, news = put_together(parts, app, webhook(config) if config.webhook else polling())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await post.run(stop, lambda: post.talk.tend(post.door.person), news.run)


def put_together(
    parts: Parts, app: App, receive: Callable[[App], Awaitable[None]], *, pace: Pace | None = None
) -> tuple[Post, News]:
    """The bot, and who tells its news."""

    async def look(known: Accepted | None) -> Accepted:
        revision = str((await parts.appliance.status()).get("revision") or "")
        if known is not None and known.revision == revision:
            return known
        state = await parts.accepted()
        return Accepted(revision, state.tenants, frozenset(state.names()))

    bot: Bot = app.bot
    door = Door(look, parts.config.groups)
    surface = TelegramSurface(bot, door.names, pace=pace)
    talk = parts.talk(surface)
    talk.mine = is_chat
    enrolment = Enrolment(talk.preferences, time.time)
    post = Post(app, talk, surface, door, enrolment, receive)
    quiet = parts.config.quiet
    news = News(parts.appliance, talk.preferences, surface, door.chats, busy=lambda: talk.busy, quiet_hours=quiet)
    return post, news


def is_chat(chat: str) -> bool:
    """Whether a chat is one of Telegram's: a number."""
    return re.fullmatch("-?[0-9]+", chat) is not None


def wait_for_claim(store: Store, tenant: str, say: Callable[[str], None], *, every: float = 1.0) -> Claim:
    """Print a code for a tenant and wait until it is said to the bot. Raises `BadInput` once it is too old."""
    if not re.fullmatch(TENANT_PATTERN, tenant):
        raise BadInput(f"{tenant[:40]!r} is no tenant's id")
    enrolment = Enrolment(Preferences(store), time.time)
    say(f"Say this to the bot within {LIFE / 3600:.0f} hours, from the account that is to speak for {tenant}:")
    say(f"  /enrol {enrolment.begin(tenant)}")
    while (claim := enrolment.claimed()) is None:
        if not enrolment.open():
            raise BadInput("nobody said the code in time", hint=f"voxnix-agent enrol {tenant}")
        time.sleep(every)
    enrolment.end()
    say(f"It was said in chat {claim.chat}, by “{claim.name}”. If that is right, put this into")
    say(f"state/tenants/{tenant}.yaml, and commit and push it as an admin:")
    say(f"  telegram: [{claim.chat}]")
    return claim
