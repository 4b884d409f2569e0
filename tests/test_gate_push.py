"""A push as git tells of it, and what its pusher is told."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadInput, Problem
from controller.gate.brief import Line
from controller.gate.gate import Answer
from controller.gate.push import Push, Update, heard, misdirected, read_updates, told
from controller.gate.telling import LONGEST_PATH, MOST, WIDTH, failure, harmless
from controller.gate.telling import told as lines_of

A, B, NONE = "a" * 40, "b" * 40, "0" * 40
MAIN = "refs/heads/main"


class TestReading:
    def test_updates_are_read_as_git_writes_them(self):
        text = f"{A} {B} {MAIN}\n{NONE} {B} refs/tags/a b\n{A} {NONE} refs/heads/x\n"
        assert read_updates(text) == (Update(A, B, MAIN), Update("", B, "refs/tags/a b"), Update(A, "", "refs/heads/x"))
        assert read_updates(f"{'c' * 64} {'0' * 64} x\n") == (Update("c" * 64, "", "x"),)
        assert read_updates("") == ()

    @pytest.mark.parametrize("line", ["x", f"{A} {B}", f"{A[1:]} {B} {MAIN}", f"{A.upper()} {B} {MAIN}", f" {A} {B} x"])
    def test_anything_else_is_refused(self, line):
        with pytest.raises(BadInput, match="not what git tells a hook"):
            read_updates(line + "\n")

    @given(st.text())
    def test_any_text_is_read_or_refused(self, text):
        with suppress(BadInput):
            assert all(isinstance(update, Update) for update in read_updates(text))


class TestWire:
    def test_a_push_survives_the_wire(self):
        push = Push((Update("", B, MAIN), Update(A, "", "refs/x")), "SHA256:k", "Röot", "/q")
        assert heard(json.loads(json.dumps(told(push)))) == push

    @pytest.mark.parametrize(
        "value",
        [
            {},
            None,
            [],
            {"updates": [[A, B]], "key": "", "by": "", "quarantine": ""},
            {"updates": [[A, "-x", MAIN]], "key": "", "by": "", "quarantine": ""},
            {"updates": [[A, B, 7]], "key": "", "by": "", "quarantine": ""},
            {"updates": 7, "key": "", "by": "", "quarantine": ""},
            {"updates": [], "key": None, "by": "", "quarantine": ""},
            {"updates": [], "key": "k" * 5000, "by": "", "quarantine": ""},
            {"updates": [], "key": "", "by": ""},
        ],
    )
    def test_what_is_no_push_is_refused(self, value):
        with pytest.raises(BadInput, match="no push"):
            heard(value)

    @given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=8))
    def test_any_value_is_heard_or_refused(self, value):
        for one in (value, {"updates": value, "key": "", "by": "", "quarantine": ""}):
            with suppress(BadInput):
                heard(one)


class TestRefs:
    @pytest.mark.parametrize(
        ("updates", "words"),
        [
            ([Update(A, B, MAIN)], []),
            ([Update("", B, MAIN)], []),
            ([], []),
            ([Update(A, B, "refs/heads/x")], ["only the state branch"]),
            ([Update(A, B, "main")], ["only the state branch"]),
            ([Update(A, "", MAIN)], ["cannot be deleted"]),
            ([Update(A, "", "refs/heads/x")], ["only the state branch"]),
            ([Update(A, B, MAIN), Update(B, A, MAIN)], ["the same branch twice"]),
            ([Update(A, B, MAIN), Update(A, B, "refs/x")], ["only the state branch"]),
        ],
    )
    def test_only_the_branch_moves_and_once(self, updates, words):
        found = [problem.message for problem in misdirected(updates, "main")]
        assert len(found) == len(words)
        for message, word in zip(found, words, strict=True):
            assert word in message

    def test_the_name_of_a_ref_is_told_harmless_and_short(self):
        (problem,) = misdirected([Update(A, B, "refs/heads/\x1b[2J" + "x" * 500)], "main")
        assert problem.path.isascii()
        assert problem.path.isprintable()
        assert len(problem.path) <= 120


class TestTelling:
    PROBLEM = Problem("state/web.yaml", 2, 8, "no", "running", "write it", "power: off")

    def test_a_refusal_shows_the_line_and_what_to_do(self):
        assert lines_of(Answer((self.PROBLEM,), mending="mend it")) == [
            "error: state/web.yaml:2:8: no",
            "    power: off",
            "           ^",
            "  expected: running",
            "  write it",
            "hint: mend it",
        ]

    def test_warnings_come_first_and_the_plan_only_if_taken(self):
        line = Line("+", "web", "new container")
        assert lines_of(Answer((), (self.PROBLEM,), (line,)))[-2:] == ["what this leads to:", "  + web  new container"]
        refused = lines_of(Answer((self.PROBLEM,), (self.PROBLEM,), (line,)))
        assert [one.partition(":")[0] for one in refused if one[0] not in " "] == ["warning", "error"]
        assert not any("leads to" in one for one in refused)
        assert lines_of(Answer()) == []

    def test_many_are_counted(self):
        told_of = lines_of(Answer(tuple(Problem(f"p{n}", 0, 0, "no") for n in range(MOST + 3))))
        assert told_of[-1] == "error: and 3 more like this"
        assert len(told_of) == MOST + 1

    def test_a_long_path_leaves_room_for_what_is_wrong(self):
        (line,) = lines_of(Answer((Problem("state/" + "a" * 5000 + ".yaml", 0, 0, "too long"),)))
        assert line.startswith("error: state/aaa")
        assert line.endswith("a.yaml: too long")
        assert len(line) < LONGEST_PATH + 30

    def test_a_failure_is_told_with_its_hint(self):
        assert failure(BadInput("no", hint="do that")) == ["error: no", "hint: do that"]
        assert failure(BadInput("no")) == ["error: no"]

    @given(st.lists(st.text()))
    def test_nothing_that_a_terminal_obeys_gets_through(self, lines):
        for line in harmless(lines):
            assert line.isprintable()
            assert len(line) <= WIDTH
