"""The application: takes updates in, keeps the order of each chat, hands them to the core, and outlives a bad network.

Chats wait for nobody but themselves: however long a model takes in one, the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from telegram import BotCommand, CallbackQuery, Message, Update
from telegram.error import BadRequest, InvalidToken, TelegramError
from telegram.ext import Application, CallbackQueryHandler, ContextTypes, MessageHandler, filters

from agent.commands import MENU
from agent.person import Heard, Person
from agent.talk import PRESSED, Talk
from agent.telegram.door import Door, Strangers, stranger_note
from agent.telegram.enrol import CLAIMED, Enrolment
from agent.telegram.pace import Turns
from agent.telegram.surface import TelegramSurface
from agent.telegram.words import heard
from controller.errors import BadInput, VoxnixError

log = logging.getLogger(__name__)

AT_ONCE = 4096
"""Updates that are under way; what one chat adds to that is bounded by `WAITING`."""
WAITING = 20
"""Messages of one chat that may wait."""
ANSWER_WITHIN = 5.0
"""Seconds after which a press is answered, though what was said before it is not through."""
GRACE = 20.0
"""Seconds that a stop leaves to what is under way."""
FAREWELL = 5.0
"""Seconds for telling people that they were cut off."""
CHECK_EVERY = 300.0
"""Seconds between checks that the token is still good: polling alone would not tell."""
TOO_MANY = "I am still at what you said before, and have passed over what you said since. Say it again later."
STOPPED = "I was stopped before I was through with what you said last. If nothing follows, say it again."
LATER = "Noted. I am still at what you said before."
KINDS = [Update.MESSAGE, Update.CALLBACK_QUERY]

App = Application[Any, Any, Any, Any, Any, Any]


@dataclass
class Post:
    """One bot at work. `receive` begins to take updates in, by polling or as a webhook."""

    app: App
    talk: Talk
    surface: TelegramSurface
    door: Door
    enrolment: Enrolment
    receive: Callable[[App], Awaitable[None]]
    strangers: Strangers = field(default_factory=Strangers)
    answer_within: float = ANSWER_WITHIN
    grace: float = GRACE
    farewell: float = FAREWELL
    check_every: float = CHECK_EVERY

    def __post_init__(self) -> None:
        self.listening = asyncio.Event()
        self._turns = Turns()
        self._work: set[asyncio.Task[Any]] = set()
        self.app.add_handler(MessageHandler(filters.UpdateType.MESSAGE, self._message))
        self.app.add_handler(CallbackQueryHandler(self._press))
        self.app.add_error_handler(_failed)

    async def run(self, stop: asyncio.Event, *more: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Be there until `stop` is set, doing `more` meanwhile. Raises `BadInput` for a token that is refused."""
        tasks: list[asyncio.Task[Any]] = []
        try:
            await _until(stop, self._begin())
            if stop.is_set():
                return
            tasks = [asyncio.create_task(one()) for one in (stop.wait, self._check, *more)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
        except InvalidToken:
            raise BadInput("Telegram refuses the bot's token", hint="@BotFather has the valid one") from None
        finally:
            await self._end(tasks)

    async def _begin(self) -> None:
        await self._reach(self.app.initialize)
        while self.door.known is None:
            await self.door.refresh()
            if self.door.known is None:
                await asyncio.sleep(1)
        try:
            await self.talk.recover(self.door.person)
        except VoxnixError as error:
            log.info("what was left open is taken up later: %s", error)
        commands = [BotCommand(name, what[:256]) for name, what in MENU.items()]
        await self._reach(lambda: self.app.bot.set_my_commands(commands))
        await self.app.start()
        await self.receive(self.app)
        self.listening.set()
        log.info("listening as @%s", self.app.bot.username)

    async def _reach(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Call until Telegram is reached."""
        wait = 1.0
        while True:
            try:
                await call()
            except InvalidToken:
                raise
            except TelegramError as error:
                log.warning("Telegram is not reached now: %s", error)
            else:
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, 60.0)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(self.check_every)
            try:
                await self.app.bot.get_me()
            except InvalidToken:
                raise
            except TelegramError as error:
                log.info("Telegram is not reached now: %s", error)

    async def _end(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Take nothing in any more, give what is under way a while, and leave the rest to the next start."""
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.app.updater and self.app.updater.running:
            with contextlib.suppress(TelegramError):
                await self.app.updater.stop()
        if self._work:
            await asyncio.wait(self._work, timeout=self.grace)
        cut_off = self._turns.chats
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self.talk.close()
        told = [asyncio.create_task(self.surface.send(str(chat), STOPPED)) for chat in cut_off if self._hears(chat)]
        if told:
            await asyncio.wait(told, timeout=self.farewell)
        await asyncio.gather(*(one for one in told if one.cancel()), return_exceptions=True)
        await self.surface.close()
        await self.door.close()
        if self.app.running:
            await self.app.stop()
        await self.app.shutdown()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def _hears(self, chat: int) -> bool:
        return self.door.allowed(chat) and (chat < 0 or self.door.speaker(chat) is not None)

    async def _message(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        message = update.message
        if message is not None:
            await self._in_turn(message.chat.id, lambda: self._dealt(message))

    async def _in_turn(self, chat: int, work: Callable[[], Awaitable[None]]) -> None:
        """Do something once what came before it in this chat is through."""
        before, place = self._turns.take(chat)
        task = asyncio.current_task()
        assert task is not None
        self._work.add(task)
        try:
            if before > WAITING:
                return
            await place
            if before == WAITING and self._hears(chat):
                await self.surface.send(str(chat), TOO_MANY)
            elif before < WAITING:
                await work()
        finally:
            self._turns.leave(chat, place)
            self._work.discard(task)

    async def _dealt(self, message: Message) -> None:
        await self.door.refresh()
        if message.text and await self._enrolled(message, message.text):
            return
        said = heard(message, self.app.bot.bot)
        person = self._speaker(message)
        if said is None or person is None:
            await self._unheard(message)
        elif isinstance(said, Heard):
            await self.talk.hear(person, said)
        else:
            await self.surface.send(str(message.chat.id), said)

    def _speaker(self, message: Message) -> Person | None:
        """Who wrote a message, if they are heard in that chat."""
        chat, sender = message.chat.id, message.from_user
        if sender is None or not self.door.allowed(chat) or (chat > 0 and chat != sender.id):
            return None
        return self.door.speaker(sender.id)

    async def _enrolled(self, message: Message, text: str) -> bool:
        sender = message.from_user
        if sender is None or sender.is_bot or sender.id != message.chat.id:
            return False
        claim = self.enrolment.claim(text, message.chat.id, sender.full_name)
        if claim is not None:
            log.info("the enrolment code of %s was said in chat %d", claim.tenant, claim.chat)
            await self.surface.send(str(claim.chat), CLAIMED.format(chat=claim.chat))
        return claim is not None

    async def _unheard(self, message: Message) -> None:
        """Say nothing; tell the admins now and then of who is not known."""
        chat, sender = message.chat, message.from_user
        group = chat.id < 0
        unknown = not self.door.allowed(chat.id) if group else self._speaker(message) is None
        if sender is None or not unknown or not self.strangers.note(chat.id):
            return
        name = (chat.title or "") if group else sender.full_name
        for admin in self.door.admins():
            self._spawn(self._note(admin, stranger_note(chat.id, name, group=group)))

    async def _note(self, admin: str, text: str) -> None:
        try:
            await self.surface.send(admin, text)
        except VoxnixError as error:
            log.info("a note on a stranger was not told: %s", error)

    async def _press(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """A press keeps its turn; it is answered in time even if that comes late."""
        query = update.callback_query
        chat = query.message.chat.id if query and query.message else 0
        if query is None or not chat:
            return
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        answering = self._spawn(self._answer(query, said))
        try:
            await self._in_turn(chat, lambda: self._pressed(query, chat, said))
        finally:
            if not said.done():
                said.set_result("")
        await answering

    async def _pressed(self, query: CallbackQuery, chat: int, said: asyncio.Future[str]) -> None:
        await self.door.refresh()
        person = self.door.speaker(query.from_user.id)
        mine = self.door.allowed(chat) and (chat < 0 or chat == query.from_user.id)
        if person is not None and mine and query.data:
            said.set_result(await self.talk.press(person, str(chat), query.data))

    async def _answer(self, query: CallbackQuery, said: asyncio.Future[str]) -> None:
        await asyncio.wait({said}, timeout=self.answer_within)
        known = self.door.speaker(query.from_user.id) is not None
        text = said.result() if said.done() else LATER if known else ""
        if not text:
            return
        try:
            await query.answer(text[:200], show_alert=said.done() and text not in PRESSED)
        except BadRequest as error:
            log.info("a press was not answered: %s", error)
        except TelegramError as error:
            log.info("Telegram is not reached now: %s", error)


async def _until(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Do something, unless it is to stop before that is done."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not doing.done():
        doing.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    try:
        await doing
    except asyncio.CancelledError:
        if not stop.is_set():
            raise


async def _failed(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    """A defect, or a net that stayed away: told in the log, with nothing of the message."""
    del update
    log.error("an update could not be dealt with", exc_info=context.error)
