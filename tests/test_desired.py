import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from controller.admission import NOBODY, ROOT, Identity, Role
from controller.desired import Desires, Witness
from controller.errors import BadInput
from controller.git import Author, Mirror, StateRepo
from controller.observed import Unknown
from controller.spec.state import DecisionKind, Library
from controller.store import Store

LIBRARY = Library({"git": "", "fish": "", "tailscale": "", "workspace": ""}, "l1")
ALICE = b"name: Alice\nrole: admin\n"
BOB = b"name: Bob\nlimits: {containers: 2}\n"
DEV = b"owner: alice\nmodules: [git]\n"
WEB = b"owner: bob\nmodules: [fish]\n"
FILES = {
    "state/tenants/alice.yaml": ALICE,
    "state/tenants/bob.yaml": BOB,
    "state/dev.yaml": DEV,
    "state/web.yaml": WEB,
}
NOW = datetime(2100, 1, 1, tzinfo=UTC)


class ByAuthor:
    """A stand-in for signatures and keys: the author's name says who it is; `agent` is the delegate."""

    def of(self, commits):
        return Witness(self.identify)

    def mark(self):
        return None

    def identify(self, commit, before):
        known = {"root": ROOT, "agent": Identity(None, Role.MEMBER, delegate=True, how="the agent's key")}
        if commit.author in before.tenants:
            return (Identity.of(commit.author, before.tenants),)
        return (known.get(commit.author, NOBODY),)


class World:
    """A state repo, and a controller's view of it that can be restarted."""

    def __init__(self, path):
        self.path = path
        self.repo = StateRepo.init(path / "state.git", FILES, Author("root", ""))
        self.trash = set()
        self.library = LIBRARY
        self.store = None
        self.restart()

    def restart(self, *, lose_store=False, lose_mirror=False):
        if self.store:
            self.store.close()
        if lose_store:
            (self.path / "data/store.db").unlink()
        if lose_mirror:
            subprocess.run(["rm", "-rf", str(self.path / "mirror.git")], check=True)
        self.store = Store.open(self.path / "data/store.db", create=True)
        mirror = Mirror(self.path / "mirror.git", str(self.repo.path))
        self.desires = Desires(
            mirror, self.store, self.library, witnesses=ByAuthor(), trash=lambda: self.trash, now=lambda: NOW
        )

    def commit(self, changes=None, by="root", trailers=(), message="x"):
        return self.repo.commit(changes or {}, message, Author(by, ""), trailers)

    def read(self):
        return self.desires.read()

    def git(self, *args, stdin=b""):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "root", f"GIT_{role}_EMAIL": "r"}
        command = ["git", f"--git-dir={self.repo.path}", *args]
        return (
            subprocess.run(command, input=stdin, env=environment, capture_output=True, check=True)
            .stdout.decode()
            .strip()
        )

    def merge(self, by, *parents, tree):
        """A merge commit with the tree of another one, and the branch moved to it."""
        environment = {**os.environ, "GIT_AUTHOR_NAME": by, "GIT_AUTHOR_EMAIL": "e"}
        environment |= {"GIT_COMMITTER_NAME": by, "GIT_COMMITTER_EMAIL": "e"}
        command = ["git", f"--git-dir={self.repo.path}", "commit-tree", f"{tree}^{{tree}}", "-m", "merge"]
        command += [word for parent in parents for word in ("-p", parent)]
        sha = subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode().strip()
        self.git("update-ref", "refs/heads/main", sha)
        return sha


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.store.close()


@pytest.fixture
def processes(tmp_path, monkeypatch):
    log = tmp_path / "processes"
    log.touch()
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    return lambda: [line for line in log.read_text().splitlines() if "mirror.git --no-pager" in line]


