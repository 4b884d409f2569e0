"""The `zfs` command: what it is asked, and what its refusals mean.

Knows nothing of containers. Never forces (`-f`), never recurses into dependents (`-R`), never rolls back; every
name is checked before it reaches a command, and every change is looked at afterwards by whoever asked for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from controller.errors import Blocked, Transient, VoxnixError
from controller.host.run import Result, Runner
from controller.observed import parse
from controller.observed.facts import Dataset

PROPERTIES = ("used", "referenced", "available", "refquota", "mounted", "mountpoint", "origin")
COLUMNS = ("-o", "name,property,value,source")
EVERYTHING = ",".join((*PROPERTIES, *(parse.PREFIX + mark for mark in parse.MARKS)))

_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*){0,9}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_MISSING = ("dataset does not exist", "no such pool", "could not find any snapshots to destroy")
_BUSY = ("is busy", "umount failed", "umount child process failed")
_LOOK = 30.0
_ACT = 120.0


class Zfs:
    """Runs one `zfs` command at a time, on checked names."""

    def __init__(self, run: Runner) -> None:
        self._run = run
        self._knows_types = True

    async def ask(self, *args: str) -> Result:
        """Run a command that only looks; its exit code is for the caller to judge."""
        return await self._run.run(("zfs", *args), timeout=_LOOK)

    async def act(self, *args: str, tolerate: str = "\0", within: float = _ACT) -> None:
        """Run a command that changes something; a refusal that does not say `tolerate` is raised."""
        result = await self._run.run(("zfs", *args), timeout=within)
        if result.code != 0 and tolerate not in result.err:
            raise refusal(result)

    async def dataset(self, name: str) -> Dataset | None:
        """One file system as it is now, without its snapshots; None where there is none."""
        return (await self.several((name,))).get(name)

    async def several(self, names: Sequence[str]) -> dict[str, Dataset]:
        """Those of some file systems that are there, without their snapshots, by name."""
        result = await self.ask("get", "-Hp", *COLUMNS, EVERYTHING, *map(checked, names))
        _only_missing(result, names)
        found = parse.datasets(result.out, {})
        if not found.keys() <= set(names) or (result.code == 0 and len(found) != len(names)):
            raise parse.Garbled(f"zfs get: asked for {len(names)} datasets, answered for others")
        return found

    async def values(self, name: str, *keys: str) -> dict[str, tuple[str, str]] | None:
        """Some properties of one dataset as (value, source); None where there is no such dataset."""
        result = await self.ask("get", "-Hp", *COLUMNS, ",".join(keys), checked(name))
        if result.code != 0:
            if missing(result):
                return None
            raise refusal(result)
        return parse.properties(result.out).get(name, {})

    async def trees(self, roots: Sequence[str]) -> str:
        """`zfs get` of every file system below `roots`, and these; a root that is missing is left out."""
        kind = ("-t", "filesystem") if self._knows_types else ()
        result = await self.ask("get", "-Hp", "-r", *kind, *COLUMNS, EVERYTHING, *map(checked, roots))
        if result.code == 2 and self._knows_types and "invalid option 't'" in result.err:
            self._knows_types = False
            return await self.trees(roots)
        _only_missing(result, roots)
        return result.out

    async def snapshots(self, roots: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The labels of all snapshots below `roots`, by dataset, oldest first."""
        args = ("list", "-H", "-t", "snapshot", "-o", "name", "-s", "creation", "-r")
        result = await self.ask(*args, *map(checked, roots))
        _only_missing(result, roots)
        return parse.snapshots("" if result.out.startswith("no datasets") else result.out)

    async def set(self, name: str, key: str, value: str) -> None:
        """Set one property; an empty value makes it inherited again."""
        if value != parse.plain(value, 1000):
            raise ValueError(f"{key}: not one line of text")
        if value:
            await self.act("set", f"{key}={value}", checked(name))
        else:
            await self.act("inherit", key, checked(name))


def checked(name: str) -> str:
    """A dataset's name, if it is one; raises ValueError."""
    if not _DATASET.fullmatch(name) or len(name) > 200:
        raise ValueError(f"{name!r} is no dataset's name")
    return name


def snapshot(name: str, label: str) -> str:
    """`DATASET@LABEL`, if both can be; raises ValueError."""
    if not _LABEL.fullmatch(label):
        raise ValueError(f"{label!r} is no snapshot's label")
    return f"{checked(name)}@{label}"


def missing(result: Result) -> bool:
    """Whether a command failed because what it was asked about is not there."""
    return result.code == 1 and any(phrase in result.err for phrase in _MISSING)


def refusal(result: Result) -> VoxnixError:
    """What a failed command means for who asked: retry, or look at the host."""
    said = parse.plain(result.said.replace("\n", " "), 500)
    if any(phrase in said for phrase in _BUSY):
        return Transient(f"still in use: {said}")
    if "out of space" in said:
        return Blocked(f"the pool is full: {said}", hint="free space: voxnix trash list")
    if "less than current used" in said:
        return Blocked(f"a quota below what is used: {said}")
    if "permission denied" in said or result.code == 2:
        return Blocked(said, hint="run `voxnix doctor`")
    return Transient(said)


def _only_missing(result: Result, roots: Sequence[str]) -> None:
    """Raise, unless the command succeeded but for roots that are not there."""
    if result.code == 0:
        return
    expected = {f"cannot open '{root}': dataset does not exist" for root in roots}
    lines = [line for line in result.err.split("\n") if line]
    if result.code != 1 or not lines or not expected.issuperset(lines):
        raise refusal(result)
