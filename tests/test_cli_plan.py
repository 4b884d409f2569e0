"""How plans and progress are told: every action has words, every lane a sign, nothing reaches the terminal raw."""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import get_args

import click
import pytest

from controller import report
from controller.cli import render_plan
from controller.cli.events import KINDS
from controller.cli.live import Lines, ended
from controller.converge import Moment, Progress
from controller.errors import Transient
from controller.plan import actions
from controller.plan.model import Cause, CauseKind, Hold, Lane, LaneKind, Plan, Reason, Step, Wait
from controller.publish import TOLD

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = "tank/users/alice/containers/dev"
COMMIT = Cause(CauseKind.REVISION, "c" * 40)
VALUES = {"str": "x", "int": 4096, "float": 1.5, "bool": True, "Pairs": (("uid", "u"),), "tuple[str, ...]": ("x",)}


def action(kind):
    """An action of a kind, with whatever values."""
    given = {f.name: VALUES[str(f.type)] for f in fields(kind) if f.default is MISSING}
    places = {name: PLACE for name in ("dataset", "target") if name in given}
    return kind(**{**given, **places})


def lane(*kinds, key="dev", kind=LaneKind.CONTAINER, destroys=False, reason="because"):
    steps = tuple(Step(one if not isinstance(one, type) else action(one), reason, COMMIT) for one in kinds)
    return Lane(key, kind, "u", steps, "c" * 40, destroys=destroys)


def told(*lanes, **more) -> str:
    plan = report.plan(Plan("c" * 40, lanes=lanes, **more))
    return "\n".join(click.unstyle(line) for line in render_plan.plan_lines(plan, NOW, timedelta(days=30)))


@pytest.mark.parametrize("kind", get_args(actions.Action))
def test_every_action_has_words_of_its_own(kind):
    assert kind.__name__ in render_plan.VERBS
    words = render_plan.describe(report.step(Step(action(kind), "because", COMMIT)))
    assert words
    assert kind.__name__ not in words


def test_every_action_that_is_an_event_has_a_name_for_people():
    assert KINDS.keys() >= TOLD


def test_an_unknown_action_is_called_by_its_name():
    assert render_plan.describe({"action": "Teleport"}) == "Teleport"


@pytest.mark.parametrize(
    ("lanes", "line"),
    [
        ([lane(actions.CreateDataset, actions.Build, actions.Start)], "+ dev (alice)  new container"),
        ([lane(actions.FromTrash, actions.Start)], "+ dev (alice)  comes back, with its data from the trash"),
        ([lane(actions.Build, actions.Stop, actions.Install, actions.Start)], "~ dev  restart: because"),
        ([lane(actions.Start)], "~ dev  start: because"),
        ([lane(actions.Stop)], "~ dev  stop: because"),
        ([lane(actions.SetQuota)], "~ dev (alice)  change the quota of alice/dev: at most 4K"),
        (
            [lane(actions.Stop, actions.ToTrash, destroys=True)],
            "- dev (alice)  removed; its data stays in the trash until 2026-03-31",
        ),
        (
            [lane(actions.DestroyTrash, key="trash:x", kind=LaneKind.TRASH)],
            "- x (alice)  destroy dev in the trash for good",
        ),
        ([lane(actions.PrepareStorage, key="host:storage", kind=LaneKind.HOST)], "~ storage  prepare the pool"),
    ],
)
def test_each_lane_has_a_sign_and_a_headline(lanes, line):
    assert line in told(*lanes).splitlines()


def test_the_summary_counts_containers_and_names_the_revision():
    new, changed = lane(actions.CreateDataset), lane(actions.Start, key="web")
    gone = lane(actions.ToTrash, key="old", destroys=True)
    host = lane(actions.PrepareStorage, key="host:storage", kind=LaneKind.HOST)
    assert told(new, changed, gone, host).splitlines()[-1] == "1 new, 1 changed, 1 removed at cccccccccc."
    assert told().splitlines() == ["Nothing to do at cccccccccc."]


def test_a_reason_is_told_where_it_begins_to_hold_and_bookkeeping_is_left_out():
    lines = told(lane(actions.Build, actions.Install, actions.Mark)).splitlines()
    assert lines[1:4] == ["    build its system    because", "    install its system", "    ← revision cccccccccc"]


def test_holds_and_waits_say_what_to_do():
    held = Hold("abc", (lane(actions.ToTrash, destroys=True),), "too many at once", "alice", bytes=2**30)
    wait = Wait("web", Reason.POOL_FULL, "the pool is full", NOW + timedelta(seconds=9), "free some space")
    text = told(holds=(held,), waits=(wait,), foreign=("machine other",))
    assert "dev  too many at once (1G of data)" in text
    assert "move data alice/dev to the trash" in text
    assert "→ voxnix approve abc  (by alice)" in text
    assert "web  the pool is full  again in 9 s" in text
    assert "→ free some space" in text
    assert "1 thing on this host not ours" in text
    assert text.endswith("Nothing to do (1 held, 1 waiting) at cccccccccc.")


def test_nothing_raw_reaches_the_terminal():
    evil = "\x1b]0;owned\x07"
    marked = actions.Mark(f"tank/users/{evil}/containers/{evil}", evil, evil)
    gone = lane(marked, actions.DropSnapshot(PLACE, evil), key=evil, reason=evil)
    plan = Plan(
        "c" * 40,
        lanes=(gone,),
        holds=(Hold(evil, (gone,), evil, evil),),
        waits=(Wait(evil, Reason.FAILED, evil, None, evil),),
    )
    lines = render_plan.plan_lines(report.plan(plan), NOW)
    assert not any("\x07" in line or "\x1b]" in line for line in lines)


def moment(kind, error=None, seconds=1.25):
    one = lane(actions.Build, key="dev\x07")
    return Progress(kind, one, one.steps[0], 0, seconds, error)


def test_progress_is_one_line_a_step():
    assert click.unstyle(ended(moment(Moment.DONE))) == "✓ dev\\x07  build its system  1.2 s"
    assert click.unstyle(ended(moment(Moment.DONE, seconds=0.01))) == "✓ dev\\x07  build its system"
    failed = click.unstyle(ended(moment(Moment.FAILED, Transient("no\x1b way\nat all"))))
    assert failed == "✗ dev\\x07  build its system  1.2 s\n    no\\x1b way\n    at all"
    assert ended(moment(Moment.BEGUN)) == ""
    assert ended(Progress(Moment.LANE_DONE, lane(actions.Build))) == ""


def test_failures_are_remembered_even_where_nothing_is_shown(capsys):
    lines = Lines(quiet=True)
    lines.tell(moment(Moment.DONE))
    lines.tell(moment(Moment.FAILED, Transient("no")))
    assert len(lines.failures) == 1
    assert capsys.readouterr().out == ""
