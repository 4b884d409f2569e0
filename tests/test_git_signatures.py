"""Signatures of commits: taken out of them as they are, and verified by a program that is told nothing else."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Transient
from controller.git import Author, GitFailed, StateRepo
from controller.git.signatures import COMMIT_BYTES, signature_of, signatures, verify
from tests import keygen
from tests.keygen import Key, signed_commit, string
from tests.pushers import Pushers

ALICE, BOB = Key("alice"), Key("bob")
RAW = b"tree 0\nparent 1\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nsubject\n\ngpgsig body\n"


def bare(key):
    return " ".join(key.public.split(" ")[:2])


@pytest.fixture
def programs(tmp_path, monkeypatch):
    folder = keygen.install(tmp_path / "programs")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


class TestTaking:
    def test_what_was_signed_is_the_commit_without_it(self):
        found = signature_of(signed_commit(RAW, ALICE))
        assert found is not None
        assert (found.payload, found.key, found.armor) == (RAW, ALICE.blob, ALICE.armor(RAW))

    @pytest.mark.parametrize(
        "commit",
        [
            RAW,
            b"",
            signed_commit(signed_commit(RAW, ALICE), BOB),
            signed_commit(RAW, ALICE).replace(b"gpgsig -", b"gpgsigx -"),
            signed_commit(RAW, ALICE).replace(b"SSH SIG", b"PGP SIG"),
            signed_commit(RAW, ALICE).replace(b"U1NIU0lH", b"U1NIU0lX"),
            signed_commit(RAW, ALICE).partition(b"\n\n")[0],
            RAW.replace(b"\n\n", b"\ngpgsig " + ALICE.armor(RAW, "file").strip().replace(b"\n", b"\n ") + b"\n\n", 1),
            RAW.replace(b"subject", b"gpgsig " + ALICE.armor(RAW).strip().replace(b"\n", b"\n ")),
        ],
        ids=["none", "empty", "two", "another field", "PGP", "magic", "no body", "namespace", "in the message"],
    )
    def test_what_bears_none(self, commit):
        assert signature_of(commit) is None

    def test_a_field_of_another_repository_format_counts_as_one(self):
        both = signed_commit(RAW, ALICE).replace(b"\ngpgsig ", b"\ngpgsig-sha256 x\ngpgsig ")
        assert signature_of(both) is None

    @given(st.binary(max_size=300), st.integers(0, 400))
    def test_any_bytes_bear_one_or_none(self, data, at):
        signed = signed_commit(RAW, ALICE)
        signature_of(data)
        signature_of(signed[:at] + data + signed[at:])

    def test_of_many_commits_by_one_process(self, tmp_path):
        repo = StateRepo.init(tmp_path / "state.git", {"state/dev.yaml": b"owner: alice\n"}, Author("A", "a"))
        people = Pushers(repo.path)
        plain = repo.head()
        signed = people.commit({"dev": "owner: bob\n"}, signed=ALICE)
        big = people.write(signed_commit(people.raw(plain) + b"x" * COMMIT_BYTES, ALICE))
        assert signatures(repo, [plain, signed, big]).keys() == {signed}
        assert signatures(repo, []) == {}
        with pytest.raises(GitFailed, match="no commit"):
            signatures(repo, ["0" * 39 + "1"])


class TestVerifying:
    def test_a_good_one(self, programs):
        found = signature_of(signed_commit(RAW, ALICE))
        assert verify(found, bare(ALICE)) == ""
        [call] = keygen.calls(programs)
        assert call.startswith("-Y verify -f /")
        assert " -I signer -n git -s " in call

    def test_another_key_is_told_without_a_process(self, programs):
        assert "another key" in verify(signature_of(signed_commit(RAW, ALICE)), bare(BOB))
        assert "another key" in verify(signature_of(signed_commit(RAW, ALICE)), f'x",cert-authority {bare(ALICE)}')
        assert keygen.calls(programs) == []

    @pytest.mark.parametrize("part", [b"subject", b"author A", b"tree 0", b"parent 1"])
    def test_other_content_is_not_what_was_signed(self, programs, part):
        changed = signed_commit(RAW, ALICE).replace(part, part[:-1] + b"z")
        assert "not good: Signature verification failed" in verify(signature_of(changed), bare(ALICE))

    def test_a_key_put_in_the_place_of_another(self, programs):
        armor = BOB.armor(RAW)
        blob = base64.b64decode(b"".join(armor.splitlines()[1:-1]))
        forged = base64.b64encode(blob.replace(string(BOB.point), string(ALICE.point)))
        head = b"-----BEGIN SSH SIGNATURE-----\n " + forged + b"\n -----END SSH SIGNATURE-----"
        found = signature_of(RAW.replace(b"\n\n", b"\ngpgsig " + head + b"\n\n", 1))
        assert found.key == ALICE.blob
        assert "not good" in verify(found, bare(ALICE))

    @pytest.mark.parametrize(
        ("program", "said"), [(None, "no ssh-keygen"), ("#!/bin/sh\nkill -9 $$\n", "ended by signal 9")]
    )
    def test_what_cannot_be_verified_now_is_no_verdict(self, tmp_path, monkeypatch, program, said):
        if program:
            (tmp_path / "ssh-keygen").write_text(program)
            (tmp_path / "ssh-keygen").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Transient, match=said):
            verify(signature_of(signed_commit(RAW, ALICE)), bare(ALICE))
