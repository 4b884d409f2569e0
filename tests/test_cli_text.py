"""Text for terminals: harmless and aligned."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cli import text

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain äöü 漢字", "plain äöü 漢字"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("right\u202eleft", "right\\u202eleft"),
        ("\u200bhidden", "\\u200bhidden"),
        ("\udcff", "\\udcff"),
        ("\r\x07\x00", "\\r\\x07\\x00"),
    ],
)
def test_what_a_terminal_might_obey_is_made_visible(said, shown):
    assert text.clean(said) == shown


def test_line_ends_stay_where_they_are_wanted():
    assert text.clean("a\nb\tc\x1b", lines=True) == "a\nb\tc\\x1b"


@given(st.text())
def test_clean_text_is_printable_and_clean_twice_is_clean_once(said):
    once = text.clean(said)
    assert once.isprintable()
    assert text.clean(once) == once


@given(st.text())
def test_paint_adds_nothing_but_its_own_codes(said):
    assert click.unstyle(text.paint(said, "red")).isprintable()


def test_a_table_is_aligned_whatever_the_colours_and_leaves_empty_columns_out():
    lines = text.table(("A", "B", "C"), [(text.paint("x", "red"), "", "long"), ("yyy", "", "z")])
    assert [click.unstyle(line) for line in lines] == ["A    C", "x    long", "yyy  z"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (61, "1 min"), (7200, "2 h"), (3 * 86400, "3 d")]
)
def test_spans_of_time(seconds, words):
    assert text.span(seconds) == words


def test_moments_relative_to_now():
    assert text.until("2026-03-01T12:00:12+00:00", NOW) == "in 12 s"
    assert text.until("2026-03-01T11:00:00+00:00", NOW) == "now"
    assert text.until(None, NOW) == ""
    assert text.ago("2026-03-01T11:00:00+00:00", NOW) == "1 h"


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0B"), (1023, "1023B"), (1536, "1.5K"), (20 * 2**30, "20G"), (3 * 2**41, "6.0T")]
)
def test_sizes(amount, words):
    assert text.size(amount) == words


def test_suggestions():
    assert text.suggestion("wbe", ["web", "dev"]) == "did you mean web?"
    assert text.suggestion("zzz", ["web", "dev"]) == "there is dev, web"
    assert text.suggestion("zzz", []) == ""
    assert text.suggestion("zzz", [f"n{i}" for i in range(50)]) == ""
