"""Telegram as the core's `Surface`: what is said goes out whole, in order, and no faster than Telegram allows.

What Telegram asks to wait for is waited for, in that chat alone. While the network is away, it is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import TypeVar

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, Message
from telegram.constants import ChatAction
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError

from agent.person import Button
from agent.redact import harmless
from agent.telegram.pace import Pace
from agent.telegram.words import PARTS, Shown, cut, shown, split
from controller.errors import Transient

log = logging.getLogger(__name__)
T = TypeVar("T")

GIVE_UP = 900.0
"""Seconds for which a message is tried; what was committed is told later in any case."""
TYPING = 4.5
"""Seconds after which “typing …” is shown anew: Telegram takes it away after five."""
TYPING_MOST = 180.0
REMEMBERED = 2_000
"""Messages whose text is remembered, so that an edit that changes nothing is not sent."""
LONGEST = 50_000
_QUIET = LinkPreviewOptions(is_disabled=True)


class TelegramSurface:
    """A bot's chats. A message's id is that of its parts, joined by commas; empty for one that could not be sent."""

    def __init__(
        self,
        bot: Bot,
        names: Callable[[], Awaitable[Collection[str]]],
        *,
        pace: Pace | None = None,
        patience: float = GIVE_UP,
        first_wait: float = 1.0,
        typing: float = TYPING,
    ) -> None:
        self._bot = bot
        self._names = names
        self._pace = pace or Pace()
        self._patience = patience
        self._first_wait = first_wait
        self._typing_every = typing
        self._texts: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._typing: dict[str, asyncio.Task[None]] = {}

    async def send(self, chat: str, text: str) -> str:
        """Say something, in as many messages as it takes."""
        return await self._said(chat, text, None)

    async def ask(self, chat: str, text: str, buttons: Sequence[Button]) -> str:
        """Say something with buttons below its last message."""
        row = [InlineKeyboardButton(button.label, callback_data=button.token) for button in buttons]
        return await self._said(chat, text, InlineKeyboardMarkup([row]))

    async def edit(self, chat: str, message: str, text: str) -> None:
        """Put another text into a message; into its last parts, where it is shorter now."""
        ids = [one for one in message.split(",") if one]
        if not ids:
            return
        parts = split(_clean(text), parts=PARTS)
        if len(parts) > len(ids):
            parts = [*parts[: len(ids) - 1], cut("\n".join(parts[len(ids) - 1 :]))]
        for one, part in zip(ids[-len(parts) :], parts, strict=True):
            if self._texts.get((chat, one)) != part:
                await self._edited(chat, one, part)

    async def busy(self, chat: str) -> None:
        """Show “typing …” until something is said in the chat."""
        if chat not in self._typing:
            task = self._typing[chat] = asyncio.create_task(self._type(chat))
            task.add_done_callback(lambda done: self._typed(chat, done))

    async def close(self) -> None:
        """Nothing is typed any more."""
        tasks = list(self._typing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _typed(self, chat: str, task: asyncio.Task[None]) -> None:
        if self._typing.get(chat) is task:
            del self._typing[chat]

    async def _type(self, chat: str) -> None:
        until = time.monotonic() + TYPING_MOST
        while time.monotonic() < until:
            with contextlib.suppress(TelegramError):
                await self._bot.send_chat_action(int(chat), ChatAction.TYPING)
            await asyncio.sleep(self._typing_every)

    async def _said(self, chat: str, text: str, buttons: InlineKeyboardMarkup | None) -> str:
        """Send all parts, none of another message between them."""
        if typing := self._typing.pop(chat, None):
            typing.cancel()
        parts = split(_clean(text))
        ids = []
        async with self._pace.turn(chat):
            for index, part in enumerate(parts):
                markup = buttons if index == len(parts) - 1 else None
                sent = await self._sent(chat, part, markup)
                if sent is None:
                    return ""
                ids.append(str(sent.message_id))
                self._remember(chat, ids[-1], part)
        return ",".join(ids)

    async def _sent(self, chat: str, part: str, buttons: InlineKeyboardMarkup | None) -> Message | None:
        text = shown(part, await self._names())

        def send(what: Shown) -> Callable[[], Awaitable[Message]]:
            return lambda: self._bot.send_message(
                int(chat), what.text, entities=what.entities, reply_markup=buttons, link_preview_options=_QUIET
            )

        return await self._tried(chat, send(text))

    async def _edited(self, chat: str, message: str, part: str) -> None:
        text = shown(part, await self._names())
        async with self._pace.turn(chat):
            await self._tried(
                chat,
                lambda: self._bot.edit_message_text(
                    text.text, int(chat), int(message), entities=text.entities, link_preview_options=_QUIET
                ),
            )
        self._remember(chat, message, part)

    async def _tried(self, chat: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """Call until it is through; None where Telegram will never let it. Raises `Transient` when that lasts."""
        until, wait = time.monotonic() + self._patience, self._first_wait
        while True:
            await self._pace.wait(chat)
            try:
                return await call()
            except RetryAfter as error:
                pause = _seconds(error.retry_after)
            except NetworkError as error:
                if isinstance(error, BadRequest):
                    _never(chat, error)
                    return None
                pause, wait = wait, min(2 * wait, 60.0)
                log.info("Telegram is not reached now: %s", error)
            except TelegramError as error:
                _never(chat, error)
                return None
            finally:
                self._pace.said(chat)
            if time.monotonic() + pause > until:
                raise Transient("Telegram cannot be reached", hint="it is told later")
            await asyncio.sleep(pause)

    def _remember(self, chat: str, message: str, part: str) -> None:
        self._texts[chat, message] = part
        while len(self._texts) > REMEMBERED:
            self._texts.popitem(last=False)


def _clean(text: str) -> str:
    """What can be sent: without secrets and characters that nobody sees, and valid Unicode."""
    return harmless(text, LONGEST).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _seconds(after: int | timedelta) -> float:
    return after.total_seconds() if isinstance(after, timedelta) else float(after)


def _never(chat: str, error: TelegramError) -> None:
    """What Telegram refuses for good: somebody blocked the bot, or deleted the message."""
    if "not modified" not in error.message.lower():
        log.warning("Telegram refuses a message to chat %s: %s", chat, error.message)
