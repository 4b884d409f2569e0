"""Host files below a root: symlinks stay within it, writes are whole and private, users' symlinks are refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from controller.errors import Blocked, Transient
from controller.host.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def make(files: Files, host_path: str, text: str = "x") -> None:
    path = files.path(host_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def link(files: Files, host_path: str, target: str) -> None:
    path = files.path(host_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("path", ["etc/passwd", "/etc/../../passwd", "", ".."])
def test_a_path_of_the_host_is_absolute_and_goes_down(files: Files, path: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        files.path(path)


@pytest.mark.parametrize(
    "target", ["/nix/store/abc/dev.conf", "../../nix/store/abc/dev.conf", "/../nix/store/abc/dev.conf"]
)
def test_links_are_resolved_within_the_root(files: Files, target: str) -> None:
    make(files, "/nix/store/abc/dev.conf", "SYSTEM_PATH=/x\n")
    link(files, "/etc/nixos-containers/dev.conf", target)
    assert files.resolve("/etc/nixos-containers/dev.conf") == "/nix/store/abc/dev.conf"
    assert files.read("/etc/nixos-containers/dev.conf") == "SYSTEM_PATH=/x\n"


def test_links_through_links(files: Files) -> None:
    make(files, "/nix/store/b/file", "deep")
    link(files, "/nix/store/a/etc", "/nix/store/b")
    link(files, "/run/current", "/nix/store/a")
    assert files.resolve("/run/current/etc/file") == "/nix/store/b/file"
    assert files.read("/run/current/etc/file") == "deep"


def test_a_link_that_would_leave_the_root_does_not(files: Files) -> None:
    link(files, "/etc/x", "/etc/hostname")
    assert files.resolve("/etc/x") is None
    assert files.read("/etc/x") is None
    link(files, "/etc/y", "../../../../../../../etc/hostname")
    assert files.read("/etc/y") is None


def test_a_link_to_nowhere_and_a_loop_lead_nowhere(files: Files) -> None:
    link(files, "/etc/a", "/nix/store/gone")
    link(files, "/etc/loop", "/etc/loop")
    assert (files.resolve("/etc/a"), files.resolve("/etc/loop")) == (None, None)
    assert files.there("/etc/a")
    assert files.links("/etc") == {"a": "/nix/store/gone", "loop": "/etc/loop"}
    assert (files.link("/etc/a"), files.link("/etc/b")) == ("/nix/store/gone", None)


def test_what_is_not_there_reads_as_nothing(files: Files) -> None:
    assert files.read("/no/such/file") is None
    assert files.links("/no/such/folder") == {}
    assert files.status("/no/such/file") is None
    files.remove("/no/such/file")
    files.remove_tree("/no/such/folder")


def test_too_much_and_no_text_are_refused(files: Files) -> None:
    make(files, "/long", "x" * 100)
    with pytest.raises(Blocked, match="longer than 50 bytes"):
        files.read("/long", 50)
    files.path("/bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(Blocked, match="UTF-8"):
        files.read("/bytes")


def test_a_written_file_is_whole_and_private(files: Files) -> None:
    files.make_private("/var/lib/voxnix/documents")
    files.write("/var/lib/voxnix/documents/dev.json", b"one")
    files.write("/var/lib/voxnix/documents/dev.json", b"two", mode=0o400, mtime_ns=1_000_000_000)
    path = files.path("/var/lib/voxnix/documents/dev.json")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert path.stat().st_mtime_ns == 1_000_000_000
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == ["dev.json"]


def test_a_draft_left_by_a_crash_is_no_obstacle_and_no_trap(files: Files, tmp_path: Path) -> None:
    files.make_private("/v")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    files.path("/v/.file.new").symlink_to(victim)
    files.write("/v/file", b"new")
    assert victim.read_text() == "precious"
    assert files.path("/v/file").read_bytes() == b"new"


def test_writing_where_nothing_can_be_is_transient(files: Files) -> None:
    make(files, "/file")
    with pytest.raises(Transient, match="/file/x"):
        files.write("/file/x", b"")


def test_folders_of_a_dataset_are_made_once(files: Files) -> None:
    files.path("/tank/users/a").mkdir(parents=True)
    for _ in range(2):
        files.ensure_folders("/tank/users/a", {"home": 0o755, "root": 0o700})
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in files.path("/tank/users/a").iterdir()}
    assert modes == {"home": 0o755, "root": 0o700}


def test_the_mode_that_a_user_gave_a_folder_stays(files: Files) -> None:
    files.path("/tank/a/home").mkdir(parents=True)
    files.path("/tank/a/home").chmod(0o711)
    files.ensure_folders("/tank/a", {"home": 0o755})
    assert stat.S_IMODE(files.path("/tank/a/home").stat().st_mode) == 0o711


@pytest.mark.parametrize("obstacle", ["/tank/users/a/home", "/tank/users/a", "/tank/users"])
def test_a_symlink_in_the_way_is_refused_and_not_followed(files: Files, tmp_path: Path, obstacle: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link(files, obstacle, str(elsewhere))
    with pytest.raises(Blocked, match="not a real directory"):
        files.ensure_folders("/tank/users/a", {"home": 0o755})
    assert list(elsewhere.iterdir()) == []
    assert not files.is_real_folder("/tank/users/a/home")


def test_a_file_in_the_way_is_refused(files: Files) -> None:
    make(files, "/tank/a/home")
    with pytest.raises(Blocked, match="home is not a real directory"):
        files.ensure_folders("/tank/a", {"home": 0o755})


def test_a_tree_is_removed_without_following_links(files: Files, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    make(files, "/run/voxnix/containers/dev/secrets/token")
    link(files, "/run/voxnix/containers/dev/out", str(precious))
    files.remove_tree("/run/voxnix/containers/dev")
    assert (precious / "file").exists()
    assert not files.there("/run/voxnix/containers/dev")
