"""Root's side of `enter` over SSH: what is taken for a request, from whom, with which descriptors, and who may."""

from __future__ import annotations

import grp
import json
import os
import socket

import pytest

from controller.entry.judge import Accepted, Person, require_theirs, tenant_of
from controller.entry.passing import receive, send
from controller.entry.places import MOST, take_place
from controller.entry.request import (
    LONGEST,
    Request,
    Size,
    read_end,
    read_request,
    read_size,
    terminal,
    write_end,
    write_refusal,
    write_request,
    write_size,
)
from controller.errors import BadInput, Blocked
from controller.observed.facts import Document, Installed, Machine, UnitFacts
from controller.receive import Keys
from controller.settings import load
from controller.sockets import listen
from tests.keygen import Key
from tests.pushers import AGENT, ALICE, BOB, STRANGER

KEY = BOB.fingerprint
WORDS = {"key": KEY, "name": "web", "terminal": "xterm-256color", "rows": 24, "columns": 80}


class TestRequest:
    def test_what_is_written_is_read(self):
        request = Request(KEY, "web", "xterm", Size(24, 80))
        assert read_request(write_request(request)) == request
        assert read_size(write_size(Size(50, 132))) == Size(50, 132)
        assert len(write_request(Request(KEY, "a" * 11, "x" * 40, Size(4096, 4096)))) < LONGEST

    @pytest.mark.parametrize("name", ["a", "web", "a-b", "a1", "abcdefghijk"])
    def test_names(self, name):
        assert read_request(json.dumps({**WORDS, "name": name}).encode()).name == name

    @pytest.mark.parametrize(
        ("word", "value"),
        [
            *(("name", name) for name in ("", "-a", "a-", "1a", "Web", "a" * 12, "a_b", "a.b", ".host", "a/b", "../x")),
            *(("name", name) for name in ("root@web", "web@", "web\n", "web\0", "wéb", "ｗeb", "web ", "--help", "-M")),
            *(("name", name) for name in (None, 5, True, ["web"], {"web": 1})),
            *(("key", key) for key in ("", "alice", KEY[:-1], KEY + "A", KEY + "\n", KEY.lower(), "MD5:" + KEY[7:], 1)),
            *(("terminal", kind) for kind in ("-x", "a b", "a=b", "x" * 41, "é", "x\n", "$TERM", "../x", None, 0)),
            *(("rows", rows) for rows in (-1, 4097, 1.5, "24", None, True, 10**300)),
            *(("columns", columns) for columns in (-1, 65536, [], float("nan"))),
        ],
    )
    def test_what_is_none(self, word, value):
        with pytest.raises(BadInput):
            read_request(json.dumps({**WORDS, word: value}).encode())

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\0",
            b"{",
            b"[]",
            b"null",
            b"1",
            b"[" * LONGEST,
            b'"' + b"x" * (LONGEST - 2) + b'"',
            json.dumps(WORDS).encode()[:40],
            json.dumps(WORDS).encode() + b"x",
            json.dumps(WORDS).encode() + b" " * LONGEST,
            json.dumps({**WORDS, "tenant": "alice"}).encode(),
            json.dumps({key: value for key, value in WORDS.items() if key != "key"}).encode(),
            json.dumps(WORDS).replace("web", "w\u00ebb").encode(),
            json.dumps(WORDS).encode("utf-16"),
        ],
    )
    def test_packets_that_are_none(self, data):
        with pytest.raises(BadInput):
            read_request(data)
        with pytest.raises(BadInput):
            read_size(data)

    @pytest.mark.parametrize(("said", "passed"), [("xterm", "xterm"), ("", "dumb"), ("a b", "dumb"), ("é", "dumb")])
    def test_a_terminal_that_cannot_be_passed_on_is_a_plain_one(self, said, passed):
        assert terminal(said) == passed

    @pytest.mark.parametrize("code", [0, 1, 255])
    def test_ends(self, code):
        assert read_end(write_end(code)) == code

    @pytest.mark.parametrize("data", [b"", b"{}", b'{"exit":256}', b'{"exit":-1}', b'{"exit":true}', b'{"exit":"0"}'])
    def test_ends_that_are_none(self, data):
        with pytest.raises(BadInput):
            read_end(data)

    def test_a_refusal_comes_with_its_words_however_long(self):
        with pytest.raises(BadInput, match="no such thing") as told:
            read_end(write_refusal(BadInput("no such thing", hint="look")))
        assert told.value.hint == "look"
        for text in ("x" * 9999, "é" * 500, "\0" * 300, "🙂" * 99):
            assert len(write_refusal(BadInput(text, hint=text))) <= LONGEST


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(0.2)
    with ours, theirs:
        yield ours, theirs


