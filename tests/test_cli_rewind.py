"""`rollback --data` and `undo --data`: the right snapshot, held until approved, and nothing lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controller.cli.rewind import applied_at, label_before
from controller.git import trailers
from tests.box import Box
from tests.cli import Shell

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC = "owner: alice\nmodules: [git, workspace]\n"


def label(hours, why="system"):
    return f"voxnix-{NOON + timedelta(hours=hours):%Y%m%dT%H%M%SZ}-{why}"


def at(hours):
    return NOON + timedelta(hours=hours)


LABELS = (label(-30, "daily"), label(-6, "daily"), label(-1), label(2), label(5), label(18, "daily"), "by-hand")


@pytest.mark.parametrize(
    ("committed", "applied", "until", "found"),
    [
        (at(-2), at(-0.9), at(1.5), label(-1)),
        (at(1.5), at(2.1), None, label(2)),
        (at(3), at(3.1), at(4.9), label(2)),
        (at(1.5), None, at(4.5), label(2)),
        (at(3), None, at(4.5), label(2)),
        (at(4.5), None, None, label(5)),
        (at(6), None, None, label(5)),
        (at(20), None, None, label(18, "daily")),
        (at(-40), None, at(-31), None),
        (at(-40), at(-39), None, None),
    ],
)
def test_the_snapshot_just_before_a_revision_was_applied(committed, applied, until, found):
    assert label_before(LABELS, committed, applied, until) == found


def event(hours, kind, cause):
    return {"at": at(hours).isoformat(), "kind": kind, "cause": cause}


def test_when_a_revision_was_applied():
    mine, other = f"revision {'a' * 10}", f"revision {'b' * 10}"
    events = [
        event(0, "Install", other),
        event(1, "SetQuota", mine),
        event(2, "Install", mine),
        event(3, "Install", mine),
    ]
    assert applied_at(events, "a" * 40) == at(2)
    assert applied_at(events[:2], "a" * 40) == at(1)
    assert applied_at([*events, event(-1, "Install", "roll-out aaaaaaaaaa")], "c" * 40) is None


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch).begin()


def notes(shell, words=None, name="dev"):
    path = shell.sim / f"root/tank/users/alice/containers/{name}/workspace/notes.txt"
    if words is not None:
        path.write_text(words)
    return path.read_text()


def spec(shell):
    return shell.repo.read(shell.repo.head(), ["state/dev.yaml"])["state/dev.yaml"].decode()


@pytest.fixture
def changed(shell):
    """A container whose second version spoiled its data."""
    shell.commit({"state/dev.yaml": SPEC})
    shell.good("apply")
    notes(shell, "good")
    commit = shell.commit({"state/dev.yaml": SPEC.replace("git", "git, fish")}, "try fish")
    shell.good("apply")
    notes(shell, "spoiled")
    return commit


def approve(shell):
    assert shell.run("apply").code == 3
    (hold,) = shell.good("--json", "status").json["holds"]
    shell.good("approve", hold["id"], "--yes")
    shell.good("apply")


@pytest.mark.parametrize("words", [("rollback", "dev"), ("undo",)])
def test_spec_and_data_go_back_once_approved_and_what_was_is_kept(shell, changed, words):
    said = shell.good(*words, "--data", "--reason", "fish ate it").out
    assert "its data goes back to voxnix-" in said
    assert f"before commit {changed[:10]} was applied" in said
    assert "kept whole in the trash for 30 days" in " ".join(said.split())
    assert "voxnix approve dev" in said
    assert spec(shell) == SPEC
    last = shell.repo.show(shell.repo.head())
    ((key, value),) = trailers(last.message)
    assert key == "Voxnix-Rollback-Data"
    assert "fish ate it" in last.message
    shell.run("apply")
    assert notes(shell) == "spoiled"
    approve(shell)
    assert notes(shell) == "good"
    (piece,) = shell.good("--json", "trash", "list").json
    assert piece["aside"]
    assert shell.good("files", piece["id"], "--at", "latest", "/workspace/notes.txt").out == "spoiled"
    assert value.split(" ")[1] in [row["snapshot"] for row in shell.good("--json", "files", "dev").json]


def test_data_alone_goes_back_where_the_spec_is_as_it_was(shell, changed):
    count = len(shell.repo.log(shell.repo.head()))
    found = shell.good("--json", "rollback", "dev", changed, "--data").json
    assert found["spec"] is None
    assert [one["name"] for one in found["data"]] == ["dev"]
    assert len(shell.repo.log(shell.repo.head())) == count + 1
    approve(shell)
    assert notes(shell) == "good"
    assert "fish" in spec(shell)


def test_json_has_both(shell, changed):
    found = shell.good("--json", "undo", changed, "--data").json
    assert found["spec"]["commit"] != found["data"][0]["commit"]
    assert found["data"][0]["snapshot"].startswith("voxnix-")


def test_without_data_nothing_is_asked_for(shell, changed):
    shell.good("rollback", "dev")
    shell.good("apply")
    assert notes(shell) == "spoiled"
    assert "--data" in shell.good("rollback", "--help").out
    assert "Its data is not concerned" not in shell.good("rollback", "--help").out


def test_what_cannot_go_back_is_said_before_anything_is_committed(shell, changed):
    head = shell.repo.head()
    first = shell.repo.log(head, "state/dev.yaml")[-1].sha
    for words, said in (
        (("undo", first, "--data"), "changed no container that was there"),
        (("rollback", "web", "--data"), "there was no state/web.yaml"),
        (("rollback", "../x", "--data"), "cannot be the name"),
    ):
        answer = shell.run(*words)
        assert answer.code == 1
        assert said in answer.err
    assert shell.repo.head() == head


def test_without_a_snapshot_from_before_nothing_is_committed(shell):
    first = shell.commit({"state/dev.yaml": SPEC})
    shell.good("apply")
    said = shell.run("rollback", "dev", first, "--data")
    assert said.code == 1
    assert "no snapshot of dev is from before" in said.err
    assert shell.repo.head() == first


def test_a_removed_container_comes_back_with_its_files_without_a_word_about_data(shell, changed):
    removed = shell.commit({"state/dev.yaml": None}, "remove dev")
    shell.good("apply")
    assert "comes back with its files" in shell.run("undo", removed, "--data").err
    shell.good("undo", removed)
    shell.good("apply")
    assert notes(shell) == "spoiled"


async def test_a_later_roll_out_is_not_taken_for_the_revision(tmp_path):
    """A quota takes no snapshot; one that the library took afterwards holds data of after it."""
    box = Box(tmp_path)
    box.commit({"dev": SPEC})
    await box.apply()
    box.clock.pass_(timedelta(hours=30))
    await box.apply()
    commit = box.commit({"dev": SPEC + "workspace: {quota: 9G}\n"})
    box.clock.pass_(timedelta(hours=1))
    async with box.controller() as found:
        await found.converge()
        events = [
            {"kind": e.kind, "cause": e.cause, "at": e.at.isoformat()}
            for e in found.store.events(container="dev", limit=99)
        ]
        await found.stop()
    applied = applied_at(events, commit)
    assert applied == box.clock.wall
    look = await box.look()
    labels = look.observed.storage.value.datasets["tank/users/alice/containers/dev"].snapshots
    later = f"voxnix-{applied + timedelta(hours=1):%Y%m%dT%H%M%SZ}-system"
    found = label_before((*labels, later), applied - timedelta(hours=1), applied)
    assert found in labels
