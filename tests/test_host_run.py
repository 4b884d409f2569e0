"""Host commands as processes: bounded in time and size, alone with their group, and never left behind."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from controller.errors import Blocked, Transient
from controller.host import run as running
from controller.host.run import Processes

PYTHON = sys.executable


def ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that whoever adopted it has not reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    except FileNotFoundError:
        return True


async def eventually_ended(pid: int) -> None:
    for _ in range(250):
        if ended(pid):
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"process {pid} is still there")


async def test_what_a_command_says_and_how_it_ends() -> None:
    result = await Processes().run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)
    assert (result.code, result.out, result.err, result.said) == (3, "out\n", "err\n", "err")


async def test_a_command_sees_a_plain_environment_and_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hidden")
    result = await Processes().run(["sh", "-c", "env; pwd; cat; ps -o sid= -p $$ 2>/dev/null"], timeout=10)
    assert "LC_ALL=C" in result.out
    assert "hidden" not in result.out
    assert "\n/\n" in result.out


async def test_what_is_given_to_a_command_reaches_it() -> None:
    result = await Processes().run(["cat"], timeout=10, stdin="ünïcode\n")
    assert result.out == "ünïcode\n"


async def test_a_command_that_does_not_listen_is_no_error() -> None:
    result = await Processes().run(["true"], timeout=10, stdin="x" * 2**20)
    assert result.code == 0


async def test_bytes_that_are_no_text_are_replaced() -> None:
    result = await Processes().run(["printf", r"a\377b"], timeout=10)
    assert result.out == "a\ufffdb"


async def test_a_signal_is_a_negative_code() -> None:
    result = await Processes().run(["sh", "-c", "kill -9 $$"], timeout=10)
    assert result.code == -9


async def test_no_such_program() -> None:
    with pytest.raises(Blocked, match="no such program"):
        await Processes().run(["voxnix-no-such-program"], timeout=10)


async def test_a_command_that_takes_too_long_goes_with_all_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = f"sleep 60 & echo $! $$ > {note}; wait"
    with pytest.raises(Transient, match=r"no end after 1 s"):
        await Processes().run(["sh", "-c", script], timeout=1)
    for pid in map(int, note.read_text().split()):
        await eventually_ended(pid)


async def test_a_cancelled_command_goes_with_all_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    task = asyncio.create_task(Processes().run(["sh", "-c", f"sleep 60 & echo $! $$ > {note}; wait"], timeout=60))
    for _ in range(250):
        if note.exists() and note.read_text():
            break
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in map(int, note.read_text().split()):
        await eventually_ended(pid)


async def test_a_child_that_keeps_the_output_open_does_not_hold_us_beyond_the_time() -> None:
    with pytest.raises(Transient, match="no end"):
        await Processes().run(["sh", "-c", "sleep 60 & exit 0"], timeout=1)


async def test_a_command_that_says_too_much_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "OUTPUT_LIMIT", 10_000)
    for stream in ("", ">&2"):
        with pytest.raises(Transient, match="printed more than"):
            await Processes().run(["sh", "-c", f"yes {stream}"], timeout=20)


async def test_no_open_file_of_ours_is_passed_on() -> None:
    ours = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(ours, True)
    try:
        code = "import os; print(*sorted(os.listdir('/proc/self/fd')))"
        result = await Processes().run([PYTHON, "-c", code], timeout=20)
    finally:
        os.close(ours)
    assert str(ours) not in result.out.split() or len(result.out.split()) <= 4
    assert len(result.out.split()) <= 4


def test_words_for_people_are_bounded() -> None:
    result = running.Result(("x",), 1, "", "e" * 5000)
    assert len(result.said) <= 602
    assert running.Result(("x",), 7, "", "").said == "exit code 7, without a word"
