"""Who brought a commit, from signatures and the receive log: on a whole appliance whose policy asks for it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.desired import Desires, Identities
from controller.git import Mirror
from controller.receive import ReceiveLog
from controller.spec.state import Library
from controller.store import Store
from tests import keygen
from tests.box import Box
from tests.keygen import Key
from tests.pushers import (
    AGENT,
    ALICE,
    ALICE_SIGNS,
    BOB,
    BOB_SIGNS,
    POLICY,
    REQUIRED,
    STRANGER,
    TENANTS,
    Pushers,
    tenant,
)

WEB = "owner: bob\n"
DEV = "owner: alice\n"
PAST = "it came past the receiving side"


class Gate:
    """An appliance on which identities are required, and the controller's word on what was brought to it."""

    def __init__(self, box: Box, keygen_calls) -> None:
        self.box = box
        self.people = Pushers(box.repo_path)
        self.keygen_calls = keygen_calls

    @property
    def log(self):
        return self.box.repo_path / "voxnix/received.jsonl"

    async def read(self):
        """What the controller makes of the branch now: nothing, if it follows it, or why it does not."""
        async with self.box.controller() as controller:
            return controller.desires.read()

    async def refused(self) -> str:
        reading = await self.read()
        assert reading.refused is not None, "the commit was let in"
        return "; ".join(map(str, reading.refused.problems))

    async def follows(self, sha: str) -> bool:
        reading = await self.read()
        assert reading.refused is None, reading.refused
        return reading.known.revision == sha


