"""What commits led to becomes notes in the state repo, whatever happens in between."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from controller.audit import Deed, Note, read_note
from controller.audit.seen import commit_of
from controller.cli.act import _refs
from controller.cli.told import history_of
from controller.git.notes import NOTES, read_notes, write_notes
from controller.git.refs import read_ref
from controller.host.sim import Fault
from controller.plan.model import Cause, CauseKind
from controller.store import Store
from controller.store.deeds import COMMITS_KEPT, Noted
from tests.box import SOMEONE, Box, Killed

DEV = "owner: alice\nmodules: [git]\n"


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def notes(box: Box, sha: str) -> tuple[Note, ...]:
    data = read_notes(box.repo, box.repo_path, [sha])
    return read_note(data[sha]) if sha in data else ()


def note(box: Box, sha: str) -> Note:
    (found,) = notes(box, sha)
    return found


def kinds(found: Note, container: str = "dev") -> list[str]:
    return [deed.kind for deed in found.deeds if deed.container == container and deed.kind not in ("Mark", "Deliver")]


def tip(box: Box) -> str | None:
    return read_ref(box.repo_path, NOTES)


async def test_a_commit_s_actions_are_noted_with_outcome_and_times(box):
    sha = box.commit({"dev": DEV})
    await box.apply()
    found = note(box, sha)
    assert (found.host, found.outcome) == ("box", "done")
    assert kinds(found) == ["CreateDataset", "Build", "Install", "SetResources", "Start"]
    assert all(deed.began <= deed.ended <= box.clock.wall for deed in found.deeds)
    assert all(deed.reason for deed in found.deeds)


async def test_a_commit_that_asks_for_nothing_is_noted_too_and_nothing_is_written_twice(box):
    box.commit({"dev": DEV})
    await box.apply()
    shas = [box.commit({"dev": f"{DEV}description: number {number}\n"}) for number in range(3)]
    await box.apply()
    assert [note(box, sha).outcome for sha in shas] == ["nothing to do"] * 3
    before = tip(box)
    await box.apply()
    await box.apply()
    assert tip(box) == before


async def test_drift_is_no_commit_s_doing(box):
    sha = box.commit({"dev": DEV})
    await box.apply()
    before = note(box, sha)
    await box.outside("systemctl", "kill", "--signal=KILL", "container@dev.service")
    box.clock.pass_(timedelta(hours=1))
    await box.apply()
    assert note(box, sha) == before
    assert commit_of(Cause(CauseKind.DRIFT, "down")) == ""
    assert commit_of(Cause(CauseKind.DECISION, "abc")) == "abc"


async def test_a_failure_is_noted_in_the_tool_s_words_and_mended_when_it_is_over(box):
    sha = box.commit({"dev": DEV})
    box.host.faults.add(Fault("extra-container", stderr="no space left on device\n", times=None))
    await box.apply()
    found = note(box, sha)
    assert found.outcome == "failed"
    assert found.deeds[-1].kind == "Install"
    assert "no space left on device" in found.deeds[-1].error
    await later(box)
    at = tip(box)
    for _ in range(3):
        await later(box)
        assert note(box, sha).outcome == "failed"
    assert tip(box) == at, "the same failure again is no news"
    box.host.faults.clear()
    await later(box)
    found = note(box, sha)
    assert found.outcome == "done"
    assert not any(deed.error for deed in found.deeds)
    assert max(deed.tries for deed in found.deeds) >= 4
    assert kinds(found)[-1] == "Start"


async def later(box: Box) -> None:
    """Once more, in an hour."""
    box.clock.pass_(timedelta(hours=1))
    await box.apply()


async def test_a_hold_is_noted_and_what_became_of_it(box):
    box.commit({"dev": DEV, "web": DEV})
    await box.apply()
    sha = box.commit({"dev": None, "web": None})
    settled = await box.apply()
    (hold,) = settled.plan.holds
    found = note(box, sha)
    assert found.outcome == "held"
    assert [(one.id, one.waits) for one in found.held] == [(hold.id, True)]
    approval = box.commit({}, Voxnix_Approve=hold.id)
    await box.apply()
    found = note(box, sha)
    assert found.outcome == "done"
    assert [(one.id, one.waits) for one in found.held] == [(hold.id, False)]
    assert found.containers == ("dev", "web")
    assert notes(box, approval)


async def test_history_has_it_from_git_alone(box):
    sha = box.commit({"dev": DEV, "web": DEV})
    await box.apply()
    gone = box.commit({"dev": None, "web": None})
    settled = await box.apply()
    approval = box.commit({}, "yes", Voxnix_Approve=settled.plan.holds[0].id)
    await box.apply()
    rows = {row["commit"]: row for row in history_of(box.repo, box.repo.head(), "dev", 10)}
    assert list(rows) == [approval, gone, sha]
    assert [row["led_to"][0]["outcome"] for row in rows.values()] == ["nothing to do", "done", "done"]
    assert [one["commit"] for one in rows[gone]["approved"]] == [approval]
    assert rows[gone]["files"][0]["words"] == ["removed"]
    assert {one["container"] for one in rows[gone]["led_to"][0]["actions"]} == {"dev"}
    assert rows[gone]["led_to"][0]["actions"][-1]["kind"] == "ToTrash"


async def test_a_refused_commit_is_noted(box):
    box.commit({"dev": DEV})
    await box.apply()
    sha = box.commit({}, Voxnix_Nonsense="x")
    await box.apply()
    found = note(box, sha)
    assert found.outcome == "refused"
    assert "there is no decision" in found.refused


@pytest.mark.parametrize("mode", ["die-before", "die-after"])
@pytest.mark.parametrize("command", ["zfs create", "extra-container", "systemctl start"])
def test_killed_at_a_command_nothing_is_lost(box, command, mode):
    sha = box.commit({"dev": DEV})
    box.host.faults.add(Fault(command, mode=mode))
    assert killed(box)
    assert notes(box, sha) == ()
    asyncio.run(box.apply())
    found = note(box, sha)
    assert found.outcome == "done"
    if command == "systemctl start":
        assert kinds(found)[:3] == ["CreateDataset", "Build", "Install"]


CONVERGE = """
import asyncio, os, pathlib, sys
from tests.box import Box
asyncio.run(Box(pathlib.Path(sys.argv[1]), die=lambda: os._exit(9)).apply())
"""


def killed(box: Box) -> bool:
    """Converge in another process; whether that one was killed on the way."""
    command = [sys.executable, "-c", CONVERGE, str(box.directory)]
    return subprocess.run(command, cwd=Path(__file__).parent.parent, check=False).returncode == 9


class Dies:
    """Writes notes, and is killed before or after."""

    def __init__(self, box: Box, *, written: bool) -> None:
        self.box, self.written, self.called = box, written, 0

    def __call__(self, changes):
        self.called += 1
        if self.written:
            write_notes(self.box.repo, changes, SOMEONE)
        raise Killed


@pytest.mark.parametrize("written", [False, True])
async def test_killed_around_the_writing_nothing_is_lost(box, written):
    sha = box.commit({"dev": DEV})
    dies = Dies(box, written=written)

    async def lives() -> None:
        async with box.controller() as at_work:
            at_work.looked.__self__._write = dies
            await at_work.converge()

    with pytest.raises(Killed):
        await lives()
    assert dies.called == 1
    assert bool(notes(box, sha)) == written
    before = tip(box)
    await box.apply()
    assert note(box, sha).outcome == "done"
    assert (tip(box) == before) == written, "what is written already is not written again"


async def test_a_lost_store_goes_on_from_what_is_noted(box):
    sha = box.commit({"dev": DEV})
    await box.apply()
    before = note(box, sha)
    for file in box.settings.store.parent.glob("store.db*"):
        file.unlink()
    await box.apply()
    assert set(kinds(before)) <= set(kinds(note(box, sha)))


async def test_other_hosts_parts_stay(box):
    sha = box.commit({"dev": DEV})
    other = b'{"schema": 1, "hosts": {"attic": {"outcome": "done"}}}'
    write_notes(box.repo, {sha: lambda _: other}, SOMEONE)
    await box.apply()
    assert [(one.host, one.outcome) for one in notes(box, sha)] == [("attic", "done"), ("box", "done")]


async def test_a_state_repo_that_cannot_be_written_is_told_once_and_holds_nothing_up(box, caplog):
    blocking = box.repo_path / "refs/notes"
    shutil.rmtree(blocking, ignore_errors=True)
    blocking.write_text("no folder")
    sha = box.commit({"dev": DEV})
    settled = await box.apply()
    assert settled.converged
    await box.apply()
    with Store.open(box.settings.store, create=True) as store:
        events = [event for event in store.events() if event.kind == "notes"]
    assert [event.severity for event in events] == ["warning"] * 2, "once for each controller"
    assert "cannot be noted in the state repo" in events[0].message
    assert "cannot be noted in the state repo" in caplog.text
    blocking.unlink()
    await box.apply()
    assert note(box, sha).outcome == "done"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_in_somebody_else_s_repository_root_is_they(box):
    sha = box.commit({"dev": DEV})
    for parent in (box.repo_path, *box.repo_path.parents):
        parent.chmod(parent.stat().st_mode | 0o055)
    for place in (box.repo_path, *box.repo_path.rglob("*")):
        shutil.chown(place, 65534, 65534)
    await box.apply()
    assert note(box, sha).outcome == "done"
    assert {place.stat().st_uid for place in box.repo_path.rglob("*")} == {65534}


async def test_notes_are_written_beside_the_passes_and_cause_none(box):
    looks = []
    sha = box.commit({"dev": DEV})
    async with box.controller() as at_work:
        hear = at_work.looked
        hear.__self__._every = 0.01

        def looked(look, reading):
            looks.append(look)
            hear(look, reading)

        at_work.looked = looked
        at_work.resync = 3600.0
        running = asyncio.create_task(at_work.run(_refs(str(box.repo_path))))
        await until(lambda: any(one.outcome == "done" for one in notes(box, sha)))
        await until(lambda: not at_work._wanted.is_set() and looks and looks[-1].plan.empty)
        first = box.commit({"dev": f"{DEV}description: the watch sees this\n"})
        await until(lambda: notes(box, first))
        seen = len(looks)
        write_notes(box.repo, {sha: lambda _: b"words"}, SOMEONE)
        second = box.commit({"dev": f"{DEV}description: and this\n"})
        await until(lambda: notes(box, second))
        revisions = [look.plan.revision for look in looks[seen:]]
        assert revisions == [second], "one pass for the commit, none for the notes"
        at_work.halt()
        await running


async def until(true) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what is waited for is told to nobody
            await asyncio.sleep(0.01)


def test_what_is_kept_is_bounded(box):
    with Store.open(box.directory / "s" / "store.db", create=True) as store:
        at = box.clock.wall
        store.done(Deed("old", "dev", "Start", "x", at, at))
        store.note([Noted("old")])
        store.note([Noted(f"c{number}") for number in range(COMMITS_KEPT)])
        assert "old" not in store.noted()
        assert len(store.noted()) == COMMITS_KEPT
        assert store.done_by() == frozenset()


def test_the_same_failure_again_is_one_deed(box):
    with Store.open(box.directory / "s" / "store.db", create=True) as store:
        at = box.clock.wall

        def fails(error="no", kind="Start", container="dev"):
            store.done(Deed("c", container, kind, "x", at, at, error))

        fails()
        fails("not either")
        fails(container="web")
        fails("", kind="Build")
        fails("")
        fails("", kind="Build")
        found = [(deed.container, deed.error, deed.tries) for deed in store.deeds(["c"])["c"]]
        assert found == [("web", "no", 1), ("dev", "", 1), ("dev", "", 3), ("dev", "", 1)]
