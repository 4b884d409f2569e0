"""What the host's tools print, as facts: one pure function a format.

Never partial: text that is not wholly what the tool prints when it succeeds raises `Garbled`, and no
other exception, whatever the bytes were. Words that come from inside a container (status texts, names)
are stripped of control characters and believed in nothing. What control planes say is read in `tailnet`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from controller.errors import Transient
from controller.observed.facts import Dataset, Document, UnitFacts

MARKS = (
    *("uid", "appliance", "name", "owner", "workspace", "part", "created", "adopting", "decision"),
    *("node", "key", "minted", "tailnet"),
    *("trashed", "trash-reason", "aside"),
)
"""The user properties `voxnix:*` that mark a dataset, without prefix. Others are neither read nor written."""

PREFIX = "voxnix:"

_MARK_OF = {PREFIX + mark: mark for mark in MARKS}
_UNSET = "\t-\t-"
"""How a line of `zfs get` ends whose property is not set."""

UNIT_KEYS = (
    "Id,LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,StatusText,FragmentPath,Job,"
    "MemoryMax,CPUQuotaPerSecUSec,TasksMax"
)
"""What `systemctl show -p` is asked for."""

_NEEDED = frozenset(UNIT_KEYS.split(",")) - {"Id", "StatusText", "FragmentPath", "Job"}
_ACTIVE = {
    *("active", "reloading", "refreshing", "inactive", "failed"),
    *("activating", "deactivating", "maintenance"),
}
_NO_LIMIT = {"infinity", "[not set]", str(2**64 - 1)}
_MICROSECONDS = {
    **{"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000},
    **{"d": 86_400_000_000, "w": 604_800_000_000, "month": 2_629_800_000_000, "y": 31_557_600_000_000},
}
_SPAN = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(us|ms|s|min|h|d|w|month|y)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SETTING = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class Garbled(Transient, ValueError):
    """The text is not what the tool prints; says which tool and what was wrong, in one line."""


def plain(text: str, limit: int = 200) -> str:
    """A text from elsewhere made harmless for terminals and logs: one bounded line, no control characters."""
    if len(text) <= limit and text.isprintable():
        return text
    return _CONTROL.sub("?", text[:limit])


def machines(text: str) -> dict[str, tuple[str, ...]]:
    """`machinectl list --output=json`: the addresses of each registered container, by machine name."""
    found: dict[str, tuple[str, ...]] = {}
    for item in _items(read_json(text, "machinectl"), "machinectl"):
        name = item.get("machine")
        if not isinstance(name, str) or not name or name in found:
            raise Garbled("machinectl: an entry without a machine name of its own")
        addresses = item.get("addresses")
        if not isinstance(addresses, str | None):
            raise Garbled(f"machinectl: addresses of {plain(name, 40)} are no text")
        if item.get("class", "container") == "container":
            found[name] = tuple(plain(a, 64) for a in (addresses or "").split("\n") if a)
    return found


def units(text: str, asked: Collection[str]) -> dict[str, UnitFacts]:
    """`systemctl show -p UNIT_KEYS container@A.service …`: the units of the containers `asked`, by name."""
    if text and not text.endswith("\n"):
        raise Garbled("systemctl show: cut off")
    found: dict[str, UnitFacts] = {}
    for block in text.strip("\n").split("\n\n") if text.strip("\n") else ():
        name, unit = _unit(block)
        if name in found:
            raise Garbled(f"systemctl show: {plain(name, 40)} twice")
        found[name] = unit
    if found.keys() != set(asked):
        raise Garbled(f"systemctl show: {len(asked)} units asked for, {len(found)} answered, or others")
    return found


def _unit(block: str) -> tuple[str, UnitFacts]:
    keys: dict[str, str] = {}
    for line in block.split("\n"):
        key, is_setting, value = line.partition("=")
        if not is_setting or key in keys:
            raise Garbled(f"systemctl show: unexpected line {plain(line, 60)!r}")
        keys[key] = value
    unit = keys.get("Id", "")
    name = unit.removeprefix("container@").removesuffix(".service")
    if not name or unit != f"container@{name}.service":
        raise Garbled(f"systemctl show: {plain(unit, 60)!r} is no container's unit")
    if not keys.keys() >= _NEEDED or keys["ActiveState"] not in _ACTIVE:
        raise Garbled(f"systemctl show: {plain(name, 40)} is incomplete")
    return name, UnitFacts(
        load=plain(keys["LoadState"], 40),
        active=keys["ActiveState"],
        sub=plain(keys["SubState"], 40),
        result=plain(keys["Result"], 40),
        restarts=_whole(keys["NRestarts"], "NRestarts"),
        exit_status=_whole(keys["ExecMainStatus"], "ExecMainStatus"),
        status_text=plain(keys.get("StatusText", "")),
        fragment=keys.get("FragmentPath", ""),
        job=keys.get("Job", "") not in ("", "0"),
        memory_max=_limit(keys["MemoryMax"], "MemoryMax"),
        cpu_quota=span(keys["CPUQuotaPerSecUSec"]),
        tasks_max=_limit(keys["TasksMax"], "TasksMax"),
    )


def span(text: str) -> float | None:
    """A time span as systemd writes it (`1min 30s`, `500ms`), in seconds; None for `infinity`."""
    if text in _NO_LIMIT:
        return None
    total = 0
    for part in text.split(" "):
        match = _SPAN.fullmatch(part)
        if match is None:
            raise Garbled(f"systemctl show: {plain(text, 40)!r} is no time span")
        total += round(float(match[1]) * _MICROSECONDS[match[2]])
    return total / 1_000_000


def _limit(text: str, what: str) -> int | None:
    return None if text in _NO_LIMIT else _whole(text, what)


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise Garbled(f"{what}: {plain(text, 40)!r} is no whole number")
    return int(text)


def conf(text: str) -> dict[str, str]:
    """A container's conf file: `KEY=VALUE` lines as systemd's EnvironmentFile reads them, without quotes."""
    settings: dict[str, str] = {}
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        match = _SETTING.fullmatch(stripped)
        if match is None:
            raise Garbled(f"conf file: {plain(stripped, 60)!r} is no setting")
        value = match[2]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        settings[match[1]] = value
    return settings


def document(text: str) -> Document:
    """The spec document that an installed system carries."""
    data = read_json(text, "document")
    if not isinstance(data, dict) or data.get("version") != 1:
        raise Garbled("document: not one of version 1")
    values: list[Any] = [data.get(key) for key in ("appliance", "uid", "name", "owner", "digest", "own")]
    if not all(isinstance(value, str) and value == plain(value) for value in values):
        raise Garbled("document: a part is missing, or is not a short text")
    return Document(*values)


def datasets(text: str, snapshots: Mapping[str, tuple[str, ...]]) -> dict[str, Dataset]:
    """`zfs get -Hp -r -o name,property,value,source …`: every file system with its marks and `snapshots`.

    Of user properties only those with source `local` count as marks. Snapshots and volumes are skipped.
    """
    return {
        name: _dataset(name, values, snapshots.get(name, ()))
        for name, values in properties(text).items()
        if "@" not in name and values.get("mounted", ("",))[0] != "-"
    }


def properties(text: str) -> dict[str, dict[str, tuple[str, str]]]:
    """`zfs get -Hp -o name,property,value,source …`: (value, source) of all that is set, by dataset."""
    if text and not text.endswith("\n"):
        raise Garbled("zfs get: cut off")
    found: dict[str, dict[str, tuple[str, str]]] = {}
    current = ""
    values: dict[str, tuple[str, str]] = {}
    for line in text[:-1].split("\n") if text else ():
        if line[-4:] == _UNSET and "\tmounted\t" not in line and line.count("\t") == 3:
            continue
        fields = line.split("\t")
        if len(fields) != 4:
            raise Garbled(f"zfs get: unexpected line {plain(line, 80)!r}")
        name, key, value, source = fields
        if name != current:
            current, values = name, found.setdefault(name, {})
        values[key] = (value, source)
    return found


def _dataset(name: str, values: Mapping[str, tuple[str, str]], snapshots: tuple[str, ...]) -> Dataset:
    try:
        return Dataset(
            name=name,
            used=int(values["used"][0]),
            referenced=int(values["referenced"][0]),
            available=int(values["available"][0]),
            refquota=0 if values["refquota"][0] == "none" else int(values["refquota"][0]),
            mounted=_yes(values["mounted"][0], "zfs get: mounted"),
            mountpoint=values["mountpoint"][0],
            origin=values.get("origin", ("",))[0],
            marks={
                _MARK_OF[key]: value for key, (value, source) in values.items() if source == "local" and key in _MARK_OF
            },
            snapshots=snapshots,
        )
    except (KeyError, ValueError) as error:
        raise Garbled(f"zfs get: {plain(name, 80)}: {plain(str(error), 80)}") from error


def snapshots(text: str) -> dict[str, tuple[str, ...]]:
    """`zfs list -H -t snapshot -o name -s creation -r …`: the labels of each dataset, oldest first."""
    if text and not text.endswith("\n"):
        raise Garbled("zfs list: cut off")
    found: dict[str, list[str]] = {}
    for line in text[:-1].split("\n") if text else ():
        name, is_snapshot, label = line.partition("@")
        if not (name and is_snapshot and label) or "\t" in line:
            raise Garbled(f"zfs list: {plain(line, 80)!r} is no snapshot")
        found.setdefault(name, []).append(label)
    return {name: tuple(labels) for name, labels in found.items()}


def pool(text: str) -> tuple[int, int]:
    """`zfs get … used,available POOL`: bytes used and available."""
    found = list(properties(text).values())
    if len(found) != 1 or not found[0].keys() >= {"used", "available"}:
        raise Garbled("zfs get: the pool's used and available are not there")
    return _whole(found[0]["used"][0], "used"), _whole(found[0]["available"][0], "available")


def clock(text: str) -> bool:
    """`timedatectl show -p NTPSynchronized`: whether the host's clock is synchronised."""
    key, _, value = text.strip().partition("=")
    if key != "NTPSynchronized":
        raise Garbled(f"timedatectl: unexpected answer {plain(text, 60)!r}")
    return _yes(value, "timedatectl")


def _yes(text: str, what: str) -> bool:
    if text not in ("yes", "no"):
        raise Garbled(f"{what}: {plain(text, 40)!r} is neither yes nor no")
    return text == "yes"


def read_json(text: str, what: str) -> Any:
    """Any JSON text; `what` names it in the error."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"{what}: not JSON: {plain(str(error), 80)}") from error


def _items(data: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise Garbled(f"{what}: not a list of objects")
    return data