class TestReading:
    def test_the_first_head_is_the_beginning(self, world):
        world.commit(trailers=[("Voxnix-Restart", "u1")])
        head = world.commit({"state/old.yaml": DEV})
        gone = world.commit({"state/old.yaml": None})
        reading = world.read()
        assert reading.known.revision == gone
        assert set(reading.known.containers) == {"dev", "web"}
        assert reading.known.containers["dev"].revision != head
        assert reading.known.removed == {"old": gone}
        assert reading.known.decisions == ()
        assert [commit.sha for commit in reading.accepted] == [gone]

    def test_a_new_commit_is_accepted_and_told_once(self, world):
        world.read()
        sha = world.commit({"state/new.yaml": DEV}, by="alice")
        reading = world.read()
        assert [commit.sha for commit in reading.accepted] == [sha]
        assert reading.known.containers["new"].revision == sha
        assert reading.known.containers["new"].changed_at is not None
        assert world.read().accepted == ()
        assert world.read().known is reading.known

    def test_nothing_new_starts_no_process_and_news_few(self, world, processes):
        world.read()
        before = len(processes())
        world.read()
        assert len(processes()) == before
        world.commit({"state/new.yaml": DEV})
        world.commit({"state/new.yaml": WEB})
        world.read()
        assert len(processes()) - before == 3
        world.restart()
        world.read()
        assert len(processes()) - before == 3

    @pytest.mark.parametrize("lost", [{}, {"lose_mirror": True}])
    def test_a_restart_changes_nothing(self, world, lost):
        world.read()
        world.commit({"state/new.yaml": DEV, "state/dev.yaml": None, "state/web.yaml": b"owner: [\n"})
        before = world.read().known
        world.restart(**lost)
        assert world.read().known == before

    def test_a_lost_store_begins_again_with_what_is_there(self, world):
        world.read()
        world.commit(trailers=[("Voxnix-Restart", "u1")])
        before = world.read().known
        assert len(before.decisions) == 1
        world.restart(lose_store=True)
        after = world.read().known
        assert (after.containers, after.removed, after.decisions) == (before.containers, before.removed, ())

    def test_another_library_reads_files_again(self, world):
        before = world.read().known
        world.library = Library({"git": ""}, "l2")
        world.restart()
        after = world.read().known
        assert after.containers["dev"].digest != before.containers["dev"].digest
        assert after.containers["dev"].own == before.containers["dev"].own
        assert after.containers["web"].frozen
        assert after.containers["web"].digest == before.containers["web"].digest

    def test_several_commits_at_once_are_as_good_as_one_by_one(self, world, tmp_path):
        world.read()
        world.commit({"state/dev.yaml": b"owner: alice\nmodules: [fish]\n"})
        good = world.commit({"state/dev.yaml": b"owner: alice\nmodules: [tailscale]\n"})
        world.commit({"state/dev.yaml": b"owner: alice\nmodules: [nonsense]\n"})
        dev = world.read().known.containers["dev"]
        assert dev.frozen
        assert dev.spec.modules == ("tailscale",)
        assert dev.revision == good


class TestTrouble:
    def test_the_last_accepted_revision_stands_when_the_repo_is_away(self, world):
        before = world.read().known
        world.repo.path.rename(world.path / "away")
        reading = world.read()
        assert reading.known == before
        assert "no state repo" in reading.trouble
        world.restart()
        assert world.read().known == before
        (world.path / "away").rename(world.repo.path)
        assert world.read().trouble == ""

    def test_nothing_at_all_is_unknown(self, tmp_path):
        subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "s")], check=True)
        with Store.open(tmp_path / "store.db", create=True) as store:
            reading = Desires(Mirror(tmp_path / "m", str(tmp_path / "s")), store, LIBRARY).read()
            assert "no branch main yet" in reading.desired.why
            gone = Desires(Mirror(tmp_path / "m", str(tmp_path / "gone")), store, LIBRARY).read()
            assert isinstance(gone.desired, Unknown)

    def test_a_branch_that_vanishes_removes_nothing(self, world):
        before = world.read().known
        world.git("update-ref", "-d", "refs/heads/main")
        reading = world.read()
        assert reading.known == before
        assert "no branch" in reading.trouble

    def test_a_tree_without_state_or_tenants_is_unknown_until_it_is_back(self, world):
        before = world.read().known
        world.commit(dict.fromkeys(FILES))
        assert isinstance(world.read().desired, Unknown)
        assert isinstance(world.read().desired, Unknown)
        world.restart()
        assert isinstance(world.read().desired, Unknown)
        world.commit(FILES)
        reading = world.read()
        assert set(reading.known.containers) == set(before.containers)
        assert len(reading.accepted) == 2

    def damage(self, world):
        for path in (world.path / "mirror.git/objects").rglob("*"):
            if path.is_file():
                path.write_bytes(b"")

    @pytest.mark.parametrize("restarted", [True, False])
    def test_a_damaged_mirror_is_made_anew(self, world, restarted):
        world.read()
        added = world.commit({"state/new.yaml": DEV})
        world.desires._mirror.fetch()
        self.damage(world)
        if restarted:
            world.restart()
        assert world.read().known.revision == added
        assert sorted(path.name for path in world.path.iterdir() if "mirror" in path.name) == ["mirror.git"]

    def test_a_mirror_damaged_before_the_beginning_is_made_anew(self, world):
        world.desires._mirror.fetch()
        self.damage(world)
        assert "made anew" in world.read().trouble
        assert world.read().known is not None

    def test_history_rewritten_while_the_mirror_was_lost_is_refused(self, world):
        world.commit({"state/new.yaml": DEV})
        before = world.read().known
        world.git("update-ref", "refs/heads/main", "main~1")
        world.commit({"state/other.yaml": DEV})
        world.git("reflog", "expire", "--expire=now", "--all")
        world.git("gc", "-q", "--prune=now")
        world.restart(lose_mirror=True)
        for _ in range(2):
            reading = world.read()
            assert reading.refused.rewritten
            assert reading.known == before


