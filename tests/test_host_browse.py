"""Files that others made: found, printed and copied without following or opening what they planted."""

from __future__ import annotations

import os
import stat

import pytest

from controller.errors import BadInput, Blocked
from controller.host import browse


@pytest.fixture
def top(tmp_path):
    place = tmp_path / "top"
    (place / "home/alice").mkdir(parents=True)
    (place / "home/alice/notes.txt").write_text("precious")
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


@pytest.fixture
def place(top, tmp_path):
    return tmp_path / "top"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    handle = os.open(tmp_path / "out", os.O_RDONLY | os.O_DIRECTORY)
    yield handle
    os.close(handle)


def read(top, *parts):
    said = []
    with browse.opened(top, parts) as (handle, _):
        browse.pour(handle, said.append)
    return b"".join(said)


def test_a_file_is_read_in_pieces(top, place):
    (place / "big").write_bytes(b"x" * (browse.PIECE + 1))
    said = []
    with browse.opened(top, ["big"]) as (handle, status):
        assert browse.pour(handle, said.append) == status.st_size
    assert [len(piece) for piece in said] == [browse.PIECE, 1]
    assert read(top, "home", "alice", "notes.txt") == b"precious"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("away", "passwd"), "away is a symlink, which is not followed (it leads to /etc: name that)"),
        (("up", "secret"), "up is a symlink"),
        (("home", "alice", "link"), "home/alice/link is a symlink"),
        (("pipe",), "pipe is no file, but a special file"),
        (("home",), "home is no file, but a folder"),
        (("home", "alice", "notes.txt", "x"), "home/alice/notes.txt is no folder, but a file"),
        (("home", "bob"), "there is no home/bob in this snapshot"),
        (("x" * 300,), "there is no xxx"),
    ],
)
def test_nothing_leads_out_and_nothing_special_is_opened(top, place, tmp_path, parts, said):
    (tmp_path / "secret").write_text("secret")
    (place / "away").symlink_to("/etc")
    (place / "up").symlink_to("..")
    (place / "home/alice/link").symlink_to("../../../secret")
    os.mkfifo(place / "pipe")
    with pytest.raises(BadInput) as found, browse.opened(top, parts):
        pass
    assert said in str(found.value)


def test_a_device_is_not_opened(top, place):
    if os.geteuid() == 0:
        os.mknod(place / "disk", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        kind = browse.kind(top, ["disk"])
    else:
        os.mkfifo(place / "disk")
        kind = browse.kind(top, ["disk"])
    assert kind == "special"
    with pytest.raises(BadInput, match="special"):
        read(top, "disk")


def test_a_folder_is_listed_with_what_its_entries_are(top, place):
    (place / "home/alice/link").symlink_to("/etc/passwd")
    found, whole = browse.entries(top, ["home", "alice"])
    assert [(one.name, one.kind) for one in found] == [("link", "symlink"), ("notes.txt", "file")]
    assert found[1].size == 8
    assert whole
    assert browse.kind(top, ()) == "folder"


def test_a_folder_without_end_is_cut_off(top, place):
    for number in range(5):
        (place / f"home/alice/{number}").touch()
    found, whole = browse.entries(top, ["home", "alice"], most=3)
    assert len(found) == 3
    assert not whole


def test_a_copy_keeps_mode_and_time_but_no_set_user_id(top, place, folder, tmp_path):
    tool = place / "home/alice/tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o4755)
    os.utime(tool, ns=(10**18, 10**18))
    with browse.opened(top, ["home", "alice", "tool"]) as (handle, status):
        assert browse.copy(handle, status, folder, "tool") == 10
    copied = (tmp_path / "out/tool").stat()
    assert (stat.S_IMODE(copied.st_mode), copied.st_mtime_ns) == (0o755, 10**18)
    assert os.listdir(folder) == ["tool"]


@pytest.mark.parametrize("plant", ["file", "symlink"])
def test_nothing_is_written_over(top, folder, tmp_path, plant):
    there = tmp_path / "out/notes.txt"
    if plant == "file":
        there.write_text("mine")
    else:
        there.symlink_to(tmp_path / "elsewhere")
    with (
        browse.opened(top, ["home", "alice", "notes.txt"]) as (handle, status),
        pytest.raises(BadInput, match="already"),
    ):
        browse.copy(handle, status, folder, "notes.txt")
    assert os.listdir(folder) == ["notes.txt"]
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_says_to_be_endless_is_not_copied(top, place, folder):
    with (place / "endless").open("wb") as file:
        file.truncate(2**43)
    with browse.opened(top, ["endless"]) as (handle, status), pytest.raises(BadInput, match="no room"):
        browse.copy(handle, status, folder, "endless")
    assert os.listdir(folder) == []


def test_a_real_folder_is_reached_through_real_folders_only(tmp_path, place):
    with browse.real_folder(tmp_path, "/top/home") as handle:
        assert os.listdir(handle) == ["alice"]
    (place / "link").symlink_to("home")
    for path in ("/top/link", "/top/link/alice", "/top/none", "/top/home/alice/notes.txt"):
        with pytest.raises(Blocked, match="not a real directory"), browse.real_folder(tmp_path, path):
            pass