@pytest.fixture
def programs(tmp_path, monkeypatch):
    folder = keygen.install(tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
async def gate(tmp_path, programs):
    box = Box(tmp_path)
    delegates = tmp_path / "agent.pub"
    delegates.write_text(f"# the agent\n{AGENT.public}\n")
    box.settings = replace(box.settings, delegate_keys=str(delegates))
    box.commit({**TENANTS, POLICY: REQUIRED, "web": WEB, "dev": DEV})
    found = Gate(box, lambda: keygen.calls(programs))
    assert await found.follows(box.repo.head())
    return found


class TestSignatures:
    async def test_a_member_signs_what_is_theirs(self, gate):
        sha = gate.people.smuggle(gate.people.commit({"web": WEB + "power: stopped\n"}, signed=BOB_SIGNS))
        assert await gate.follows(sha)
        assert len(gate.keygen_calls()) == 1

    async def test_a_member_signs_what_is_not_theirs(self, gate):
        gate.people.smuggle(gate.people.commit({"dev": DEV + "power: stopped\n"}, signed=BOB_SIGNS))
        assert "`dev` belongs to alice; bob, a member, may not change it" in await gate.refused()

    async def test_a_stranger_signs(self, gate):
        gate.people.smuggle(gate.people.commit({"web": WEB + "power: stopped\n"}, signed=STRANGER))
        refused = await gate.refused()
        assert "a signature with a key that is no tenant's" in refused
        assert "voxnix accept-rewrite" in refused
        assert gate.keygen_calls() == []

    async def test_a_key_to_push_with_signs_nothing(self, gate):
        gate.people.smuggle(gate.people.commit({"web": WEB + "power: stopped\n"}, signed=BOB))
        assert "no tenant's" in await gate.refused()

    async def test_a_key_counts_until_the_commit_that_takes_it_away(self, gate):
        people = gate.people
        last = people.smuggle(people.commit({"web": WEB + "power: stopped\n"}, signed=BOB_SIGNS))
        without = tenant("Bob", BOB, Key("bob anew"))
        gone = people.smuggle(people.commit({"state/tenants/bob.yaml": without}, signed=ALICE_SIGNS))
        people.smuggle(people.commit({"web": WEB}, signed=BOB_SIGNS))
        reading = await gate.read()
        assert [commit.sha for commit in reading.accepted] == [last, gone]
        assert reading.known.revision == gone
        assert "no tenant's" in str(reading.refused.problems[0])

    async def test_a_signature_over_other_content(self, gate):
        people = gate.people
        good = people.raw(people.commit({"web": WEB + "power: stopped\n"}, signed=BOB_SIGNS))
        other = people.raw(people.commit({"web": WEB + "paused: true\n"}))
        tree = other.splitlines()[0]
        people.smuggle(people.write(good.replace(good.splitlines()[0], tree)))
        refused = await gate.refused()
        assert "bears a signature with the key of bob that is not theirs" in refused
        assert "incorrect signature" in refused

    async def test_a_broken_signature_is_not_made_good_by_the_key_of_the_push(self, gate):
        people = gate.people
        good = people.raw(people.commit({"web": WEB + "power: stopped\n"}, signed=BOB_SIGNS))
        people.bring(people.write(good.replace(b"change\n", b"chance\n")), BOB)
        assert "not theirs" in await gate.refused()

    async def test_a_signature_made_for_something_else(self, gate):
        people = gate.people
        sha = people.commit({"web": WEB + "power: stopped\n"})
        raw = people.raw(sha)
        armor = BOB_SIGNS.armor(raw, "file").decode().rstrip("\n").replace("\n", "\n ")
        head, _, body = raw.partition(b"\n\n")
        people.smuggle(people.write(head + f"\ngpgsig {armor}\n\n".encode() + body))
        assert "no signature" in await gate.refused()

    async def test_a_commit_with_two_signatures_has_none(self, gate):
        people = gate.people
        once = people.raw(people.commit({"web": WEB + "power: stopped\n"}, signed=BOB_SIGNS))
        people.smuggle(people.write(keygen.signed_commit(once, BOB_SIGNS)))
        assert "no signature" in await gate.refused()

    async def test_verified_once_however_often_it_is_looked_at(self, gate):
        people = gate.people
        people.smuggle(people.commit({"dev": DEV + "power: stopped\n"}, signed=BOB_SIGNS))
        async with gate.box.controller() as controller:
            await controller.once()
            people.bring(people.commit({}, "again"), BOB)
            await controller.once()
        assert len(gate.keygen_calls()) == 1

    async def test_without_ssh_keygen_the_last_good_revision_stands_and_says_so(self, gate, tmp_path, monkeypatch):
        before = gate.box.repo.head()
        gate.people.smuggle(gate.people.commit({"web": WEB + "power: stopped\n"}, signed=BOB_SIGNS))
        bare = tmp_path / "bare"
        bare.mkdir()
        for program in ("git", "env"):
            (bare / program).symlink_to(shutil.which(program))
        monkeypatch.setenv("PATH", str(bare))
        reading = await gate.read()
        assert reading.known.revision == before
        assert "no ssh-keygen" in reading.trouble


class TestReceiveLog:
    async def test_a_member_pushes_what_is_theirs(self, gate):
        assert await gate.follows(gate.people.bring(gate.people.commit({"web": WEB + "power: stopped\n"}), BOB))
        assert gate.keygen_calls() == []

    async def test_a_member_pushes_what_is_not_theirs(self, gate):
        gate.people.bring(gate.people.commit({"dev": None}), BOB)
        assert "`dev` belongs to alice" in await gate.refused()

    async def test_an_admin_pushes_anything(self, gate):
        assert await gate.follows(gate.people.bring(gate.people.commit({"web": None}), ALICE))

    async def test_an_admin_pushes_what_a_member_has_signed(self, gate):
        sha = gate.people.commit({"dev": DEV + "power: stopped\n"}, signed=BOB_SIGNS)
        assert await gate.follows(gate.people.bring(sha, ALICE))

    async def test_a_member_pushes_what_an_admin_has_signed(self, gate):
        sha = gate.people.commit({"dev": DEV + "power: stopped\n"}, signed=ALICE_SIGNS)
        assert await gate.follows(gate.people.bring(sha, BOB))

    async def test_a_key_that_is_nobodys(self, gate):
        gate.people.bring(gate.people.commit({"web": WEB + "power: stopped\n"}), STRANGER)
        assert f"pushed with the key {STRANGER.fingerprint}, which is no tenant's" in await gate.refused()

    async def test_a_key_that_was_taken_away_before(self, gate):
        people = gate.people
        people.bring(people.commit({"state/tenants/bob.yaml": tenant("Bob", Key("new"), BOB_SIGNS)}), ALICE)
        people.bring(people.commit({"web": WEB + "power: stopped\n"}), BOB)
        assert "which is no tenant's" in await gate.refused()

    async def test_a_key_that_the_agent_has_too_stands_for_nobody(self, gate):
        people = gate.people
        people.bring(people.commit({"state/tenants/bob.yaml": tenant("Bob", AGENT, BOB_SIGNS)}), ALICE)
        people.bring(people.commit({"web": WEB + "power: stopped\n"}, "x\n\nRequested-by: bob"), AGENT)
        assert "has several owners: tenant bob, the delegate" in await gate.refused()

    async def test_what_root_commits_on_the_appliance(self, gate):
        assert await gate.follows(gate.box.commit({"dev": None, "web": None}))

    async def test_an_entry_for_another_commit_helps_nobody(self, gate):
        people = gate.people
        people.bring(people.commit({"web": WEB + "power: stopped\n"}), BOB)
        assert (await gate.read()).refused is None
        people.smuggle(people.commit({"web": WEB}))
        assert PAST in await gate.refused()

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda log: log.chmod(0o666), "others may write voxnix/received.jsonl"),
            (lambda log: log.chmod(0o620), "others may write voxnix/received.jsonl"),
            (lambda log: log.parent.chmod(0o777), "others may write voxnix:"),
            (lambda log: log.parent.parent.chmod(0o775), "others may write"),
            (lambda log: (log.rename(log.with_name("x")), log.symlink_to("x")), "cannot be read"),
            (lambda log: os.link(log, log.with_name("x")), "no plain file"),
            (lambda log: (log.unlink(), os.mkfifo(log, 0o600)), "no plain file"),
            (lambda log: (log.unlink(), log.mkdir(0o700)), "no plain file"),
            (lambda log: (log.parent.rename(log.parent.with_name("v")), log.parent.symlink_to("v")), "no plain folder"),
        ],
        ids=["for all", "for a group", "its folder", "the repository", "link", "hard link", "pipe", "folder", "linked"],
    )
    async def test_a_log_that_others_can_write_is_not_believed(self, gate, spoil, said):
        before = gate.box.repo.head()
        gate.people.bring(gate.people.commit({"web": WEB + "power: stopped\n"}), BOB)
        spoil(gate.log)
        reading = await gate.read()
        assert reading.known.revision == before
        assert "the receive log is not believed" in str(reading.refused.problems[0])
        assert said in str(reading.refused.problems[0])

    async def test_a_late_entry_is_seen(self, gate):
        sha = gate.people.smuggle(gate.people.commit({"web": WEB + "power: stopped\n"}))
        async with gate.box.controller() as controller:
            await controller.once()
            assert controller.desires.read().refused is not None
            gate.people.bring(sha, BOB)
            await controller.once()
            assert controller.desires.read().known.revision == sha

    async def test_damage_is_told_and_does_no_harm(self, gate):
        people = gate.people
        with gate.log.open("ab") as log:
            log.write(b'{"v":1,"at":"2026-01-01T00:00:00+00:00","via":"ssh","commits":["')
        sha = people.bring(people.commit({"web": WEB + "power: stopped\n"}), BOB)
        sha = people.smuggle(people.commit({}, "past", on=sha))
        async with gate.box.controller() as controller:
            reading = controller.desires.read()
        assert "lines that cannot be read, left out: 1" in "".join(map(str, reading.warnings))
        assert [str(commit.sha) for commit in reading.accepted] == [people.git("rev-parse", f"{sha}^")]