class TestHistory:
    def test_removals_remember_who_and_whether_paused(self, world):
        world.read()
        world.commit({"state/dev.yaml": DEV + b"paused: true\n"})
        first = world.commit({"state/dev.yaml": None})
        second = world.commit({"state/web.yaml": None}, by="agent", trailers=[("Requested-by", "bob")])
        for _ in range(2):
            known = world.read().known
            assert known.removed == {"dev": first, "web": second}
            assert known.paused_when_removed == {"dev"}
            assert known.delegated == {second}
            world.restart()

    def test_what_comes_back_is_no_longer_removed_and_has_no_past(self, world):
        world.read()
        world.commit({"state/dev.yaml": None})
        world.read()
        world.commit({"state/dev.yaml": b"owner: alice\nmodules: [nonsense]\n"})
        known = world.read().known
        assert known.removed == {}
        assert known.containers["dev"].spec is None

    def test_a_baseline_knows_paused_removals(self, world):
        world.commit({"state/dev.yaml": DEV + b"paused: true\n"})
        world.commit({"state/dev.yaml": None})
        assert world.read().known.paused_when_removed == {"dev"}

    @pytest.mark.parametrize("baseline", [True, False])
    def test_a_change_of_host_is_remembered(self, world, baseline):
        if not baseline:
            world.read()
        hosted = {f"state/{name}.yaml": FILES[f"state/{name}.yaml"] + b"host: a\n" for name in ("dev", "web")}
        world.commit(hosted)
        world.commit({"state/dev.yaml": DEV + b"host: [broken\n"})
        world.commit({"state/dev.yaml": DEV + b"host: b\n"})
        for _ in range(2):
            containers = world.read().known.containers
            assert containers["dev"].moved_from == "a"
            assert containers["web"].moved_from is None
            world.restart()

    def test_rewritten_history_is_refused_until_root_accepts_it(self, world):
        accepted = world.commit({"state/new.yaml": DEV})
        before = world.read().known
        world.git("update-ref", "refs/heads/main", "main~1")
        other = world.commit({"state/other.yaml": DEV}, trailers=[("Voxnix-Restart", "u1")])
        for _ in range(2):
            reading = world.read()
            assert reading.known == before
            assert reading.refused.rewritten
            assert accepted in str(reading.refused.problems[0])
            assert other in str(reading.refused.problems[0])
            world.restart()
        world.store.accept_rewrite(other, "root", "a slip", NOW)
        later = world.commit({"state/more.yaml": DEV}, trailers=[("Voxnix-Restart", "u2")])
        reading = world.read()
        assert reading.known.revision == later
        assert set(reading.known.containers) == {"dev", "web", "other", "more"}
        assert [decision.argument for decision in reading.known.decisions] == ["u2"]
        assert "new" in reading.known.removed
        world.git("update-ref", "refs/heads/main", other)
        assert world.read().refused.rewritten

    def test_the_branch_moved_back_is_a_rewrite(self, world):
        world.commit({"state/new.yaml": DEV})
        before = world.read().known
        world.git("update-ref", "refs/heads/main", "main~1")
        reading = world.read()
        assert reading.known == before
        assert reading.refused.rewritten


