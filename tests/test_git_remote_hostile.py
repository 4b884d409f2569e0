"""A server that means ill, or is ill: whatever it answers costs bounded time, memory and disk, and changes nothing."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import Transient, VoxnixError
from controller.git.following import Followed
from controller.git.trouble import WORDS, refusal, words
from tests.far import ALICE, far
from tests.forge import TOKEN

PATIENCE = 1.5
SLACK = 3.0
"""Seconds beyond its patience after which a fetch has ended on a busy machine."""


@pytest.fixture
def home(tmp_path):
    with far(tmp_path) as found:
        yield found


@pytest.fixture
def remote(home):
    """A copy that has the branch as it is."""
    found = home.remote(patience=PATIENCE)
    found.head()
    return found


def pkt(data: bytes) -> bytes:
    return b"%04x" % (len(data) + 4) + data


def advertised(handler, refs: bytes) -> None:
    data = pkt(b"# service=git-upload-pack\n") + b"0000" + refs
    handler.say(200, data, **{"Content-Type": "application/x-git-upload-pack-advertisement"})


def offers(tip: str):
    """Advertises a commit that is not there yet, and leaves the pack to `pack`."""

    def answer(pack):
        def instead(handler):
            if handler.command == "GET":
                advertised(handler, pkt(f"{tip} refs/heads/main\0side-band-64k ofs-delta\n".encode()) + b"0000")
            else:
                handler.send_response(200)
                handler.send_header("Content-Type", "application/x-git-upload-pack-result")
                handler.send_header("Connection", "close")
                handler.end_headers()
                handler.close_connection = True
                handler.wfile.write(pkt(b"NAK\n"))
                pack(handler)
            return True

        return instead

    return answer


def endless(handler, chunk: bytes, most: int) -> None:
    """Say something over and over, until the other side has had enough."""
    for _ in range(most // len(chunk) + 1):
        handler.wfile.write(chunk)


def children() -> list[str]:
    """The processes of this one, and theirs."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:
            continue
    return found


class TestHang:
    @pytest.mark.parametrize("when", ["before", "within"])
    def test_a_server_that_says_no_more_is_left_in_time_and_no_process_stays(self, home, remote, when):
        over = threading.Event()

        def hang(handler):
            if when == "within":
                handler.send_response(200)
                handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
                handler.send_header("Content-Length", "1000")
                handler.end_headers()
                handler.wfile.write(b"001e# service=git-upload-pack\n")
                handler.wfile.flush()
            over.wait(20)
            return True

        home.forge.instead = hang
        before = time.monotonic()
        try:
            with pytest.raises(Transient, match="no end after"):
                remote.head()
            assert time.monotonic() - before < PATIENCE + SLACK
            assert children() == []
        finally:
            over.set()

    def test_one_that_is_waited_for_in_vain_is_left_when_the_controller_stops(self, home):
        over, asked = threading.Event(), threading.Event()

        def hang(_):
            asked.set()
            return over.wait(20)

        home.forge.instead = hang
        followed = Followed(home.directory / "mirror.git", home.forge.url(), access=home.access)
        thread = threading.Thread(target=followed.refresh)
        try:
            thread.start()
            assert asked.wait(20)
            followed.halt()
            thread.join(SLACK)
            assert not thread.is_alive()
            assert "stopped" in followed.trouble
        finally:
            over.set()


class TestRubbish:
    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"<html>It works!</html>",
            b"0000",
            b"ffff" + b"x" * 100,
            b"001e# service=git-upload-pack\n0000zzzz",
            os.urandom(4096),
            pkt(b"# service=git-upload-pack\n") + b"0000" + pkt(b"nonsense refs/heads/main\0\n") + b"0000",
            pkt(b"# service=git-upload-pack\n") + b"0000" + pkt(b"0" * 40 + b" ../../../etc/passwd\0\n") + b"0000",
            pkt(b"# service=git-upload-pack\n") + b"0000" + pkt(b"ERR \x1b[31mgo away\n"),
        ],
    )
    def test_changes_nothing(self, home, remote, answer):
        before = remote.fetched()

        def instead(handler):
            handler.say(200, answer, **{"Content-Type": "application/x-git-upload-pack-advertisement"})
            return True

        home.forge.instead = instead
        with pytest.raises(VoxnixError) as found:
            remote.head()
        assert str(found.value).isprintable()
        assert remote.fetched() == before
        home.forge.instead = None
        assert remote.head() == before

    @pytest.mark.parametrize("code", [301, 400, 418, 429, 500, 502, 503])
    def test_codes_of_all_kinds(self, home, remote, code):
        def instead(handler):
            handler.say(code, b"x" * 100, Location="https://localhost:1/")
            return True

        home.forge.instead = instead
        with pytest.raises(Transient, match="could not be fetched"):
            remote.head()

    def test_a_pack_that_is_none(self, home, remote):
        before = remote.fetched()
        sent = pkt(b"\1" + os.urandom(1000)) + pkt(b"\1PACK" + os.urandom(1000)) + b"0000"
        home.forge.instead = offers("1" * 40)(lambda handler: handler.wfile.write(sent))
        with pytest.raises(Transient):
            remote.head()
        assert remote.fetched() == before
        assert list((remote.path / "objects/pack").glob("tmp_*")) == []


