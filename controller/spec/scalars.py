"""What a scalar of a state file means, given what the field expects.

Pure. YAML's own guesses are not used: a text such as `no`, `1_000`, `017`, `1:30` or `2026-12-24` means something
else to every YAML reader, so where it could be misread the answer is a `Misread` that says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from controller.spec.document import Scalar
from controller.spec.forms import (
    MOMENT_PATTERN,
    SIZE_PATTERN,
    UNITS,
    Form,
    Kind,
    check_key,
    check_zone,
    moment,
    time_zones,
)
from controller.spec.syntax import shown

_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})
_NULL = frozenset({"", "~", "null"})
_NUMBER = re.compile(
    r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-f_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|([0-9][0-9_]*)?\.?[0-9][0-9_]*\.?(e[-+]?[0-9]+)?|\.inf)|\.nan",
    re.IGNORECASE,
)
_DATE = re.compile(r"[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?([Tt ].*)?")
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?")
_LOOSE_SIZE = re.compile(r"([0-9][0-9_]*)(\.[0-9]+)?\s*([KMGT])?(i?B)?", re.IGNORECASE)


class Misread(Exception):
    """A scalar that is not what the field expects: `message` says what was found, `hint` what to write."""

    def __init__(self, message: str, expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.hint = hint


def is_null(scalar: Scalar) -> bool:
    """Whether a value was left out, or written as YAML's null."""
    return scalar.plain and scalar.text.lower() in _NULL