class TestAdmission:
    def test_a_refused_commit_and_all_after_it_have_no_effect(self, world):
        world.read()
        good = world.commit({"state/web.yaml": WEB + b"description: mine\n"}, by="bob")
        bad = world.commit({"state/dev.yaml": WEB}, by="bob")
        world.commit({"state/new.yaml": DEV}, by="alice")
        reading = world.read()
        assert reading.known.revision == good
        assert reading.refused.commit == bad
        assert "belongs to alice" in str(reading.refused.problems[0])
        assert [commit.sha for commit in reading.accepted] == [good]
        again = world.read()
        assert again.accepted == ()
        assert again.refused == reading.refused
        world.git("update-ref", "refs/heads/main", good)
        world.commit({"state/new.yaml": DEV}, by="alice")
        assert world.read().refused is None

    def test_refusals_are_not_judged_again_each_pass(self, world, processes):
        world.read()
        world.commit({"state/dev.yaml": WEB}, by="bob")
        world.read()
        before = len(processes())
        assert world.read().refused
        assert len(processes()) == before

    def test_each_commit_is_judged_by_the_tenants_before_it(self, world):
        world.read()
        world.commit({"state/tenants/bob.yaml": b"name: Bob\nrole: admin\n"}, by="alice")
        world.commit({"state/dev.yaml": WEB}, by="bob")
        demoted = world.commit({"state/tenants/bob.yaml": BOB}, by="bob")
        bad = world.commit({"state/dev.yaml": DEV}, by="bob")
        reading = world.read()
        assert reading.known.revision == demoted
        assert reading.refused.commit == bad

    def test_nobody_has_no_rights(self, world):
        before = world.read().known
        world.commit({"state/dev.yaml": WEB}, by="mallory")
        assert world.read().known == before

    def test_a_tenant_with_trash_stays_until_it_is_gone(self, world):
        world.commit({"state/web.yaml": None})
        world.read()
        world.trash = {"bob"}
        sha = world.commit({"state/tenants/bob.yaml": None}, by="alice")
        assert "trash" in str(world.read().refused.problems[0])
        world.trash = set()
        assert world.read().known.revision == sha

    def test_decisions_are_attributed_ordered_and_run_once(self, world):
        world.read()
        first = world.commit(by="bob", trailers=[("Voxnix-Restart", "u1")])
        second = world.commit(by="agent", trailers=[("Requested-by", "alice"), ("Voxnix-Approve", "abc")])
        third = world.commit(by="root", trailers=[("Voxnix-Restore", "t1 as dev2")])
        found = world.read().known.decisions
        assert [decision.commit for decision in found] == [first, second, third]
        assert [(d.kind, d.argument, d.detail) for d in found] == [
            (DecisionKind.RESTART, "u1", ""),
            (DecisionKind.APPROVE, "abc", ""),
            (DecisionKind.RESTORE, "t1", "dev2"),
        ]
        assert [(d.by, d.admin, d.delegate) for d in found] == [
            ("bob", False, False),
            ("alice", False, True),
            ("root", True, False),
        ]
        world.store.decided(second)
        assert [decision.commit for decision in world.read().known.decisions] == [first, third]
        world.restart()
        assert [decision.commit for decision in world.read().known.decisions] == [first, third]

    def test_a_decision_is_never_dated_in_the_future(self, world):
        world.read()
        world.desires._now = lambda: NOW - timedelta(days=36500)
        world.commit(trailers=[("Voxnix-Restart", "u1")])
        assert world.read().known.decisions[0].at == NOW - timedelta(days=36500)


