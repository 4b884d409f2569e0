"""The gate that stays: whatever comes over its socket, nothing gets in by it."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from controller.errors import Blocked
from controller.gate import door as doors
from controller.gate.door import Door
from controller.gate.gate import Gate
from controller.gate.hook import gate_of
from controller.gate.push import DOOR, LONGEST, heard
from controller.receive import ReceiveLog, read_keys
from controller.settings import load
from controller.sockets import connect
from tests.asking import BAD, FILES, GOOD, ask, question, running
from tests.cli import Shell
from tests.pushers import AGENT


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    for name in ("VOXNIX_KEY", "GIT_QUARANTINE_PATH"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path, capsys, monkeypatch).begin(FILES)


@pytest.fixture
def gate(shell) -> Gate:
    return gate_of(load({"state": str(shell.path), "host": f"sim:{shell.sim}"}, {}))


@pytest.fixture
def door(gate):
    found = Door(gate)
    found.open()
    with running(found):
        yield gate.path / DOOR
    found.close()


class TestDoor:
    def test_a_push_is_judged_and_noted(self, shell, door):
        asked = question(shell, GOOD)
        answer = json.loads(ask(door, asked))
        assert answer["taken"] is True
        assert "~ web  stopped" in "\n".join(answer["lines"])
        new = json.loads(asked)["updates"][0][1]
        assert ReceiveLog(shell.path).find([new]).arrivals[new].by == "root"

    def test_a_bad_one_is_refused_and_not_noted(self, shell, door):
        asked = question(shell, BAD)
        answer = json.loads(ask(door, asked))
        assert answer["taken"] is False
        assert "error: state/web.yaml:2:8" in answer["lines"][0]
        assert not ReceiveLog(shell.path).find([json.loads(asked)["updates"][0][1]]).arrivals

    def test_the_agents_keys_are_read_anew(self, shell, tmp_path):
        keys = tmp_path / "agent.pub"
        keys.write_text("")
        gate = gate_of(load({"state": str(shell.path), "host": f"sim:{shell.sim}"}, {}))
        gate = replace(gate, delegates=lambda: read_keys(keys.read_text(), "agent.pub"))
        asked = {**json.loads(question(shell, GOOD)), "key": AGENT.fingerprint}
        before = gate.admit(heard(asked)).refusals
        keys.write_text(AGENT.public + "\n")
        after = gate.admit(heard(asked)).refusals
        assert "no tenant's" in str(before[0])
        assert "the delegate has to say for whom it acts" in str(after[0])

    def test_names_are_told(self, shell, door):
        old, new, _ = json.loads(question(shell, GOOD))["updates"][0]
        assert json.loads(ask(door, json.dumps({"names": [old, new]}).encode() + b"\n")) == {"names": ["web"]}

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\n",
            b"{",
            b"\xff\xfe\n",
            b"[]\n",
            b"7\n",
            b"{}\n",
            b'{"names": []}\n',
            b'{"names": 7}\n',
            b'{"names": ["--upload-pack=x", "HEAD"]}\n',
            b'{"names": [null, {}]}\n',
            b'{"updates": [[1, 2, 3]], "key": "", "by": "", "quarantine": ""}\n',
            b"[" * 100_000 + b"\n",
            b"x" * (LONGEST + 10),
            b'{"updates": ' + b" " * LONGEST + b"\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        ],
        ids=range(16),
    )
    def test_what_is_no_request_lets_nothing_in(self, shell, door, data):
        before = shell.repo.head()
        answer = ask(door, data)
        if answer or len(data) < LONGEST:  # where more is sent than is read, the kernel may drop the answer
            found = json.loads(answer)
            assert found["taken"] is False
            assert found["lines"]
        assert shell.repo.head() == before
        assert json.loads(ask(door, question(shell, GOOD)))["taken"] is True

    def test_a_quarantine_elsewhere_is_not_read(self, shell, door, tmp_path):
        for place in (str(tmp_path), "/", str(shell.path), str(shell.path / "objects/../hooks"), "objects/nowhere"):
            answer = json.loads(ask(door, question(shell, GOOD, quarantine=place)))
            assert answer["taken"] is False
            assert "not the state repo's" in answer["lines"][0]

    def test_half_a_line_keeps_nobody_else_waiting(self, shell, door):
        with connect(door, 5.0) as slow:
            slow.sendall(b'{"upd')
            assert json.loads(ask(door, question(shell, GOOD)))["taken"] is True

    def test_who_asks_too_slowly_is_let_go(self, shell, door, monkeypatch):
        monkeypatch.setattr(doors, "PATIENCE", 0.2)
        assert ask(door, b'{"upd', end=False) == b""

    def test_many_at_once_get_each_their_own_answer(self, shell, door):
        asked = [question(shell, f"{GOOD}# {n}\n" if n % 2 else f"{BAD}# {n}\n") for n in range(6)]
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda n: json.loads(ask(door, asked[n % 6])), range(50)))
        assert [answer["taken"] for answer in answers] == [bool(n % 6 % 2) for n in range(50)]

    def test_a_second_door_is_blocked(self, door, gate):
        with pytest.raises(Blocked, match="another process answers"):
            Door(gate).open()

    def test_it_is_for_its_owner_alone_and_goes_when_closed(self, gate):
        found = Door(gate)
        found.open()
        place = gate.path / DOOR
        assert place.stat().st_mode & 0o777 == 0o600
        assert place.parent.stat().st_mode & 0o777 == 0o700
        found.close()
        assert not place.exists()

    def test_what_is_under_way_when_it_stops_is_answered(self, shell, gate):
        begun, go = threading.Event(), threading.Event()

        def library():
            begun.set()
            assert go.wait(20)
            return kept()

        kept, gate.library = gate.library, library
        found = Door(gate)
        found.open()
        asked = question(shell, GOOD)
        with ThreadPoolExecutor(1) as pool, running(found):
            answer = pool.submit(ask, gate.path / DOOR, asked)
            assert begun.wait(20)
            found.stop()
            go.set()
            assert json.loads(answer.result(20))["taken"] is True
        found.close()
