"""`ssh voxnix-git@box enter NAME`, by the real sshd, systemd, machined and nspawn: a shell in one's own container."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.appliance import Appliance
from tests.host.fleet import Fleet
from tests.host.machine import Machine

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("enter")]

HOME = "/root/people"
PATIENCE = 30.0
SSHD = """
Match User voxnix-git
    AuthorizedKeysCommand /usr/local/bin/voxnix keys %f
    AuthorizedKeysCommandUser root
    AuthorizedKeysFile none
    PasswordAuthentication no
"""
DOOR = "/run/voxnix/enter"
KEY = f"SHA256:{'A' * 43}"
MARK = "sleep 98765"
"""What a session leaves running, were it not ended."""


class Lobby:
    """An appliance on which people have running containers: alice, an admin, has dev; bob has web."""

    def __init__(self, box: Appliance) -> None:
        self.box, self.host = box, box.host

    def open(self) -> None:
        """Make the user, keys, sshd's settings and the door; start the controller and the containers."""
        host = self.host
        host.sh("useradd --system --user-group --shell /bin/sh --home-dir / --no-create-home voxnix-git")
        host.do("tee", "/etc/ssh/sshd_config.d/voxnix.conf", stdin=SSHD)
        host.sh("systemctl restart ssh; echo 'socket_group = \"voxnix-git\"' >>/etc/voxnix/config.toml")
        for name in ("alice", "bob"):
            host.sh(f"mkdir -p {HOME} && ssh-keygen -q -N '' -t ed25519 -f {HOME}/{name} -C '{name}@example'")
        self.box.commit(
            **{
                "tenants/alice": {"name": "Alice", "role": "admin", "ssh_keys": [self.public("alice")]},
                "tenants/bob": {"name": "Bob", "ssh_keys": [self.public("bob")]},
            }
        )
        sha = self.box.commit(dev={"owner": "alice"}, web={"owner": "bob"}, off={"owner": "bob", "power": "stopped"})
        host.sh("chown -R voxnix-git: /srv/state.git; git config --global safe.directory /srv/state.git")
        self.box.run()
        self.box.converged(sha)
        host.sh("systemctl enable --now --quiet voxnix-enter.socket")

    def public(self, name: str) -> str:
        return self.host.do("cat", f"{HOME}/{name}.pub").strip()

    def argv(self, who: str, *words: str, options: str = "") -> list[str]:
        """The command of the host by which `who` asks the appliance."""
        ssh = (
            f"ssh -i {HOME}/{who} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no -o LogLevel=ERROR"
        )
        return ["sh", "-c", f"exec {ssh} {options} voxnix-git@localhost {shlex.join(words)}"]

    def ssh(self, who: str, *words: str, stdin: str = "") -> Any:
        """Ask, on pipes."""
        return self.host.call(*self.argv(who, *words), stdin=stdin, timeout=60)

    def journal(self) -> str:
        return self.host.do("journalctl", "-t", "voxnix-enter", "-o", "cat", "--no-pager")

    def left(self, name: str = "web") -> str:
        """What is left of sessions: processes of a container and of the host, and units of both."""
        inside = self.host.inside(
            name, f"pgrep -fa '^{MARK}'; systemctl list-units --plain --no-legend 'voxnix-enter-*'"
        )
        here = self.host.call("sh", "-c", "pgrep -fa 'voxnix-[e]nter-|controller.main [e]ntry'").out
        units = self.host.do("systemctl", "list-units", "--plain", "--no-legend", "voxnix-enter@*")
        return inside.out + here + units

    def kill_clients(self) -> None:
        """Kill each ssh that asks for a shell: nothing else tells the appliance."""
        self.host.sh("pkill -KILL -f '^ssh -i .* enter '")

    def nothing_left(self) -> None:
        """Wait until nothing is."""
        ended = time.monotonic() + PATIENCE
        while found := self.left():
            assert time.monotonic() < ended, found
            time.sleep(0.1)

    def running(self, what: str = MARK) -> None:
        """Wait until a session's command runs in web."""
        ended = time.monotonic() + PATIENCE
        while self.host.inside("web", f"pgrep -f '^{what}'").code != 0:
            assert time.monotonic() < ended, "the command does not run"
            time.sleep(0.1)


