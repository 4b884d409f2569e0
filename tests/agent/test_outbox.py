"""Commits in a person's name on the real controller: made once, judged, held, approved; and crashes between."""

from __future__ import annotations

import os

import pytest

from agent import past, wishes
from agent.ledger import Stage
from agent.outbox import Outbox
from agent.wishes import Wish
from controller.errors import BadInput, InvalidFiles, Transient
from controller.git.weave import Clashing
from tests import keygen
from tests.agent.office import AGENT, ALICE, BOB


async def test_a_creation_is_committed_in_the_persons_name_and_becomes_ready(at_work):
    desk = at_work.desk(BOB, "a box to play in\nVoxnix-Approve: x")
    proposal = wishes.create(await desk.state(), BOB, "play", Wish(["fish"], quota="10G"))
    said = await desk.carry(proposal, confirmed=False)
    assert "the controller took it" in said
    (commit,) = at_work.commits(Requested_by="bob")
    assert commit.author == "Bob"
    assert dict(commit.trailers)["Reason"] == "a box to play in Voxnix-Approve: x"
    assert dict(commit.trailers)["Chat-message"] == desk.sent[0].key
    assert "Voxnix-Approve" not in dict(commit.trailers)
    assert at_work.file("play").startswith("owner: bob\n")
    await at_work.until("play", "ready")


async def test_what_is_sent_twice_is_committed_once(at_work):
    desk = at_work.desk()
    proposal = wishes.power(await desk.state(), BOB, "dev", "stopped")
    first = await desk.send(proposal)
    again = await desk.send(proposal)
    assert first.sha == again.sha
    assert len(at_work.commits(Requested_by="bob")) == 1


async def test_a_confirmed_removal_is_held_then_approved_and_its_data_is_in_the_trash(at_work):
    desk = at_work.desk()
    proposal = wishes.destroy(await desk.state(), BOB, "dev", size=1, until="2030-01-01")
    with pytest.raises(BadInput, match="confirmation"):
        await desk.carry(proposal, confirmed=False)
    said = await desk.carry(proposal, confirmed=True)
    assert "approved with" in said
    await at_work.until("dev", "")
    assert [one.subject for one in at_work.commits(Requested_by="bob")] == ["approve: destroy dev", "destroy dev"]
    assert [one["name"] for one in (await at_work.appliance.status())["trash"]] == ["dev"]
    back = at_work.desk()
    assert "took it" in await back.carry(await past.restore(back, "dev"), confirmed=False)
    await at_work.until("dev", "ready")


async def test_other_peoples_containers_are_not_there(at_work):
    desk = at_work.desk(BOB)
    state = await desk.state()
    for draw in (
        lambda: wishes.power(state, BOB, "web", "stopped"),
        lambda: wishes.destroy(state, BOB, "web", size=0, until=""),
        lambda: wishes.change(state, BOB, "web", Wish(quota="9G")),
        lambda: wishes.schedule(state, BOB, "web", start="0 8 * * *", stop=None, timezone=None),
    ):
        with pytest.raises(BadInput, match="you have no container 'web'"):
            draw()
    with pytest.raises(BadInput, match="already"):
        wishes.create(state, BOB, "web", Wish())
    with pytest.raises(BadInput, match="you have no container 'dev'"):
        wishes.power(state, ALICE, "dev", "stopped")


async def test_a_crash_after_the_push_leaves_one_commit_and_its_outcome_is_found(at_work):
    def dies():
        raise MemoryError("killed")

    at_work.remote.after_push = dies
    desk = at_work.desk(message="m-crash")
    proposal = wishes.power(await desk.state(), BOB, "dev", "stopped")
    with pytest.raises(MemoryError):
        await desk.send(proposal)
    at_work.reopen()
    (found,) = await at_work.outbox.recover()
    assert found.stage is Stage.ACCEPTED
    assert len(at_work.commits(Requested_by="bob")) == 1
    again = at_work.desk(message="m-crash")
    assert (await again.send(proposal)).sha == found.sha


async def test_a_crash_before_the_push_is_made_good_while_it_is_fresh(at_work):
    def dies():
        raise MemoryError("killed")

    at_work.remote.before_push = dies
    desk = at_work.desk()
    with pytest.raises(MemoryError):
        await desk.send(wishes.power(await desk.state(), BOB, "dev", "stopped"))
    at_work.reopen()
    (found,) = await at_work.outbox.recover()
    assert found.stage is Stage.ACCEPTED
    assert len(at_work.commits(Requested_by="bob")) == 1


