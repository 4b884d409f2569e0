"""The receive log: what is written is found, and nothing else; whoever else could write it is not believed."""

from __future__ import annotations

import multiprocessing
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import Blocked
from controller.receive import Arrival, ReceiveLog, note_arrival, pusher
from controller.receive import log as module
from controller.receive.arrival import read_line
from tests.keygen import Key

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
BOB = Key("bob").fingerprint


def sha(number):
    return f"{number:040x}"


def arrival(*numbers, key=BOB, **more):
    return Arrival(tuple(map(sha, numbers)), NOW, key, **more)


@pytest.fixture
def repo(tmp_path):
    path = tmp_path / "state.git"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
def log(repo):
    return ReceiveLog(repo)


class TestWriting:
    def test_what_was_written_is_found_by_commit(self, log):
        assert log.append(arrival(1, 2))
        assert log.append(arrival(3, key="", by="root", via="path"))
        found = log.find([sha(2), sha(3), sha(9)])
        assert found.arrivals == {sha(2): arrival(1, 2), sha(3): arrival(3, key="", by="root", via="path")}
        assert (found.distrust, found.damaged) == ("", 0)

    def test_nothing_was_written_yet(self, log):
        assert log.find([sha(1)]).arrivals == {}
        assert log.find([sha(1)]).distrust == ""

    def test_the_latest_entry_of_a_commit_counts(self, log):
        log.append(arrival(1))
        log.append(replace(arrival(1), at=NOW + timedelta(hours=1)))
        assert log.find([sha(1)]).arrivals[sha(1)].at == NOW + timedelta(hours=1)

    def test_it_is_its_owners_alone_whatever_the_umask(self, log, repo):
        before = os.umask(0)
        try:
            log.append(arrival(1))
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (repo / "voxnix").iterdir()}
        assert modes == {"received.jsonl": 0o600, "lock": 0o600}
        assert stat.S_IMODE((repo / "voxnix").stat().st_mode) == 0o700

    def test_a_big_push_is_several_lines(self, log, repo):
        log.append(arrival(*range(2500)))
        assert len((repo / "voxnix/received.jsonl").read_bytes().splitlines()) == 3
        assert log.find([sha(0), sha(2499)]).arrivals.keys() == {sha(0), sha(2499)}

    def test_many_at_once_lose_nothing(self, log, repo):
        context = multiprocessing.get_context("spawn")
        with context.Pool(4) as pool:
            pool.starmap(write_one, [(repo, number) for number in range(40)])
        assert log.find([sha(number) for number in range(40)]).arrivals.keys() == {sha(n) for n in range(40)}

    def test_it_grows_to_a_bound_and_keeps_the_one_before(self, log, repo, monkeypatch):
        monkeypatch.setattr(module, "LIMIT", 1000)
        for number in range(30):
            log.append(arrival(number))
        sizes = {path.name: path.stat().st_size for path in (repo / "voxnix").iterdir()}
        assert max(sizes.values()) < 1300
        assert sizes.keys() == {"received.jsonl", "received.1.jsonl", "lock"}
        assert log.find([sha(29), sha(22)]).arrivals.keys() == {sha(29), sha(22)}

    @pytest.mark.parametrize("name", ["received.jsonl", "lock"])
    def test_it_writes_through_no_link(self, log, repo, tmp_path, name):
        precious = tmp_path / "precious"
        precious.write_text("mine")
        (repo / "voxnix").mkdir(mode=0o700)
        (repo / "voxnix" / name).symlink_to(precious)
        with pytest.raises(Blocked, match="no plain file"):
            log.append(arrival(1))
        (repo / "voxnix" / name).unlink()
        os.link(precious, repo / "voxnix" / name)
        precious.chmod(0o600)
        with pytest.raises(Blocked, match="no plain file"):
            log.append(arrival(1))
        assert precious.read_text() == "mine"

    def test_the_mark_differs_once_something_was_written(self, log):
        marks = [log.mark()]
        for number in range(3):
            log.append(arrival(number))
            marks.append(log.mark())
        assert len(set(marks)) == 4
        assert log.mark() == marks[-1]


def write_one(repo, number):
    ReceiveLog(repo).append(arrival(number))