class Terminal:
    """Somebody at a terminal, with ssh in it."""

    def __init__(self, lobby: Lobby, who: str, name: str, rows: int = 24, columns: int = 80) -> None:
        self.ours, theirs = pty.openpty()
        self.resize(rows, columns)
        argv = lobby.host.within(lobby.argv(who, "enter", name, options="-tt"))
        self.process = subprocess.Popen(argv, preexec_fn=lambda: os.login_tty(theirs))  # noqa: PLW1509 - one thread
        os.close(theirs)
        self.lobby, self.seen = lobby, ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def until(self, pattern: str) -> str:
        """Read until it says something; what it said since the last time."""
        ended = time.monotonic() + PATIENCE
        while not re.search(pattern, self.seen):
            assert select.select([self.ours], [], [], ended - time.monotonic())[0], self.seen
            try:
                said = os.read(self.ours, 4096)
            except OSError:
                said = b""
            assert said, self.seen
            self.seen += said.decode(errors="replace")
        said, self.seen = self.seen, ""
        return said

    def run(self, command: str) -> str:
        """What a command of the shell says; its echo has the mark in two pieces, its answer in one."""
        self.type(f"{command}; echo EN''D\n")
        return self.until(r"END\r")

    def end(self) -> int:
        """The exit code of ssh."""
        while True:
            try:
                if not os.read(self.ours, 4096):
                    break
            except OSError:
                break
        return self.process.wait(PATIENCE)

    def ready(self) -> Terminal:
        """Once the shell has said that it is there: what is typed before may be lost, as at any login."""
        self.until(r"# $")
        return self

    def hang_up(self) -> None:
        self.lobby.kill_clients()
        self.process.wait(PATIENCE)
        os.close(self.ours)


@pytest.fixture(scope="module")
def lobby(fleet: Fleet) -> Iterator[Lobby]:
    machine: Machine = fleet.make("lobby")
    found = Lobby(Appliance(machine.boot().make_pool()))
    found.open()
    yield found
    machine.remove()


def test_commands_are_piped_in_and_their_words_and_exit_code_come_out(lobby: Lobby) -> None:
    said = lobby.ssh(
        "bob", "enter", "web", stdin="hostname; id -u; echo oops >&2; test -t 0 || echo no terminal; exit 7\n"
    )
    assert said.code == 7, said
    assert said.out == "web\n0\nno terminal\n"
    assert said.err == "oops\n"
    lobby.nothing_left()
    assert re.search(r"^bob \(SHA256:\S+\) enters web$", lobby.journal(), re.M)
    assert re.search(r"^bob \(SHA256:\S+\) has left web after \d+ s: exit code 7$", lobby.journal(), re.M)


def test_much_goes_through_both_ways(lobby: Lobby) -> None:
    numbers = "".join(f"{number}\n" for number in range(300_000))
    said = lobby.ssh("bob", "enter", "web", stdin=f"cat <<'EOF'\n{numbers}EOF\n")
    assert said.code == 0, said.err
    assert said.out == numbers


def test_a_terminal_is_one_with_its_size_and_its_changes(lobby: Lobby) -> None:
    bob = Terminal(lobby, "bob", "web", rows=33, columns=101).ready()
    assert "web" in bob.run("hostname")
    assert "/dev/pts/" in bob.run("tty")
    assert "33 101" in bob.run("stty size")
    assert "TERM=" in bob.run("echo TERM=$TERM")
    bob.resize(44, 132)
    ended = time.monotonic() + PATIENCE
    while "44 132" not in bob.run("stty size"):
        assert time.monotonic() < ended, "the shell does not hear of the new size"
    bob.type("sleep 54321\n")
    lobby.running("sleep 54321")
    bob.type("\x03")
    assert "130" in bob.run("echo $?")
    bob.type("exit 5\n")
    assert bob.end() == 5
    lobby.nothing_left()


def test_an_admin_may_enter_anybodys_and_a_member_their_own(lobby: Lobby) -> None:
    assert lobby.ssh("alice", "enter", "web", stdin="hostname\n").out == "web\n"
    assert lobby.ssh("alice", "enter", "dev", stdin="hostname\n").out == "dev\n"
    for name in ("dev", "nothing"):
        said = lobby.ssh("bob", "enter", name, stdin="hostname\n")
        assert (said.code, said.out) == (1, "")
        assert f"bob has no container {name}" in said.err
    assert "off is stopped, so nobody can enter it" in lobby.ssh("bob", "enter", "off").err
    for name in ("../web", "root@web", "-M", "web;id", ".host"):
        assert lobby.ssh("bob", "enter", name, stdin="hostname\n").code == 1


