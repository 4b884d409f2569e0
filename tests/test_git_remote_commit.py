"""Commits on a forge: made on top of what is there, signed, pushed once, and told in full where they are not taken."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from controller.errors import BadInput, Blocked
from controller.git.notes import NOTES, read_notes, send_notes
from controller.git.remote import PushRefused
from controller.git.signatures import signatures, verify
from controller.git.signing import Signer
from tests import keygen
from tests.far import ALICE, far
from tests.keygen import Key

DEV = {"state/dev.yaml": b"owner: alice\n"}


@pytest.fixture
def home(tmp_path):
    with far(tmp_path) as found:
        yield found


class TestCommit:
    def test_is_made_on_top_of_a_branch_that_moved_meanwhile(self, home):
        remote = home.remote()
        head = remote.head()
        home.commit({"state/other.yaml": "owner: bob\n"})
        sha = remote.commit(DEV, "one", ALICE, expect=head)
        assert set(home.there.tree(sha)) >= {"state/dev.yaml", "state/other.yaml"}

    def test_what_others_changed_meanwhile_is_not_written_over(self, home):
        remote = home.remote()
        head = remote.head()
        home.commit({"state/dev.yaml": "owner: bob\n"})
        with pytest.raises(BadInput, match=r"state/dev\.yaml changed meanwhile"):
            remote.commit(DEV, "one", ALICE, expect=head)

    def test_writers_side_by_side_with_one_copy_lose_nothing(self, home):
        def work(number):
            for turn in range(3):
                home.remote().commit({f"state/c{number}.yaml": b"# %d\n" % turn}, f"{number}-{turn}", ALICE)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        subjects = [commit.subject for commit in home.there.log(str(home.there.head()))]
        assert sorted(subjects[:-1]) == sorted(f"{number}-{turn}" for number in range(3) for turn in range(3))

    def test_a_token_that_may_only_read_is_told(self, home):
        remote = home.remote()
        remote.may_push()
        home.forge.read_only = True
        for write in (remote.may_push, lambda: remote.commit(DEV, "one", ALICE)):
            with pytest.raises(PushRefused, match="403") as found:
                write()
            assert "the right to write" in found.value.hint

    def test_a_protected_branch_is_quoted(self, home):
        hook = home.there.path / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'GH006: Protected branch update failed' >&2\nexit 1\n")
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
        head = home.there.head()
        with pytest.raises(PushRefused, match="GH006: Protected branch update failed") as found:
            home.remote().commit(DEV, "one", ALICE)
        assert "let this deploy key or token push" in found.value.hint
        assert home.there.head() == head

    def test_one_whose_answer_was_lost_is_not_made_twice(self, home):
        def cut(handler):
            if not handler.path.endswith("git-receive-pack") or handler.command != "POST":
                return False
            say, handler.say = handler.say, lambda *_, **__: say(500, b"")
            return False

        remote = home.remote()
        remote.head()
        home.forge.instead = cut
        sha = remote.commit(DEV, "one", ALICE)
        assert home.there.head() == sha
        assert [commit.subject for commit in home.there.log(sha)] == ["one", "Start with an example"]

    def test_is_signed_as_git_would(self, home, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", f"{keygen.install(tmp_path / 'bin')}:{os.environ['PATH']}")
        key = tmp_path / "signing"
        key.write_text(Key("alice").private)
        key.chmod(0o600)
        signer = Signer(key)
        assert signer.public() == " ".join(Key("alice").public.split(" ")[:2])
        sha = home.remote(signer=signer).commit(DEV, "one\n\nbody", ALICE, [("Voxnix-Approve", "abc")])
        assert home.there.head() == sha
        signed = signatures(home.there, [sha])[sha]
        assert verify(signed, signer.public()) == ""
        assert home.there.show(sha).trailers == (("Voxnix-Approve", "abc"),)
        home.there.git.run("fsck", "--strict")

    @pytest.mark.parametrize(
        ("content", "mode", "words"),
        [
            (Key("alice").private, 0o644, "can be read by others"),
            (Key("alice").public, 0o600, "is no private key"),
            (Key("alice").private.replace("AAAABG5vbmU", "AAAACmFlczI"), 0o600, "has a passphrase"),
            ("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", 0o600, "has a passphrase"),
        ],
    )
    def test_a_key_that_cannot_sign_is_told_and_nothing_is_pushed(self, home, tmp_path, content, mode, words):
        key = tmp_path / "signing"
        key.write_text(content)
        key.chmod(mode)
        head = home.there.head()
        with pytest.raises(Blocked, match=words):
            home.remote(signer=Signer(key)).commit(DEV, "one", ALICE)
        assert home.there.head() == head


def test_notes_go_there_and_come_with_the_branch(home):
    remote = home.remote()
    head = remote.head()
    assert send_notes(remote, {head: lambda present: (present or b"") + b"done\n"}, ALICE) == 1
    assert home.there.git.run("notes", f"--ref={NOTES}", "show", head) == b"done\n"
    other = home.remote("other.git")
    other.head()
    assert read_notes(other, other.path, [head]) == {head: b"done\n"}
