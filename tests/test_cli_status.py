"""`voxnix status` and `events`: what was published, told so that nothing is missed and nothing is obeyed."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from controller.cli import render_status
from controller.cli.app import _hoisted
from controller.plan.memory import Suspension
from controller.store import Event, Store
from tests.cli import Shell, condition, container, document, hold, piece

NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch).begin()


def shown(found) -> str:
    return "\n".join(click.unstyle(line) for line in render_status.overview({**found, "live": True}, NOW))


def test_a_calm_appliance_is_a_table_and_nothing_else():
    lines = shown(document(container("dev"), container("web", "bob"))).splitlines()
    assert lines == [
        "box  revision cccccccccc  looked 5 s ago  pool tank 10% full",
        "",
        "NAME  OWNER  PHASE  POWER    ADDRESS   TAILNET  SINCE",
        "dev   alice  ready  running  10.0.0.2  dev      1 h",
        "web   bob    ready  running  10.0.0.2  web      1 h",
    ]


def test_power_that_is_not_as_wanted_is_seen():
    assert "stopped → running" in shown(document(container("dev", machine="stopped")))
    assert "→" not in shown(document(container("dev", machine="absent", power="stopped")))


def test_storage_tells_the_workspace():
    sizes = {"home_used": 2**20, "workspace_used": 2**30, "workspace_quota": 5 * 2**30}
    assert "1G (workspace 1G of 5G)" in shown(document(container("dev", **sizes)))


def test_a_failure_is_told_with_its_hint_and_the_next_attempt():
    wrong = condition("System", "False", "Failed", "building dev failed:\nerror: no such thing", "correct the spec")
    found = document(container("dev", phase="degraded", conditions=[wrong], retry_at="2026-03-01T12:00:17+00:00"))
    told = shown(found)
    assert "dev  building dev failed:  again in 12 s" in told
    assert "error: no such thing" in told
    assert "→ correct the spec" in told


def test_holds_name_the_command_that_approves():
    told = shown(document(container("web"), holds=[hold(refused="approved by bob in abc; this needs an admin")]))
    assert "Waits for your word" in told
    assert "web  this would remove the last container of this host (3G of data)" in told
    assert "→ voxnix approve abc123def456  (by an admin)" in told
    assert "this needs an admin" in told


def test_mistakes_are_shown_with_a_caret():
    problem = {
        "path": "state/dev.yaml",
        "line": 2,
        "column": 11,
        "message": "there is no module `gti`",
        "expected": "",
        "hint": "did you mean `git`?",
        "text": "modules: [gti]",
    }
    told = shown(document(container("dev", phase="frozen"), problems=[problem]))
    assert (
        "  state/dev.yaml:2:11: there is no module `gti`\n      modules: [gti]\n                ^\n    did you" in told
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"trash": [piece()]}, ["Trash", "web-1234-20260301T120000Z", "2026-03-31"]),
        ({"trash": [piece(since=None, until=None)]}, ["for good"]),
        ({"foreign": ["machine other"]}, ["Foreign (never touched)", "machine other"]),
        ({"stale": ["old (node n7)"]}, ["Stale on the tailnet", "old (node n7)"]),
        (
            {"debts": [{"name": "dev", "node_id": "n7", "uid": "u", "since": "2026-03-01T11:00:00+00:00"}]},
            ["still to be deleted", "dev (node n7), since 1 h"],
        ),
        ({"suspended": {"by": "ann", "at": "", "reason": "lunch"}}, ["ann suspended everything: lunch", "resume"]),
        ({"rebuilt": "2026"}, ["the store was lost"]),
        ({"sources": {"git": "unknown: no repo"}}, ["Cannot be known now", "git: no repo"]),
        ({"refused": "commit abc: not yours"}, ["Refused", "commit abc: not yours"]),
        (
            {
                "waits": [
                    {"key": "dev", "reason": "PoolFull", "message": "pool is full", "hint": "free it", "until": None}
                ]
            },
            ["Waiting", "dev  pool is full", "→ free it"],
        ),
        ({"schema": 9}, ["written by a newer voxnix"]),
        ({"passed_at": "2026-03-01T11:00:00+00:00"}, ["no pass for 1 h"]),
    ],
)
def test_each_section_comes_when_it_has_something_to_say(more, words):
    told = shown(document(container("dev"), **more))
    assert all(word in told for word in words), told


def test_nothing_that_was_written_by_others_reaches_the_terminal_as_it_is():
    evil = "\x1b]0;owned\x07\x1b[2J"
    wrong = condition("System", "False", evil, evil, evil)
    found = document(
        container(evil, evil, phase="degraded", conditions=[wrong], tailnet_name=evil, addresses=[evil], machine=evil),
        holds=[hold(reason=evil, names=[evil], owner=evil, refused=evil, admin=False)],
        trash=[piece(evil, name=evil, owner=evil, reason=evil)],
        waits=[{"key": evil, "reason": evil, "message": evil, "hint": evil, "until": None}],
        debts=[{"name": evil, "node_id": evil, "uid": evil, "since": "2026-03-01T11:00:00+00:00"}],
        foreign=[evil],
        stale=[evil],
        sources={"git": f"unknown: {evil}"},
        suspended={"by": evil, "at": "", "reason": evil},
        problems=[
            {"path": evil, "line": 1, "column": 1, "message": evil, "expected": evil, "hint": evil, "text": evil}
        ],
        refused=evil,
        host=evil,
    )
    everything = render_status.overview({**found, "live": True}, NOW) + render_status.container(
        {**found["containers"][0], "modules": [evil], "snapshots": [evil], "uid": evil, "revision": evil}, NOW
    )
    assert not any("\x07" in line or "\x1b]" in line or "\x1b[2J" in line for line in everything)


def test_one_container_with_all_that_is_known(shell):
    wrong = condition("Tailnet", "Unknown", "SourceUnknown", "the tailnet did not answer", "wait")
    found = container("dev", conditions=[condition("Valid"), wrong], modules=["git"], description="Mine.", hold="abc")
    shell.publish(document(found))
    told = shell.good("status", "dev").out
    assert "dev  ready  owner alice\nMine." in told
    assert "?  Tailnet    SourceUnknown" in told
    assert "→ wait" in told
    assert "voxnix approve abc" in told
    assert shell.good("--json", "status", "dev").json["modules"] == ["git"]


def test_an_unknown_name_suggests_the_nearest(shell):
    shell.publish(document(container("dev"), container("web")))
    said = shell.run("status", "wbe")
    assert said.code == 1
    assert said.err == "voxnix: there is no container wbe\n  did you mean web?\n"


def test_without_a_controller_the_store_is_read_and_that_is_said(shell):
    shell.publish(document(container("dev")))
    told = shell.good("status").out
    assert told.startswith("The controller is not running; this is as of 2026-03-01")
    assert shell.good("--json", "status").json["live"] is False


def test_a_suspension_is_seen_at_once(shell):
    shell.publish(document(container("dev")))
    with shell.store as store:
        store.suspend(Suspension("ann", NOW, "lunch"))
    assert "ann suspended everything: lunch" in shell.good("status").out


def test_before_any_controller_ran(shell):
    said = shell.run("status")
    assert said.code == 1
    assert "no controller has run for this host" in said.err
    assert "voxnix apply" in said.err


def test_a_store_that_cannot_be_read_is_a_clear_stop(shell):
    data = shell.sim / "root/var/lib/voxnix"
    (data / "store.db").write_bytes(b"nonsense" * 1000)
    for command in ("status", "events"):
        said = shell.run(command)
        assert said.code == 1
        assert "cannot be read" in said.err


def test_events_are_told_in_words_and_narrowed(shell):
    events = [
        Event(NOW, "Start", "the spec wants it running", container="dev", cause="revision abc"),
        Event(NOW, "failed", "no\x1b[2J way", "error", container="web"),
    ]
    shell.publish(document(container("dev")), events)
    told = shell.good("events").out
    assert "dev  started: the spec wants it running  ← revision abc" in told
    assert "web  failed: no\\x1b[2J way" in told
    assert "web" not in shell.good("events", "dev").out
    assert [event["kind"] for event in shell.good("--json", "events", "-n", "1").json] == ["failed"]


def test_events_before_anything_happened(shell):
    Store.open(shell.sim / "root/var/lib/voxnix/store.db", create=True).close()
    assert shell.good("events").out == "Nothing has happened yet.\n"


def test_watch_does_not_go_with_json(shell):
    assert shell.run("--json", "status", "--watch").code == 1


def test_common_options_may_stand_anywhere():

    assert _hoisted(["status", "dev", "--json"]) == ["--json", "status", "dev"]
    assert _hoisted(["plan", "--host", "sim:/x", "--state=/y"]) == ["--host", "sim:/x", "--state=/y", "plan"]
    assert _hoisted(["--json", "enter", "dev", "ls", "--json"]) == ["--json", "enter", "dev", "ls", "--json"]
    assert _hoisted(["logs", "--", "--json"]) == ["logs", "--", "--json"]
