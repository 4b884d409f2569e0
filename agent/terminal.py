"""`voxnix-agent chat`: the same agent at a terminal. A question is answered with yes or no."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TextIO

from agent.approvals import NO, YES
from agent.person import Button, Heard, Person
from agent.redact import harmless
from agent.talk import PRESSED, Talk

CHAT = "terminal/"
"""What the chats of a terminal begin with; the tenant's id follows."""
_YES = ("yes", "y", "confirm", "ja")
_NO = ("no", "n", "cancel", "nein")


class Terminal:
    """A surface that prints. An edit is shown by the lines that are new in it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._texts: dict[str, str] = {}
        self.asked = ""
        """The token of the question that stands; yes or no answers it."""

    async def send(self, chat: str, text: str) -> str:
        """Print a message."""
        del chat
        message = str(len(self._texts))
        self._texts[message] = text
        self._print(text)
        return message

    async def edit(self, chat: str, message: str, text: str) -> None:
        """Print what is new in a message."""
        del chat
        known = set(self._texts.get(message, "").splitlines())
        self._texts[message] = text
        if fresh := [line for line in text.splitlines() if line and line not in known]:
            self._print("\n".join(fresh))

    async def ask(self, chat: str, text: str, buttons: Sequence[Button]) -> str:
        """Print a question, and remember what yes and no would press."""
        message = await self.send(chat, f"{text}\n\n[yes/no]")
        self.asked = buttons[0].token[1:]
        return message

    async def busy(self, chat: str) -> None:
        """A terminal shows nothing of that."""

    def _print(self, text: str) -> None:
        print(harmless(text, 20_000), file=self._out, flush=True)


async def chat(
    talk: Talk, terminal: Terminal, person: Person, lines: TextIO, *, session: str, prompt: str = ""
) -> None:
    """Read lines until they end, and answer each. Waits for what each began before the next is read, if piped."""
    tty, place, count = lines.isatty(), f"{CHAT}{person.id}", 0
    while True:
        if prompt and tty:
            print(prompt, end="", flush=True)
        text = await asyncio.to_thread(lines.readline)
        if not text:
            break
        said = text.strip()
        if not said:
            continue
        count += 1
        token, terminal.asked = terminal.asked, ""
        if token and said.lower() in (*_YES, *_NO):
            answer = YES if said.lower() in _YES else NO
            told = await talk.press(person, place, f"{answer}{token}")
            if told not in PRESSED:
                await terminal.send(place, told)
            await talk.settle()
        else:
            await talk.hear(person, Heard(place, f"{session}-{count}", said))
        if not tty:
            await talk.settle()
    await talk.settle()


def stdin() -> TextIO:
    """What the terminal is read from."""
    return sys.stdin
