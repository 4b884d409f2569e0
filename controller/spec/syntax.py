"""What a YAML syntax error means to a person: where to look, what was found, what to write instead.

Pure. Also how a piece of a file is shown in a message. The rules follow the words of PyYAML's own parser, which is
asked again whenever libyaml refuses a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Rule:
    """One kind of syntax error: `pattern` is searched in "context: problem"; groups fill the messages.

    `begin`: whether the place to show is where the broken construct began, not where the parser gave up.
    """

    pattern: str
    message: str
    expected: str = ""
    hint: str = ""
    begin: bool = False


TAG = ("a value that begins with `!` is a YAML tag", "values without tags", "remove the tag, or quote a text")

_RULES = (
    _Rule(
        "mapping values are not allowed",
        "a second `: ` in one value, or a line that is indented too far",
        "`key: value`",
        'quote a value that holds ": "',
    ),
    _Rule(
        r"found character '(.+?)' that cannot start any token",
        "a value cannot begin with `{0}`",
        hint="put it in quotes",
    ),
    _Rule(
        "while scanning an (alias|anchor)",
        "a value that begins with `*` or `&` is a YAML {0}",
        hint='put it in quotes, such as "* 8 * * *"',
        begin=True,
    ),
    _Rule("while scanning a simple key", "there is no `: ` in this line", "`key: value`, with a space", begin=True),
    _Rule(
        "while scanning a quoted scalar: found (unexpected end|unexpected document)",
        "the quote that opens here is never closed",
        "the same quote once more, at the end of the value",
        begin=True,
    ),
    _Rule(
        "while scanning a double-quoted scalar: found unknown escape|expected escape sequence",
        "a backslash in double quotes begins an escape, and this is not one",
        hint="use single quotes, or write the backslash twice",
    ),
    _Rule("double-quoted scalar", "this escape in double quotes names no character", hint="use single quotes"),
    _Rule(
        "while parsing a flow sequence",
        "the list that opens here with `[` is not closed, or a comma is missing",
        "`[one, two]`",
        begin=True,
    ),
    _Rule(
        "while parsing a flow mapping",
        "the map that opens here with `{{` is not closed, or a comma is missing",
        "`{one: 1, two: 2}`",
        hint="put a text that begins with a brace in quotes",
        begin=True,
    ),
    _Rule("but found '<scalar>'", "there is text after the end of a value", hint="put the whole value in quotes"),
    _Rule(
        "but found '<block end>'|expected <block end>",
        "this line's indentation fits nothing above it",
        hint="begin it in the column of the lines that it belongs with",
    ),
    _Rule("while scanning a block scalar", "what follows `|` or `>` must stand on its own, indented lines"),
    _Rule("while (scanning|parsing) a tag|tag handle", *TAG, begin=True),
    _Rule("expected '<document start>'", "there is something after the end of the document", "one document"),
    _Rule(
        "expected the node content, but found '(.+?)'", "a value is missing before `{0}`", hint="put a text in quotes"
    ),
    _Rule("found duplicate anchor|second occurrence", "the same anchor is here twice"),
)


def explain(error: Any) -> tuple[int, int, str, str, str]:
    """Line, column (from 1; 0, 0 where the parser did not say), message, expectation and hint for a YAMLError."""
    context, problem = getattr(error, "context", None) or "", getattr(error, "problem", None) or ""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = f"{context}: {problem}"
    for rule in _RULES:
        if found := re.search(rule.pattern, said):
            mark = (getattr(error, "context_mark", None) or mark) if rule.begin else mark
            return (*_place(mark), rule.message.format(*found.groups()), rule.expected, rule.hint)
    return (*_place(mark), f"this is not YAML: {problem or 'it cannot be parsed'}", "a YAML document", "")


def shown(text: str) -> str:
    """A text for a message: in backquotes, short, and without anything a terminal might obey."""
    short = text if len(text) <= 60 else text[:59] + "…"
    return f"`{short}`" if short.isprintable() else f"`{short.encode('unicode_escape').decode()}`"


def _place(mark: Any) -> tuple[int, int]:
    return (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
