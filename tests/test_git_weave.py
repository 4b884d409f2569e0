"""Writers side by side: one file, two people, and nothing lost."""

from __future__ import annotations

import random
import stat
import subprocess
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.errors import BadInput, Transient
from controller.git import Author, StateRepo
from controller.git.fields import Clash, fields_of_text
from controller.git.remote import PushRefused, Remote
from controller.git.threeway import Merged, merge
from controller.git.weave import Clashing, Edit, merge_text, write

ALICE, BOB = Author("Alice", "alice@example.org"), Author("Bob", "bob@example.org")
DEV = "state/dev.yaml"
BASE = b"""\
# Alice's machine

# Whose it is.
owner: alice
modules: [git, workspace]
workspace: {quota: 5G}
power: running
"""


@pytest.fixture
def repo(tmp_path):
    return StateRepo.init(tmp_path / "state.git", {DEV: BASE, "state/web.yaml": b"owner: bob\n"}, ALICE)


def edit(repo, content, *, path=DEV, base=None, author=ALICE):
    return Edit(path, content, base or repo.head(), "change it", author, (("Requested-by", "alice"),))


def put(repo, made, **more):
    return write(repo, made, jitter=lambda: 0.5, **more)


def content(repo, path=DEV):
    return repo.read(repo.head(), [path]).get(path)


def changed(old, new, text=BASE):
    assert old in text
    return text.replace(old, new)


def test_an_edit_of_the_present_state_is_written_as_it_is(repo):
    made = edit(repo, changed(b"running", b"stopped"))
    done = put(repo, made)
    assert (done.commit, done.content, done.combined, done.changed) == (repo.head(), made.content, False, True)
    commit = repo.show(done.commit)
    assert (commit.author, commit.trailers) == ("Alice", (("Requested-by", "alice"),))
    assert commit.parents == (made.base,)


def test_other_files_do_not_matter(repo):
    made = edit(repo, changed(b"running", b"stopped"))
    repo.commit({"state/web.yaml": b"owner: bob\npower: stopped\n"}, "web", BOB)
    assert not put(repo, made).combined
    assert content(repo, "state/web.yaml") == b"owner: bob\npower: stopped\n"
    assert content(repo) == made.content


def test_edits_of_two_fields_stand_side_by_side_with_comments_and_layout(repo):
    made = edit(repo, changed(b"power: running", b"power: stopped  # for now"))
    repo.commit({DEV: changed(b"{quota: 5G}", b"{quota: 9G}")}, "more", BOB)
    assert put(repo, made).combined
    assert content(repo) == changed(b"{quota: 5G}", b"{quota: 9G}").replace(b"running", b"stopped  # for now")


def test_two_edits_of_one_field_are_told_to_both_and_nothing_is_written(repo):
    made = edit(repo, changed(b"5G", b"10G"))
    repo.commit({DEV: changed(b"running", b"stopped")}, "stop", ALICE)
    theirs = repo.commit({DEV: changed(b"5G", b"20G").replace(b"running", b"stopped")}, "more", BOB)
    repo.commit({DEV: changed(b"5G", b"20G")}, "start", ALICE)
    head = repo.head()
    with pytest.raises(Clashing) as found:
        put(repo, made)
    assert repo.head() == head
    assert str(found.value).startswith(
        f"{DEV}: you would make `workspace.quota` 10G, Bob ({theirs[:10]}) made it 20G meanwhile; it was 5G"
    )
    assert [one.clash for one in found.value.told] == [Clash("workspace.quota", "5G", "10G", "20G")]
    assert found.value.for_others() == {
        theirs: f"{DEV}: Alice would make `workspace.quota` 10G, Bob ({theirs[:10]}) made it 20G meanwhile;"
        " it was 5G; your value stands"
    }


def test_one_clash_keeps_all_of_an_edit_back(repo):
    made = edit(repo, changed(b"5G", b"10G").replace(b"running", b"stopped"))
    head = repo.commit({DEV: changed(b"5G", b"20G")}, "more", BOB)
    with pytest.raises(Clashing):
        put(repo, made)
    assert repo.head() == head


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (None, changed(b"5G", b"20G"), "you would remove it, Bob"),
        (changed(b"5G", b"20G"), None, "you would change it, Bob"),
        (b"[odd\n", changed(b"5G", b"20G"), "you and Bob"),
        (changed(b"5G", b"20G"), b"owner: a\nowner: b\n", "you and Bob"),
    ],
)
def test_removals_and_files_that_cannot_be_read_clash_with_any_edit(repo, ours, theirs, words):
    made = edit(repo, ours)
    repo.commit({DEV: theirs}, "theirs", BOB)
    with pytest.raises(Clashing, match=words.replace("(", "\\(")):
        put(repo, made)
    assert content(repo) == theirs