def opened() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


class TestPassing:
    def test_three_descriptors_come_with_a_packet(self, pair):
        read, write = os.pipe()
        send(pair[1], b"{}", (read, write, write))
        data, streams = receive(pair[0])
        assert data == b"{}"
        os.write(streams[1], b"through")
        assert os.read(read, 10) == b"through"
        assert not any(os.get_inheritable(stream) for stream in streams)
        for descriptor in (read, write, *streams):
            os.close(descriptor)

    @pytest.mark.parametrize("number", [0, 1, 2, 4, 5, 17, 253])
    def test_any_other_number_is_refused_and_closed(self, pair, number):
        before = opened()
        send(pair[1], b"{}", [pair[1].fileno()] * number)
        with pytest.raises(BadInput, match="exactly 3 descriptors"):
            receive(pair[0])
        assert opened() == before

    def test_three_hundred_cannot_even_be_sent(self, pair):
        with pytest.raises(OSError):
            send(pair[1], b"{}", [pair[1].fileno()] * 300)
        for _ in range(3):
            send(pair[1], b"{}", [pair[1].fileno()] * 100)
        before = opened()
        with pytest.raises(BadInput, match="exactly 3"):
            receive(pair[0])
        assert opened() == before

    @pytest.mark.parametrize("length", [LONGEST + 1, 100_000])
    def test_a_packet_that_is_too_long_is_refused_with_its_descriptors(self, pair, length):
        before = opened()
        send(pair[1], b"x" * length, [pair[1].fileno()] * 3)
        with pytest.raises(BadInput, match="at most"):
            receive(pair[0])
        assert opened() == before

    def test_silence_is_not_waited_out(self, pair):
        with pytest.raises(BadInput, match="in time"):
            receive(pair[0])

    def test_who_leaves_at_once(self, pair):
        pair[1].close()
        with pytest.raises(BadInput, match="went away"):
            receive(pair[0])

    @pytest.mark.parametrize(
        ("kind", "flags"),
        [
            ("/etc/hostname", os.O_RDONLY),
            ("/etc/shadow", os.O_PATH),
            ("/dev/null", os.O_PATH),
            ("/", os.O_RDONLY | os.O_DIRECTORY),
            ("/proc/self/ns/mnt", os.O_RDONLY),
        ],
    )
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_what_sshd_does_not_give_is_refused(self, pair, kind, flags, place):
        odd = os.open(kind, flags)
        streams = [pair[1].fileno()] * 3
        streams[place] = odd
        before = opened()
        send(pair[1], b"{}", streams)
        with pytest.raises(BadInput, match=f"descriptor {place} "):
            receive(pair[0])
        assert opened() == before
        os.close(odd)

    def test_a_pipe_has_a_right_end(self, pair):
        read, write = os.pipe()
        for streams, place in (((write, write, write), 0), ((read, read, write), 1), ((read, write, read), 2)):
            send(pair[1], b"{}", streams)
            with pytest.raises(BadInput, match=f"descriptor {place} "):
                receive(pair[0])
        os.close(read)
        os.close(write)


class TestPlaces:
    def test_so_many_and_no_more_and_each_tenant_its_own(self, tmp_path):
        held = [take_place(tmp_path / "entries", "bob") for _ in range(MOST)]
        with pytest.raises(BadInput, match="bob has 8 shells open already"):
            take_place(tmp_path / "entries", "bob")
        held.append(take_place(tmp_path / "entries", "bobby"))
        os.close(held[3])
        held[3] = take_place(tmp_path / "entries", "bob")
        for place in held:
            os.close(place)
        assert (tmp_path / "entries").stat().st_mode & 0o777 == 0o700

    def test_a_link_in_the_way_is_not_followed(self, tmp_path):
        (tmp_path / "bob.0").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OSError):
            take_place(tmp_path, "bob")
        assert not (tmp_path / "elsewhere").exists()


SHARED = Key("shared")
PEOPLE = {
    "alice": Person((ALICE.public,), (), admin=True),
    "bob": Person((BOB.public, SHARED.public), (STRANGER.public,), admin=False),
    "carol": Person((SHARED.public,), (), admin=False),
}
ACCEPTED = Accepted(PEOPLE, (AGENT.public,), "app1")