class TestHuge:
    def test_an_endless_pack_is_bounded_by_size_and_leaves_nothing_behind(self, home, remote):
        remote.git = replace(remote.git, file_limit=2**20)
        remote.patience = 30.0
        head = b"PACK" + (2).to_bytes(4, "big") + (1).to_bytes(4, "big")
        stored = b"\x00\xff\xff\x00\x00" + os.urandom(65535)
        blob = b"\xbf\xff\xff\xff\xff\x7f" + b"\x78\x01"

        def pack(handler):
            handler.wfile.write(pkt(b"\1" + head + blob))
            for _ in range(1000):
                for at in range(0, len(stored), 60_000):
                    handler.wfile.write(pkt(b"\1" + stored[at : at + 60_000]))

        home.forge.instead = offers("1" * 40)(pack)
        with pytest.raises(Transient, match="index-pack died of signal 25") as found:
            remote.head()
        assert "some MiB at most" in found.value.hint
        assert sum(file.stat().st_size for file in remote.path.rglob("*") if file.is_file()) < 2**20

    def test_endless_words_are_cut_off_and_told_in_a_line(self, home, remote):
        chatter = pkt(b"\2" + b"\x1b[2Jlook here " * 1000 + b"\n")

        def pack(handler):
            endless(handler, chatter, 64 * 2**20)
            handler.wfile.write(pkt(b"\3enough\n"))

        remote.patience = 30.0
        home.forge.instead = offers("1" * 40)(pack)
        with pytest.raises(Transient) as found:
            remote.head()
        assert str(found.value).isprintable()
        assert len(str(found.value)) < WORDS + 600

    def test_a_multitude_of_refs_is_left_in_time(self, home, remote):
        line = b"".join(pkt(f"{number:040x} refs/heads/b{number}\n".encode()) for number in range(1, 2000))

        def instead(handler):
            handler.send_response(200)
            handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(pkt(b"# service=git-upload-pack\n") + b"0000")
            endless(handler, line, 2**40)
            return True

        home.forge.instead = instead
        before = time.monotonic()
        with pytest.raises(Transient):
            remote.head()
        assert time.monotonic() - before < PATIENCE + SLACK

    def test_bounds_are_those_that_are_meant(self, remote):
        argv = remote.git._argv(("fetch",))
        assert argv[argv.index("sh") + 2] == 'ulimit -f 524288; ulimit -v 2097152; ulimit -c 0; exec "$@"'
        assert "sh" not in remote.git._argv(("log",))


class TestWords:
    def test_a_server_that_says_the_token_again_is_not_quoted(self, home):
        hook = home.there.path / "hooks/pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho 'your token is {TOKEN}, is it not' >&2\nexit 1\n")
        hook.chmod(0o755)
        with pytest.raises(Exception, match="your token is •••, is it not") as found:
            home.remote().commit({"state/dev.yaml": b"owner: alice\n"}, "one", ALICE)
        assert TOKEN not in str(found.value)

    def test_what_does_something_to_a_terminal_is_left_out(self):
        err = b"remote: \x1b]0;title\x07bad\r\nfatal: \x9b31mworse\n ! [remote rejected] main -> main (no\x1b[2J)\n"
        assert refusal(err) == "]0;titlebad"
        assert words(err).isprintable()

    @pytest.mark.parametrize(
        ("err", "told"),
        [
            (b"", "failed without a word"),
            (b"hm\n", "hm"),
            (b"fatal: Could not read from remote repository.\n", "fatal: Could not read from remote repository."),
            (
                b"git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\nPlease\n",
                "git@h: Permission denied (publickey).",
            ),
            (
                b"No ED25519 host key is known for h and you have requested strict checking.\n"
                b"Host key verification failed.\nfatal: Could not read from remote repository.\n",
                "No ED25519 host key is known for h and you have requested strict checking.; Host key verification"
                " failed.",
            ),
            (b"error: unable to read askpass response from '/bin/false'\nfatal: no\n", "fatal: no"),
        ],
    )
    def test_what_matters_is_what_is_told(self, err, told):
        assert words(err, far=True) == told