def test_two_new_files_of_one_name_clash(repo):
    made = edit(repo, b"owner: alice\n", path="state/new.yaml")
    repo.commit({"state/new.yaml": b"owner: alice\npower: stopped\n"}, "new", BOB)
    with pytest.raises(Clashing, match="both made it"):
        put(repo, made)


def test_the_same_edit_twice_is_written_once(repo):
    made = edit(repo, changed(b"5G", b"20G"))
    head = repo.commit({DEV: made.content}, "theirs", BOB)
    done = put(repo, made)
    assert (done.commit, done.changed) == (head, False)
    gone = edit(repo, None)
    head = repo.commit({DEV: None}, "theirs", BOB)
    assert put(repo, gone).commit == head


def test_what_was_no_file_of_fields_is_replaced_where_nobody_else_touched_it(repo):
    repo.commit({DEV: b"[odd"}, "oops", BOB)
    assert put(repo, edit(repo, BASE)).content == BASE


class Racing:
    """A branch on which somebody is always faster, some times."""

    def __init__(self, repo, times, change=lambda repo, turn: {"state/other.yaml": b"# %d\n" % turn}):
        self.repo = repo
        self.left = times
        self.change = change

    def __getattr__(self, name):
        return getattr(self.repo, name)

    def put(self, *args):
        if self.left:
            self.left -= 1
            self.repo.commit(self.change(self.repo, self.left), "faster", BOB)
        return self.repo.put(*args)


def test_a_lost_race_is_repeated_with_growing_waits(repo):
    waits = []
    done = put(Racing(repo, 5), edit(repo, changed(b"5G", b"9G")), sleep=waits.append)
    assert content(repo) == done.content
    assert waits == [0.02, 0.04, 0.08, 0.16, 0.32]
    refs = repo.git.run("for-each-ref", "--format=%(refname)").decode().split()
    assert refs == ["refs/heads/main"]


def test_races_are_not_lost_for_ever(repo):
    with pytest.raises(Transient, match="keeps moving"):
        put(Racing(repo, 10), edit(repo, changed(b"5G", b"9G")), tries=5, sleep=lambda _: None)


def test_a_clash_that_comes_up_during_a_race_is_found(repo):
    racing = Racing(repo, 1, lambda *_: {DEV: changed(b"5G", b"7G")})
    with pytest.raises(Clashing, match="made it 7G"):
        put(racing, edit(repo, changed(b"5G", b"9G")), sleep=lambda _: None)


def test_hostile_words_of_others_are_harmless_in_messages(repo):
    made = edit(repo, changed(b"5G", b"9G"))
    repo.commit({DEV: changed(b"5G", b'"\\e[2J"')}, "theirs", Author("B\x1b[2Job", ""))
    with pytest.raises(Clashing) as found:
        put(repo, made)
    assert str(found.value).isprintable()