@pytest.mark.parametrize(
    ("key", "whose"),
    [
        (ALICE, "alice"),
        (BOB, "bob"),
        (AGENT, "the agent's key opens no shell"),
        (STRANGER, "no tenant's"),
        (SHARED, "no tenant's"),
        (Key("nobody"), "no tenant's"),
    ],
    ids=["admin", "member", "agent", "only signs", "of two", "unknown"],
)
def test_whose_a_key_is(key, whose):
    if whose in PEOPLE:
        assert tenant_of(key.fingerprint, ACCEPTED) == whose
        return
    with pytest.raises(BadInput, match=whose):
        tenant_of(key.fingerprint, ACCEPTED)


def test_a_key_that_is_the_agents_too_is_nobodys():
    assert "bob" in {owner.tenant for owner in Keys(PEOPLE, ()).pushing.values()}
    with pytest.raises(BadInput, match="no tenant's"):
        tenant_of(BOB.fingerprint, Accepted(PEOPLE, (BOB.public,), "app1"))


def machine(active: str = "active", *, owner: str = "bob", name: str = "web", appliance: str = "app1") -> Machine:
    document = Document(appliance, "uid", name, owner, "digest", "own")
    return Machine("web", UnitFacts(active=active), Installed("/nix/store/x", document), registered=active == "active")


FOREIGN = Machine("web", UnitFacts(active="active"), Installed("/nix/store/x"), registered=True)
ABSENT = Machine("web")
ORPHAN = Machine("web", UnitFacts(active="active"), registered=True)
NONE = "has no container web"


@pytest.mark.parametrize(
    ("who", "owner", "found", "said"),
    [
        ("bob", "bob", machine(), ""),
        ("alice", "bob", machine(), ""),
        ("carol", "bob", machine(), NONE),
        ("carol", "bob", machine("inactive"), NONE),
        ("carol", "bob", ABSENT, NONE),
        ("bob", None, machine(), NONE),
        ("alice", None, machine(), NONE),
        ("bob", None, FOREIGN, NONE),
        ("alice", "alice", FOREIGN, NONE),
        ("bob", "bob", FOREIGN, NONE),
        ("bob", "bob", machine(owner="carol"), NONE),
        ("carol", "bob", machine(owner="carol"), NONE),
        ("alice", "bob", machine(owner="carol"), ""),
        ("bob", "bob", machine(name="other"), NONE),
        ("alice", "bob", machine(appliance="app2"), NONE),
        ("bob", "bob", machine("inactive"), "web is stopped"),
        ("bob", "bob", machine("activating"), "web is starting"),
        ("bob", "bob", machine("deactivating"), "web is stopping"),
        ("bob", "bob", machine("failed"), "web is failed"),
        ("bob", "bob", ABSENT, "web is absent"),
        ("bob", "bob", ORPHAN, "web is orphan"),
        ("alice", "bob", ORPHAN, "web is orphan"),
    ],
)
def test_who_may_enter(who, owner, found, said):
    request = Request(KEY, "web")
    if not said:
        require_theirs(request, who, ACCEPTED, owner, found)
        return
    with pytest.raises(BadInput, match=said):
        require_theirs(request, who, ACCEPTED, owner, found)


def test_without_an_id_of_this_appliance_nothing_is_ours():
    with pytest.raises(BadInput, match=NONE):
        require_theirs(Request(KEY, "web"), "bob", Accepted(PEOPLE, (), ""), "bob", machine(appliance=""))


class TestGroup:
    """The group that reads the controller's socket, and so can `voxnix serve`."""

    def test_the_socket_is_given_to_it(self, tmp_path):
        own = max([*os.getgroups(), os.getegid()]) if os.geteuid() else max(each.gr_gid for each in grp.getgrall())
        with listen(tmp_path / "api.sock", group=grp.getgrgid(own).gr_name):
            found = (tmp_path / "api.sock").stat()
        assert (found.st_gid, found.st_mode & 0o777) == (own, 0o660)

    def test_without_one_it_is_as_it_was(self, tmp_path):
        with listen(tmp_path / "api.sock"):
            assert (tmp_path / "api.sock").stat().st_gid == tmp_path.stat().st_gid

    def test_one_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(Blocked, match="no group nobodies-friends") as told:
            listen(tmp_path / "api.sock", group="nobodies-friends")
        assert "socket_group" in told.value.hint
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("group", "good"), [("", 1), ("voxnix-git", 1), ("a b", 0), ("-x", 0), ("x" * 33, 0)])
    def test_the_setting(self, tmp_path, group, good):
        config = tmp_path / "config.toml"
        config.write_text(f'socket_group = "{group}"\n')
        if good:
            assert load({"config": str(config)}, {}).socket_group == group
            return
        with pytest.raises(BadInput, match="not the name of a group"):
            load({"config": str(config)}, {})
