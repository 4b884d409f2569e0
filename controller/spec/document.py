"""Reading one YAML document into nodes that remember where they stand. Scalars stay text: see `scalars`.

Pure. Everything is bounded before it costs anything: bytes, nodes, depth, aliases. Arbitrary bytes raise
`InvalidFiles` and nothing else. libyaml's parser is used where PyYAML has it, and gives the same result as
PyYAML's own: what the two read differently (tabs, directives, odd line ends) is refused beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from controller.errors import InvalidFiles, Problem
from controller.spec.syntax import TAG, explain, shown

MAX_BYTES = 64 * 2**10
MAX_DEPTH = 16
MAX_NODES = 4_000
MAX_ALIASES = 10

_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_DIRECTIVE = re.compile(r"^(?:[ ]*(?:#[^\n]*)?\n)*%", re.MULTILINE)
_BLOCK = re.compile(r"[|>][-+1-9]{0,2}( +#.*| *)$")
_CONFLICT = re.compile(r"^<{7}(?: .*)?$", re.MULTILINE)
_RESOLVE = "keep what is right of both sides, and remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`"
_FLOW = re.compile(r"---|\.\.\.|.*\?", re.DOTALL)
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value as written: its `text`, and whether it stood there `plain`, without quotes or `|`."""

    text: str
    plain: bool
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    nodes: tuple[Node, ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Entries:
    """A map, in the order written; keys are unique texts, never interpreted. An empty value stands at its key."""

    pairs: tuple[tuple[Scalar, Node], ...]
    line: int
    column: int


Node = Scalar | Items | Entries
"""Lines and columns count from 1."""


@dataclass(frozen=True, slots=True)
class Document:
    """One parsed file. `root` is None when it holds nothing but comments.

    `problems` are mistakes that left the rest readable: duplicate keys, merge keys.
    """

    path: str
    lines: tuple[str, ...]
    root: Node | None
    problems: tuple[Problem, ...] = ()

    def problem(self, at: Node, message: str, expected: str = "", hint: str = "") -> Problem:
        """A problem at a node of this document."""
        return locate(self.path, self.lines, at.line, at.column, message, expected, hint)


def read_document(path: str, data: bytes, *, loader: Any = _FAST) -> Document:
    """Parse the bytes of one file; `path` is for messages only.

    Raises `InvalidFiles` when there is no sense in reading further: not text, not YAML, or beyond a bound. What
    libyaml refuses is read again by PyYAML's own parser, so that the verdict and its words are always the same.
    """
    text = _text(path, data)
    lines = tuple(text.split("\n"))
    try:
        return _Builder(path, lines, fast=loader is not yaml.SafeLoader).build(_events(text, loader))
    except (yaml.YAMLError, InvalidFiles) as error:
        if loader is not yaml.SafeLoader:
            return read_document(path, data, loader=yaml.SafeLoader)
        if isinstance(error, InvalidFiles):
            raise
        raise InvalidFiles((locate(path, lines, *explain(error)),)) from error


def locate(
    path: str, lines: tuple[str, ...], line: int, column: int, message: str, expected: str = "", hint: str = ""
) -> Problem:
    """A problem with the line that it is about, where that line is short enough to be shown."""
    line = min(line, len(lines))
    text = lines[line - 1].replace("\t", " ") if line else ""
    shown = text if len(text) <= 200 and text.isprintable() else ""
    return Problem(path, line, min(column, len(text) + 1), message, expected, hint, shown)


def _text(path: str, data: bytes) -> str:
    """The file as text with `\\n` line ends; refuses what is not plain, visible UTF-8."""
    if len(data) > MAX_BYTES:
        raise _whole(path, "the file is too big", f"at most {MAX_BYTES // 1024} KiB", "keep data elsewhere")
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise _whole(path, "the file begins with a byte order mark", "UTF-8 without one", "save it as plain UTF-8")
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        byte = f"the byte 0x{data[error.start]:02X} is not UTF-8"
        at = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = Problem(path, *at, byte, "UTF-8 text", "save the file as UTF-8")
        raise InvalidFiles((problem,)) from error
    if match := _UNSAFE.search(text):
        raise _unsafe(path, text, match.start())
    if match := _DIRECTIVE.match(text):
        raise _at_line(path, text, match.end(), "a line that begins with `%` is a YAML directive", "none", "remove it")
    if match := _CONFLICT.search(text):
        raise _at_line(path, text, match.start(), "a conflict that git could not resolve was left here", "", _RESOLVE)
    return text


def _unsafe(path: str, text: str, index: int) -> InvalidFiles:
    """The refusal of a tab, or of a character that people cannot see."""
    what = {
        "\t": ("a tab", "spaces", 'write spaces; inside double quotes, "\\t" is a tab'),
        "\0": ("a NUL byte: this is not a text file, or not UTF-8", "UTF-8 text", "save the file as UTF-8"),
        "\r": ("a carriage return without a line feed", "lines that end in a line feed", "convert the line ends"),
    }
    name = f"the invisible character U+{ord(text[index]):04X}"
    message, expected, hint = what.get(text[index], (name, "visible text", "remove it"))
    line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
    return InvalidFiles((locate(path, tuple(text.split("\n")), line, column, message, expected, hint),))


def _at_line(path: str, text: str, index: int, message: str, expected: str, hint: str) -> InvalidFiles:
    """The refusal of a whole line, the one at `index`."""
    line = text.count("\n", 0, index) + 1
    return InvalidFiles((locate(path, tuple(text.split("\n")), line, 1, message, expected, hint),))


def _whole(path: str, message: str, expected: str, hint: str = "") -> InvalidFiles:
    return InvalidFiles((Problem(path, 0, 0, message, expected, hint),))


def _events(text: str, loader: Any) -> Iterator[yaml.Event]:
    """Parser events; what the pure parser lets slip as another exception becomes a YAMLError too."""
    try:
        yield from yaml.parse(text if text.endswith("\n") else text + "\n", Loader=loader)
    except (ValueError, OverflowError, IndexError) as error:
        raise yaml.YAMLError(str(error)) from error


@dataclass(slots=True)
class _Frame:
    """A list or map whose end has not come yet; in a map, keys and values alternate."""

    mapping: bool
    flow: bool
    anchor: str | None
    line: int
    column: int
    nodes: list[Node] = field(default_factory=list)


class _Builder:
    """Turns events into nodes, without recursion, and stops at the first bound that is crossed."""

    def __init__(self, path: str, lines: tuple[str, ...], *, fast: bool) -> None:
        self._path = path
        self._fast = fast
        self._lines = lines
        self._root: Node | None = None
        self._open: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}
        self._problems: list[Problem] = []
        self._nodes = self._aliases = self._documents = 0

    def build(self, events: Iterator[yaml.Event]) -> Document:
        """The document that the events tell of."""
        for event in events:
            self._take(event)
        empty = isinstance(self._root, Scalar) and self._root.plain and not self._root.text
        return Document(self._path, self._lines, None if empty else self._root, tuple(self._problems))

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                hint = "put it into a file of its own"
                self._stop(event, "a second YAML document begins here", "one document in a file", hint)
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._alias(event))
        elif isinstance(event, yaml.NodeEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self._open.pop()
            self._finish(self._entries(frame) if frame.mapping else _items(frame), frame.anchor)

    def _begin(self, event: Any) -> None:
        """Take a scalar, or open a list or map; an anchor counts only once its node is complete."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(event, "the file holds too many values", f"at most {MAX_NODES}")
        if event.tag is not None:
            self._stop(event, *TAG)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        at = _place(event)
        if isinstance(event, yaml.ScalarEvent):
            if self._fast and self._doubtful(event, at):
                raise yaml.YAMLError("libyaml takes what PyYAML refuses")
            self._finish(Scalar(event.value, event.style in (None, ""), *at), event.anchor)
            return
        self._open.append(_Frame(isinstance(event, yaml.MappingStartEvent), event.flow_style, event.anchor, *at))
        if len(self._open) > MAX_DEPTH:
            self._stop(event, "this is nested too deeply", f"at most {MAX_DEPTH} levels")

    def _doubtful(self, event: Any, at: tuple[int, int]) -> bool:
        """Whether libyaml may have taken a scalar that PyYAML refuses: then PyYAML decides."""
        if event.style in ("|", ">"):
            return not _BLOCK.match(self._lines[at[0] - 1], at[1] - 1)
        flow = bool(self._open) and self._open[-1].flow
        return flow and event.style in (None, "") and _FLOW.match(event.value) is not None

    def _finish(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node)

    def _add(self, node: Node) -> None:
        if self._open:
            self._open[-1].nodes.append(node)
        else:
            self._root = node

    def _alias(self, event: Any) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self._stop(event, "the file holds too many aliases (`*name`)", f"at most {MAX_ALIASES}", "write values out")
        name = shown(f"*{event.anchor}")
        if event.anchor not in self._anchors:
            self._stop(event, f"{name} refers to nothing", "an anchor above", "quote it if it is a text")
        node = self._anchors[event.anchor]
        if node is None:
            self._stop(event, f"{name} refers to what it is part of", "an anchor that ended above")
        assert node is not None
        return node

    def _entries(self, frame: _Frame) -> Entries:
        """The map of a frame; keys that cannot be used are reported and left out."""
        first: dict[str, Scalar] = {}
        pairs = []
        for key, value in zip(frame.nodes[::2], frame.nodes[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._problem(key, "a key cannot be a list or a map", "a word", "is a quote missing around `{…}`?")
            elif key.plain and key.text == "<<":
                self._problem(key, "`<<` would merge another map", "plain keys", "write the keys out")
            elif not key.text:
                self._problem(frame, "a key is missing in this map", "`key: value`")
            elif key.text in first:
                at = first[key.text]
                there = f"line {at.line}, column {at.column}"
                self._problem(key, f"{shown(key.text)} is here twice", "each key once", f"the first is at {there}")
            else:
                first[key.text] = key
                empty = isinstance(value, Scalar) and value.plain and not value.text
                pairs.append((key, Scalar("", True, key.line, key.column) if empty else value))
        return Entries(tuple(pairs), frame.line, frame.column)

    def _problem(self, at: Node | _Frame, message: str, expected: str, hint: str = "") -> None:
        self._problems.append(locate(self._path, self._lines, at.line, at.column, message, expected, hint))

    def _report(self, event: Any, message: str, expected: str, hint: str = "") -> None:
        self._problems.append(locate(self._path, self._lines, *_place(event), message, expected, hint))

    def _stop(self, event: Any, message: str, expected: str, hint: str = "") -> None:
        self._report(event, message, expected, hint)
        raise InvalidFiles(tuple(self._problems))


def _items(frame: _Frame) -> Items:
    return Items(tuple(frame.nodes), frame.line, frame.column)


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
