"""The hook as git starts it: with the gate that stays, without it, and with what only looks like it."""

from __future__ import annotations

import io
import json
import threading
import time

import pytest

from controller.gate import hook
from controller.gate.door import Door
from controller.gate.hook import gate_of
from controller.gate.push import DOOR
from controller.settings import load
from controller.sockets import listen
from tests.asking import BAD, FILES, GOOD, question, running
from tests.cli import Shell


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    for name in ("VOXNIX_KEY", "GIT_QUARANTINE_PATH"):
        monkeypatch.delenv(name, raising=False)
    return Shell(tmp_path, capsys, monkeypatch).begin(FILES)


@pytest.fixture
def door(shell):
    found = Door(gate_of(load({"state": str(shell.path), "host": f"sim:{shell.sim}"}, {})))
    found.open()
    with running(found):
        yield
    found.close()


class Odd:
    """Something else behind the door: it answers with `data`, or, without, with nothing until it is stopped."""

    def __init__(self, place, data: bytes | None, *, read: bool = True) -> None:
        self._listening = listen(place, mode=0o600, folder=0o700)
        self._listening.settimeout(0.05)
        self._data, self._read = data, read
        self._closed = threading.Event()

    def serve(self) -> None:
        held = []
        while not self._closed.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            if self._data is None:
                held.append(connection)
                continue
            with connection:
                if self._read:
                    connection.makefile("rb").readline()
                connection.sendall(self._data)
        for connection in [*held, self._listening]:
            connection.close()

    def stop(self) -> None:
        self._closed.set()


ODD = {
    "nothing": b"",
    "garbage": b"\x00\xff\x1b[2J\n",
    "half": b'{"taken": tr',
    "a list": b"[]\n",
    "no verdict": b'{"lines": []}\n',
    "a number": b"1\n",
    "lines that are none": b'{"taken": true, "lines": 7}\n',
    "an error": b'{"error": "busy"}\n',
}


class TestHook:
    @pytest.fixture
    def pre(self, shell, monkeypatch, capsys):
        """Push a change of `web` through the hook: its exit code, and what it says."""
        monkeypatch.setenv("GIT_DIR", str(shell.path))

        def push(text: str, *words: str, hook_name: str = "pre-receive") -> tuple[int, str]:
            old, new, ref = json.loads(question(shell, text))["updates"][0]
            monkeypatch.setattr("sys.stdin", io.StringIO(f"{old} {new} {ref}\n"))
            capsys.readouterr()
            code = hook.main([hook_name, "--host", f"sim:{shell.sim}", *words])
            return code, capsys.readouterr().err

        return push

    def judges(self, pre) -> None:
        """Whether the verdict is the gate's own, for good and for bad."""
        code, said = pre(GOOD)
        assert (code, "~ web  stopped" in said) == (0, True), said
        code, said = pre(BAD)
        assert (code, "error: state/web.yaml:2:8" in said) == (1, True), said

    def test_alone_it_judges_by_itself(self, pre):
        self.judges(pre)

    def test_it_asks_the_door(self, pre, door):
        self.judges(pre)

    @pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
    def test_a_door_that_answers_nonsense_is_not_believed(self, pre, shell, data):
        odd = Odd(shell.path / DOOR, data)
        with running(odd):
            self.judges(pre)

    def test_a_door_that_hangs_up_at_once_is_not_believed(self, pre, shell):
        odd = Odd(shell.path / DOOR, b"", read=False)
        with running(odd):
            self.judges(pre)

    def test_a_door_that_hangs_is_left(self, pre, shell, monkeypatch):
        monkeypatch.setattr(hook, "PATIENCE", 0.2)
        odd = Odd(shell.path / DOOR, None)
        with running(odd):
            begun = time.monotonic()
            self.judges(pre)
            assert time.monotonic() - begun < 20

    @pytest.mark.parametrize("data", [b'{"taken": 1, "lines": []}\n', b'{"taken": "no", "lines": []}\n'])
    def test_a_verdict_that_is_not_yes_is_no(self, pre, shell, data):
        odd = Odd(shell.path / DOOR, data)
        with running(odd):
            assert pre(GOOD)[0] == 1

    def test_a_socket_of_which_nobody_knows_any_more(self, pre, shell):
        gone = listen(shell.path / DOOR, mode=0o600, folder=0o700)
        gone.close()
        self.judges(pre)

    @pytest.mark.parametrize("words", [[], ["update"], ["pre-receive", "--host"], ["pre-receive", "--state", "/x"]])
    def test_words_that_git_does_not_say(self, shell, monkeypatch, capsys, words):
        monkeypatch.setenv("GIT_DIR", str(shell.path))
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert hook.main(words) == 1
        assert "error: " in capsys.readouterr().err

    @pytest.mark.parametrize(
        "text", ["x\n", f"{'a' * 40} {'b' * 40}\n", "\0\n", f"{'a' * 41} {'b' * 40} refs/heads/main\n"]
    )
    def test_input_that_git_does_not_give(self, shell, monkeypatch, capsys, text):
        monkeypatch.setenv("GIT_DIR", str(shell.path))
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert hook.main(["pre-receive", "--host", f"sim:{shell.sim}"]) == 1
        assert "this is not what git tells a hook" in capsys.readouterr().err

    def test_input_that_is_no_text_is_refused(self, shell, monkeypatch, capsys):
        monkeypatch.setenv("GIT_DIR", str(shell.path))
        ref = b"refs/heads/\xff\xfe"
        data = io.BytesIO(b"a" * 40 + b" " + b"b" * 40 + b" " + ref + b"\n")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data, "utf-8", errors="surrogateescape"))
        assert hook.main(["pre-receive", "--host", f"sim:{shell.sim}"]) == 1
        assert "only the state branch may be pushed here" in capsys.readouterr().err

    def test_a_repository_that_is_not_there(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert hook.main(["pre-receive"]) == 1
        assert "error: " in capsys.readouterr().err

    def test_settings_that_cannot_be_read(self, pre, tmp_path):
        (tmp_path / "bad.toml").write_text("host = 7\n")
        code, said = pre(GOOD, "--config", str(tmp_path / "bad.toml"))
        assert code == 1
        assert "host must be a string" in said