def test_a_terminal_tells_a_refusal_too(lobby: Lobby) -> None:
    bob = Terminal(lobby, "bob", "dev")
    bob.until("bob has no container dev")
    assert bob.end() == 1


@pytest.mark.parametrize("stubborn", ["", "trap '' HUP TERM INT; "])
def test_a_client_at_a_terminal_that_is_killed_leaves_no_shell(lobby: Lobby, stubborn: str) -> None:
    bob = Terminal(lobby, "bob", "web").ready()
    bob.run(f"{stubborn}true")
    bob.type(f"{MARK} & {MARK}\n")
    lobby.running()
    bob.hang_up()
    lobby.nothing_left()
    assert "has left web after" in lobby.journal().splitlines()[-1]
    assert "the caller went away" in lobby.journal()


@pytest.mark.parametrize("stubborn", ["", "trap '' HUP TERM INT; "])
def test_a_client_on_pipes_that_is_killed_leaves_no_shell(lobby: Lobby, stubborn: str) -> None:
    argv = lobby.host.within(lobby.argv("bob", "enter", "web"))
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert child.stdin is not None
    child.stdin.write(f"{stubborn}{MARK} & {MARK}\n".encode())
    child.stdin.flush()
    lobby.running()
    lobby.kill_clients()
    child.communicate()
    lobby.nothing_left()


def test_what_is_killed_on_the_host_leaves_no_shell_either(lobby: Lobby) -> None:
    bob = Terminal(lobby, "bob", "web").ready()
    bob.run("true")
    bob.type(f"{MARK}\n")
    lobby.running()
    lobby.host.sh("systemctl stop 'voxnix-enter@*.service'")
    assert bob.end() == 1
    lobby.nothing_left()


def test_a_container_that_stops_ends_its_sessions(lobby: Lobby) -> None:
    bob = Terminal(lobby, "bob", "web").ready()
    bob.run("true")
    lobby.host.sh("systemctl restart container@web")
    bob.end()
    lobby.nothing_left()
    assert lobby.ssh("bob", "enter", "web", stdin="hostname\n").out == "web\n"


def test_the_shell_has_nothing_of_the_host(lobby: Lobby) -> None:
    """Its streams are pipes and a terminal of the container's own, its processes are in the container's group."""
    bob = Terminal(lobby, "bob", "web").ready()
    assert "/machine.slice/" not in bob.run("cat /proc/self/cgroup")
    opened = bob.run("ls -l /proc/$$/fd")
    assert "socket:" not in opened
    assert "/dev/pts/" in opened
    host = lobby.host.do("readlink", "/proc/1/ns/pid").strip()
    assert host not in bob.run("readlink /proc/self/ns/pid")
    bob.type("exit\n")
    assert bob.end() == 0
    said = lobby.ssh("bob", "enter", "web", stdin="ls -l /proc/$$/fd | grep -c socket:; true\n")
    assert said.out == "0\n"


def test_the_door_is_for_the_repositorys_owner(lobby: Lobby) -> None:
    mode = lobby.host.do("stat", "-c", "%a %U %G", DOOR).strip()
    assert mode == "660 root voxnix-git"
    assert lobby.host.do("stat", "-c", "%a %U %G", "/run/voxnix/api.sock").strip() == "660 root voxnix-git"
    lobby.host.sh(f"chmod 666 {DOOR}")
    script = (
        f"from pathlib import Path; from controller.entry.caller import enter; enter(Path({DOOR!r}), {KEY!r}, 'web')"
    )
    ask = f"PYTHONPATH=/opt/voxnix/app:/opt/voxnix/site python3 -c {shlex.quote(script)}"
    said = lobby.host.call("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-c", ask)
    lobby.host.sh(f"chmod 660 {DOOR}")
    assert "may not open shells here" in said.err


def test_questions_reach_the_controller_by_the_group(lobby: Lobby) -> None:
    said = lobby.ssh("bob", "status")
    assert said.code == 0, said
    assert "web" in said.out
    assert "dev" not in said.out


def test_a_key_that_was_taken_away_opens_nothing(lobby: Lobby) -> None:
    sha = lobby.box.commit(**{"tenants/bob": {"name": "Bob"}})
    lobby.host.sh("chown -R voxnix-git: /srv/state.git")
    lobby.box.until(lambda: lobby.box.status().get("revision") == sha, "the revision to be accepted")
    said = lobby.ssh("bob", "enter", "web", stdin="hostname\n")
    assert "Permission denied" in said.err