class TestDamage:
    def test_a_torn_line_is_ended_by_the_next_entry(self, log, repo):
        log.append(arrival(1))
        with (repo / "voxnix/received.jsonl").open("ab") as file:
            file.write(b'{"v":1,"at":')
        assert log.find([sha(1), sha(8)]).damaged == 0
        log.append(arrival(2))
        found = log.find([sha(1), sha(2)])
        assert found.arrivals.keys() == {sha(1), sha(2)}
        assert found.damaged == 1

    @given(st.binary(max_size=400), st.integers(0, 3))
    def test_rubbish_hides_no_entry(self, tmp_path_factory, rubbish, place):
        repo = tmp_path_factory.mktemp("repo")
        log, file = ReceiveLog(repo), repo / "voxnix/received.jsonl"
        for number in range(3):
            if number == place:
                log.append(arrival(99))
                with file.open("ab") as out:
                    out.write(rubbish)
            log.append(arrival(number))
        assert log.find([sha(number) for number in range(3)]).arrivals.keys() >= {sha(n) for n in range(3)}

    def test_a_file_without_a_line_end_is_read_in_bounded_memory(self, log, repo):
        log.append(arrival(1))
        with (repo / "voxnix/received.jsonl").open("ab") as file:
            file.write(b"x" * 3_000_000)
        found = log.find([sha(1)])
        assert found.arrivals.keys() == {sha(1)}

    @pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
    def test_lines_are_whole_whatever_is_read_at_once(self, log, monkeypatch, chunk):
        for number in range(9):
            log.append(arrival(number))
        monkeypatch.setattr(module, "_CHUNK", chunk)
        found = log.find([sha(number) for number in range(9)])
        assert len(found.arrivals) == 9
        assert found.damaged == 0


class TestLines:
    def test_an_entry_survives_its_line(self):
        for entry in (arrival(1, 2), arrival(3, key="", by="alice as root", via="cli")):
            assert [read_line(line) for line in entry.lines()] == [entry]

    @pytest.mark.parametrize(
        "change",
        [
            (b'"v":1', b'"v":2'),
            (b'"v":1', b'"v":"1"'),
            (BOB.encode(), b"SHA256:short"),
            (b'"via":"ssh"', b'"via":"path"'),
            (b'"via":"ssh"', b'"via":"magic"'),
            (b"+00:00", b""),
            (b"2026-11", b"2026-13"),
            (sha(1).encode(), b"main"),
            (f'["{sha(1)}"]'.encode(), b"[]"),
            (f'["{sha(1)}"]'.encode(), f'"{sha(1)}"'.encode()),
            (f'["{sha(1)}"]'.encode(), b"[1]"),
            (f'"key":"{BOB}",'.encode(), b""),
            (f'"{BOB}"'.encode(), b"1"),
        ],
    )
    def test_what_is_no_entry(self, change):
        [line] = arrival(1).lines()
        assert change[0] in line
        assert read_line(line.replace(*change)) is None

    @given(st.binary(max_size=200))
    def test_any_bytes_are_an_entry_or_none(self, data):
        read_line(data)

    def test_deep_nesting_is_no_entry(self):
        assert read_line(b"[" * 100_000) is None


class TestTrust:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({}, ""),
            ({"st_uid": 0}, ""),
            ({"st_uid": 1001}, "belongs to user 1001"),
            ({"st_mode": stat.S_IFREG | 0o660}, "others may write"),
            ({"st_mode": stat.S_IFREG | 0o602}, "others may write"),
            ({"st_mode": stat.S_IFLNK | 0o600}, "no plain file"),
            ({"st_mode": stat.S_IFIFO | 0o600}, "no plain file"),
            ({"st_nlink": 2}, "no plain file"),
        ],
    )
    def test_only_the_owner_and_root_may_have_written_it(self, changes, said):
        names = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime")
        plain = dict.fromkeys(names, 0) | {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_uid": 1000}
        values = plain | changes
        found, owner = (os.stat_result((*each.values(), 0)) for each in (values, plain))
        try:
            module._require_theirs(found, owner, "x", stat.S_IFREG)
            why = ""
        except module._Distrusted as error:
            why = str(error)
        assert bool(why) == bool(said)
        assert said in why


class TestNoting:
    def test_a_push_with_a_key(self, log, repo):
        assert pusher({"VOXNIX_KEY": BOB}) == (BOB, "")

    def test_a_push_to_the_path(self):
        key, by = pusher({})
        assert (key, bool(by)) == ("", True)

    def test_a_key_that_is_none_is_not_taken_for_root(self):
        with pytest.raises(Blocked, match="no fingerprint"):
            pusher({"VOXNIX_KEY": "SHA256:x"})

    def test_an_arrival_is_in_the_log(self, log, repo):
        arrival = Arrival((sha(1),), datetime.now(UTC), BOB)
        note_arrival(repo, arrival)
        assert log.find([sha(1)]).arrivals == {sha(1): arrival}

    def test_an_arrival_that_cannot_be_noted_is_told(self, repo):
        (repo / "voxnix").write_text("in the way")
        with pytest.raises(Blocked, match="receive log"):
            note_arrival(repo, Arrival((sha(1),), datetime.now(UTC), BOB))
