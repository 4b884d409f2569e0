"""A strict grammar of plain English, and of /commands: what a sentence asks for, or why it is not understood. Pure.

Every word of a sentence has to be accounted for; one clause that is not understood, refuses the whole message. Nothing
is guessed: a pronoun stands for the one container named last, and a name that is not known changes nothing. The
manual of the grammar is docs/agent.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent import phrases
from agent.commands import read_command
from agent.phrases import PRONOUN, Known, Refused
from agent.rules import RULES
from controller.spec.scalars import nearest

VERBS = (
    "create|make|new|add|set|start|stop|restart|reboot|destroy|delete|remove|drop|restore|show|list|describe|why|how"
    "|storage|undo|schedule|unschedule|run|expire|keep|give|grow|resize|approve|logs|history|modules|help|what|status"
    "|bring|turn|shut|pause|unpause|resume|roll"
)
"""Words that begin a clause: only before them does `and` divide two."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One call of a tool that a clause asks for. Intents of one message are carried out in order."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)


_POLITE = re.compile(
    r"^(?:(?:hi|hey|hello|ok|okay|please|pls|now|then|and|also|so|just|voxnix|bot|thanks|thank you)[,! ]+"
    r"|(?:can|could|would|will) you(?: please)? (?!not\b)|i(?:'d| would) like (?:you )?to |i (?:want|need)(?: you)? to "
    r"|let'?s )+",
    re.IGNORECASE,
)
_TAIL = re.compile(r"[,!.? ]*\b(?:please|pls|thanks|thank you|for me|now|right now|again)[!. ]*$", re.IGNORECASE)
_SPLIT = re.compile(
    r"\s*(?:;|\n|,?\s+and then\s+|,\s*then\s+|\s+then\s+|[.!?](?=\s)|,?\s+and\s+(?=(?:now\s+|also\s+|please\s+)*"
    rf"(?:{VERBS})\b)|,\s*(?=(?:{VERBS})\b))\s*",
    re.IGNORECASE,
)
_DOUBTFUL = re.compile(r"\b(?:don'?t|do not|not|never|unless|if|without|except|instead|or|maybe|when)\b", re.IGNORECASE)


def read(text: str, known: Known) -> list[Intent]:
    """The intents of a message, in order. Raises `Refused` with a suggestion unless all of it is understood."""
    said = " ".join(text.replace("’", "'").split(" ")).strip()
    if len(said) > 1000:
        raise Refused("that is too long for me without a model", "one or a few short sentences")
    if said.startswith("/"):
        return [_checked(Intent(*found), known) for found in read_command(said, known)]
    found: list[Intent] = []
    last = known.last
    for clause in _clauses(said):
        for tool, args in _clause(clause, known, last):
            intent = _checked(Intent(tool, args), known, found)
            found.append(intent)
            last = str(intent.args.get("name") or last)
    if not found:
        raise Refused("say what I should do", phrases.SUGGESTION)
    return found


def _clauses(said: str) -> list[str]:
    """The clauses of a message; a schedule (`start dev at 8:00 and stop it at 20:00`) is one."""
    parts: list[str] = []
    for part in _SPLIT.split(_POLITE.sub("", said)):
        clause = part.strip()
        former = parts[-1] if parts else ""
        if former and re.search(r"\bat [0-9]", former) and re.match(r"(?:stop|start) \S+ at [0-9]", clause):
            parts[-1] = f"{former} and {clause}"
        elif clause:
            parts.append(clause)
    return [tidy for part in parts if (tidy := _tidy(part))]


def _tidy(clause: str) -> str:
    """A clause without politeness and end marks."""
    shorter = _POLITE.sub("", clause.strip())
    while (again := _TAIL.sub("", shorter)) != shorter:
        shorter = again
    return shorter.strip(" ,.!?")


def _clause(clause: str, known: Known, last: str) -> list[tuple[str, dict[str, Any]]]:
    """Tools and arguments of one clause, its pronouns replaced."""
    if _DOUBTFUL.search(clause) and not re.match(r"(?:why|what|is)\b", clause, re.IGNORECASE):
        raise Refused(f"I do not follow “{clause[:80]}”: without a model I know no conditions and no negations")
    said = re.sub(r"^(?:the )?container ", "", clause, flags=re.IGNORECASE)
    for pattern, build in RULES:
        match = pattern.fullmatch(said)
        if match is None:
            continue
        words = {key: value for key, value in match.groupdict().items() if value is not None}
        if "name" in words:
            words["name"] = _referent(words["name"], last, clause)
        return build(words, known)
    raise Refused(f"I do not understand “{clause[:80]}”", _suggestion(clause))


def _referent(word: str, last: str, clause: str) -> str:
    """What a name or a pronoun stands for."""
    if not PRONOUN.fullmatch(word):
        return word.lower()
    if not last:
        raise Refused(f"I do not know which container “{word}” in “{clause[:60]}” is", "name the container")
    return last


def _checked(intent: Intent, known: Known, before: Collection[Intent] = ()) -> Intent:
    """An intent about a container that is there; raises `Refused`, suggesting a near one, for one that is not."""
    name = intent.args.get("name")
    if name is None or intent.tool in ("create_container", "restore_container", "undo_change", "show_history"):
        return intent
    made = {str(one.args["name"]) for one in before if one.tool in ("create_container", "restore_container")}
    there = {*known.containers, *made}
    if name in there or intent.tool == "approve_held":
        return intent
    near = nearest(str(name), there)
    listed = ", ".join(sorted(there)[:12])
    hint = f"did you mean {near}?" if near else f"there is {listed}" if listed else "you have no containers yet"
    raise Refused(f"there is no container {str(name)[:40]}", hint)


def _suggestion(clause: str) -> str:
    """The nearest thing that could have been said."""
    first = re.split(r"\W", clause.lower(), maxsplit=1)[0]
    verb = first if first in phrases.EXAMPLES else nearest(first, list(phrases.EXAMPLES))
    return f"say it like “{phrases.EXAMPLES[verb]}”" if verb else phrases.SUGGESTION
