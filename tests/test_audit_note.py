"""The note on a commit: written whole, read with care, bounded, each host's part its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.audit import Deed, Held, Note, read_note, render_note
from controller.audit.note import LIMIT, NOTHING, SCHEMA, note_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHA = "a" * 40


def deed(container: str = "dev", kind: str = "Start", at: int = 0, **more) -> Deed:
    began = NOW + timedelta(seconds=at)
    return Deed(SHA, container, kind, "the spec wants it running", began, began + timedelta(seconds=2), **more)


def test_what_was_written_is_read():
    deeds = [deed(kind="Build"), deed(error="no space left", hint="free some", tries=3), deed("web", at=5)]
    held = [Held("abc123", "this would remove the last container", ("dev", "web")), Held("def", "x", ("y",), False)]
    note = note_of("box", deeds, held, [("web", "the pool is full")], "")
    document = json.loads(render_note(note))
    assert document["schema"] == SCHEMA
    steps = document["hosts"]["box"]["containers"]["dev"]["steps"]
    assert steps[1] == {
        "kind": "Start",
        "reason": "the spec wants it running",
        "outcome": "failed",
        "began": "2026-03-01T12:00:00.000+00:00",
        "ended": "2026-03-01T12:00:02.000+00:00",
        "error": "no space left",
        "hint": "free some",
        "tries": 3,
    }
    (read,) = read_note(render_note(note))
    assert read.host == "box"
    assert read.outcome == "failed"
    assert [(d.container, d.kind, d.error, d.tries) for d in read.deeds] == [
        ("dev", "Build", "", 1),
        ("dev", "Start", "no space left", 3),
        ("web", "Start", "", 1),
    ]
    assert read.held == tuple(held)
    assert read.waits == (("web", "the pool is full"),)


def test_outcomes():
    def outcome(*deeds, **more):
        return note_of("box", deeds, **more).outcome

    assert outcome() == NOTHING
    assert outcome(deed()) == "done"
    assert outcome(deed(error="no")) == "failed"
    assert outcome(deed(error="no"), deed(at=5)) == "done"
    assert outcome(deed(error="no"), deed("web")) == "failed"
    assert outcome(held=[Held("a", "b", ())]) == "held"
    assert outcome(deed(), held=[Held("a", "b", (), waits=False)]) == "done"
    assert outcome(waits=[("dev", "x")]) == "waiting"
    assert outcome(refused="no rights") == "refused"


def test_each_host_has_its_own_part():
    first = render_note(note_of("one", [deed()]))
    both = render_note(note_of("two", [deed("web", error="no")]), first)
    assert [(note.host, note.outcome) for note in read_note(both)] == [("one", "done"), ("two", "failed")]
    again = render_note(note_of("one", []), both)
    assert [(note.host, note.outcome) for note in read_note(again)] == [("one", NOTHING), ("two", "failed")]
    assert render_note(note_of("one", []), again) == again


def test_what_is_not_ours_is_written_over():
    for present in (b"words of a person", b"[1]", b'{"schema": 2, "hosts": {"x": {}}}', b"\xff\xfe", b"[" * 100_000):
        assert [note.host for note in read_note(render_note(note_of("box", []), present))] == ["box"]


def test_a_note_is_bounded():
    deeds = [deed(f"c{n % 300}", at=n, error="é" * 5000 if n % 7 == 0 else "") for n in range(6000)]
    held = [Held("id", "r" * 9000, tuple(f"c{n}" for n in range(900))) for _ in range(90)]
    waits = [(f"c{n}", "w" * 9000) for n in range(900)]
    small = render_note(note_of("box", deeds))
    assert len(small) <= LIMIT + 100
    (read,) = read_note(small)
    assert read.outcome == "failed"
    assert read.left_out == len(deeds) - len(read.deeds)
    assert any(one.error for one in read.deeds)
    assert len(render_note(note_of("box", deeds, held, waits, "x" * 10**6))) <= 2 * LIMIT


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "schema",
                    "hosts",
                    "containers",
                    "steps",
                    "held",
                    "waits",
                    "kind",
                    "began",
                    "ended",
                    "tries",
                    "outcome",
                )
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.binary(max_size=80) | anything.map(lambda value: json.dumps({"schema": 1, "hosts": {"x": value}}).encode()))
def test_reading_a_note_is_total(data):
    for note in read_note(data):
        assert isinstance(note, Note)
        assert render_note(note, data)


times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, fold=0)
)
words = st.text(max_size=30)
deeds_ = st.lists(
    st.builds(
        Deed, st.just(""), words, words, words, times, times, error=st.sampled_from(("", "no")), tries=st.integers(1, 9)
    ),
    max_size=6,
)


@settings(deadline=None)
@given(deeds_, st.lists(st.builds(Held, words, words, st.tuples(words)), max_size=3), words)
def test_writing_and_reading_are_inverse(deeds, held, host):
    note = note_of(host, deeds, held)
    (read,) = read_note(render_note(note))
    assert sorted(map(repr, read.deeds)) == sorted(map(repr, note.deeds))
    assert (read.host, read.outcome, read.held) == (note.host, note.outcome, note.held)
