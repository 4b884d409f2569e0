"""What the phrases of the grammar ask for: from the words of a clause to calls of tools. Pure.

Every word has to be one that is known; `Refused` says which is not, and what to say instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.clock import Unclear, expiry, weekly
from controller.spec.scalars import nearest

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Known:
    """What names mean now: the person's containers, modules of the library, the container named last ("": none)."""

    containers: Collection[str] = ()
    modules: Collection[str] = ()
    last: str = ""
    now: datetime = datetime.min


Build = Callable[[dict[str, str], Known], list[Call]]

NAMED = r"[a-z](?:[a-z0-9-]{0,9}[a-z0-9])?"
PRONOUN = re.compile(r"it|that|this|that one|this one|(?:the|that|this) (?:container|box|machine)", re.IGNORECASE)
SIZE = r"[0-9]+ ?[kmgt](?:i?b)?"
SUGGESTION = "say “help” to see what I understand"
EXAMPLES = {
    "create": "create dev with git and fish",
    "start": "start dev",
    "stop": "stop dev",
    "restart": "restart dev",
    "destroy": "destroy dev",
    "restore": "restore dev",
    "show": "show dev",
    "list": "list",
    "why": "why is dev unhealthy",
    "logs": "show the last 50 log lines of dev",
    "storage": "how much storage do I use",
    "undo": "undo the last change of dev",
    "history": "history of dev",
    "add": "add fish to dev",
    "remove": "remove fish from dev",
    "give": "give dev 10G",
    "schedule": "schedule dev from 8:00 to 20:00 on weekdays",
    "unschedule": "unschedule dev",
    "expire": "expire dev in 3 days",
    "keep": "keep dev forever",
    "modules": "which modules are there",
    "health": "how is the host",
    "approve": "approve dev",
    "pause": "pause dev",
    "resume": "resume dev",
    "roll": "roll the data of dev back to the last snapshot",
    "help": "help",
}


class Refused(Exception):
    """A message that is not understood, or not surely: `what`, and `hint`, what to say instead. Nothing was done."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}: {hint}" if hint else what)
        self.what = what
        self.hint = hint


def plain(tool: str) -> Build:
    """A tool about one container, or about none."""

    return lambda words, _: [(tool, {"name": words["name"]} if "name" in words else {})]


def several(tool: str) -> Build:
    """A verb for several containers: `stop dev and web`."""

    def build(words: dict[str, str], _: Known) -> list[Call]:
        names = re.split(r"\s*,\s*and\s+|\s*,\s*|\s+and\s+", words["names"].lower())
        if any(PRONOUN.fullmatch(name) for name in names):
            raise Refused("a pronoun among several names is not clear", "name each container")
        return [(tool, {"name": name}) for name in names]

    return build


def create(words: dict[str, str], known: Known) -> list[Call]:
    """A new container with what the clause lists."""

    args: dict[str, Any] = {"name": words["name"]}
    if PRONOUN.fullmatch(words["name"]) or words["name"] in ("container", "box", "with", "named", "called"):
        raise Refused("a new container needs a name", EXAMPLES["create"])
    said = " ".join(words.get(key, "") for key in ("kind", "with")).strip()
    args |= _options(said, known.modules)
    if words.get("stopped"):
        args["stopped"] = True
    return [("create_container", args)]


def _options(said: str, modules: Collection[str]) -> dict[str, Any]:
    """`git, fish and a 10G workspace`: modules, sizes and CPUs; every word has to be one of them."""
    args: dict[str, Any] = {}
    named: list[str] = []
    for item in filter(None, re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+|\s+with\s+|\s+", _glued(said.lower()))):
        if match := re.fullmatch(rf"({SIZE}):(workspace|memory)", item):
            args["quota" if match[2] == "workspace" else "memory"] = _size(match[1])
        elif match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?):cpus", item):
            args["cpus"] = float(match[1])
        else:
            named.append(_module(item, modules))
    return args | ({"modules": named} if named else {})


def _glued(said: str) -> str:
    """Amounts with what they are of, as one word each: `10 GB of workspace` → `10g:workspace`."""
    disk, ram = "workspace|disk|storage|space|quota", "memory|ram"
    text = re.sub(rf"\b(?:a|an|the|of)\s+(?={SIZE}|{disk}|{ram})", "", said)
    amount = r"([0-9]+) ?([kmgt])(?:i?b)?"
    text = re.sub(rf"{amount} (?:{disk})\b", r"\1\2:workspace", text)
    text = re.sub(rf"(?:{disk}) {amount}\b", r"\1\2:workspace", text)
    text = re.sub(rf"{amount} (?:{ram})\b", r"\1\2:memory", text)
    text = re.sub(rf"(?:{ram}) {amount}\b", r"\1\2:memory", text)
    return re.sub(r"([0-9]+(?:\.[0-9]+)?) (?:cpus?|cores?)\b", r"\1:cpus", text)


def _size(text: str) -> str:
    return re.sub(r"\s|i?b$", "", text.strip(), flags=re.IGNORECASE).upper()


def _module(word: str, modules: Collection[str]) -> str:
    if word in modules:
        return word
    near = nearest(word, modules)
    raise Refused(f"there is no module {word[:40]}", f"did you mean {near}?" if near else "say “modules” for a list")


def modules_of(key: str) -> Build:
    """Modules to add or to remove."""

    def build(words: dict[str, str], known: Known) -> list[Call]:
        items = re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+|\s+", words["modules"].lower())
        found = [_module(item, known.modules) for item in items if item not in ("module", "modules", "the", "")]
        return [("change_container", {"name": words["name"], key: found})]

    return build


def limits(words: dict[str, str], known: Known) -> list[Call]:
    """Amounts of workspace, memory and CPUs."""

    found = _options(f"{words.get('of', '')} {words['limits']}".strip(), known.modules)
    if "modules" in found or not found:
        raise Refused("say how much of what", EXAMPLES["give"])
    return [("change_container", {"name": words["name"], **found})]


def quota(words: dict[str, str], _: Known) -> list[Call]:
    """A bare amount is the workspace's."""

    return [("change_container", {"name": words["name"], "quota": _size(words["size"])})]


def logs(words: dict[str, str], _: Known) -> list[Call]:
    """The end of a log, of so many lines."""

    args: dict[str, Any] = {"name": words["name"]}
    if "lines" in words:
        args["lines"] = max(1, min(200, int(words["lines"])))
    return [("read_logs", args)]


def paused(value: bool) -> Build:
    """Hands off, or on again."""

    return lambda words, _: [("change_container", {"name": words["name"], "paused": value})]


def schedule(words: dict[str, str], _: Known) -> list[Call]:
    """Power by the clock."""

    try:
        found = weekly(words.get("start"), words.get("stop"), words.get("days"), words.get("zone"))
    except Unclear as error:
        raise Refused(str(error), EXAMPLES["schedule"]) from error
    return [("schedule_container", {"name": words["name"], **found})]


def expire(words: dict[str, str], known: Known) -> list[Call]:
    """A moment to be removed at."""

    try:
        return [("expire_container", {"name": words["name"], "at": expiry(words["when"], known.now)})]
    except Unclear as error:
        raise Refused(str(error), EXAMPLES["expire"]) from error


def with_word(tool: str, key: str) -> Build:
    """A tool about one container, with one more word."""

    return lambda words, _: [(tool, {"name": words["name"], **({key: words[key]} if key in words else {})})]
