"""What a commit changed, in words: examples that people read, and laws that hold for any two versions of a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.audit import FileChange, describe, differences, leaves, read_state
from controller.spec.fields import FileKind
from controller.spec.render import render

PATH = "state/dev.yaml"
GIB = 2**30
MODULES = ("git", "fish", "workspace", "tailscale", "python")


def version(text: str | bytes | None, path: str = PATH):
    if text is None:
        return None
    return read_state(path, text if isinstance(text, bytes) else text.encode())


def told(before: str | None, after: str | None, path: str = PATH, defaults: str | None = None) -> str:
    usual = version(defaults, "state/defaults.yaml")
    return "; ".join(describe(path, version(before, path), version(after, path), usual).words)


BASE = "owner: alice\nmodules: [git, workspace]\nworkspace: {quota: 5G}\npower: running\n"


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, "owner: a\nmodules: [git, fish]\nworkspace: {quota: 20G}\n", "new: git, fish; 20G"),
        (None, "owner: a\n", "new: nothing but defaults"),
        (None, "owner: a\nmodules: [git]\npower: stopped\npaused: true\n", "new: git; stopped; paused"),
        (None, "owner: a\nmodules: [git]\nrenamed_from: old\n", "new: git; was old"),
        (None, "owner: a\nresources: {cpus: 3}\nenv: {A: b}\n", "new: cpus, env A"),
        (BASE, None, "removed"),
        (BASE, BASE.replace("5G", "10G"), "quota 5G → 10G"),
        (BASE, BASE.replace("git,", "fish,"), "modules +fish −git"),
        (BASE, BASE.replace("running", "stopped"), "power running → stopped"),
        (
            BASE,
            BASE.replace("power: running\n", "power: stopped\n").replace("5G", "1T"),
            "power running → stopped; quota 5G → 1T",
        ),
        (BASE, BASE.replace("alice", "bob"), "owner alice → bob"),
        (BASE, BASE.replace("git, workspace", "workspace, git"), "only its wording"),
        (BASE, f"# a comment\n{BASE}", "only its wording"),
        (BASE, f"{BASE}description: for the course\n", "description added"),
        (BASE, f"{BASE}expires: 2030-12-24T18:00:00+01:00\n", "expires none → 2030-12-24T18:00:00+01:00"),
        (BASE, f"{BASE}paused: true\n", "paused false → true"),
        (BASE, f"{BASE}tailnet: {{ssh: false}}\n", "tailnet ssh true → false"),
        (BASE, f"{BASE}tailnet: {{tags: ['tag:a']}}\n", "tailnet tags +tag:a"),
        (BASE, f"{BASE}env: {{EDITOR: vi}}\n", "env EDITOR none → vi"),
        (BASE, f"{BASE}schedule: {{stop: '0 20 * * *'}}\n", "schedule stop none → 0 20 * * *"),
        (BASE, f"{BASE}resources: {{memory: 2G}}\n", "memory default → 2G"),
        (BASE, "owner: alice\nmodule: [git]\n", "invalid: line 2, there is no key `module` in a spec"),
        ("owner: [", BASE, "valid again: git, workspace; 5G"),
        (None, "owner: [", "new, but invalid: "),
        ("owner: [", None, "removed"),
        (BASE, "owner: a\nmodules: [some-thing, neverheard]\n", "owner alice → a; modules +some-thing +neverheard"),
        (BASE, f"{BASE}env: {{{', '.join(f'V{n}: x' for n in range(9))}}}\n", "and 4 more"),
        (BASE, f"{BASE}env: {{LONG: {'x' * 300}}}\n", f"env LONG none → {'x' * 47}…"),
    ],
)
def test_words(before, after, words):
    assert words in told(before, after)


def test_where_a_version_is_silent_the_defaults_speak():
    silent = "owner: alice\n"
    assert told(silent, silent + "workspace: {quota: 10G}\n") == "quota 5G → 10G"
    assert told(silent, silent + "workspace: {quota: 10G}\n", defaults="workspace: {quota: 7G}\n") == "quota 7G → 10G"
    assert told(silent + "power: stopped\n", silent) == "power stopped → running"
    assert told(silent, silent + "workspace: {quota: 9G}\n", defaults="workspace: [") == "quota 5G → 9G"


def test_other_files_of_the_state():
    tenants = "state/tenants/bob.yaml"
    assert told(None, "name: Bob\nrole: admin\n", tenants) == "new: Bob; admin"
    assert told("name: Bob\n", "name: Bob\nrole: admin\n", tenants) == "role member → admin"
    assert told("name: Bob\n", "name: Bob\nlimits: {storage: 5G}\n", tenants) == "limits storage none → 5G"
    assert told(None, "workspace: {quota: 7G}\nmodules: [git]\n", "state/defaults.yaml") == "new: modules git; quota 7G"
    assert told("power: stopped\n", "", "state/defaults.yaml") == "power stopped → running"
    assert told(None, "anything", "state/README.md") == "new"
    assert told("a", "b", "state/README.md") == "changed"
    assert told("a", None, "state/README.md") == "removed"


def test_a_long_list_is_cut_for_people_and_whole_for_programs():
    many = [f"module{number}" for number in range(40)]
    change = describe(PATH, version("owner: a\n"), version(f"owner: a\nmodules: [{', '.join(many)}]\n"))
    assert change.words == ("modules +module0 +module1 +module2 +module3 +module4 … 35 more",)
    assert change.fields[0].after == tuple(many)


sizes = st.integers(1, 64).map(lambda n: n * GIB)
texts = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="\ufeff"), min_size=1, max_size=60)
values = st.fixed_dictionaries(
    {"owner": st.sampled_from(("alice", "bob"))},
    optional={
        "modules": st.lists(st.sampled_from(MODULES), unique=True),
        "power": st.sampled_from(("running", "stopped")),
        "workspace": st.fixed_dictionaries(
            {}, optional={"quota": sizes, "restore": st.sampled_from(("latest", "never"))}
        ),
        "resources": st.fixed_dictionaries({}, optional={"memory": sizes, "cpus": st.sampled_from((0.5, 1.0, 2.25))}),
        "env": st.dictionaries(st.from_regex("[A-Z]{1,5}", fullmatch=True), texts, max_size=9),
        "expires": st.sampled_from((None, "2030-12-24T18:00:00+01:00")),
        "paused": st.booleans(),
        "description": texts,
    },
)


@settings(deadline=None)
@given(values, values)
def test_differences_are_the_same_from_both_sides(one, other):
    there, back = (differences(a, b, FileKind.SPEC) for a, b in ((one, other), (other, one)))
    assert back == tuple(each.flipped() for each in there)
    assert there == differences(one, other, FileKind.SPEC)
    assert differences(one, one, FileKind.SPEC) == ()


@settings(deadline=None)
@given(values, values)
def test_differences_make_the_one_version_of_the_other(one, other):
    said = leaves(one, FileKind.SPEC)
    for each in differences(one, other, FileKind.SPEC):
        if each.many:
            items = (*(item for item in said.get(each.field, ()) if item not in each.before), *each.after)
            said[each.field] = items
        elif each.after:
            said[each.field] = each.after[0]
        else:
            del said[each.field]
    wanted = leaves(other, FileKind.SPEC)
    assert {f: {*v} if isinstance(v, tuple) else v for f, v in said.items() if v} == {
        f: {*v} if isinstance(v, tuple) else v for f, v in wanted.items() if v
    }


@settings(deadline=None)
@given(values)
def test_a_file_says_what_its_values_say(one):
    read = version(render(one))
    assert read.valid, read.problems
    assert leaves(read.values, FileKind.SPEC) == leaves(one, FileKind.SPEC)


sides = st.none() | st.binary(max_size=200) | values.map(lambda found: render(found).encode())
paths = st.sampled_from(
    (PATH, "state/tenants/bob.yaml", "state/defaults.yaml", "state/x/y.yaml", "state/\x1b.yaml", "x")
)


@settings(deadline=None)
@given(paths, sides, sides, sides)
def test_words_are_total_and_deterministic(path, before, after, defaults):
    def once() -> FileChange:
        return describe(path, version(before, path), version(after, path), version(defaults, "state/defaults.yaml"))

    change = once()
    assert change == once()
    assert 1 <= len(change.words) <= 6
    assert all(word.strip() for word in change.words)
    assert bool(change.problem) == (after is not None and not version(after, path).valid)
