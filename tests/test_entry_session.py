"""Whole sessions on the simulated host: `voxnix serve` on a terminal or pipes, root's side as a process of its own.

Clients here are also such as no honest `voxnix serve` would be.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller.entry.passing import send
from controller.entry.request import Request, Size, read_end, write_request
from controller.errors import BadInput
from controller.settings import Settings
from tests.box import Box
from tests.keygen import Key
from tests.pushers import AGENT, ALICE, BOB, STRANGER, TENANTS, tenant

PROJECT = Path(__file__).parent.parent
PATIENCE = 20.0
ENTRY = (
    "import sys; from controller.cli.entry import entry; from controller.cli.session import Session;"
    "sys.exit(entry.main([], obj=Session(dict(state=sys.argv[1], host=sys.argv[2], config=None)),"
    " standalone_mode=False))"
)
CALLER = (
    "import sys; from pathlib import Path; from controller.entry.caller import enter;"
    "sys.exit(enter(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))"
)


class Door:
    """What systemd is on an appliance: a socket, and a process of root's side for each connection."""

    def __init__(self, box: Box) -> None:
        self.settings: Settings = box.settings
        self.path = self.settings.run / "enter"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.journal = box.directory / "journal"
        self.journal.write_text("")
        self.processes: list[subprocess.Popen[bytes]] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(self.path))
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, self.journal.open("ab") as journal:
                argv = [sys.executable, "-c", ENTRY, str(self.settings.state), self.settings.host]
                self.processes.append(
                    subprocess.Popen(argv, cwd=PROJECT, stdin=connection, stdout=journal, stderr=journal)
                )

    def connect(self) -> socket.socket:
        """A connection of a client's own making."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(self.path))
        connection.settimeout(PATIENCE)
        return connection

    def caller(self, key: Key, name: str, **streams: int) -> subprocess.Popen[bytes]:
        """`voxnix serve` of somebody with a key, on these streams."""
        argv = [sys.executable, "-c", CALLER, str(self.path), key.fingerprint, name]
        child = subprocess.Popen(argv, cwd=PROJECT, env={**os.environ, "TERM": "xterm"}, **streams)
        self.children.append(child)
        return child

    def said(self) -> str:
        """The journal."""
        return self.journal.read_text()

    def ended(self) -> None:
        """Wait until every process of root's side has ended, with all that it started."""
        until(lambda: all(process.poll() is not None for process in self.processes), "root's side to end")
        for process in self.processes:
            assert not descendants(process.pid)

    def close(self) -> None:
        """Stop listening, and end what is left."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for process in [*self.children, *self.processes]:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def descendants(leader: int) -> list[int]:
    """Processes whose parent is this one."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == leader:
            found.append(int(place.parent.name))
    return found


