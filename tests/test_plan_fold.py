"""What a pass teaches: entries come with data, stay while it is missed, and go when it is where it belongs."""

from __future__ import annotations

from datetime import timedelta

from controller.observed import Known
from controller.plan.fold import CALM, Learned, learn
from controller.plan.planner import plan
from controller.plan.view import View
from tests.scene import Scene
from tests.world import NOW


def learned(**case: object) -> Learned:
    world = Scene(case).world()
    made = plan(Known(world.desired), world.observed, world.memory, world.now, world.policy)
    view = View.of(world.observed, world.memory, world.policy)
    assert isinstance(view, View)
    return learn(view, world.desired, made, world.now)


def test_live_data_is_entered() -> None:
    found = learned(want={"dev": {}}, have={"dev": {"remembered": False}})
    assert [(entry.uid, entry.name, entry.owner, entry.power) for entry in found.put] == [
        ("u-dev", "dev", "alice", "running")
    ]


def test_what_is_known_is_not_written_again() -> None:
    assert learned(want={"dev": {}}, have={"dev": "running"}) == Learned()


def test_what_was_stopped_as_wanted_is_remembered_so() -> None:
    found = learned(want={"dev": {"power": "stopped"}}, have={"dev": "stopped"})
    assert [entry.power for entry in found.put] == ["stopped"]


def test_what_went_down_by_itself_is_remembered_as_running() -> None:
    assert learned(want={"dev": {}}, have={"dev": "stopped"}) == Learned()


def test_data_that_vanished_is_still_missed() -> None:
    assert learned(want={"dev": {}}, have={"dev": {"data": False, "machine": "stopped"}}).drop == ()


def test_data_that_was_moved_to_the_trash_is_not_missed() -> None:
    have = {"dev": {"data": False, "machine": "absent"}}
    assert learned(want={"dev": {"expires": "2026-11-01T00:00:00Z"}}, have=have, trash=[{"name": "dev"}]).drop == (
        "u-dev",
    )


def test_what_a_rollback_put_aside_is_missed() -> None:
    have = {"dev": {"data": False, "machine": "absent"}}
    assert learned(want={"dev": {}}, have=have, trash=[{"name": "dev", "aside": "r1"}]).drop == ()


def test_an_entry_outlives_its_data_until_the_system_is_gone() -> None:
    removed = {"removed": {"dev": "c-rm"}, "trash": [{"name": "dev"}]}
    assert learned(have={"dev": {"data": False, "machine": "stopped"}}, **removed).drop == ()
    assert learned(have={"dev": {"data": False, "machine": "partial"}}, **removed).drop == ()
    assert learned(have={"dev": {"data": False, "machine": "absent"}}, **removed).drop == ("u-dev",)


def test_an_entry_that_alone_tells_of_a_device_stays_until_the_device_is_gone_or_owed() -> None:
    gone = {"remember": {"inventory": {"gone": {"node": "n-9"}}}}
    assert learned(devices={"n-9": {}}, **gone).drop == ()
    assert learned(unknown=["tailnet"], **gone).drop == ()
    assert learned(**gone).drop == ("u-gone",)
    owed = {"remember": {"inventory": {"gone": {"node": "n-9"}}, "debts": ["n-9"]}}
    assert learned(unknown=["tailnet"], **owed).drop == ("u-gone",)


def test_a_removal_is_under_way_until_the_spec_comes_back() -> None:
    have = {"dev": {"removing": "20m"}, "web": "running"}
    back = learned(want={"dev": {}, "web": {}}, have=have)
    assert [entry.removing for entry in back.put] == [None]
    assert learned(want={"web": {}}, have=have, removed={"dev": "c-rm"}) == Learned()
    expired = {"dev": {"expires": "2026-11-01T00:00:00Z"}, "web": {}}
    assert learned(want=expired, have=have) == Learned()


def test_debts_are_settled_when_the_device_is_gone_and_never_while_that_is_unknown() -> None:
    assert learned(remember={"debts": ["n-9"]}).settled == ("n-9",)
    assert learned(remember={"debts": ["n-9"]}, devices={"n-9": {}}).settled == ()
    assert learned(remember={"debts": ["n-9"]}, unknown=["tailnet"]).settled == ()


def test_failures_are_forgotten_after_a_while_of_calm() -> None:
    def failed(ago: timedelta) -> dict[str, object]:
        return {"backoff": {"dev": {"in": f"-{int(ago.total_seconds())}s"}}}

    as_wanted = {"want": {"dev": {}}, "have": {"dev": "running"}}
    assert learned(**as_wanted, remember=failed(CALM + timedelta(seconds=1))).calm == ("dev",)
    assert learned(**as_wanted, remember=failed(CALM)).calm == ()
    looping = {"want": {"dev": {}}, "have": {"dev": "looping"}}
    assert learned(**looping, remember=failed(CALM * 2)).calm == ()
    assert NOW.tzinfo is not None
