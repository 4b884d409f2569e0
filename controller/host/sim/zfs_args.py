"""What the commands of zfs share in reading their words: options, names, `-o key=value`, parents. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from getopt import GetoptError, gnu_getopt

from controller.host.sim.command import Answer, Call, Refusal
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_tree import Tree, checked

Verb = Callable[[Call, Disk, Sequence[str]], Answer]
"""A command of zfs: it runs alone, under the pool's lock."""


def parse(args: Sequence[str], short: str, verb: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Options and words of a zfs or zpool command; a wrong option is a usage error, rc 2."""
    try:
        return gnu_getopt(list(args), short)
    except GetoptError as error:
        kind = "missing argument for" if "requires" in error.msg else "invalid option"
        quoted = f"'{error.opt}' option" if "requires" in error.msg else f"'{error.opt}'"
        raise Refusal(f"{kind} {quoted}\nusage:\n\t{verb}\n", 2) from error


def one(words: Sequence[str], what: str, verb: str) -> str:
    """The only word, or a usage error."""
    if not words:
        raise Refusal(f"missing {what} argument\nusage:\n\t{verb}\n", 2)
    if len(words) > 1:
        raise Refusal(f"too many arguments\nusage:\n\t{verb}\n", 2)
    return words[0]


def assignments(found: Sequence[tuple[str, str]], doing: str) -> dict[str, str]:
    """The properties given with `-o`, each checked; `doing` is for the message of a wrong one."""
    values: dict[str, str] = {}
    for option, text in found:
        if option != "-o":
            continue
        key, equals, value = text.partition("=")
        if not equals:
            raise Refusal("missing '=' for property=value argument", 2)
        if key in values:
            raise Refusal(f"property '{key}' specified multiple times", 2)
        try:
            values[key] = checked(key, value)
        except ValueError as error:
            raise Refusal(f"cannot {doing}: {error}") from error
    return values


def check_name(name: str, doing: str) -> None:
    """Refuse a name that no dataset can have."""
    wrong = re.search(r"[^A-Za-z0-9_.: /-]", name)
    reason = ""
    if "@" in name:
        reason = "snapshot delimiter '@' is not expected here"
    elif wrong:
        reason = f"invalid character '{wrong[0]}' in name"
    elif name.endswith("/"):
        reason = "trailing slash in name"
    elif name.startswith("/"):
        reason = "leading slash in name"
    elif "//" in name:
        reason = "empty component in name"
    elif len(name) > 255:
        reason = "name is too long"
    if reason:
        raise Refusal(f"cannot {doing} '{name}': {reason}")


def check_parent(tree: Tree, name: str, parents: bool) -> list[str]:
    """The ancestors of a new dataset that have to be made first."""
    pool = name.partition("/")[0]
    if pool not in tree.pools:
        raise Refusal(f"cannot create '{name}': no such pool '{pool}'")
    parts = name.split("/")[:-1]
    above = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    missing = [each for each in above if each not in tree.datasets]
    if missing and not parents:
        raise Refusal(f"cannot create '{name}': parent does not exist")
    return missing