class TestGate:
    async def test_a_branch_moved_behind_the_hook_changes_nothing_but_says_so(self, gate):
        before = gate.box.repo.head()
        sha = gate.people.smuggle(gate.people.commit({"dev": None, "web": None}))
        async with gate.box.controller() as controller:
            planned = await controller.once()
            assert planned.empty or all(lane.key != "dev" or not lane.destroys for lane in planned.lanes)
            assert controller.desires.read().known.revision == before
        with Store.open(gate.box.settings.store) as store:
            summary = store.summary()
        assert f"commit {sha[:10]} is refused" in summary
        assert PAST in summary
        assert "push this with your own key" in summary

    async def test_root_may_take_what_nobody_brought(self, gate):
        sha = gate.people.smuggle(gate.people.commit({"web": None}))
        with Store.open(gate.box.settings.store, create=True) as store:
            store.accept_rewrite(sha, "root", "it was me", datetime.now(UTC))
        assert await gate.follows(sha)

    async def test_the_policy_is_that_of_the_commit_before(self, gate):
        people = gate.people
        opened = people.bring(people.commit({POLICY: "identity: open\n"}), ALICE)
        free = people.smuggle(people.commit({"dev": None}))
        assert people.git("rev-parse", f"{free}^") == opened
        assert await gate.follows(free)
        closed = people.smuggle(people.commit({POLICY: REQUIRED}))
        assert await gate.follows(closed)
        people.smuggle(people.commit({"web": None}))
        assert PAST in await gate.refused()

    @pytest.mark.parametrize("key", [BOB, AGENT, None])
    @pytest.mark.parametrize("policy", ["identity: open\n", None])
    async def test_nobody_but_an_admin_opens_it(self, gate, key, policy):
        people = gate.people
        sha = people.commit({POLICY: policy}, "x\n\nRequested-by: bob")
        people.bring(sha, key) if key else people.smuggle(sha)
        assert await gate.refused()

    @pytest.mark.parametrize("policy", ["identity: perhaps\n", "[", "identiy: open\n"])
    async def test_a_policy_that_cannot_be_read_asks_for_identities(self, gate, policy):
        gate.people.bring(gate.people.commit({POLICY: policy}), ALICE)
        gate.people.smuggle(gate.people.commit({"web": None}))
        assert PAST in await gate.refused()

    async def test_where_it_is_open_who_says_nothing_is_root_and_who_does_is_judged(self, gate):
        people = gate.people
        people.bring(people.commit({POLICY: None}), ALICE)
        assert await gate.follows(people.smuggle(people.commit({"dev": DEV + "power: stopped\n"})))
        people.bring(people.commit({"dev": DEV}), BOB)
        assert "`dev` belongs to alice" in await gate.refused()


