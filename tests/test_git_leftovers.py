"""What killed gits and killed writers leave in a state repo, and that it goes when nobody can be at work there."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from controller.errors import Blocked, Transient
from controller.git import Author, StateRepo, leftovers
from controller.git import repo as repo_module
from controller.git.leftovers import LOCKED, RECEIVING, WRITING, drop_lock, scratch_ref
from controller.git.refs import list_refs
from controller.git.remote import Remote

ALICE = Author("Alice", "alice@example.org")
SPEC = b"owner: alice\n"


@pytest.fixture
def repo(tmp_path):
    return StateRepo.init(tmp_path / "state.git", {"state/dev.yaml": SPEC}, ALICE)


def git(path: Path, *words: str, stdin: bytes = b"") -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", f"--git-dir={path}", *words]
    done = subprocess.run(argv, input=stdin, env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


def aged(path: Path, seconds: float) -> Path:
    at = time.time() - seconds
    os.utime(path, (at, at))
    return path


def scratch(repo: StateRepo, seconds: float, number: int = 0) -> str:
    """A scratch ref whose writer has begun so long ago, and was killed."""
    ref = f"refs/voxnix/writing-{int(time.time() - seconds):08x}-{number:012x}"
    git(repo.path, "update-ref", ref, repo.head())
    return ref


def commit(repo: StateRepo, number: int = 0) -> str:
    return repo.commit({f"state/c{number}.yaml": SPEC}, "more", ALICE)


class TestScratchRefs:
    def test_a_writer_leaves_none(self, repo):
        commit(repo)
        assert list_refs(repo.path, "refs/voxnix") == []

    def test_those_of_killed_writers_go_with_the_next_commit_but_not_before_their_time(self, repo):
        old, young = scratch(repo, WRITING + 60), scratch(repo, WRITING - 60)
        other = "refs/voxnix/accepted"
        git(repo.path, "update-ref", other, repo.head())
        commit(repo)
        assert list_refs(repo.path, "refs/voxnix") == sorted([other, young])
        assert old not in git(repo.path, "for-each-ref")

    def test_packed_ones_go_as_well(self, repo):
        old = scratch(repo, WRITING + 60)
        git(repo.path, "pack-refs", "--all")
        assert list_refs(repo.path, "refs/voxnix") == [old]
        commit(repo)
        assert old not in git(repo.path, "for-each-ref")
        assert repo.head() == git(repo.path, "rev-parse", "main")

    def test_many_go_at_once(self, repo):
        head, at = repo.head(), int(time.time() - WRITING - 60)
        lines = [f"create refs/voxnix/writing-{at:08x}-{number:012x} {head}\n" for number in range(500)]
        git(repo.path, "update-ref", "--stdin", stdin="".join(lines).encode())
        commit(repo)
        assert list_refs(repo.path, "refs/voxnix") == []

    def test_a_refused_commit_leaves_none(self, repo, monkeypatch):
        def blocked(*_):
            raise Blocked("no")

        monkeypatch.setattr(repo, "_note", blocked)
        with pytest.raises(Blocked):
            commit(repo)
        assert list_refs(repo.path, "refs/voxnix") == []

    def test_a_copy_of_a_remote_is_swept_too(self, repo, tmp_path):
        remote = Remote(tmp_path / "copy.git", str(repo.path))
        remote.fetch()
        git(remote.path, "update-ref", f"refs/voxnix/writing-{1:08x}-{1:012x}", repo.head())
        remote.commit({"state/x.yaml": SPEC}, "x", ALICE)
        assert list_refs(remote.path, "refs/voxnix") == ["refs/voxnix/fetched"]

    def test_a_folder_of_refs_that_is_a_link_is_left_alone(self, repo, tmp_path):
        away = tmp_path / "away"
        away.mkdir()
        (away / f"writing-{1:08x}-{1:012x}").write_text("precious")
        (repo.path / "refs/voxnix").rmdir()
        (repo.path / "refs/voxnix").symlink_to(away)
        with pytest.raises(OSError, match="Not a directory"):
            list_refs(repo.path, "refs/voxnix")
        leftovers.sweep(repo.git)
        assert [one.read_text() for one in away.iterdir()] == ["precious"]

    def test_its_name_says_when_it_was_made(self):
        _, at, _ = scratch_ref().rsplit("-", 2)
        assert abs(int(at, 16) - time.time()) < 60


class TestObjects:
    def test_what_was_received_by_half_goes_after_a_day(self, repo):
        objects = repo.path / "objects"
        kept = [objects / "tmp_objdir-incoming-young", objects / "pack/tmp_pack_young"]
        gone = [objects / "tmp_objdir-incoming-old", objects / "pack/tmp_pack_old", objects / "pack/tmp_idx_old"]
        for place in (*kept, *gone):
            if "objdir" in place.name:
                (place / "pack").mkdir(parents=True)
                (place / "pack/tmp_pack_x").write_text("x")
            else:
                place.write_text("x")
            aged(place, RECEIVING + (60 if place in gone else -60))
        aged(objects / "pack", RECEIVING * 2)
        commit(repo)
        assert [place for place in (*kept, *gone) if place.exists()] == kept

    def test_a_link_is_removed_and_not_followed(self, repo, tmp_path):
        away = tmp_path / "away"
        away.mkdir()
        (away / "file").write_text("precious")
        link = repo.path / "objects/tmp_objdir-incoming-link"
        link.symlink_to(away)
        os.utime(link, (1, 1), follow_symlinks=False)
        commit(repo)
        assert (away / "file").read_text() == "precious"
        assert not link.is_symlink()


class TestLocks:
    @pytest.fixture
    def impatient(self, monkeypatch):
        monkeypatch.setattr(repo_module, "PATIENCE", 0.0)

    @pytest.mark.parametrize("name", ["refs/heads/main", "packed-refs"])
    def test_one_that_stays_is_told_and_nothing_was_changed(self, repo, name, impatient):
        head = repo.head()
        (repo.path / f"{name}.lock").touch()
        with pytest.raises(Transient, match="main cannot be moved: another git holds its lock"):
            commit(repo)
        assert repo.head() == head
        (repo.path / f"{name}.lock").unlink()
        assert commit(repo) == repo.head()

    @pytest.mark.parametrize("name", ["refs/heads/main", "packed-refs"])
    def test_one_that_a_killed_git_left_is_dropped(self, repo, name):
        lock = repo.path / f"{name}.lock"
        lock.touch()
        aged(lock, LOCKED + 60)
        assert commit(repo) == repo.head()
        assert not lock.exists()

    def test_one_that_goes_is_waited_for(self, repo):
        lock = repo.path / "refs/heads/main.lock"
        lock.touch()
        noted = repo._note

        def note(head, sha):
            noted(head, sha)
            threading.Timer(0.2, lock.unlink).start()

        repo._note = note
        sha = commit(repo)
        assert repo.head() == sha
        assert repo.show(sha).parents == (repo.log(sha)[1].sha,)

    def test_a_branch_that_moved_is_no_lock(self, repo):
        head = repo.head()
        commit(repo, 1)
        assert repo.put(head, {"state/c2.yaml": SPEC}, "late", ALICE) is None

    def test_a_folder_in_the_way_of_the_branch_is_told_for_what_it_is(self, repo):
        ref = repo.path / "refs/heads/main"
        head = repo.head()
        git(repo.path, "pack-refs", "--all")
        (ref / "sub").mkdir(parents=True)
        (ref / "sub/x").write_text(head)
        with pytest.raises(Blocked, match="main cannot be moved: git update-ref"):
            repo.put(head, {"state/c2.yaml": SPEC}, "x", ALICE)

    def test_of_several_who_drop_one_does(self, repo):
        lock = repo.path / "refs/heads/main.lock"
        lock.touch()
        aged(lock, LOCKED + 60)
        with ThreadPoolExecutor(4) as pool:
            dropped = list(pool.map(drop_lock, [repo.path] * 4, ["refs/heads/main"] * 4))
        assert sorted(dropped) == [False, False, False, True]

    def test_a_young_one_and_a_link_stay(self, repo, tmp_path):
        lock = repo.path / "refs/heads/main.lock"
        lock.touch()
        assert not drop_lock(repo.path, "refs/heads/main")
        lock.unlink()
        target = tmp_path / "target"
        target.touch()
        aged(target, LOCKED * 2)
        lock.symlink_to(target)
        assert not drop_lock(repo.path, "refs/heads/main")
        assert lock.is_symlink()