def until(so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def box(tmp_path_factory) -> Box:
    """alice (an admin) has dev, and off, which does not run; bob has web; stray is nobody's of ours."""
    import asyncio

    found = Box(tmp_path_factory.mktemp("box"))
    specs = {"web": "owner: bob\n", "dev": "owner: alice\n", "off": "owner: alice\npower: stopped\n"}
    found.commit({**TENANTS, **specs, "state/tenants/carol.yaml": tenant("Carol", STRANGER, Key("x"))})
    asyncio.run(found.apply())
    return found


@pytest.fixture
def door(box: Box) -> Iterator[Door]:
    (box.settings.run / "enter").unlink(missing_ok=True)
    found = Door(box)
    yield found
    found.close()


def piped(door: Door, key: Key, name: str, text: str = "") -> tuple[int, str, str]:
    """A session without a terminal: the exit code, what it said, and what it complained of."""
    pipe = subprocess.PIPE
    child = door.caller(key, name, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = child.communicate(text.encode(), timeout=PATIENCE)
    return child.returncode, out.decode(), err.decode()


class TestWithoutATerminal:
    def test_a_member_is_in_their_own(self, door):
        code, out, err = piped(door, BOB, "web", "hostname\nexit\n")
        assert (code, err) == (0, "")
        assert "[root@web:/root]# web" in out
        door.ended()
        assert f"bob ({BOB.fingerprint}) enters web\n" in door.said()
        assert f"bob ({BOB.fingerprint}) has left web after " in door.said()
        assert "s: exit code 0\n" in door.said()

    def test_the_end_of_what_is_piped_in_is_the_end_of_the_shell(self, door):
        code, out, _ = piped(door, BOB, "web", "echo one\n")
        assert code == 0
        assert "one" in out
        door.ended()

    def test_an_admin_is_in_anybodys(self, door):
        code, out, _ = piped(door, ALICE, "web", "hostname\n")
        assert code == 0
        assert "[root@web:" in out

    @pytest.mark.parametrize(
        ("key", "name", "said"),
        [
            (BOB, "dev", "bob has no container dev"),
            (BOB, "off", "bob has no container off"),
            (BOB, "nothing", "bob has no container nothing"),
            (ALICE, "nothing", "alice has no container nothing"),
            (ALICE, "off", "off is stopped, so nobody can enter it"),
            (AGENT, "web", "no tenant's"),
            (Key("who"), "web", "no tenant's"),
        ],
    )
    def test_who_does_not_get_in(self, door, key, name, said):
        code, out, err = piped(door, key, name, "hostname\n")
        assert (code, out) == (1, "")
        assert said in err
        door.ended()
        assert "refused" in door.said()
        assert "enters" not in door.said()

    def test_much_is_carried_whole(self, door):
        lines = "".join(f"echo {number:06}{'x' * 200}\n" for number in range(500))
        code, out, _ = piped(door, BOB, "web", lines)
        assert code == 0
        assert [f"{number:06}" in out for number in range(500)] == [True] * 500

    def test_a_client_that_is_killed_leaves_nothing(self, door):
        read, write = os.pipe()
        child = door.caller(BOB, "web", stdin=read, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout is not None
        assert child.stdout.readline()
        child.kill()
        door.ended()
        assert "the caller went away" in door.said()
        os.close(read)
        os.close(write)

    def test_a_reader_that_is_gone_ends_it_though_the_client_waits(self, door):
        read, write = os.pipe()
        child = door.caller(BOB, "web", stdin=read, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert child.stdout is not None
        assert child.stdout.readline()
        child.stdout.close()
        door.ended()
        assert "the caller went away" in door.said()
        assert child.wait(PATIENCE) == 1
        os.close(read)
        os.close(write)

    def test_the_end_of_root_s_side_ends_the_client(self, door):
        read, write = os.pipe()
        child = door.caller(BOB, "web", stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline()
        door.processes[0].send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=PATIENCE)
        assert "ended from the other side" in err.decode()
        door.ended()
        os.close(read)
        os.close(write)


class TestWithATerminal:
    @pytest.fixture
    def terminal(self) -> Iterator[tuple[int, int]]:
        ours, theirs = pty.openpty()
        yield ours, theirs
        os.close(theirs)
        os.close(ours)

    def read(self, descriptor: int, what: str) -> str:
        told, deadline = "", time.monotonic() + PATIENCE
        while what not in told:
            assert select.select([descriptor], [], [], deadline - time.monotonic())[0], told
            told += os.read(descriptor, 4096).decode()
        return told

    def test_keys_reach_the_shell_and_its_words_come_back(self, door, terminal):
        ours, theirs = terminal
        child = door.caller(BOB, "web", stdin=theirs, stdout=theirs, stderr=theirs)
        self.read(ours, "[root@web:/root]# ")
        os.write(ours, b"hostname\n")
        assert "web\r\n" in self.read(ours, "]# ")
        os.write(ours, b"exit\n")
        self.read(ours, "terminated")
        assert child.wait(PATIENCE) == 0
        door.ended()
        assert "enters web with a terminal" in door.said()

    def test_the_terminal_is_put_back(self, door, terminal):
        import termios

        _, theirs = terminal
        before = termios.tcgetattr(theirs)
        child = door.caller(BOB, "dev", stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
        assert child.wait(PATIENCE) == 1
        assert termios.tcgetattr(theirs) == before

    def test_a_terminal_that_is_hung_up_leaves_nothing(self, door, terminal):
        ours, theirs = pty.openpty()
        child = door.caller(BOB, "web", stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.read(ours, "[root@web:/root]# ")
        os.close(ours)
        door.ended()
        assert "the caller went away" in door.said()
        assert child.wait(PATIENCE) == 1


class TestHostileClients:
    def ask(self, door: Door, packet: bytes, streams: tuple[int, ...]) -> str:
        """What a client of its own making is told."""
        with door.connect() as connection:
            send(connection, packet, streams)
            return self.told(connection)

    def told(self, connection: socket.socket) -> str:
        with pytest.raises(BadInput) as told:
            read_end(connection.recv(4096))
        return told.value.what

    @pytest.fixture
    def streams(self) -> Iterator[tuple[int, int, int]]:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            yield (theirs.fileno(),) * 3

    @pytest.mark.parametrize("number", [0, 1, 2, 4, 253])
    def test_descriptors(self, door, streams, number):
        request = write_request(Request(BOB.fingerprint, "web"))
        assert "exactly 3 descriptors" in self.ask(door, request, (streams[0],) * number)
        door.ended()

    @pytest.mark.parametrize(
        "packet",
        [
            b"x" * 100_000,
            b'{"key":',
            b"[" * 1000,
            b"{}",
            write_request(Request(BOB.fingerprint, "web")).replace(b'"web"', b'"../web"'),
            write_request(Request(BOB.fingerprint, "web")).replace(b'"web"', b'"root@dev"'),
            write_request(Request(BOB.fingerprint, "web")).replace(b'"web"', b'"--pty"'),
            write_request(Request(BOB.fingerprint, "web")).replace(b"}", b',"tenant":"alice"}'),
        ],
    )
    def test_packets(self, door, streams, packet):
        assert self.ask(door, packet, streams)
        door.ended()
        assert "enters" not in door.said()

    def test_a_name_that_root_could_write_and_others_only_find_is_not_opened(self, door, streams):
        shadow = os.open("/etc/shadow", os.O_PATH)
        request = write_request(Request(BOB.fingerprint, "web", "xterm", Size(24, 80)))
        assert "descriptor 0" in self.ask(door, request, (shadow, *streams[1:]))
        assert "descriptor 1" in self.ask(door, request, (streams[0], shadow, streams[2]))
        os.close(shadow)

    def test_silence_is_bounded(self, door):
        with door.connect() as connection:
            began = time.monotonic()
            assert self.told(connection) == "no request came in time"
            assert 4 < time.monotonic() - began < 15
        door.ended()

    def test_another_user_is_turned_away(self, door, streams):
        """Neither root nor the state repo's owner: a user without any rights, or else this test's, for root's repo."""
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if root:
            os.seteuid(0)
        with ours, theirs:
            argv = [sys.executable, "-c", ENTRY, str(door.settings.state) if root else "/", door.settings.host]
            done = subprocess.run(argv, cwd=PROJECT, stdin=ours, capture_output=True, text=True, check=False)
            assert f"refused: user {65534 if root else os.geteuid()} may not open shells here" in done.stdout
            assert "may not open shells" in self.told(theirs)

    def test_one_tenant_has_so_many_places_and_others_are_not_concerned(self, door):
        pairs = [socket.socketpair() for _ in range(8)]
        connections = []
        for _, theirs in pairs:
            connection = door.connect()
            send(connection, write_request(Request(BOB.fingerprint, "web")), (theirs.fileno(),) * 3)
            connections.append(connection)
        for ours, _ in pairs:
            ours.settimeout(PATIENCE)
            assert ours.recv(10)
        assert "bob has 8 shells open already" in piped(door, BOB, "web")[2]
        assert piped(door, ALICE, "web")[0] == 0
        connections[0].close()
        until(lambda: door.processes[0].poll() is not None, "the first session to end")
        assert piped(door, BOB, "web")[0] == 0
        for connection in connections:
            connection.close()
        door.ended()
        for ours, theirs in pairs:
            ours.close()
            theirs.close()

    @pytest.mark.parametrize("noise", [b"x", b'{"rows":-1,"columns":1}', b"[" * 1000, b"x" * 5000])
    def test_noise_on_a_terminals_connection_ends_the_session(self, door, noise):
        ours, theirs = pty.openpty()
        with door.connect() as connection:
            request = Request(BOB.fingerprint, "web", "xterm", Size(24, 80))
            send(connection, write_request(request), (theirs,) * 3)
            assert select.select([ours], [], [], PATIENCE)[0]
            connection.send(noise)
            assert connection.recv(4096) == b""
        door.ended()
        os.close(ours)
        os.close(theirs)

    def test_a_stalled_reader_stalls_nobody_else_and_ends_when_it_leaves(self, door):
        ours, theirs = socket.socketpair()
        connection = door.connect()
        send(connection, write_request(Request(BOB.fingerprint, "web")), (theirs.fileno(),) * 3)
        theirs.close()
        ours.setblocking(False)
        sent = 0
        until(lambda: bool(select.select([ours], [], [], 0)[0]), "the shell to speak")
        line, deadline = b"echo " + b"y" * 1000 + b"\n", time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                sent += ours.send(line)
            except BlockingIOError:
                if not select.select([], [ours], [], 0.5)[1]:
                    break
        assert sent > 0
        assert piped(door, BOB, "web", "hostname\n")[0] == 0
        connection.close()
        door.ended()
        ours.close()


def test_without_a_door_there_are_words(tmp_path):
    argv = [sys.executable, "-c", CALLER, str(tmp_path / "enter"), BOB.fingerprint, "web"]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert "needs root on the appliance" in done.stderr


def test_what_a_connection_is_not(box):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for given in (subprocess.DEVNULL, ours):
            argv = [sys.executable, "-c", ENTRY, str(box.settings.state), box.settings.host]
            done = subprocess.run(argv, cwd=PROJECT, stdin=given, capture_output=True, text=True, check=False)
            assert "this is for systemd" in done.stderr


def test_the_store_says_who_it_is_not_the_branch(box, door):
    """A branch that was moved since does not count: the store has what the controller accepted."""
    before = box.repo.head()
    box.commit({"state/tenants/bob.yaml": tenant("Bob", BOB, Key("x"), role="admin"), "dev": "owner: bob\n"})
    assert "bob has no container dev" in piped(door, BOB, "dev")[2]
    subprocess.run(["git", "-C", str(box.repo_path), "update-ref", "refs/heads/main", str(before)], check=True)