class TestElsewhere:
    """A state repo on another machine has no receive log that could be believed: signatures alone count."""

    @pytest.fixture
    def desires(self, gate):
        mirror = Mirror(gate.box.directory / "other.git", str(gate.box.repo_path))
        with Store.open(gate.box.directory / "other.db", create=True) as store:
            desires = Desires(mirror, store, Library({}, "l"), witnesses=Identities(mirror, None))
            assert desires.read().known is not None
            yield desires

    def test_what_is_signed_counts(self, gate, desires):
        sha = gate.people.smuggle(gate.people.commit({"web": WEB + "power: stopped\n"}, signed=BOB_SIGNS))
        assert desires.read().known.revision == sha

    def test_what_is_not_does_not(self, gate, desires):
        gate.people.bring(gate.people.commit({"web": WEB + "power: stopped\n"}), BOB)
        [problem] = desires.read().refused.problems
        assert "it bears no signature, and nothing else tells that" in str(problem)


class TestDelegate:
    async def test_it_changes_what_belongs_to_whom_it_acts_for(self, gate):
        sha = gate.people.commit({"web": WEB + "power: stopped\n"}, "stop web\n\nRequested-by: bob")
        assert await gate.follows(gate.people.bring(sha, AGENT))
        async with gate.box.controller() as controller:
            assert sha in controller.desires.read().known.delegated

    async def test_it_has_to_say_for_whom(self, gate):
        gate.people.bring(gate.people.commit({"web": WEB + "power: stopped\n"}), AGENT)
        assert "the delegate has to say for whom it acts" in await gate.refused()

    @pytest.mark.parametrize(
        "change", [{"dev": None}, {"state/defaults.yaml": "power: stopped\n"}, {"x": "owner: bob\n"}]
    )
    async def test_for_an_admin_it_has_a_members_rights(self, gate, change):
        gate.people.bring(gate.people.commit(change, "x\n\nRequested-by: bob"), AGENT)
        refused = (await gate.read()).refused
        assert (refused is None) == ("x" in change)

    async def test_a_request_counts_from_no_other_key(self, gate):
        gate.people.bring(gate.people.commit({"dev": None}, "x\n\nRequested-by: alice"), BOB)
        assert "`dev` belongs to alice" in await gate.refused()

    async def test_what_it_would_remove_waits_for_a_person(self, gate):
        await gate.box.apply()
        gate.people.bring(gate.people.commit({"web": None}, "x\n\nRequested-by: bob"), AGENT)
        settled = await gate.box.apply()
        [hold] = settled.plan.holds
        assert all(lane.destroys for lane in hold.lanes)
        assert (await gate.box.machines())["web"].state == "running"

    async def test_it_may_sign_instead(self, gate):
        sha = gate.people.commit({"web": WEB + "power: stopped\n"}, "x\n\nRequested-by: bob", signed=AGENT)
        assert await gate.follows(gate.people.smuggle(sha))


class TestTime:
    async def test_a_decision_is_of_the_moment_in_which_it_came(self, gate):
        came = datetime(2026, 2, 27, 8, tzinfo=UTC)
        gate.people.bring(gate.people.commit({}, "x\n\nVoxnix-Restart: u1"), ALICE, at=came)
        async with gate.box.controller() as controller:
            [decision] = controller.desires.read().known.decisions
        assert decision.at == came
        assert decision.by == "alice"

    async def test_a_clock_ahead_counts_as_now(self, gate):
        ahead = gate.box.clock.wall + timedelta(days=400)
        gate.people.bring(gate.people.commit({}, "x\n\nVoxnix-Restart: u1"), ALICE, at=ahead)
        async with gate.box.controller() as controller:
            [decision] = controller.desires.read().known.decisions
        assert decision.at == gate.box.clock.wall


async def test_a_command_notes_its_commit_before_the_branch_moves(gate):
    sha = gate.box.commit({"web": None})
    [entry] = ReceiveLog(gate.box.repo_path).find([sha]).arrivals.values()
    assert (entry.key, entry.via) == ("", "cli")
    assert entry.by


async def test_what_a_command_commits_is_refused_at_once_where_it_could_not_be_noted(gate):
    from controller.errors import Blocked

    gate.log.chmod(0o666)
    before = gate.box.repo.head()
    with pytest.raises(Blocked, match="others may write"):
        gate.box.commit({"web": None})
    assert gate.box.repo.head() == before
