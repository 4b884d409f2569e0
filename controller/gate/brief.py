"""What a push will lead to, in short, from the state before and after it alone. Pure.

The plan itself needs a look at the host, and is the controller's; this is what follows from the files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from controller.audit import describe
from controller.plan.holds import BULK_FLOOR, BULK_SHARE
from controller.plan.power import expired
from controller.spec.fields import FileKind
from controller.spec.parse import classify
from controller.spec.result import FileResult
from controller.spec.state import Decision, Desired, Wanted

MOST = 20
"""Lines that are told; of more, how many there are."""


@dataclass(frozen=True, slots=True)
class Line:
    """What becomes of one thing. `sign` is `+` new, `~` changed, `-` removed, `!` waits for an approval, `*` else."""

    sign: str
    name: str
    words: str

    def __str__(self) -> str:
        return f"{self.sign} {self.name}  {self.words}"


@dataclass(frozen=True, slots=True)
class Side:
    """The state on one side of a push: what it asks for, and its files by path."""

    desired: Desired
    files: Mapping[str, FileResult]


def brief(
    before: Side,
    after: Side,
    decisions: Sequence[Decision],
    now: datetime,
    host: str | None,
    *,
    delegated: Collection[str] = (),
) -> list[Line]:
    """One line for each container, other file and decision that a push concerns, at most `MOST` and one more.

    `host` is this appliance's name; `delegated` the containers that the agent's key has touched.
    """
    mine = {name for name, wanted in before.desired.containers.items() if _here(wanted, host)}
    gone = _going(before, after, now)
    ours = len(gone & mine)
    bulk = ours > max(BULK_FLOOR, BULK_SHARE * len(mine)) or (len(mine) > 1 and ours == len(mine))
    lines = [*_containers(before, after, host, gone, delegated, bulk=bulk), *_others(before, after)]
    lines += [Line("*", one.kind.value, f"{one.argument} {one.detail}".strip()) for one in decisions]
    more = len(lines) - MOST
    return lines if more <= 0 else [*lines[:MOST], Line(" ", "…", f"and {more} more")]


def _containers(
    before: Side, after: Side, host: str | None, gone: Collection[str], delegated: Collection[str], *, bulk: bool
) -> Iterator[Line]:
    was, will = before.desired.containers, after.desired.containers
    rolled: list[str] = []
    for name in sorted({*was, *will}):
        old, new = was.get(name), will.get(name)
        if name in gone and not _here(was[name], host):
            yield Line("-", name, f"removed on the appliance {_host(was[name])}, not on this one")
        elif name in gone:
            held = "several at once" if bulk else "the agent asks for it" if name in delegated else ""
            yield _removed(name, was[name], held=held)
        elif new is not None and new.spec is not None:
            touched = _file(before, name) is not _file(after, name)
            line = _changed(name, old, new, _words(before, after, name)) if touched else None
            if line is not None and not _here(new, host):
                line = _elsewhere(name, line.words if old is not None and _here(old, host) else "", _host(new))
            if line is not None:
                yield line
            elif old is not None and old.digest != new.digest:
                rolled.append(name)
    if rolled:
        yield Line("~", ", ".join(_few(rolled)), "rebuilt and restarted, one after another")


def _removed(name: str, old: Wanted, *, held: str) -> Line:
    if old.spec is not None and old.spec.paused:
        return Line("!", name, "removed, once its pause is over or somebody approves")
    if held:
        return Line("!", name, f"removed, once that is approved ({held}): `voxnix approve`")
    return Line("-", name, "removed; its data waits in the trash")


def _changed(name: str, old: Wanted | None, new: Wanted, words: str) -> Line:
    """What becomes of a container whose file was touched."""
    assert new.spec is not None
    stopped = new.spec.power == "stopped"
    if old is None or old.spec is None:
        former = new.spec.renamed_from
        what = f"takes over from {former}" if former else f"new container{', stopped' if stopped else ''}"
        return Line("+", name, f"{what} ({new.spec.owner}): {words.removeprefix('new: ')}")
    if new.spec.paused:
        return Line("~", name, f"nothing while it is paused: {words}")
    if old.spec.owner != new.spec.owner or old.spec.host != new.spec.host:
        return Line("!", name, f"once that is approved: {words}")
    if old.spec.power != new.spec.power:
        return Line("~", name, f"{'stopped' if stopped else 'started'}: {words}")
    rebuilt = old.digest != new.digest
    effect = "rebuilt" if rebuilt and stopped else "rebuilt and restarted" if rebuilt else "changed as it runs"
    return Line("~", name, f"{effect}: {words}")


def _elsewhere(name: str, leaving: str, host: str) -> Line:
    """What becomes of a container that is for another appliance; `leaving` if this one has had it."""
    if leaving:
        return Line("!", name, f"moves to the appliance {host}: {leaving}")
    return Line("~", name, f"for the appliance {host}, not this one")


def _others(before: Side, after: Side) -> Iterator[Line]:
    """Tenants, defaults, the policy."""
    for path in sorted({*before.files, *after.files}):
        old, new = before.files.get(path), after.files.get(path)
        kind, stem, _ = classify(path)
        if old is new or kind in (FileKind.SPEC, FileKind.OTHER):
            continue
        change = describe(path, old, new)
        name = f"tenant {stem}" if kind is FileKind.TENANT else str(kind)
        yield Line("*", name, "; ".join(change.words))


def _going(before: Side, after: Side, now: datetime) -> set[str]:
    """The containers that are there before, and removed by what comes: by name, or since their time is up then."""
    was, will = before.desired.containers, after.desired.containers
    taken = {wanted.spec.renamed_from for name, wanted in will.items() if wanted.spec and name not in was}
    gone = {name for name in was.keys() - will.keys() if name not in taken}
    for name, wanted in will.items():
        old = was.get(name)
        if old and old.spec and wanted.spec and expired(wanted.spec, now) and not expired(old.spec, now):
            gone.add(name)
    return gone


def _here(wanted: Wanted, host: str | None) -> bool:
    """Whether a container is for this appliance."""
    return host is None or _host(wanted) in ("", host)


def _host(wanted: Wanted) -> str:
    """The appliance that a container names, if it names one."""
    return (wanted.spec.host or "") if wanted.spec else ""


def _file(side: Side, name: str) -> FileResult | None:
    return side.files.get(f"state/{name}.yaml")


def _words(before: Side, after: Side, name: str) -> str:
    change = describe(
        f"state/{name}.yaml", _file(before, name), _file(after, name), after.files.get("state/defaults.yaml")
    )
    return "; ".join(change.words)


def _few(names: Sequence[str], most: int = 6) -> list[str]:
    return list(names) if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]