@pytest.mark.parametrize(
    ("before", "ours", "theirs", "wanted"),
    [
        (b"a: 1\nb: 2\n", b"a: 9\nb: 2\n", b"a: 1\nb: 8\n", b"a: 9\nb: 8\n"),
        (b"a: 1\n", b"a: 1\nb: 2\n", b"a: 1\nc: 3\n", b"a: 1\nb: 2\nc: 3\n"),
        (b"a: 1\n# of b\nb: 2\nc: 3\n", b"a: 1\nc: 3\n", b"a: 1\n# of b\nb: 2\nc: 4\n", b"a: 1\nc: 4\n"),
        (b"s: {x: 1, y: 2}\n", b"s: {x: 3, y: 2}\n", b"s: {x: 1, y: 4}\n", b"s:\n  x: 3\n  y: 4\n"),
        (b"s:\n  x: 1\n  y: 2\n", b"s:\n  x: 3\n  y: 2\n", b"s:\n  x: 1\n", b"s:\n  x: 3\n"),
        (b"# top\na: 1\nb: 2", b"# top\na: 1\nb: 3", b"# top\na: 1\nb: 2\nc: 3\n", b"# top\na: 1\nb: 3\nc: 3\n"),
        (b"{a: 1, b: 2}\n", b"{a: 3, b: 2}\n", b"{a: 1, b: 4}\n", b"a: 3\nb: 4\n"),
        (b"a: 1\n", b"a: 2\n", b"# why\na: 1\n", b"# why\na: 2\n"),
        (b"a: &x 1\nb: *x\nc: 3\n", b"a: &x 2\nb: *x\nc: 3\n", b"a: &x 1\nb: *x\nc: 4\n", b"a: &x 2\nb: *x\nc: 4\n"),
        (b"a: 1\nb: 2\n", b"b: 2\na: 1\n", b"a: 1\nb: 3\n", b"a: 1\nb: 3\n"),
        (b"a: 1\r\nb: 2\r\n", b"a: 3\r\nb: 2\r\n", b"a: 1\r\nb: 4\r\n", b"a: 3\nb: 4\n"),
        (b"d: |\n  one\n\n  # two\nb: 1\n", b"d: |\n  one\n\n  # two\nb: 2\n", b"d: |\n  one\n\n  # 3\nb: 1\n",
         b"d: |\n  one\n\n  # 3\nb: 2\n"),
        (b"l: [a]\nm: 1\n", b"l: [a, b]\nm: 1\n", b"l: [a]\nm: 2\n", b"l: [a, b]\nm: 2\n"),
        (b"", b"a: 1\n", b"b: 2\n", b"b: 2\na: 1\n"),
    ],
)  # fmt: skip
def test_texts_that_are_put_together(before, ours, theirs, wanted):
    found = merge(before, ours, theirs, merge_text)
    assert isinstance(found, Merged), found
    assert fields_of_text(found.content) == fields_of_text(wanted)
    if b"{" not in before and before:
        assert found.content == wanted


@pytest.mark.parametrize(
    ("before", "ours", "theirs", "fields"),
    [
        (b"l: [a]\n", b"l: [a, b]\n", b"l: [a, c]\n", ["l"]),
        (b"s: {x: 1}\n", b"s: 3\n", b"s: {x: 1, y: 2}\n", ["s"]),
        (b"s: {x: 1}\n", b"s: {}\n", b"s: {x: 1, y: 2}\n", ["s"]),
        (b"s: {x: 1}\n", b"a: 1\n", b"s: {x: 2}\n", ["s.x"]),
        (b"a: 1\nb: 2\n", b"a: 3\nb: 3\n", b"a: 4\nb: 4\n", ["a", "b"]),
        (b"a: 1\n", b'a: "1"\n', b"a: 2\n", ["a"]),
    ],
)
def test_texts_that_clash(before, ours, theirs, fields):
    found = merge(before, ours, theirs, merge_text)
    assert not isinstance(found, Merged)
    assert [clash.field for clash in found] == fields


SCALARS = st.sampled_from(
    ["1", "two", "5G", '"5G"', "x y", "true", '"a: b"', "'#'", "[]", "[a, b]", "[a, [b, {c: d}]]"]
)
KEYS = ["owner", "modules", "power", "workspace", "env"]
SECTIONS = st.dictionaries(st.sampled_from(["quota", "restore", "A"]), SCALARS, max_size=3)
FILES = st.dictionaries(st.sampled_from(KEYS), st.one_of(SCALARS, SECTIONS), max_size=5)
COMMENTS = st.lists(st.sampled_from(["", "# one", "# two", "# power: running"]), max_size=2)


@st.composite
def text_of(draw, values):
    """A file that says some values, in a layout of its own."""
    lines = draw(COMMENTS)
    for key, value in values.items():
        lines += draw(COMMENTS)
        if not isinstance(value, dict):
            lines.append(f"{key}: {value}")
        elif value and draw(st.booleans()):
            lines += [f"{key}:", *(f"  {inner}: {text}" for inner, text in value.items())]
        else:
            lines.append(f"{key}: {{{', '.join(f'{inner}: {text}' for inner, text in value.items())}}}")
    lines += draw(COMMENTS)
    return "".join(f"{line}\n" for line in lines).encode()