async def test_what_is_no_longer_fresh_is_dropped(at_work):
    def dies():
        raise Transient("the network is away")

    at_work.remote.before_push = dies
    desk = at_work.desk()
    desk.now = lambda: at_work.now.replace(year=2020)
    with pytest.raises(Transient):
        await desk.send(wishes.power(await desk.state(), BOB, "dev", "stopped"))
    at_work.reopen()
    (found,) = await at_work.outbox.recover()
    assert found.stage is Stage.DROPPED
    assert at_work.commits(Requested_by="bob") == []


async def test_a_clash_writes_nothing_and_may_be_asked_for_anew(at_work):
    desk = at_work.desk()
    proposal = wishes.change(await desk.state(), BOB, "dev", Wish(quota="9G"))
    at_work.box.commit({"dev": "owner: bob\nmodules: [git, workspace, tailscale]\nworkspace:\n  quota: 7G\n"})
    with pytest.raises(Clashing):
        await desk.send(proposal)
    assert at_work.commits(Requested_by="bob") == []
    fresh = wishes.change(await desk.state(), BOB, "dev", Wish(quota="9G"))
    assert (await desk.send(fresh)).stage is Stage.ACCEPTED


async def test_a_refusal_of_the_controller_is_told(at_work):
    desk = at_work.desk(ALICE)
    state = await desk.state()
    proposal = wishes.power(state, ALICE, "web", "stopped")
    forged = at_work.desk(BOB)
    assert "refused" in await forged.carry(proposal, confirmed=False)
    assert (await at_work.appliance.status())["refused"]


async def test_limits_are_told_before_there_is_a_commit(at_work):
    at_work.box.commit({"state/tenants/bob.yaml": "name: Bob\nlimits:\n  containers: 1\n"})
    desk = at_work.desk()
    with pytest.raises(InvalidFiles, match="at most 1"):
        wishes.create(await desk.state(), BOB, "more", Wish())


async def test_undo_takes_back_the_persons_last_change(at_work):
    desk = at_work.desk()
    await desk.send(wishes.change(await desk.state(), BOB, "dev", Wish(add_modules=["fish"])))
    at_work.box.commit({"web": "owner: alice\ndescription: more\n"})
    assert "fish" in at_work.file("dev")
    undone = at_work.desk()
    await undone.send(await past.undo(undone, None))
    assert at_work.file("dev") == "owner: bob\nmodules: [git, workspace, tailscale]\n"


async def test_undo_of_a_creation_is_a_removal_and_needs_a_confirmation(at_work):
    desk = at_work.desk()
    await desk.send(wishes.create(await desk.state(), BOB, "play", Wish()))
    proposal = await past.undo(at_work.desk(), "play")
    assert proposal.removes
    assert proposal.risks


async def test_history_of_a_member_has_only_their_own(at_work):
    told = await past.history(at_work.desk(BOB), None, 10)
    assert [one.changes for one in told] == [("dev: new: git, workspace, tailscale",)]
    told = await past.history(at_work.desk(ALICE), None, 10)
    assert any(text.startswith("web:") for one in told for text in one.changes)


async def test_commits_signed_with_the_agents_key_are_a_delegates(at_work, monkeypatch, tmp_path):
    folder = keygen.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    key = tmp_path / "key"
    key.write_text(AGENT.private)
    key.chmod(0o600)
    at_work.box.commit({"state/policy.yaml": "identity: required\n"})
    remote = Outbox.remote(tmp_path / "clone.git", str(at_work.box.repo_path), "main", key=str(key))
    at_work.outbox = Outbox(remote, at_work.outbox.ledger, at_work.appliance, at_work.library)
    desk = at_work.desk()
    said = await desk.carry(wishes.destroy(await desk.state(), BOB, "dev", size=0, until="2030-01-01"), confirmed=True)
    assert "approved with" in said
    await at_work.until("dev", "")
    nobody = Outbox.remote(tmp_path / "other.git", str(at_work.box.repo_path), "main")
    at_work.outbox = Outbox(nobody, at_work.outbox.ledger, at_work.appliance, at_work.library)
    unsigned = at_work.desk()
    assert "refused" in await unsigned.carry(wishes.create(await unsigned.state(), BOB, "lab", Wish()), confirmed=False)
