"""Notes in a real repository: written in batches, by compare-and-swap, as the repository's owner."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from controller.errors import VoxnixError
from controller.git import Author, Mirror, StateRepo
from controller.git.notes import NOTE_LIMIT, NOTES, read_notes, send_notes, write_notes
from controller.git.refs import read_ref

ME = Author("voxnix", "voxnix@box")


def git(path: Path, *args: str, stdin: str = "") -> str:
    env = {"PATH": os.environ["PATH"], "HOME": "/var/empty", "GIT_CONFIG_GLOBAL": "/dev/null"}
    who = {"GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x", "GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x"}
    command = ["git", "-c", "safe.directory=*", f"--git-dir={path}", *args]
    return subprocess.run(
        command, env=env | who, input=stdin, text=True, capture_output=True, check=True
    ).stdout.strip()


@pytest.fixture
def repo(tmp_path) -> StateRepo:
    return StateRepo.init(tmp_path / "state.git", {"state/tenants/a.yaml": b"name: A\n"}, ME)


def commit(repo: StateRepo, number: int = 0) -> str:
    return repo.commit({f"state/c{number}.yaml": b"owner: a\n"}, f"commit {number}", ME)


def write(repo: StateRepo, notes: dict[str, bytes]) -> int:
    return write_notes(repo, {sha: lambda _, note=note: note for sha, note in notes.items()}, ME)


def read(repo: StateRepo, *commits: str) -> dict[str, bytes]:
    return dict(read_notes(repo, repo.path, commits))


def test_notes_are_written_and_read(repo):
    one, two = commit(repo, 1), commit(repo, 2)
    assert read(repo, one, two) == {}
    assert write(repo, {one: b"first\n", two: b"second\n"}) == 2
    assert read(repo, one, two) == {one: b"first\n", two: b"second\n"}
    assert read(repo, two) == {two: b"second\n"}
    assert git(repo.path, "notes", "--ref=voxnix", "show", one) == "first"
    assert git(repo.path, "rev-list", "--count", NOTES) == "1"
    assert repo.head() == two


def test_what_is_the_same_is_not_written_again(repo):
    one = commit(repo)
    assert write(repo, {one: b"x"}) == 1
    tip = read_ref(repo.path, NOTES)
    assert write(repo, {one: b"x"}) == 0
    assert read_ref(repo.path, NOTES) == tip
    assert write(repo, {one: b"y"}) == 1
    assert read(repo, one) == {one: b"y"}


def test_notes_of_others_are_kept_and_shown_to_whoever_mends(repo):
    one, two = commit(repo, 1), commit(repo, 2)
    git(repo.path, "notes", "--ref=voxnix", "add", "-m", "by hand", one)
    seen: list[bytes | None] = []
    write_notes(repo, {two: lambda present: b"%r" % seen.append(present)}, ME)
    write_notes(repo, {one: lambda present: (present or b"") + b"and more"}, ME)
    assert seen == [None]
    assert read(repo, one) == {one: b"by hand\nand more"}


def test_a_commit_that_is_not_there_is_passed_over(repo):
    one = commit(repo)
    blob = git(repo.path, "rev-parse", f"{one}:state/c0.yaml")
    assert write(repo, {"a" * 40: b"x", blob: b"y", one: b"z", "--help": b"!"}) == 1
    assert read(repo, "a" * 40, blob, one) == {one: b"z"}


def test_many_notes_in_one_commit_and_through_git_s_folders(repo):
    shas = [commit(repo, number) for number in range(3)]
    stream = []
    parent = shas[-1]
    for number in range(600):
        stream.append(f"commit refs/heads/main\nmark :{number + 1}\ncommitter x <x> {number} +0000\ndata 1\nx\n")
        stream.append(f"from {parent}\n" if number == 0 else "")
    git(repo.path, "fast-import", "--quiet", "--force", stdin="".join(stream))
    all_of_them = git(repo.path, "rev-list", "main").splitlines()
    assert len(all_of_them) > 600
    assert write(repo, {sha: sha.encode() for sha in all_of_them}) == len(all_of_them)
    assert "/" in git(repo.path, "ls-tree", "-r", "--name-only", NOTES)
    assert read(repo, *all_of_them) == {sha: sha.encode() for sha in all_of_them}
    assert write(repo, {all_of_them[0]: b"new"}) == 1
    assert len(read(repo, *all_of_them)) == len(all_of_them)


def test_a_note_that_is_too_long_is_not_read(repo):
    one = commit(repo)
    write(repo, {one: b"x" * (NOTE_LIMIT + 1)})
    assert read(repo, one) == {}


def test_whoever_is_overtaken_writes_again(repo):
    shas = [commit(repo, number) for number in range(3)]
    overtaken = []

    def mend(present: bytes | None) -> bytes:
        if not overtaken:
            overtaken.append(write(repo, {shas[1]: b"theirs", shas[0]: b"theirs"}))
        return (present or b"") + b"+mine"

    assert write_notes(repo, {shas[0]: mend}, ME) == 1
    assert read(repo, *shas) == {shas[0]: b"theirs+mine", shas[1]: b"theirs"}


def test_writers_side_by_side_lose_nothing(repo):
    shas = [commit(repo, number) for number in range(8)]
    failures: list[VoxnixError] = []

    def writer(host: bytes) -> None:
        for sha in shas:
            try:
                write_notes(
                    StateRepo(repo.path),
                    {
                        sha: lambda present: b"".join(
                            sorted({*(present or b"").splitlines(keepends=True), host + b"\n"})
                        )
                    },
                    ME,
                )
            except VoxnixError as error:
                failures.append(error)

    threads = [threading.Thread(target=writer, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert read(repo, *shas) == dict.fromkeys(shas, b"a\nb\nc\n")


def test_hooks_attributes_and_config_of_the_repository_do_nothing(repo, tmp_path):
    one = commit(repo)
    ran = tmp_path / "ran"
    for name in ("reference-transaction", "post-update", "update", "pre-receive"):
        hook = repo.path / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
        hook.chmod(0o755)
    git(repo.path, "config", "core.notesRef", "refs/notes/other")
    git(repo.path, "config", "notes.displayRef", "refs/*")
    assert write(repo, {one: b"x"}) == 1
    assert read(repo, one) == {one: b"x"}
    assert not ran.exists()


def test_the_lock_of_a_killed_git_is_in_the_way_for_a_while(repo):
    one, two = commit(repo, 1), commit(repo, 2)
    write(repo, {one: b"x"})
    lock = repo.path / f"{NOTES}.lock"
    lock.touch()
    with pytest.raises(VoxnixError, match="File exists"):
        write(repo, {two: b"y"})
    assert lock.exists()
    os.utime(lock, (1, 1))
    assert write(repo, {two: b"y"}) == 1
    assert read(repo, one, two) == {one: b"x", two: b"y"}
    assert not lock.exists()


def test_nonsense_at_the_ref_is_an_error_and_stays(repo):
    one = commit(repo)
    blob = git(repo.path, "rev-parse", f"{one}:state/c0.yaml")
    (repo.path / "refs/notes").mkdir(parents=True, exist_ok=True)
    (repo.path / NOTES).write_text(f"{blob}\n")
    with pytest.raises(VoxnixError):
        write(repo, {one: b"x"})
    assert (repo.path / NOTES).read_text() == f"{blob}\n"
    (repo.path / NOTES).unlink()
    (repo.path / NOTES).symlink_to("/etc/passwd")
    with pytest.raises(VoxnixError):
        write(repo, {one: b"x"})


def test_notes_for_a_repository_elsewhere_are_sent_there(repo, tmp_path):
    one, two = commit(repo, 1), commit(repo, 2)
    here, there = (Mirror(tmp_path / name, str(repo.path)) for name in ("here.git", "there.git"))
    for mirror in (here, there):
        mirror.fetch()

    def send(mirror: Mirror, sha: str, words: bytes) -> int:
        return send_notes(mirror, {sha: lambda present: (present or b"") + words}, ME)

    assert send(here, one, b"a") == 1
    assert send(there, one, b"b") == 1
    assert send(there, two, b"c") == 1
    assert send(here, two, b"d") == 1
    assert read(repo, one, two) == {one: b"ab", two: b"cd"}
    assert send_notes(here, {one: lambda present: present or b""}, ME) == 0
    assert repo.head() == two


def test_a_repository_elsewhere_that_takes_no_notes_has_its_words_told(repo, tmp_path):
    one = commit(repo)
    mirror = Mirror(tmp_path / "mirror.git", str(repo.path))
    mirror.fetch()
    hook = repo.path / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no notes here >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(VoxnixError):
        send_notes(mirror, {one: lambda _: b"x"}, ME)
    hook.unlink()
    assert send_notes(mirror, {one: lambda _: b"x"}, ME) == 1
    assert read(repo, one) == {one: b"x"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_writes_as_the_owner(repo):
    one = commit(repo)
    for place in (repo.path, *repo.path.rglob("*")):
        shutil.chown(place, 65534, 65534)
    repo.path.parent.chmod(0o755)
    for parent in repo.path.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    theirs = StateRepo(repo.path)
    assert write(theirs, {one: b"x"}) == 1
    assert {place.stat().st_uid for place in repo.path.rglob("*")} == {65534}
    os.chown(repo.path / "refs/notes", 0, 0)
    with pytest.raises(VoxnixError):
        write(theirs, {one: b"y"})
    assert read(theirs, one) == {one: b"x"}
