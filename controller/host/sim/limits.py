"""Resource limits as `systemctl set-property` takes them and `systemctl show` prints them. Pure."""

from __future__ import annotations

import re

from controller.host.sim.command import Refusal

PROPERTIES = ("MemoryMax", "CPUQuota", "TasksMax")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def limit(assignment: str) -> tuple[str, str]:
    """One `KEY=VALUE` of set-property as key and the text that `show` will print; a wrong one is the tool's error."""
    key, equals, value = assignment.partition("=")
    if not equals:
        raise Refusal(f"Not an assignment: {assignment}")
    if key not in PROPERTIES:
        raise Refusal(f"Unknown assignment: {assignment}")
    return key, _text(key, value)


def _text(key: str, value: str) -> str:
    if key == "CPUQuota":
        if value == "":
            return "infinity"
        match = re.fullmatch(r"(\d+(?:\.\d{1,2})?)%", value)
        if match is None or float(match[1]) <= 0:
            raise Refusal(f"CPU quota '{value}' invalid.")
        return _span(round(float(match[1]) * 10_000))
    if value in ("", "infinity"):
        return "infinity"
    match = re.fullmatch(r"(\d+)([KMGT]?)", value)
    if match is None or (key == "TasksMax" and match[2]):
        raise Refusal(f"Failed to parse {key}= parameter '{value}': Invalid argument")
    return str(int(match[1]) * _UNITS[match[2]])


def _span(microseconds: int) -> str:
    """A time span as systemd's `format_timespan` prints it: `500ms`, `2s`, `1.500000s`, `1min 40s`."""
    minutes, rest = divmod(microseconds, 60_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    words = [f"{minutes}min"] if minutes else []
    if fraction and not minutes:
        milli, micro = divmod(fraction, 1000)
        words.append(f"{seconds}.{fraction:06}s" if seconds else f"{milli}.{micro:03}ms" if micro else f"{milli}ms")
    elif seconds:
        words.append(f"{seconds}s")
    return " ".join(words) or "0"
