"""Who set a field last, against a slow and plain way to find out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.audit import Source, Version, leaves, origins, read_state

PATH = "state/dev.yaml"
TEXTS = (
    None,
    "owner: [",
    *(
        f"owner: {owner}\nmodules: [{modules}]\n{more}"
        for owner in ("alice", "bob")
        for modules in ("", "git", "git, fish", "fish, git")
        for more in ("", "workspace: {quota: 5G}\n", "workspace: {quota: 10G}\npower: stopped\n", "env: {A: git}\n")
    ),
)
histories = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8)


def parsed(texts):
    return [None if text is None else read_state(PATH, text.encode()) for text in texts]


def versions(texts):
    files = [None, *parsed(texts)]
    return [Version(Source(f"c{n}", PATH), files[n], files[n + 1]) for n in range(len(texts))]


def said(file):
    return {
        (name, value)
        for name, leaf in leaves(file.values, file.kind).items()
        for value in (leaf if isinstance(leaf, tuple) else (leaf,))
    }


@settings(deadline=None)
@given(histories)
def test_a_field_is_whose_since_it_was_there_without_a_break(texts):
    effective = [
        (f"c{n}", set() if file is None else said(file))
        for n, file in enumerate(parsed(texts))
        if file is None or file.valid
    ]
    wanted = {}
    for key in effective[-1][1] if effective else ():
        for sha, facts in reversed(effective):
            if key not in facts:
                break
            wanted[key] = sha
    found, _ = origins(versions(texts))
    assert {(one.field, one.value): one.source and one.source.commit for one in found} == wanted


@settings(deadline=None)
@given(histories, histories)
def test_what_is_inherited_stays_whose_it_was(old, new):
    _, facts = origins(versions(old))
    after = next((file for file in parsed(new) if file is not None and file.valid), None)
    if after is None:
        return
    first = Version(Source("taken over", PATH), None, after, inherited=facts)
    for one in origins([first])[0]:
        assert one.source == facts.get((one.field, one.value), first.source)


def test_a_history_that_was_cut_off_is_not_made_up():
    text = "owner: alice\nmodules: [git]\n"
    before, after = parsed([text, text + "power: stopped\n"])
    found, _ = origins([Version(Source("c1", PATH), before, after)])
    assert {one.field: one.source and one.source.commit for one in found} == {
        "owner": None,
        "modules": None,
        "power": "c1",
    }


def test_a_merge_takes_nothing_from_whoever_set_it():
    base, side, main = parsed(["owner: a\n", "owner: a\npower: stopped\n", "owner: a\nmodules: [git]\n"])
    (both,) = parsed(["owner: a\npower: stopped\nmodules: [git]\npaused: true\n"])
    history = [
        Version(Source("base", PATH), None, base),
        Version(Source("side", PATH), base, side),
        Version(Source("main", PATH), base, main),
        Version(Source("merge", PATH), main, both, joined=True),
    ]
    found = {one.field: one.source and one.source.commit for one in origins(history)[0]}
    assert found == {"owner": "base", "modules": "main", "power": "side", "paused": "merge"}