@st.composite
def edited(draw, values):
    """The values after some edits."""
    new = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from(KEYS))
        if isinstance(new.get(key), dict) and draw(st.booleans()):
            new[key][draw(st.sampled_from(["quota", "restore", "A"]))] = draw(SCALARS)
        elif draw(st.booleans()):
            new[key] = draw(st.one_of(SCALARS, SECTIONS))
        else:
            new.pop(key, None)
    return new


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_change_is_ever_lost(data):
    values = data.draw(FILES)
    before, ours, theirs = (
        data.draw(text_of(side)) for side in (values, data.draw(edited(values)), data.draw(edited(values)))
    )
    was, mine, other = (fields_of_text(text) for text in (before, ours, theirs))
    found = merge(before, ours, theirs, merge_text)
    if not isinstance(found, Merged):
        clashes = {tuple(clash.field.split(".")) for clash in found}
        both = {path for path in {*was, *mine, *other} if was.get(path) not in (mine.get(path), other.get(path))}
        both = {path for path in both if mine.get(path) != other.get(path)}
        sections = clashes - both
        assert both <= clashes
        assert all(any(path[:1] == section and len(path) > 1 for path in {*mine, *other}) for section in sections)
        return
    now = fields_of_text(found.content)
    for path in {*was, *mine, *other, *now}:
        expected = mine.get(path) if mine.get(path) != was.get(path) else other.get(path)
        assert now.get(path) == expected, path


def test_eight_writers_with_twenty_five_commits_each_lose_nothing(repo):
    errors = []

    def work(number):
        own = StateRepo(repo.path)
        chance = random.Random(number)
        try:
            for turn in range(25):
                base = own.head()
                key = b"  K%d: " % number
                text = own.read(base, [DEV])[DEV]
                old = [line for line in text.splitlines(keepends=True) if line.startswith(key)]
                new = key + b"v%d\n" % turn
                text = text.replace(old[0], new) if old else _with_env(text, new)
                write(own, Edit(DEV, text, base, f"{number}-{turn}", ALICE), jitter=chance.random)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    subjects = [commit.subject for commit in repo.log(repo.head(), limit=1000)]
    assert sorted(subjects[:-1]) == sorted(f"{number}-{turn}" for number in range(8) for turn in range(25))
    fields = fields_of_text(content(repo))
    assert {fields["env", f"K{number}"][1] for number in range(8)} == {"v24"}
    assert fields["owner",][1] == "alice"


def _with_env(text, line):
    return text.replace(b"env:\n", b"env:\n" + line) if b"env:\n" in text else text + b"env:\n" + line


@pytest.fixture
def remote(repo, tmp_path):
    return Remote(tmp_path / "copy.git", str(repo.path))


def test_a_remote_is_written_to_by_push(repo, remote):
    made = edit(repo, changed(b"5G", b"9G"))
    repo.commit({DEV: changed(b"running", b"stopped")}, "stop", BOB)
    done = put(remote, made)
    assert done.combined
    assert repo.head() == done.commit
    assert content(repo) == changed(b"5G", b"9G").replace(b"running", b"stopped")
    refs = remote.git.run("for-each-ref", "--format=%(refname)").decode().split()
    assert refs == ["refs/voxnix/fetched"]


def test_a_race_for_a_remote_is_repeated(repo, remote):
    racing = Racing(remote, 2)
    racing.change = None
    turns = []

    def faster(*args):
        if len(turns) < 2:
            turns.append(repo.commit({"state/other.yaml": b"# %d\n" % len(turns)}, "faster", BOB))
        return remote.put(*args)

    racing.put = faster
    done = put(racing, edit(repo, changed(b"5G", b"9G")), sleep=lambda _: None)
    assert repo.head() == done.commit
    assert len(repo.log(repo.head())) == 4


def test_a_remote_that_refuses_is_quoted_and_not_asked_again(repo, remote):
    hook = repo.path / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho once >> asked\necho 'state/dev.yaml:1:1: not like this' >&2\nexit 1\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    head = repo.head()
    with pytest.raises(PushRefused, match="not like this"):
        put(remote, edit(repo, changed(b"5G", b"9G")))
    assert repo.head() == head
    assert (repo.path / "asked").read_text() == "once\n"


def test_a_remote_that_is_away_is_no_clash(repo, remote, tmp_path):
    made = edit(repo, changed(b"5G", b"9G"))
    repo.path.rename(tmp_path / "away.git")
    with pytest.raises(Transient):
        put(remote, made)


def test_an_edit_of_what_cannot_be_in_the_repo_is_refused(repo):
    with pytest.raises(BadInput, match="cannot be a path"):
        put(repo, edit(repo, b"x", path="state/../etc"))
    assert (
        subprocess.run(["git", "-C", repo.path, "fsck", "--strict"], capture_output=True, check=False).returncode == 0
    )
