"""The plan in short: each kind of change, and its line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller.gate.brief import MOST, Side, brief
from controller.observed import Unknown
from controller.spec.parse import parse_file
from controller.spec.resolve import LastGood, resolve
from controller.spec.state import Decision, DecisionKind, Library
from tests.keygen import Key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIBRARY = Library({"git": "", "fish": "", "workspace": ""}, "digest")
STATE = {
    "tenants/alice": f"name: Alice\nrole: admin\nssh_keys: ['{Key('alice').public}']\n",
    "tenants/bob": "name: Bob\n",
}
PARSED: dict[tuple[str, str], object] = {}


def side(specs: dict[str, str], before: Side | None = None) -> Side:
    """A state with these files; unchanged ones stay the same objects, as they do in the gate."""
    texts = {name: text for name, text in {**STATE, **specs}.items() if text}
    read = {}
    for name, text in texts.items():
        path = f"state/{name}.yaml"
        if (path, text) not in PARSED:
            PARSED[path, text] = parse_file(path, text.encode(), modules=LIBRARY.modules)
        read[path] = PARSED[path, text]
    last = {}
    if before is not None:
        for name, wanted in before.desired.containers.items():
            assert wanted.spec is not None
            last[name] = LastGood(wanted.spec, "r0", wanted.digest, wanted.own)
    found = resolve(read, revision="r", changed={}, last=last, last_tenants={}, library=LIBRARY)
    assert not isinstance(found, Unknown)
    assert not found.problems, found.problems
    return Side(found, read)


def lines(old: dict[str, str], new: dict[str, str], decisions=(), host="here", delegated=()) -> list[str]:
    before = side(old)
    after = side({**old, **new}, before)
    return [str(line) for line in brief(before, after, decisions, NOW, host, delegated=delegated)]


DEV = "owner: alice\nmodules: [git]\n"
SEVERAL = dict.fromkeys("abcdefgh", "owner: alice\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (None, DEV, "+ dev  new container (alice): "),
        (None, DEV + "power: stopped\n", "+ dev  new container, stopped (alice): "),
        (DEV, DEV, None),
        (DEV, DEV + "# a word\n", "~ dev  changed as it runs: "),
        (DEV, DEV + "description: mine\n", "~ dev  changed as it runs: "),
        (DEV, DEV + "resources: {memory: 4G}\n", "~ dev  changed as it runs: memory 2G → 4G"),
        (DEV, "owner: alice\nmodules: [git, fish]\n", "~ dev  rebuilt and restarted: modules +fish"),
        (DEV, DEV + "env: {A: x}\n", "~ dev  rebuilt and restarted: "),
        (DEV + "power: stopped\n", DEV + "power: stopped\nenv: {A: x}\n", "~ dev  rebuilt: "),
        (DEV, DEV + "power: stopped\n", "~ dev  stopped: power running → stopped"),
        (DEV + "power: stopped\n", DEV, "~ dev  started: power stopped → "),
        (DEV, DEV + "paused: true\n", "~ dev  nothing while it is paused: "),
        (DEV, DEV + "paused: true\nenv: {A: x}\n", "~ dev  nothing while it is paused: "),
        (DEV, "owner: bob\nmodules: [git]\n", "! dev  once that is approved: owner alice → bob"),
        (DEV, DEV + "host: attic\n", "! dev  moves to the appliance attic: once that is approved: host "),
        (DEV + "host: attic\n", DEV + "host: here\n", "! dev  once that is approved: host attic → here"),
        (DEV + "host: attic\n", DEV + "host: attic\npower: stopped\n", "~ dev  for the appliance attic, not this one"),
        (None, DEV + "host: attic\n", "~ dev  for the appliance attic, not this one"),
        (DEV + "host: attic\n", "", "- dev  removed on the appliance attic, not on this one"),
        (DEV, "", "- dev  removed; its data waits in the trash"),
        (DEV, DEV + "expires: 2026-02-01T00:00:00Z\n", "- dev  removed; its data waits in the trash"),
        (DEV, DEV + "expires: 2026-04-01T00:00:00Z\n", "~ dev  changed as it runs: expires "),
        (DEV + "paused: true\n", "", "! dev  removed, once its pause is over or somebody approves"),
    ],
)
def test_one_container(old, new, said):
    others = {} if "host:" in (old or "") + new else {"a": "owner: alice\n", "b": "owner: alice\n"}
    found = lines(others | ({"dev": old} if old else {}), {"dev": new})
    if said is None:
        assert found == []
    else:
        (line,) = found
        assert line.startswith(said)


def test_a_renamed_container_takes_over_and_is_not_removed():
    found = lines({"dev": DEV}, {"dev": "", "lab": DEV + "renamed_from: dev\n"})
    assert len(found) == 1
    assert found[0].startswith("+ lab  takes over from dev (alice): ")


@pytest.mark.parametrize(("count", "held"), [(1, False), (2, False), (3, True), (8, True)])
def test_many_removals_at_once_wait(count, held):
    found = lines(SEVERAL, dict.fromkeys(list(SEVERAL)[:count], ""))
    assert len(found) == count
    assert all(line.startswith("!" if held else "-") for line in found), found
    assert all(("approved (several at once): `voxnix approve`" in line) == held for line in found)


def test_the_last_of_two_waits_and_a_single_one_does_not():
    two = {name: SEVERAL[name] for name in "ab"}
    assert all("several at once" in line for line in lines(two, dict.fromkeys(two, "")))
    assert lines({"a": SEVERAL["a"]}, {"a": ""}) == ["- a  removed; its data waits in the trash"]


def test_removals_elsewhere_do_not_count_here():
    elsewhere = dict.fromkeys("abcdef", "owner: alice\nhost: attic\n")
    here = {"y": "owner: alice\nhost: here\n", "z": "owner: alice\nhost: here\n"}
    found = lines({**elsewhere, **here}, {**dict.fromkeys(elsewhere, ""), "y": ""})
    assert found[-1] == "- y  removed; its data waits in the trash"
    assert all("removed on the appliance attic" in line for line in found[:-1])


def test_what_the_agent_removes_waits():
    assert lines(SEVERAL, {"a": ""}, delegated={"a"}) == [
        "! a  removed, once that is approved (the agent asks for it): `voxnix approve`"
    ]


def test_an_appliance_without_a_name_has_them_all():
    assert lines({"dev": DEV + "host: attic\n"}, {"dev": ""}, host=None) == [
        "- dev  removed; its data waits in the trash"
    ]


def test_defaults_roll_out_and_are_told_once():
    assert lines(SEVERAL, {"defaults": "modules: [git]\n"}) == [
        "~ a, b, c, d, e, f, and 2 more  rebuilt and restarted, one after another",
        "* defaults  new: modules git",
    ]


def test_tenants_and_policy():
    found = lines({}, {"policy": "identity: required\n", "tenants/bob": "name: Bobby\n", "tenants/eve": "name: Eve\n"})
    assert [line.split("  ")[0] for line in found] == ["* policy", "* tenant bob", "* tenant eve"]
    assert "name Bob → Bobby" in found[1]


def test_decisions():
    made = [
        Decision(DecisionKind.RESTART, "u-1", "c", NOW),
        Decision(DecisionKind.ROLLBACK_DATA, "u-1", "c", NOW, detail="s-1"),
    ]
    assert lines({}, {}, made) == ["* Voxnix-Restart  u-1", "* Voxnix-Rollback-Data  u-1 s-1"]


def test_more_than_anybody_reads_is_counted():
    found = lines({}, {f"c{number}": "owner: alice\n" for number in range(MOST + 5)})
    assert len(found) == MOST + 1
    assert found[-1] == "  …  and 5 more"
