"""The parsers of every tool's output, on recorded text, on nonsense, and on very much of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controller.observed import parse, tailnet
from controller.observed.facts import UnitFacts

CASES = yaml.safe_load((Path(__file__).parent / "cases/observed/parse.yaml").read_text())
PARSERS: dict[str, Any] = {
    **{name: getattr(parse, name) for name in ("machines", "clock", "span", "conf", "document", "snapshots", "pool")},
    **{name: getattr(tailnet, name) for name in ("devices", "nodes", "claim")},
    "units": lambda text: parse.units(text, ["dev"]),
    "properties": parse.properties,
    "datasets": lambda text: parse.datasets(text, {}),
}

UNIT = """\
NRestarts=0
Id=container@dev.service
ActiveState=active
LoadState=loaded
SubState=running
StatusText=Container running: Ready.
Result=success
ExecMainStatus=0
FragmentPath=/etc/systemd-mutable/system/container@dev.service
Job=
MemoryMax=2147483648
CPUQuotaPerSecUSec=1.500s
TasksMax=4096
"""
DATASET = """\
tank/users\tused\t900\t-
tank/users\treferenced\t10\t-
tank/users\tavailable\t5000\t-
tank/users\trefquota\t0\tdefault
tank/users\tmounted\tyes\t-
tank/users\tmountpoint\t/tank/users\tlocal
tank/users\torigin\t-\t-
tank/users\tvoxnix:part\tusers\tlocal
tank/users/a\tused\t700\t-
tank/users/a\treferenced\t600\t-
tank/users/a\tavailable\t4000\t-
tank/users/a\trefquota\t10737418240\tlocal
tank/users/a\tmounted\tno\t-
tank/users/a\tmountpoint\t/tank/users/a\tinherited from tank/users
tank/users/a\torigin\ttank/trash/x@voxnix-1\t-
tank/users/a\tvoxnix:uid\tu1\tlocal
tank/users/a\tvoxnix:node\t-\t-
tank/users/a\tvoxnix:part\tusers\tinherited from tank/users
"""


def plainly(value: Any) -> Any:
    """A parsed value as YAML would write it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plainly(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plainly(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plainly(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['parser']}: {case['name']}")
def test_case(case: dict[str, Any]) -> None:
    parser = PARSERS[case["parser"]]
    if "garbled" in case:
        with pytest.raises(parse.Garbled, match=case["garbled"]):
            parser(case["text"])
    else:
        assert plainly(parser(case["text"])) == case["gives"]


def test_a_unit_in_whatever_order_its_keys_come() -> None:
    lines = UNIT.splitlines(keepends=True)
    expected = UnitFacts(
        active="active",
        sub="running",
        status_text="Container running: Ready.",
        fragment="/etc/systemd-mutable/system/container@dev.service",
        memory_max=2 * 2**30,
        cpu_quota=1.5,
        tasks_max=4096,
    )
    assert parse.units(UNIT, ["dev"]) == parse.units("".join(reversed(lines)), ["dev"]) == {"dev": expected}


def test_several_units_are_apart_by_blank_lines() -> None:
    other = UNIT.replace("@dev", "@web").replace("Job=", "Job=4711").replace("=4096", "=[not set]")
    found = parse.units(f"{UNIT}\n{other}", ["web", "dev"])
    assert (found["dev"].job, found["web"].job, found["web"].tasks_max) == (False, True, None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 units asked for, 0 answered"),
        (UNIT[:-1], "cut off"),
        (UNIT.replace("SubState=running\n", ""), "incomplete"),
        (UNIT.replace("=active", "=acti"), "incomplete"),
        (UNIT.replace("@dev", "@web"), "or others"),
        (UNIT.replace("container@dev", "sshd"), "no container's unit"),
        (f"{UNIT}\n{UNIT}", "twice"),
        (UNIT + "ActiveState=inactive\n", "unexpected line"),
        (UNIT.replace("NRestarts=0", "NRestarts=many"), "no whole number"),
    ],
)
def test_units_that_are_not_whole_are_refused(text: str, why: str) -> None:
    with pytest.raises(parse.Garbled, match=why):
        parse.units(text, ["dev"])


@pytest.mark.parametrize("separator", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_a_status_text_from_inside_cannot_pretend_to_be_other_keys(separator: str) -> None:
    hostile = UNIT.replace("Ready.", f"{separator}ActiveState=inactive{separator}{separator}Id=container@x.service")
    unit = parse.units(hostile, ["dev"])["dev"]
    assert unit.active == "active"
    assert separator not in unit.status_text


def test_datasets_with_marks_set_on_themselves_only() -> None:
    found = parse.datasets(DATASET, {"tank/users/a": ("voxnix-1",)})
    assert found["tank/users"].marks == {"part": "users"}
    child = found["tank/users/a"]
    assert (child.marks, child.snapshots, child.mounted) == ({"uid": "u1"}, ("voxnix-1",), False)
    assert (child.used, child.referenced, child.available, child.refquota) == (700, 600, 4000, 10 * 2**30)
    assert (child.mountpoint, child.origin) == ("/tank/users/a", "tank/trash/x@voxnix-1")


def test_snapshots_among_the_properties_are_no_file_systems() -> None:
    text = DATASET + "tank/users/a@voxnix-1\tused\t0\t-\ntank/users/a@voxnix-1\tmounted\t-\t-\n"
    assert parse.datasets(text, {}).keys() == {"tank/users", "tank/users/a"}


@pytest.mark.parametrize("cut", range(1, len(DATASET), 7))
def test_datasets_cut_off_anywhere_within_one_are_refused(cut: int) -> None:
    text = DATASET[:cut]
    at_a_border = text.count("\n") in (8, 18) and text.endswith("\n")
    enough = text.endswith("\n") and "tank/users\tmountpoint" in text and "tank/users/a\tused" not in text
    enough = enough or (text.endswith("\n") and "tank/users/a\tmountpoint" in text)
    if not (at_a_border or enough):
        with pytest.raises(parse.Garbled):
            parse.datasets(text, {})


@given(name=st.sampled_from(sorted(PARSERS)), text=st.text() | st.binary().map(lambda b: b.decode("utf-8", "replace")))
def test_nonsense_is_garbled_or_harmless(name: str, text: str) -> None:
    said = ""
    try:
        PARSERS[name](text)
    except parse.Garbled as error:
        said = str(error)
    assert "\n" not in said


@given(
    name=st.sampled_from(sorted(PARSERS)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "devices",
                        "nodes",
                        "machine",
                        "id",
                        "nodeId",
                        "Self",
                        "version",
                        "addresses",
                        "tags",
                        "created",
                        "preAuthKey",
                        "BackendState",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
)
def test_json_of_any_shape_is_garbled_or_harmless(name: str, value: Any) -> None:
    with contextlib.suppress(parse.Garbled):
        PARSERS[name](json.dumps(value))


@given(st.data())
def test_units_with_bytes_changed_are_garbled_or_harmless(data: st.DataObject) -> None:
    text = UNIT + "\n" + UNIT.replace("@dev", "@web")
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.text(max_size=3)) + text[at + data.draw(st.integers(0, 40)) :]
    with contextlib.suppress(parse.Garbled):
        assert parse.units(changed, ["dev", "web"]).keys() == {"dev", "web"}


def test_deep_json_is_garbled() -> None:
    with pytest.raises(parse.Garbled):
        parse.machines("[" * 100_000)


def test_five_thousand_containers_are_read_in_linear_time() -> None:
    names = [f"c{number}" for number in range(5000)]
    units = "\n".join(UNIT.replace("@dev", f"@{name}") for name in names)
    rows = DATASET.splitlines(keepends=True)[8:]
    rows += [f"tank/users/a\tvoxnix:{mark}\t-\t-\n" for mark in parse.MARKS if mark not in ("uid", "node", "part")]
    datasets = "".join(
        "".join(rows).replace("users/a\t", f"users/o/containers/c{number}\t") for number in range(10_000)
    )
    began = time.process_time()
    assert len(parse.units(units, names)) == 5000
    assert len(parse.datasets(datasets, {})) == 10_000
    took = time.process_time() - began
    assert took < 3, f"{took:.2f} s of CPU"
