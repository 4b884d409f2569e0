"""The agent's core: hears a person's message, answers through a surface, asks, takes presses, follows what was sent.

Messages of one person in one chat are dealt with one after the other; different chats do not wait for each other.
What surface it is, is not its business; what a person may do is never taken from what is said.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic_ai.models import Model

from agent.appliance import Appliance
from agent.approvals import Approvals, Question, Stale
from agent.assistant import Assistant, Reply
from agent.budget import Budget, Preferences
from agent.conversation import Conversations
from agent.desk import Desk
from agent.ledger import Entry, Stage
from agent.offline import offline
from agent.outbox import Outbox
from agent.own import own_command
from agent.person import Drafts, Heard, Person, Surface
from agent.phrases import Known
from agent.progress import Progress
from agent.redact import harmless, mask
from agent.store import Store
from agent.telemetry import counts
from controller.errors import VoxnixError

log = logging.getLogger(__name__)

REMEMBERED = 2_000
"""Messages by which a repeated delivery is noticed."""
INTERRUPTED = "I was restarted after your answer to this and before anything was done. Ask again if you still want it."
KEPT = 30 * 86400.0
"""Seconds for which it is remembered which message led to which commit."""
PRESSED = ("Confirmed.", "Cancelled.")
"""What is said of a press that counts: yes, and no."""
DEFECT = "Something in me failed, and it is in my log. What was committed is kept: “history” shows it."


@dataclass
class Talk:
    """Everything between a surface and the appliance. `model` None: there is only the grammar.

    `mine` tells which chats are this surface's: several surfaces, each a process, share one memory.
    """

    surface: Surface
    appliance: Appliance
    outbox: Outbox
    store: Store
    modules: Mapping[str, str]
    model: Model | None = None
    trash_days: int = 30
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    assistant: Assistant = field(default_factory=Assistant)
    progress: Progress | None = None
    mine: Callable[[str], bool] = lambda _: True

    def __post_init__(self) -> None:
        self.conversations = Conversations(self.store, self._seconds)
        self.approvals = Approvals(self.store, self._seconds)
        self.budget = Budget(self.store, self._seconds)
        self.preferences = Preferences(self.store)
        self._progress = self.progress or Progress(self.appliance, self.outbox)
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._followed: dict[str, str] = {}

    @property
    def busy(self) -> frozenset[str]:
        """The containers that somebody asked about and is shown the progress of: they are no news."""
        return frozenset(self._followed.values())

    def _seconds(self) -> float:
        return self.now().timestamp()

    async def hear(self, person: Person, heard: Heard) -> None:
        """Deal with one message, and answer it. The same message a second time is passed over.

        Secrets in it go no further than here.
        """
        heard = replace(heard, text=mask(heard.text), quoted=mask(heard.quoted))
        place = (heard.chat, heard.id)
        if place in self._known:
            return
        self._known[place] = None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        async with self._turns[person.id, heard.chat]:
            if self.outbox.ledger.of_message(*place):
                log.info("a message that was dealt with before a restart is passed over")
                return
            await self._guarded(heard.chat, self._heard(person, heard))

    async def press(self, person: Person, chat: str, data: str) -> str:
        """Deal with a press of a button; a few words for the one who pressed. A press counts once."""
        async with self._turns[person.id, chat]:
            try:
                question, yes = self.approvals.take(data, person.id, chat)
            except Stale as stale:
                return str(stale)
            verdict = PRESSED[0 if yes else 1].rstrip(".")
            if question.shown:
                shown = f"{harmless(question.text)}\n\n{verdict} by {person.name}."
                await self._guarded(chat, self.surface.edit(chat, question.shown, shown))
            self._spawn(self._answered(person, question, yes))
            return f"{verdict}."

    async def _guarded(self, chat: str, work: Awaitable[None]) -> None:
        """Whatever fails is told in the chat, and nothing of it ends the agent."""
        try:
            await work
        except VoxnixError as error:
            await self.surface.send(chat, harmless(str(error), 1500))
        except Exception:
            log.exception("a message could not be dealt with")
            await self.surface.send(chat, DEFECT)

    async def _heard(self, person: Person, heard: Heard) -> None:
        if (said := own_command(self, person, heard)) is not None:
            await self.surface.send(heard.chat, said)
            return
        await self.surface.busy(heard.chat)
        await self._withdraw(person, heard.chat)
        model, note = self._model(person, heard.text)
        desk = self.desk(person, heard)
        conversation = self.conversations.load(person.id, heard.chat)
        draft = partial(self.surface.draft, heard.chat) if model and isinstance(self.surface, Drafts) else None
        reply = await self.assistant.hear(desk, conversation, model or await self._grammar(person), draft)
        await self._deliver(desk, reply, note, spends=model is not None)

    async def _answered(self, person: Person, question: Question, yes: bool) -> None:
        chat = question.heard.chat
        async with self._turns[person.id, chat]:
            await self._guarded(chat, self._confirmed(person, question, yes))
            self.approvals.finish(question.token)

    async def _confirmed(self, person: Person, question: Question, yes: bool) -> None:
        heard = question.heard
        desk = self.desk(person, heard)
        conversation = self.conversations.load(person.id, heard.chat)
        model, note = self._model(person, heard.text)
        chosen = model or await self._grammar(person)
        reply = await self.assistant.answer(desk, conversation, chosen, question.calls, yes)
        if reply is None:
            await self.surface.send(heard.chat, "That conversation is over; ask again if you still want it.")
            return
        await self._deliver(desk, reply, note, spends=model is not None)

    def desk(self, person: Person, heard: Heard) -> Desk:
        """What the tools work with, for one message."""
        return Desk(person, heard, self.appliance, self.outbox, self.modules, self.trash_days, self.now)

    def _model(self, person: Person, text: str) -> tuple[Model | None, str]:
        """The model for a message, None for the grammar, and what has to be said about that."""
        if self.model is None or text.startswith("/") or self.preferences.get(person.id, "llm", "on") == "off":
            return None, ""
        if self.budget.spent_out(person.id):
            return None, "(Your share of the model is used up for today; I follow the grammar: /help)"
        return self.model, ""

    async def _grammar(self, person: Person) -> Model:
        """The grammar, with the names that mean something to a person now."""
        state = await self.outbox.state()
        names = set(state.names(person.id))
        if person.admin:
            names |= set(state.names())
        return offline(lambda last: Known(tuple(names), tuple(self.modules), last, self.now()))

    async def _withdraw(self, person: Person, chat: str) -> None:
        """An open question is over once its person says something else."""
        shown = self.approvals.supersede(person.id, chat)
        if shown:
            await self.surface.edit(
                chat, shown, "This question is over, since you said something else. Nothing was done."
            )

    async def _deliver(self, desk: Desk, reply: Reply, note: str, *, spends: bool) -> None:
        """Keep the conversation, say the answer, ask what has to be asked, follow what was sent."""
        person, heard = desk.person, desk.heard
        self.conversations.save(person.id, heard.chat, reply.conversation)
        if spends:
            self.budget.spend(person.id, reply.usage)
        _count(desk, reply)
        text = "\n\n".join(part for part in (reply.text, note) if part)
        if text or desk.sent:
            message = await self.surface.send(heard.chat, text or "…")
            if desk.sent:
                self._spawn(self._follow(person, heard.chat, message, text, list(desk.sent)))
        if reply.calls:
            question = self.approvals.open(person.id, heard, reply.calls)
            self.approvals.shown(question, await self.surface.ask(heard.chat, question.text, question.buttons))

    async def _follow(self, person: Person, chat: str, message: str, head: str, entries: Sequence[Entry]) -> None:
        """Edit a message as what it is about goes on, until that is settled."""
        last = head
        followed = {entry.key: entry.name for entry in entries}
        self._followed |= followed
        try:
            async for told in self._progress.follow(person, entries):
                text = f"{head}\n\n{told}" if head else told
                if text != last:
                    await self.surface.edit(chat, message, text)
                last = text
        except VoxnixError as error:
            await self.surface.edit(chat, message, f"{head}\n\n{harmless(str(error), 1000)}")
        finally:
            for key in followed:
                self._followed.pop(key, None)
        for entry in entries:
            self.outbox.ledger.tell(entry.key)

    async def recover(self, people: Callable[[str], Person | None], *, older: float = 0.0) -> None:
        """Find out what became of what nobody was told the end of, and tell it. `people` by tenant id.

        After a restart that is everything; later, with `older` seconds, what the state repo could not be reached for.
        """
        for question in [] if older else self.approvals.interrupted():
            if not self.mine(question.heard.chat):
                continue
            self.approvals.finish(question.token)
            if not self.outbox.ledger.of_message(question.heard.chat, question.heard.id):
                await self.surface.send(question.heard.chat, f"{INTERRUPTED}\n\n{harmless(question.text)}")
        for entry in await self.outbox.recover(older=older, but=frozenset(self._followed), mine=self.mine):
            person = people(entry.person)
            if person is None or entry.stage is Stage.BEGUN:
                continue
            head = f"You had asked: {entry.subject}"
            message = await self.surface.send(entry.chat, head)
            self._spawn(self._follow(person, entry.chat, message, head, [entry]))

    async def tend(self, people: Callable[[str], Person | None], every: float = 20.0) -> None:
        """Until cancelled: take up what could not be sent, and erase what is over."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.recover(people, older=3 * every)
                self.conversations.tidy()
                self.outbox.ledger.tidy(self._seconds() - KEPT)
            except VoxnixError as error:
                log.info("tended later: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _logged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("what went on in the background failed")

    async def settle(self) -> None:
        """Wait until nothing goes on in the background."""
        while self._tasks:
            await asyncio.gather(*list(self._tasks))

    async def close(self) -> None:
        """Leave what goes on to the next start: nothing of it is lost."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*list(self._tasks), return_exceptions=True)


def _count(desk: Desk, reply: Reply) -> None:
    """Count and log how a message ended: no word of what was said."""
    ended = "failed" if reply.failed else "asked" if reply.calls else "answered"
    counts.add("messages", ended=ended)
    for entry in desk.sent:
        counts.add("commits", stage=str(entry.stage))
    used = f"{reply.usage.requests} requests, {reply.usage.total_tokens} tokens"
    log.info("a message of %s: %s, %d commits, %s", desk.person.id, ended, len(desk.sent), used)
