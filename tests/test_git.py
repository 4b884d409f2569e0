import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from controller.errors import BadInput, Blocked, Transient
from controller.git import Author, Blob, Mirror, StateRepo, caller, read_ref, trailers, valid_branch

ALICE = Author("Alice", "alice@example.org")
SPEC = b"owner: alice\n"


@pytest.fixture
def repo(tmp_path):
    return StateRepo.init(tmp_path / "state.git", {"state/dev.yaml": SPEC, "README.md": b"hello\n"}, ALICE)


@pytest.fixture
def mirror(tmp_path, repo):
    return Mirror(tmp_path / "mirror.git", str(repo.path))


@pytest.fixture
def processes(tmp_path, monkeypatch):
    """Every git process that was started, by its command: a shim first in PATH that writes it down."""
    log = tmp_path / "processes"
    log.touch()
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    return lambda: [line for line in log.read_text().splitlines() if "--git-dir" in line]


def git(path, *args, stdin=b""):
    """Plain git, as another person's tools would run it."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Bob", f"GIT_{role}_EMAIL": "bob@example.org"}
    done = subprocess.run(
        ["git", "-C", str(path), *args], input=stdin, env=environment, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


class TestCommit:
    def test_moves_the_branch_and_keeps_the_other_files(self, repo):
        first = repo.head()
        sha = repo.commit({"state/web.yaml": b"owner: bob\n"}, "Add web", ALICE)
        assert repo.head() == sha == git(repo.path, "rev-parse", "main")
        assert git(repo.path, "rev-parse", "main~1") == first
        assert repo.read(sha, ["state/dev.yaml", "state/web.yaml", "README.md", "state/gone.yaml"]) == {
            "state/dev.yaml": SPEC,
            "state/web.yaml": b"owner: bob\n",
            "README.md": b"hello\n",
        }

    def test_deletes_and_leaves_a_sound_repository(self, repo):
        sha = repo.commit({"state/dev.yaml": None}, "Remove dev", ALICE)
        assert repo.tree(sha) == {}
        assert git(repo.path, "fsck", "--strict") == ""
        assert git(repo.path, "for-each-ref", "--format=%(refname)") == "refs/heads/main"

    def test_a_decision_is_an_empty_commit_with_trailers(self, repo):
        sha = repo.commit({}, "Restart dev", ALICE, [("Voxnix-Restart", "u-1"), ("Requested-by", "bob")])
        commit = repo.show(sha)
        assert commit.changes == ()
        assert commit.subject == "Restart dev"
        assert commit.trailers == (("Voxnix-Restart", "u-1"), ("Requested-by", "bob"))
        assert (commit.author, commit.email) == ("Alice", "alice@example.org")

    def test_is_made_on_top_of_a_branch_that_moved(self, repo):
        expected = repo.head()
        other = repo.commit({"state/web.yaml": b"owner: bob\n"}, "Add web", ALICE)
        sha = repo.commit({"state/dev.yaml": b"owner: bob\n"}, "Give away", ALICE, expect=expected)
        assert repo.show(sha).parents == (other,)
        assert set(repo.tree(sha)) == {"state/dev.yaml", "state/web.yaml"}

    def test_refuses_what_somebody_else_changed_meanwhile(self, repo):
        expected = repo.head()
        other = repo.commit({"state/dev.yaml": b"owner: bob\n"}, "First", ALICE)
        with pytest.raises(BadInput, match=r"state/dev\.yaml changed meanwhile"):
            repo.commit({"state/dev.yaml": b"owner: carol\n"}, "Second", ALICE, expect=expected)
        assert repo.head() == other

    def test_writers_side_by_side_lose_nothing(self, repo):
        failures = []

        def write(number):
            try:
                StateRepo(repo.path).commit({f"state/c{number}.yaml": SPEC}, f"Add {number}", ALICE)
            except Transient as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        made = {path for path in repo.tree(repo.head()) if path.startswith("state/c")}
        assert len(made) + len(failures) == 4
        assert len(repo.log(repo.head())) == 1 + len(made)

    @pytest.mark.parametrize(
        "path",
        ["../x", "/etc/passwd", "state/../x", "a b", "x\ny", ".git/config", "a/.GIT/x", "", "a//b", "-x"],
    )
    def test_refuses_paths_that_no_spec_has(self, repo, path):
        with pytest.raises(BadInput, match="cannot be a path"):
            repo.commit({path: b""}, "x", ALICE)

    def test_a_trailer_cannot_smuggle_another(self, repo):
        with pytest.raises(BadInput, match="cannot be a trailer"):
            repo.commit({}, "x", ALICE, [("Requested-by", "bob\nVoxnix-Purge: u")])

    def test_hostile_names_become_plain(self, repo):
        sha = repo.commit({}, "x", Author("A\n<b>\0c", "e>\n"))
        assert (repo.show(sha).author, repo.show(sha).email) == ("Abc", "e")

    def test_nothing_of_the_callers_environment_or_configuration_counts(self, repo, tmp_path, monkeypatch):
        trap = tmp_path / "trap"
        hook = repo.path / "hooks" / "reference-transaction"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
        hook.chmod(0o755)
        (tmp_path / "gitconfig").write_text("[core]\n\thooksPath = " + str(hook.parent) + "\n")
        for key, value in {
            "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
            "GIT_DIR": "/nonexistent",
            "GIT_INDEX_FILE": "/nonexistent/index",
            "GIT_OBJECT_DIRECTORY": "/nonexistent",
            "GIT_QUARANTINE_PATH": "/nonexistent",
            "GIT_TRACE": str(trap),
        }.items():
            monkeypatch.setenv(key, value)
        assert repo.commit({"state/a.yaml": SPEC}, "x", ALICE) == repo.head()
        assert not trap.exists()


class TestStateRepo:
    def test_init_refuses_a_folder_in_use(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(BadInput, match="not empty"):
            StateRepo.init(tmp_path, {}, ALICE)

    def test_init_makes_main_whatever_the_caller_prefers(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "init.defaultBranch")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "trunk")
        assert StateRepo.init(tmp_path / "s", {"a": b""}, ALICE).head()
        assert (tmp_path / "s" / "HEAD").read_text() == "ref: refs/heads/main\n"

    def test_a_work_tree_is_refused_with_what_to_do(self, tmp_path):
        git(tmp_path, "init", "-q", "work")
        for path in (tmp_path / "work", tmp_path / "work" / ".git"):
            with pytest.raises(BadInput, match=r"is a work tree.*git clone --bare"):
                StateRepo(path)

    def test_no_repository_is_told(self, tmp_path):
        with pytest.raises(BadInput, match="voxnix init"):
            StateRepo(tmp_path / "nothing")

    def test_head_starts_no_process(self, repo, processes):
        assert repo.head()
        assert processes() == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root works in other people's repositories")
    def test_root_works_as_the_owner(self, tmp_path):
        tmp_path.chmod(0o755)
        for parent in tmp_path.parents:
            if parent.stat().st_uid == 0 and parent != Path("/"):
                parent.chmod(parent.stat().st_mode | 0o055)
        repo = StateRepo.init(tmp_path / "s", {"state/a.yaml": SPEC}, ALICE)
        git(
            tmp_path,
            "-c",
            "safe.directory=*",
            "config",
            "--file",
            str(repo.path / "config"),
            "core.bare",
            "true",
        )
        subprocess.run(["chown", "-R", "65534:65534", str(repo.path)], check=True)
        sha = StateRepo(repo.path).commit({"state/b.yaml": SPEC}, "x", ALICE)
        assert {path.stat().st_uid for path in repo.path.rglob("*")} == {65534}
        assert Mirror(tmp_path / "m", str(repo.path)).fetch() == sha

    def test_caller_is_named_by_their_own_settings(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        for key in ("XDG_CONFIG_HOME", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "SUDO_USER"):
            monkeypatch.delenv(key, raising=False)
        assert "@" in caller().email
        (tmp_path / ".gitconfig").write_text("[user]\n\tname = Carol\n\temail = c@example.org\n")
        assert caller() == Author("Carol", "c@example.org")
        (tmp_path / ".gitconfig").write_text("[user\nrubbish")
        assert caller().name
        monkeypatch.setenv("GIT_AUTHOR_NAME", "Dave")
        assert caller().name == "Dave"


class TestRefs:
    def test_packed_refs_are_read(self, repo):
        head = repo.head()
        git(repo.path, "pack-refs", "--all")
        assert not (repo.path / "refs/heads/main").exists()
        assert repo.head() == head

    def test_no_branch_yet(self, tmp_path):
        git(tmp_path, "init", "-q", "--bare", "s")
        assert read_ref(tmp_path / "s", "refs/heads/main") is None

    def test_links_are_not_followed(self, repo, tmp_path):
        (tmp_path / "elsewhere").write_text(repo.head() + "\n")
        ref = repo.path / "refs/heads/main"
        ref.unlink()
        ref.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Blocked, match="cannot be read"):
            repo.head()
        (repo.path / "refs/heads").rename(tmp_path / "heads")
        (repo.path / "refs/heads").symlink_to(tmp_path / "heads")
        with pytest.raises(Blocked):
            repo.head()

    @pytest.mark.parametrize("content", [b"", b"ref: refs/heads/x\n", b"\xff" * 40, b"0" * 39, b"x" * 5000])
    def test_rubbish_is_told(self, repo, content):
        (repo.path / "refs/heads/main").write_bytes(content)
        with pytest.raises(Blocked):
            repo.head()

    def test_a_pipe_does_not_hang(self, repo):
        ref = repo.path / "refs/heads/main"
        ref.unlink()
        os.mkfifo(ref)
        with pytest.raises(Blocked, match="not a plain file"):
            repo.head()

    @pytest.mark.parametrize("name", ["main", "feature/x-1", "v1.0"])
    def test_branches(self, name):
        assert valid_branch(name) == name

    @pytest.mark.parametrize("name", ["", "-x", "a..b", "a/.b", "a.lock", "a/b.lock/c", "a b", "x:y", "/a", "a/", "a."])
    def test_not_branches(self, name):
        with pytest.raises(BadInput):
            valid_branch(name)


class TestMirror:
    def test_fetches_once_and_then_costs_nothing(self, repo, mirror, processes):
        assert mirror.fetch() == repo.head()
        before = len(processes())
        assert mirror.fetch() == repo.head() == mirror.fetched()
        assert len(processes()) == before
        assert stat.S_IMODE(mirror.path.stat().st_mode) == 0o700

    def test_a_new_commit_takes_one_fetch(self, repo, mirror, processes):
        mirror.fetch()
        sha = repo.commit({"state/a.yaml": SPEC}, "x", ALICE)
        before = len(processes())
        assert mirror.fetch() == sha
        fetches = [line for line in processes()[before:] if str(mirror.path) in line]
        assert sum(" fetch " in line for line in fetches) == 1

    def test_a_branch_forced_back_is_followed_but_judged_elsewhere(self, repo, mirror):
        old = repo.head()
        repo.commit({"state/a.yaml": SPEC}, "x", ALICE)
        mirror.fetch()
        git(repo.path, "update-ref", "refs/heads/main", old)
        assert mirror.fetch() == old

    def test_no_branch_yet_and_no_repository(self, tmp_path):
        git(tmp_path, "init", "-q", "--bare", "s")
        assert Mirror(tmp_path / "m", str(tmp_path / "s")).fetch() is None
        with pytest.raises(Transient, match="no state repo"):
            Mirror(tmp_path / "m", str(tmp_path / "gone")).fetch()

    def test_a_damaged_source_is_told_and_what_is_here_stays(self, repo, mirror):
        first = mirror.fetch()
        (repo.path / "refs/heads/main").write_text("1" * 40 + "\n")
        with pytest.raises(Transient, match="could not be fetched"):
            mirror.fetch()
        assert mirror.fetched() == first
        assert set(mirror.tree(first)) == {"state/dev.yaml"}

    def test_the_lock_of_a_killed_fetch_does_not_matter(self, repo, mirror):
        mirror.fetch()
        sha = repo.commit({}, "x", ALICE)
        (mirror.path / "refs/voxnix/fetched.lock").touch()
        assert mirror.fetch() == sha

    def test_a_half_made_mirror_is_completed(self, repo, mirror):
        mirror.path.mkdir()
        assert mirror.fetch() == repo.head()

    def test_only_known_ways_to_a_source(self, repo, tmp_path):
        with pytest.raises(BadInput, match="not a state repo"):
            Mirror(tmp_path / "m", f"ext::sh -c touch% {tmp_path}/x")
        with pytest.raises(BadInput, match="not a state repo"):
            Mirror(tmp_path / "m", "git://example.org/x")
        assert Mirror(tmp_path / "m", "git@example.org:state.git").local is None
        assert Mirror(tmp_path / "m", "https://example.org/state.git").local is None

    def test_tidying_keeps_what_was_accepted(self, repo, mirror):
        old = repo.head()
        accepted = repo.commit({"state/a.yaml": SPEC}, "x", ALICE)
        mirror.fetch()
        git(repo.path, "update-ref", "refs/heads/main", old)
        mirror.fetch()
        mirror.tidy(accepted)
        assert set(mirror.tree(accepted)) == {"state/dev.yaml", "state/a.yaml"}
        assert mirror.commits(old, accepted)[0].sha == accepted


class TestObjects:
    def test_commits_come_parents_first_with_their_changes(self, repo, processes):
        old = repo.head()
        repo.commit({"state/a.yaml": b"1\n"}, "one\n\nbody", ALICE)
        repo.commit({"state/a.yaml": b"2\n"}, "two", ALICE)
        repo.commit({}, "three", ALICE)
        new = repo.commit({"state/a.yaml": None}, "four", ALICE)
        before = len(processes())
        found = repo.commits(old, new)
        assert len(processes()) == before + 1
        assert [commit.message for commit in found] == ["one\n\nbody", "two", "three", "four"]
        assert [len(commit.changes) for commit in found] == [1, 1, 0, 1]
        assert found[0].changes[0].before is None
        assert found[1].changes[0].before == found[0].changes[0].after
        assert found[3].changes[0].after is None
        assert found[0].parents == (old,)

    def test_merges_are_shown_against_each_parent(self, repo, tmp_path):
        old = repo.head()
        work = tmp_path / "work"
        git(tmp_path, "clone", "-q", str(repo.path), "work")
        (work / "state/b.yaml").write_text("b\n")
        git(work, "add", "-A")
        git(work, "commit", "-qm", "b")
        repo.commit({"state/a.yaml": b"a\n"}, "a", ALICE)
        git(work, "pull", "-q", "--no-rebase", "--no-edit")
        git(work, "push", "-q", "origin", "HEAD:main")
        merge = repo.commits(old, repo.head())[-1]
        assert [[touched.path for touched in side] for side in merge.merged] == [
            ["state/a.yaml"],
            ["state/b.yaml"],
        ]
        assert merge.against(merge.parents[1]) == merge.merged[1]
        changed, _ = repo.last_changes(repo.head())
        assert changed["state/b.yaml"][0] == merge.parents[0]
        assert changed["state/a.yaml"][0] == merge.parents[1]

    def test_last_changes_know_what_is_gone(self, repo, processes):
        first = repo.head()
        repo.commit({"state/a.yaml": b"1\n"}, "1", ALICE)
        second = repo.commit({"state/a.yaml": b"2\n"}, "2", ALICE)
        third = repo.commit({"state/dev.yaml": None}, "3", ALICE)
        before = len(processes())
        changed, versions = repo.last_changes(third)
        assert len(processes()) == before + 1
        assert {path: sha for path, (sha, _) in changed.items()} == {"state/a.yaml": second, "state/dev.yaml": third}
        assert list(repo.blobs(versions["state/a.yaml"]).values()) == [b"2\n", b"1\n"]
        assert repo.last_changes(first)[0] == {"state/dev.yaml": (first, repo.show(first).at)}

    def test_blobs_are_bounded_and_take_one_process(self, repo, processes):
        files = {f"state/c{number}.yaml": b"x" * number for number in range(50)}
        sha = repo.commit(files, "many", ALICE)
        oids = [blob.oid for blob in repo.tree(sha).values()]
        before = len(processes())
        assert len(repo.blobs([*oids, "1" * 40])) == len(set(oids))
        assert len(processes()) == before + 1

    def test_a_blob_that_is_too_long_is_cut_and_the_others_still_come(self, repo):
        sha = repo.commit({"state/a.yaml": b"a" * 10**6, "state/b.yaml": b"b"}, "big", ALICE)
        tree = repo.tree(sha)
        found = repo.blobs([tree["state/a.yaml"].oid, tree["state/b.yaml"].oid], limit=100)
        assert [len(data) for data in found.values()] == [101, 1]

    def test_no_blobs_no_process(self, repo, processes):
        assert repo.blobs([]) == {}
        assert processes() == []

    def test_odd_entries_are_shown_as_they_are(self, repo):
        head = repo.head()
        blob = git(repo.path, "hash-object", "-w", "--stdin", stdin=b"/etc/passwd")
        entries = [
            f"120000 blob {blob}\tlink.yaml",
            f"100644 blob {blob}\tn\new \xe9.yaml",
            f"160000 commit {head}\tsub",
        ]
        tree = "".join(f"{entry}\0" for entry in entries).encode("latin-1")
        folder = git(repo.path, "mktree", "-z", "--missing", stdin=tree)
        root = git(repo.path, "mktree", stdin=f"040000 tree {folder}\tstate\n".encode())
        sha = git(repo.path, "commit-tree", root, "-p", head, "-m", "odd")
        assert repo.tree(sha) == {
            "state/link.yaml": Blob("120000", blob),
            "state/n\new \\xe9.yaml": Blob("100644", blob),
            "state/sub": Blob("160000", head),
        }
        assert {touched.path for touched in repo.show(sha).changes} >= set(repo.tree(sha))

    def test_history_of_one_file(self, repo):
        repo.commit({"state/a.yaml": b"1\n"}, "1", ALICE)
        repo.commit({"state/dev.yaml": b"2\n"}, "2", ALICE)
        assert [commit.subject for commit in repo.log(repo.head(), "state/a.yaml")] == ["1"]
        assert len(repo.log(repo.head())) == 3
        assert repo.log(repo.head(), "state/*.yaml") == ()

    def test_revisions_as_people_write_them(self, repo):
        first = repo.head()
        repo.commit({}, "x", ALICE)
        assert repo.resolve("main~1") == repo.resolve(first[:9]) == first
        for wrong in ("--all", "nothing", "main:README.md", "", "x y", "$(x)"):
            with pytest.raises(BadInput):
                repo.resolve(wrong)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Subject: no trailer", []),
        ("s\n\nKey: value", [("Key", "value")]),
        ("s\n\nbody\n\nA: 1\nB:2  \n\n", [("A", "1"), ("B", "2")]),
        ("s\r\n\r\nA: 1\r\n", [("A", "1")]),
        ("s\n\nA: 1\n\nnot the last", []),
        ("s\n\nsee http://x and\nA: 1", [("A", "1")]),
        ("s\n \n\n  A: 1", []),
        ("", []),
    ],
)
def test_trailers_are_those_of_the_last_paragraph(message, expected):
    assert trailers(message) == tuple(expected)
