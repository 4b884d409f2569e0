"""How single values are written in state files: what is allowed, and what to say when it is not.

Pure. One `Form` per kind of value serves the models (validation), the reader of files (messages) and the JSON
Schema (editors), so that the three cannot disagree. It never looks at positions or at YAML.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE_PATTERN = "[1-9][0-9]{0,14}[KMGT]"
MOMENT_PATTERN = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})"


class Kind(StrEnum):
    """What a value is once it has been read."""

    TEXT = "text"
    BOOLEAN = "boolean"
    WHOLE = "whole number"
    NUMBER = "number"
    SIZE = "size"
    MOMENT = "timestamp"


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of value. `expected` completes the sentence "expected …"; `pattern` must match a whole text.

    `low` and `high` bound numbers, and sizes in bytes, both included. `check` says more: it raises ValueError
    with a message for people. `words` are the only values allowed, if any.
    """

    expected: str
    pattern: str = ""
    kind: Kind = Kind.TEXT
    low: float | None = None
    high: float | None = None
    check: Callable[[Any], None] | None = None
    words: tuple[str, ...] = ()

    def verify(self, value: Any) -> Any:
        """The value itself when it is allowed; raises ValueError with a message for people when it is not."""
        if self.words and value not in self.words:
            raise ValueError(f"it is none of {', '.join(self.words)}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise ValueError(f"it is not {self.expected}")
        if self.low is not None and value < self.low:
            raise ValueError(f"it is less than {self._bound(self.low)}, the least allowed")
        if self.high is not None and value > self.high:
            raise ValueError(f"it is more than {self._bound(self.high)}, the most allowed")
        if self.check is not None:
            self.check(value)
        return value

    def _bound(self, value: float) -> str:
        if self.kind is Kind.SIZE:
            return size_text(int(value))
        return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.verify, handler(source))


def size_text(size: int) -> str:
    """A size in bytes as files write it: `5G`, `1536M`; the largest unit that divides it."""
    for unit, factor in reversed(UNITS.items()):
        if size >= factor and size % factor == 0:
            return f"{size // factor}{unit}"
    return f"{size} bytes"


def moment(text: str) -> datetime:
    """A timestamp with its zone, as files write it; raises ValueError with a message for people."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"there is no such moment: {error}") from error
    check_moment(value)
    return value


def check_moment(value: datetime) -> None:
    """Refuse a timestamp without a zone, or so far away that it must be a slip."""
    if value.utcoffset() is None:
        raise ValueError("it has no time zone")
    if not 2000 <= value.year < 3000:
        raise ValueError("its year is not between 2000 and 2999")


def check_line(value: str) -> None:
    """Refuse a text that holds more than one line or invisible control characters (a tab is allowed)."""
    if "\n" in value or "\r" in value:
        raise ValueError("it has more than one line")
    _check_characters(value, "\t")


def check_prose(value: str) -> None:
    """Refuse control characters in a text of one or more lines."""
    _check_characters(value, "\t\n")


def _check_characters(value: str, allowed: str) -> None:
    for character in value:
        code = ord(character)
        if (code < 0x20 and character not in allowed) or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
            raise ValueError(f"it holds the control character U+{code:04X}")


def check_cpus(value: float) -> None:
    """Refuse fractions of a CPU finer than one percent: systemd counts in whole percents."""
    if abs(value * 100 - round(value * 100)) > 1e-6:
        raise ValueError("it has more than two decimals")


def check_cron(value: str) -> None:
    """Refuse what is not five cron fields, or names a moment that never comes."""
    from cronsim import CronSim, CronSimError

    fields = value.split()
    if len(fields) != 5:
        raise ValueError(f"it has {len(fields)} field{'s' if len(fields) != 1 else ''}, not 5")
    try:
        next(CronSim(value, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"cron does not take it: {str(error).lower()}") from error
    except StopIteration:
        raise ValueError("no day ever matches it") from None


@cache
def time_zones() -> frozenset[str]:
    """Names of all known time zones, from the tzdata package (the same on every machine)."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("ascii").split())


def check_zone(value: str) -> None:
    """Refuse a time zone that the tz database does not know."""
    if value not in time_zones():
        raise ValueError("there is no such time zone")


def check_key(value: str) -> None:
    """Refuse a public key whose base64 part is damaged or is of another type than its first word says."""
    kind, blob = value.split(" ")[:2]
    check_line(value)
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("its second word is not valid base64: was it cut when pasted?") from error
    name = kind.encode()
    if raw[:4] != len(name).to_bytes(4, "big") or raw[4 : 4 + len(name)] != name or len(raw) < len(name) + 36:
        raise ValueError(f"its second word is not a key of type {kind}: was it cut when pasted?")
