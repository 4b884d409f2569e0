"""The commands that are the core's own: /forget, /llm, /quiet. They concern the talk itself, and no container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.commands import words_of
from agent.person import Heard, Person

if TYPE_CHECKING:
    from agent.talk import Talk

FORGOTTEN = (
    "Forgotten: this conversation is erased here. Commits stay in the state repo, with your reason in your words:"
    " that is its purpose, and only its admins could rewrite it."
)


def own_command(talk: Talk, person: Person, heard: Heard) -> str | None:
    """The answer to a command of the core's own; None for anything else."""
    if not heard.text.startswith("/"):
        return None
    word, rest = words_of(heard.text)
    if word == "start" and not rest:
        return f"Hello {person.name}. Say what you want, or /help."
    if word == "forget":
        talk.conversations.forget(person.id, heard.chat)
        return FORGOTTEN
    if word == "llm":
        return _llm(talk, person, rest)
    if word == "quiet":
        return _quiet(talk, person, rest)
    return None


def _llm(talk: Talk, person: Person, rest: list[str]) -> str:
    if rest not in (["on"], ["off"]):
        return "/llm on, or /llm off"
    talk.preferences.set(person.id, "llm", rest[0])
    if rest == ["off"]:
        return "I follow the grammar alone now: /help"
    return "I use the model." if talk.model else "There is no model here; I follow the grammar: /help"


def _quiet(talk: Talk, person: Person, rest: list[str]) -> str:
    hours = re.fullmatch(r"([01]?[0-9]|2[0-4])-([01]?[0-9]|2[0-4])", rest[0]) if len(rest) == 1 else None
    if hours is None and rest != ["off"]:
        return "/quiet 22-7, in UTC, or /quiet off"
    talk.preferences.set(person.id, "quiet", rest[0])
    return f"Between {hours[1]} and {hours[2]} UTC I tell no news." if hours else "I tell news at any time."