class TestMerges:
    def branch(self, world, base, changes, by):
        """A commit on top of `base`, with the branch put back afterwards."""
        head = world.repo.head()
        world.git("update-ref", "refs/heads/main", base)
        sha = world.commit(changes, by=by)
        world.git("update-ref", "refs/heads/main", head)
        return sha

    def test_a_member_may_merge_the_main_line_into_their_work(self, world):
        base = world.repo.head()
        world.read()
        mine = self.branch(world, base, {"state/web.yaml": WEB + b"description: mine\n"}, "bob")
        main = world.commit({"state/dev.yaml": DEV + b"description: new\n"}, by="alice")
        world.git("update-ref", "refs/heads/tmp", main)
        both = self.branch(world, main, {"state/web.yaml": WEB + b"description: mine\n"}, "bob")
        merge = world.merge("bob", mine, main, tree=both)
        reading = world.read()
        assert reading.known.revision == merge
        assert {commit.sha for commit in reading.accepted} == {mine, main, merge}

    def test_a_member_cannot_merge_what_they_were_allowed_once(self, world):
        world.commit({"state/tenants/bob.yaml": b"name: Bob\nrole: admin\n"})
        old = self.branch(world, world.repo.head(), {"state/dev.yaml": WEB}, "bob")
        main = world.commit({"state/tenants/bob.yaml": BOB}, by="alice")
        before = world.read().known
        theft = self.branch(world, main, {"state/dev.yaml": WEB}, "bob")
        merge = world.merge("bob", old, main, tree=theft)
        reading = world.read()
        assert reading.known == before
        assert reading.refused.commit == merge

    def test_a_merge_cannot_hide_a_change_of_its_own(self, world):
        base = world.repo.head()
        world.read()
        mine = self.branch(world, base, {"state/web.yaml": WEB + b"description: mine\n"}, "bob")
        main = world.commit({"README.md": b"x"}, by="alice")
        evil = self.branch(world, main, {"state/web.yaml": WEB, "state/dev.yaml": WEB}, "bob")
        merge = world.merge("bob", main, mine, tree=evil)
        reading = world.read()
        assert reading.refused.commit == merge
        assert reading.known.containers["dev"].spec.owner == "alice"

    def test_a_decision_made_before_the_accepted_commit_is_told_not_run(self, world):
        base = world.repo.head()
        world.git("update-ref", "refs/heads/main", base)
        head = world.repo.head()
        decision = world.commit(by="bob", trailers=[("Voxnix-Restart", "u1")])
        world.git("update-ref", "refs/heads/main", head)
        main = world.commit({"README.md": b"x"}, by="alice")
        world.read()
        merge = world.merge("alice", main, decision, tree=main)
        reading = world.read()
        assert reading.known.revision == merge
        assert reading.known.decisions == ()
        assert "does not count" in str(reading.warnings[0])


class TestRevisions:
    def test_any_revision_can_be_looked_at(self, world, processes):
        old = world.commit({"state/dev.yaml": b"owner: alice\nmodules: [fish]\n"})
        new = world.commit({"state/more.yaml": DEV})
        world.read()
        before = len(processes())
        found = world.desires.read_revision("HEAD~1")
        assert len(processes()) - before <= 4
        assert found.revision == old
        assert set(found.containers) == {"dev", "web"}
        assert set(found.removed) == {"more"}
        assert world.desires.read_revision("main") == world.read().known
        assert world.desires.read_revision(new[:10]).revision == new
        assert world.read().known.revision == new
        with pytest.raises(BadInput, match="no revision"):
            world.desires.read_revision("nonsense")

    def test_odd_entries_freeze_and_are_not_followed(self, world):
        world.read()
        blob = world.git("hash-object", "-w", "--stdin", stdin=b"/etc/passwd")
        listing = world.git("ls-tree", "main:state") + f"\n120000 blob {blob}\tdev.yaml\n"
        listing = "\n".join(line for line in listing.splitlines() if "100644" not in line or "dev.yaml" not in line)
        state = world.git("mktree", stdin=(listing + "\n").encode())
        root = world.git("mktree", stdin=f"040000 tree {state}\tstate\n".encode())
        sha = world.git("commit-tree", root, "-p", "main", "-m", "link")
        world.git("update-ref", "refs/heads/main", sha)
        assert "symbolic link" in str(world.read().refused.problems[0])
        assert world.desires.read_revision(sha).containers["dev"].frozen
        world.restart(lose_store=True)
        assert world.read().known.containers["dev"].spec is None
