"""/commands: a word and its arguments, as chat services list them in a menu. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from agent.phrases import NAMED, SUGGESTION, Call, Known, Refused, create
from controller.spec.scalars import nearest

MENU = {
    "new": "new NAME MODULES… — a new container",
    "list": "your containers",
    "show": "show NAME — all about one",
    "start": "start NAME",
    "stop": "stop NAME",
    "restart": "restart NAME",
    "destroy": "destroy NAME — after a confirmation",
    "restore": "restore NAME — with its data",
    "undo": "undo [NAME] — take back the last change",
    "history": "history [NAME]",
    "logs": "logs NAME [LINES]",
    "why": "why NAME — what is wrong with it",
    "storage": "what you store, and may",
    "modules": "what containers can have",
    "health": "how the host is",
    "approve": "approve NAME — what is held of it",
    "help": "what you can say",
    "forget": "erase this conversation",
    "llm": "llm on|off — with or without a model",
    "quiet": "quiet HH-HH|off — no news in these hours",
}
"""Commands in the order of a menu, each with what it takes and does. `forget`, `llm`, `quiet` are the core's own."""

_BARE = {
    "list": "list_containers",
    "storage": "storage_use",
    "modules": "list_modules",
    "health": "host_health",
    "help": "help",
}
_ONE = {
    "show": "describe_container",
    "start": "start_container",
    "stop": "stop_container",
    "restart": "restart_container",
    "destroy": "destroy_container",
    "restore": "restore_container",
    "why": "why_unhealthy",
    "approve": "approve_held",
}
_MAYBE = {"undo": "undo_change", "history": "show_history"}


def words_of(text: str) -> tuple[str, list[str]]:
    """The command of a text that begins with `/`, without `@bot`, and its arguments."""
    first, *rest = text[1:].split() or [""]
    return first.partition("@")[0].lower(), rest


def read_command(text: str, known: Known) -> list[Call]:
    """The calls of a /command; raises `Refused`, with how it is said, for one that is not right."""
    word, rest = words_of(text)
    if word not in MENU:
        near = nearest(word, MENU)
        raise Refused(f"there is no command /{word[:20]}", f"did you mean /{near}?" if near else SUGGESTION)
    if word in _BARE:
        _require(word, not rest)
        return [(_BARE[word], {})]
    if word in _ONE:
        _require(word, len(rest) == 1 and _is_name(rest[0]))
        return [(_ONE[word], {"name": rest[0].lower()})]
    if word in _MAYBE:
        _require(word, len(rest) <= 1 and all(map(_is_name, rest)))
        return [(_MAYBE[word], {"name": rest[0].lower()} if rest else {})]
    return _OTHERS[word](rest, known)


def _new(rest: list[str], known: Known) -> list[Call]:
    _require("new", bool(rest) and _is_name(rest[0]))
    return create({"name": rest[0].lower(), "with": " ".join(rest[1:])}, known)


def _logs(rest: list[str], _: Known) -> list[Call]:
    lines = rest[1] if len(rest) == 2 else "30"
    _require("logs", len(rest) in (1, 2) and _is_name(rest[0]) and re.fullmatch("[0-9]{1,4}", lines) is not None)
    return [("read_logs", {"name": rest[0].lower(), "lines": max(1, min(200, int(lines)))})]


_OTHERS: dict[str, Callable[[list[str], Known], list[Call]]] = {"new": _new, "logs": _logs}


def _is_name(word: str) -> bool:
    return re.fullmatch(NAMED, word.lower()) is not None


def _require(word: str, right: bool) -> None:
    if not right:
        raise Refused(f"/{word} is said otherwise", f"/{MENU[word].partition(' — ')[0]}")


def menu(names: Collection[str] = MENU) -> str:
    """The commands, one a line."""
    return "\n".join(f"/{name} — {MENU[name].partition(' — ')[2] or MENU[name]}" for name in names)