def lookalike(text: str) -> str:
    """What YAML readers take a plain text for, if not for a text: "a boolean", "a number"; else empty."""
    if len(text) > 64:
        return "a number" if text.isdigit() else ""
    word = text.lower()
    if word in _NULL:
        return "null"
    if word in _TRUE | _FALSE:
        return "a boolean"
    if _NUMBER.fullmatch(word):
        return "a number"
    if _DATE.fullmatch(word):
        return "a date"
    return "YAML's merge key" if text == "<<" else "YAML's value key" if text == "=" else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or the empty text."""
    found = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6) if len(word) <= 40 else []
    return found[0] if found else ""


def read_scalar(scalar: Scalar, form: Form) -> Any:
    """The value that a scalar stands for: a text, bool, number, size in bytes, or timestamp in ISO form.

    Raises `Misread`.
    """
    value = _READERS[form.kind](scalar, form)
    if form.pattern and not re.fullmatch(form.pattern, value):
        raise Misread(f"{shown(scalar.text)} does not fit", form.expected, _hint(scalar.text, form))
    try:
        form.verify(moment(value) if form.kind is Kind.MOMENT else value)
    except ValueError as error:
        raise Misread(f"{shown(scalar.text)}: {error}", form.expected, _hint(scalar.text, form)) from error
    return value


def _hint(text: str, form: Form) -> str:
    """What was probably meant, for values that come from a known set or have a simple right spelling."""
    if form.check is check_key and "PRIVATE KEY" in text:
        return "this is a private key, for nobody's eyes: make a new one, and write the line of its `.pub` file here"
    known = form.words or (sorted(time_zones()) if form.check is check_zone else ())
    if near := nearest(text, known) or _insensitive(text, known):
        return f"did you mean `{near}`?"
    lowered = re.sub(r"[\s_]+", "-", text.strip().lower())
    if " - " in text:
        return "if these are several items, begin each on a line of its own, all `- ` in one column"
    if form.pattern and lowered != text and re.fullmatch(form.pattern, lowered):
        return f"did you mean `{lowered}`?"
    if form.pattern and re.fullmatch(form.pattern, f"tag:{text}"):
        return f"did you mean `tag:{text}`?"
    return ""


def _insensitive(text: str, known: Iterable[str]) -> str:
    """The known word that differs from `text` in case and spacing at most, or the nearest without case."""
    by_lower = {word.lower(): word for word in known}
    return by_lower.get(nearest(text.replace(" ", "_"), by_lower), "")


def _text(scalar: Scalar, form: Form) -> str:
    text = scalar.text
    what = lookalike(text) if scalar.plain and not form.words else ""
    if what:
        fits = not form.pattern or re.fullmatch(form.pattern, text)
        hint = f'write "{text}" if you mean the text' if fits and len(text) <= 60 else ""
        raise Misread(f"{shown(text)} is {what} to YAML, not a text", form.expected, hint)
    if any(0xD800 <= ord(character) < 0xE000 for character in text):
        raise Misread("half of a surrogate pair: this is no character", form.expected)
    return text


def _boolean(scalar: Scalar, form: Form) -> bool:
    word = scalar.text.lower()
    if scalar.plain and scalar.text in ("true", "false"):
        return scalar.text == "true"
    meant = "true" if word in _TRUE else "false" if word in _FALSE else ""
    if meant == word and not scalar.plain:
        raise Misread(f'"{word}" in quotes is a text, not a boolean', form.expected, f"write {word} without quotes")
    raise Misread(f"{shown(scalar.text)} is not a boolean here", form.expected, f"write {meant}" if meant else "")


def _whole(scalar: Scalar, form: Form) -> int:
    if scalar.plain and _WHOLE.fullmatch(scalar.text):
        return int(scalar.text)
    raise _no_number(scalar, form)


def _number(scalar: Scalar, form: Form) -> float:
    if scalar.plain and _DECIMAL.fullmatch(scalar.text):
        return float(scalar.text)
    raise _no_number(scalar, form)


def _no_number(scalar: Scalar, form: Form) -> Misread:
    """Why a text is not a number here, with the plain decimal that was probably meant."""
    text = scalar.text
    bare = text.replace("_", "").lstrip("+").lower()
    if not scalar.plain and _DECIMAL.fullmatch(text):
        return Misread(f'"{text}" in quotes is a text, not a number', form.expected, f"write {text} without quotes")
    if match := re.fullmatch(r"0(o[0-7]+|x[0-9a-f]+|b[01]+)", bare[:20]):
        return Misread(f"{shown(text)} is not a decimal number", form.expected, f"write {int(match[0], 0)}")
    if re.fullmatch(r"0[0-9]+", bare[:20]):
        why = f"{shown(text)} begins with 0, which some take for octal"
        return Misread(why, form.expected, f"write {bare.lstrip('0') or '0'}")
    if "_" in text and _DECIMAL.fullmatch(bare):
        return Misread(f"{shown(text)} has `_` in it", form.expected, f"write {bare}")
    if re.fullmatch(r"\.[0-9]{1,6}", bare):
        return Misread(f"{shown(text)} has no digit before the point", form.expected, f"write 0{bare}")
    if re.fullmatch(r"[0-9]{1,6}e[0-9]", bare):
        return Misread(f"{shown(text)} is not written out", form.expected, f"write {float(bare):.0f}")
    if re.fullmatch("[0-9]+(:[0-9]+)+", bare):
        return Misread(f"{shown(text)} is a number in base 60 to some YAML readers", form.expected)
    return Misread(f"{shown(text)} is not a number here", form.expected)


def _size(scalar: Scalar, form: Form) -> int:
    text = scalar.text
    if re.fullmatch(SIZE_PATTERN, text):
        return int(text[:-1]) * UNITS[text[-1]]
    match = _LOOSE_SIZE.fullmatch(text) if len(text) <= 40 else None
    if match is None:
        raise Misread(f"{shown(text)} is not a size", form.expected)
    whole, fraction, unit = int(match[1].replace("_", "")), match[2] or "", (match[3] or "").upper()
    if not unit:
        raise Misread(f"{shown(text)} has no unit", form.expected, f"write {whole or 1}G, {whole or 1}M or so")
    smaller = {"T": "G", "G": "M", "M": "K"}.get(unit, "")
    if not fraction.strip(".0"):
        meant = f"{whole}{unit}"
    else:
        meant = f"{round(float(f'{whole}{fraction}') * 1024)}{smaller}" if smaller else ""
    fits = re.fullmatch(SIZE_PATTERN, meant)
    raise Misread(f"{shown(text)} is not how sizes are written", form.expected, f"write {meant}" if fits else "")


def _moment(scalar: Scalar, form: Form) -> str:
    text = scalar.text
    if re.fullmatch(MOMENT_PATTERN, text):
        return text
    tidy = re.sub(r"(\d)[ t](\d)", r"\1T\2", text.strip(), count=1).replace(" ", "")
    tidy = re.sub(r"z$", "Z", tidy)
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", tidy):
        raise Misread(f"{shown(text)} has no time and no zone", form.expected, f"write {tidy}T18:00:00+01:00 or so")
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?", tidy):
        raise Misread(f"{shown(text)} has no time zone", form.expected, f"write {tidy}Z for UTC, or {tidy}+01:00")
    hint = f"write {tidy}" if re.fullmatch(MOMENT_PATTERN, tidy) else ""
    raise Misread(f"{shown(text)} is not a timestamp here", form.expected, hint)


_READERS: dict[Kind, Any] = {
    Kind.TEXT: _text,
    Kind.BOOLEAN: _boolean,
    Kind.WHOLE: _whole,
    Kind.NUMBER: _number,
    Kind.SIZE: _size,
    Kind.MOMENT: _moment,
}
