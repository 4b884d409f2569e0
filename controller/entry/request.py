"""What `voxnix serve` says at root's door, word by word. Pure: nothing in it is believed but its form.

Each message is one packet of JSON with exactly the keys that it has to have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.errors import BadInput, VoxnixError
from controller.receive import FINGERPRINT

LONGEST = 1024
"""Bytes of one message."""
SIDE = 4096
"""Rows or columns that a terminal may have."""
PLAIN = "dumb"
"""The terminal of who names none that can be passed on."""
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,9}[a-z0-9])?")
_TERMINAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Size:
    """A terminal's size in characters; 0 where it is not known."""

    rows: int = 0
    columns: int = 0

    def __post_init__(self) -> None:
        if any(type(side) is not int or not 0 <= side <= SIDE for side in (self.rows, self.columns)):
            raise BadInput(f"a terminal has 0 to {SIDE} rows and columns")


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks (the fingerprint of a key) for a shell in which container; with a `terminal`, or without one ("")."""

    key: str
    name: str
    terminal: str = ""
    size: Size = Size()

    def __post_init__(self) -> None:
        if not FINGERPRINT.fullmatch(self.key):
            raise BadInput("this is no fingerprint of a key")
        if not _NAME.fullmatch(self.name):
            raise BadInput(f"{self.name[:60]!a} cannot be the name of a container")
        if self.terminal and not _TERMINAL.fullmatch(self.terminal):
            raise BadInput("this is no name of a kind of terminal")


def terminal(name: str) -> str:
    """The kind of terminal that somebody says they have, if it can be passed on."""
    return name if _TERMINAL.fullmatch(name) else PLAIN


def write_request(request: Request) -> bytes:
    """A request as one packet."""
    words = {"key": request.key, "name": request.name, "terminal": request.terminal}
    return _packet({**words, "rows": request.size.rows, "columns": request.size.columns})


def read_request(data: bytes) -> Request:
    """The request that a packet is; raises `BadInput` for anything else."""
    found = _object(data, {"key", "name", "terminal", "rows", "columns"})
    if any(not isinstance(found[word], str) for word in ("key", "name", "terminal")):
        raise BadInput("key, name and terminal have to be text")
    return Request(found["key"], found["name"], found["terminal"], Size(found["rows"], found["columns"]))


def write_size(size: Size) -> bytes:
    """A change of the terminal's size as one packet."""
    return _packet({"rows": size.rows, "columns": size.columns})


def read_size(data: bytes) -> Size:
    """The size that a packet tells; raises `BadInput` for anything else."""
    found = _object(data, {"rows", "columns"})
    return Size(found["rows"], found["columns"])


def write_end(code: int) -> bytes:
    """The shell's exit code as one packet."""
    return _packet({"exit": code})


def write_refusal(refusal: VoxnixError) -> bytes:
    """Why there is no shell, as one packet, shortened until it fits."""
    for most in (400, 120, 30):
        packet = _packet({"error": refusal.what[:most], "hint": refusal.hint[:most]})
        if len(packet) <= LONGEST:
            break
    return packet


def read_end(data: bytes) -> int:
    """The exit code that root's side tells; raises `BadInput` with its words where it refuses."""
    if b'"exit"' in data:
        code = _object(data, {"exit"})["exit"]
        if type(code) is int and 0 <= code <= 255:
            return code
        raise BadInput("the other side told an exit code that is none")
    found = _object(data, {"error", "hint"})
    raise BadInput(str(found["error"]), hint=str(found["hint"]))


def _packet(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _object(data: bytes, keys: set[str]) -> dict[str, Any]:
    """The JSON object of a packet, which has to have these keys and no others."""
    if len(data) > LONGEST:
        raise BadInput(f"a message has at most {LONGEST} bytes")
    try:
        found = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise BadInput("a message has to be one JSON object, in ASCII") from error
    if not isinstance(found, dict) or found.keys() != keys:
        raise BadInput(f"a message has to have exactly the keys {', '.join(sorted(keys))}")
    return found
