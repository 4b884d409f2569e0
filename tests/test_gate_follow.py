"""What a pusher is told after a push, by what the controller publishes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.cli.client import Away
from controller.errors import BadInput
from controller.gate import follow
from controller.gate.follow import Follower
from controller.gate.hook import patience

NEW = "b" * 40


def row(name: str, phase: str, **more: Any) -> dict[str, Any]:
    """One container, as it is published."""
    usual = {"machine": "running", "tailnet_name": "", "addresses": [], "conditions": [], "hold": ""}
    return {"name": name, "phase": phase, **usual, **more}


def document(*rows: dict[str, Any], revision: str = NEW, refused: str = "") -> dict[str, Any]:
    """A status document."""
    return {"revision": revision, "refused": refused, "containers": list(rows)}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is said while a controller publishes these documents, one a look; an exception is raised instead."""
    monkeypatch.setattr(follow, "STEP", 0.0)

    def run(names: list[str], *looks: Any, seconds: float = 60.0) -> list[str]:
        said: list[str] = []
        follower = Follower(Path("/nowhere"), NEW, names, said.extend)
        published: Iterator[Any] = iter([*looks[:-1], *[looks[-1]] * 3])

        class Client:
            def get(self, _: str) -> Any:
                found = next(published)
                if isinstance(found, Exception):
                    raise found
                return found

        follower._client = Client()  # type: ignore[assignment]
        follower.follow(seconds)
        return said

    return run


def test_each_change_is_told_once_until_all_is_settled(told: Any) -> None:
    old = document(row("dev", "ready"), revision="a" * 40)
    begun = document(row("dev", "converging"), row("web", "converging"))
    half = document(
        row("dev", "ready", addresses=["10.1.1.2", "fe80::1"], tailnet_name="dev"), row("web", "converging")
    )
    end = document(
        row("dev", "ready", addresses=["10.1.1.2"], tailnet_name="dev"), row("web", "ready", machine="stopped")
    )
    assert told(["dev", "web"], old, begun, begun, half, end) == [
        "dev: converging",
        "web: converging",
        "dev: ready · ssh root@dev · 10.1.1.2",
        "web: ready · stopped",
    ]


def test_what_is_removed_is_gone_and_what_waits_says_for_what(told: Any) -> None:
    condition = {"status": "False", "message": "its owner would change"}
    held = row("web", "held", hold="abc", conditions=[condition])
    assert told(["dev", "web"], document(row("dev", "removing"), held), document(held)) == [
        "dev: removing",
        "web: held: its owner would change (voxnix approve abc)",
        "dev: gone",
    ]


def test_of_many_containers_only_how_many(told: Any) -> None:
    names = [f"c{number}" for number in range(20)]
    begun = document(*(row(name, "converging") for name in names))
    assert told(names, begun, document(*(row(name, "ready") for name in names))) == ["20 converging", "20 ready"]


def test_a_commit_that_the_controller_refuses_is_told(told: Any) -> None:
    look = document(revision="a" * 40, refused=f"commit {NEW[:10]} is refused: no\x1b[2J")
    [said] = told([], look)
    assert said == f"warning: the controller does not follow: commit {NEW[:10]} is refused: no\\x1b[2J"


def test_no_controller_and_no_time(told: Any) -> None:
    assert told([], Away("nobody")) == ["no controller answers here: this takes effect once a controller has looked"]
    away = Away("the socket may not be opened by this user", hint="ask")
    assert told([], away) == [f"{away.what}: this takes effect once a controller has looked"]
    assert told([], BadInput("x")) == ["the controller does not tell: x"]
    late = told(["dev"], document(row("dev", "converging")), seconds=0.0)
    assert late == ["dev: converging", "it goes on by itself after these 0 s: `voxnix status`"]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ([], 5.0),
        (["no-wait"], 0.0),
        (["wait=30"], 30.0),
        (["wait=99999"], 600.0),
        (["wait=0"], 0.0),
        (["wait="], 5.0),
        (["wait=-1"], 5.0),
        (["wait=١"], 5.0),
        (["else", "no-wait"], 0.0),
    ],
)
def test_how_long_a_push_is_followed(options: list[str], seconds: float) -> None:
    given = {"GIT_PUSH_OPTION_COUNT": str(len(options))}
    given |= {f"GIT_PUSH_OPTION_{number}": option for number, option in enumerate(options)}
    assert patience(5.0, given) == seconds


@pytest.mark.parametrize("count", ["", "-1", "x", "99999999999999999999", "٣"])
def test_a_count_that_is_none(count: str) -> None:
    assert patience(5.0, {"GIT_PUSH_OPTION_COUNT": count}) == 5.0
