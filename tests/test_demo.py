"""The guided tour, as `make demo` runs it without a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from controller.cli.demo import tour
from controller.cli.demo.stage import NotAsTold, Stage
from controller.cli.demo.voice import Voice


def run(tmp_path, **env):
    argv = [sys.executable, "-m", "controller.main", "demo"]
    surroundings = {**os.environ, "TMPDIR": str(tmp_path), **env}
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=surroundings, check=False)


def test_the_tour_is_as_told_ends_by_itself_and_leaves_nothing_behind(tmp_path):
    began = time.monotonic()
    result = run(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert time.monotonic() - began < 30
    assert "Everything was as told" in result.stdout
    assert "\x1b" not in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_is_not_as_told_ends_the_tour_with_what_was_expected(monkeypatch, capsys):
    def broken(_stage, voice):
        voice.title("A step")
        tour.expect(False, "the sun to rise in the west")

    monkeypatch.setattr(tour, "STEPS", (broken,))
    assert tour.tour() == 1
    assert "Not as told: expected the sun to rise in the west" in capsys.readouterr().err


def test_without_git_it_says_so(tmp_path):
    result = run(tmp_path, PATH="/nowhere")
    assert result.returncode == 1
    assert "git" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_controller_that_dies_is_noticed(monkeypatch):
    with Stage() as stage:
        stage.build()
        stage.repo.rename(stage.directory / "gone")
        stage.config.write_text("nonsense = 1\n")
        with pytest.raises(NotAsTold, match="the controller to keep running"):
            stage.start_controller()
    assert not stage.directory.exists()


def test_the_voice_does_not_wait_where_nobody_watches(capsys):
    voice = Voice(terminal=False)
    voice.title("One")
    voice.title("Two")
    assert "Enter" not in capsys.readouterr().out
