"""The note on a commit: what it led to on each host, as one JSON document. Pure.

A host writes its own part and leaves those of others alone. Whoever reads a note takes it for a claim: what does not
have the right form is left out, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SCHEMA = 1
LIMIT = 32 * 2**10
"""Bytes that one host's part may have; steps are left out, the oldest first, until it fits."""
HOSTS = 64
STEPS = 24
"""Steps of one container that are told; of more, the last."""
WORDS = 400
"""Characters of one reason or error."""
OUTCOMES = ("refused", "failed", "held", "waiting", "done")
"""From the worst to the best."""
NOTHING = "nothing to do"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deed:
    """One action that has ended: which commit asked for it, of whom it was, and how it went.

    `error` and `hint` are the tool's own words, empty if all is well; `tries` counts the attempts in a row.
    """

    commit: str
    container: str
    kind: str
    reason: str
    began: datetime
    ended: datetime
    error: str = ""
    hint: str = ""
    tries: int = 1


@dataclass(frozen=True, slots=True)
class Held:
    """A hold that a commit met with: what was asked, of which containers, and whether it still waits."""

    id: str
    reason: str
    names: tuple[str, ...]
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Note:
    """What a commit led to on one host. `outcome` is one of `OUTCOMES`, or `NOTHING`."""

    host: str
    outcome: str
    deeds: tuple[Deed, ...] = ()
    held: tuple[Held, ...] = ()
    waits: tuple[tuple[str, str], ...] = ()
    """Containers that wait for something, and for what."""
    refused: str = ""
    left_out: int = 0
    """Deeds that were too many to be told."""

    @property
    def containers(self) -> tuple[str, ...]:
        """The containers that it tells of, in alphabetical order."""
        return tuple(sorted({deed.container for deed in self.deeds}))


def note_of(
    host: str,
    deeds: Sequence[Deed],
    held: Sequence[Held] = (),
    waits: Sequence[tuple[str, str]] = (),
    refused: str = "",
) -> Note:
    """The note that these make up. A container failed if the last thing done to it did."""
    last = {deed.container: deed for deed in deeds}
    found = {
        "refused": bool(refused),
        "failed": any(deed.error for deed in last.values()),
        "held": any(hold.waits for hold in held),
        "waiting": bool(waits),
        "done": bool(deeds) or bool(held),
    }
    outcome = next((name for name in OUTCOMES if found[name]), NOTHING)
    return Note(host, outcome, tuple(deeds), tuple(held), tuple(waits), refused)


def render_note(note: Note, present: bytes | None = None) -> bytes:
    """The document with this host's part in it, and the parts of other hosts as `present` has them."""
    hosts = {name: part for name, part in _parts(present).items() if name != note.host}
    hosts = dict(list(hosts.items())[: HOSTS - 1])
    hosts[note.host] = _bounded(note)
    return _text({"schema": SCHEMA, "hosts": dict(sorted(hosts.items()))})


def read_note(data: bytes) -> tuple[Note, ...]:
    """The notes of all hosts in a document; none at all from one that is not ours or of a later version."""
    return tuple(_note(host, part) for host, part in sorted(_parts(data).items()))


def _parts(data: bytes | None) -> dict[str, Json]:
    try:
        document = json.loads(data or b"null")
    except (ValueError, RecursionError):
        return {}
    if (
        not isinstance(document, dict)
        or document.get("schema") != SCHEMA
        or not isinstance(document.get("hosts"), dict)
    ):
        return {}
    return {str(host): part for host, part in document["hosts"].items() if isinstance(part, dict)}


def _bounded(note: Note) -> Json:
    """One host's part, with as many steps as there is room for."""
    steps, most = STEPS, 10_000
    while True:
        part = _part(note, steps, most)
        if len(_text(part)) <= LIMIT or most == 0:
            return part
        steps, most = max(1, steps // 2), most if steps > 1 else most // 2


def _part(note: Note, steps: int, most: int) -> Json:
    """One host's part: at most so many steps a container, and so many containers, those that failed first."""
    by: dict[str, list[Deed]] = {}
    for deed in note.deeds:
        by.setdefault(deed.container, []).append(deed)
    names = sorted(by, key=lambda name: (not by[name][-1].error, name))[:most]
    told = {name: by[name][-steps:] if steps else [] for name in sorted(names)}
    left_out = len(note.deeds) - sum(map(len, told.values()))
    return {
        "outcome": note.outcome,
        "containers": {
            _short(name): {"outcome": _outcome(by[name]), "steps": [_step(deed) for deed in deeds]}
            for name, deeds in told.items()
        },
        "held": [_hold(hold) for hold in note.held[:20]],
        "waits": [{"container": _short(name), "for": _short(words)} for name, words in note.waits[:20]],
        "refused": _short(note.refused),
        "left_out": left_out,
    }


def _outcome(deeds: Sequence[Deed]) -> str:
    return "failed" if deeds[-1].error else "done"


def _step(deed: Deed) -> Json:
    step: Json = {
        "kind": deed.kind,
        "reason": _short(deed.reason),
        "outcome": "failed" if deed.error else "done",
        "began": deed.began.isoformat(timespec="milliseconds"),
        "ended": deed.ended.isoformat(timespec="milliseconds"),
    }
    step |= {"error": _short(deed.error), "hint": _short(deed.hint)} if deed.error else {}
    return step | ({"tries": deed.tries} if deed.tries > 1 else {})


def _hold(hold: Held) -> Json:
    return {"id": hold.id, "reason": _short(hold.reason), "names": list(hold.names[:50]), "waits": hold.waits}


def _short(text: str) -> str:
    return text if len(text) <= WORDS else f"{text[: WORDS - 1]}…"


def _text(value: Json) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _note(host: str, part: Json) -> Note:
    """One host's part, as far as it has the right form."""
    containers = part.get("containers")
    deeds = [
        deed
        for name, found in (containers.items() if isinstance(containers, dict) else ())
        for step in _dicts(found.get("steps") if isinstance(found, dict) else None)
        if (deed := _deed(str(name), step))
    ]
    held = [
        Held(
            _word(hold, "id"), _word(hold, "reason"), tuple(map(str, _list(hold.get("names")))), bool(hold.get("waits"))
        )
        for hold in _dicts(part.get("held"))
    ]
    waits = [(_word(wait, "container"), _word(wait, "for")) for wait in _dicts(part.get("waits"))]
    left_out = part.get("left_out")
    outcome = _word(part, "outcome")
    return Note(
        host,
        outcome if outcome in (*OUTCOMES, NOTHING) else "unknown",
        tuple(deeds),
        tuple(held),
        tuple(waits),
        _word(part, "refused"),
        left_out if isinstance(left_out, int) and 0 < left_out < 10**9 else 0,
    )


def _deed(container: str, step: Mapping[str, Any]) -> Deed | None:
    try:
        began, ended = (datetime.fromisoformat(_word(step, key)) for key in ("began", "ended"))
    except ValueError:
        return None
    if began.tzinfo is None or ended.tzinfo is None:
        return None
    failed = step.get("outcome") != "done"
    error = (_word(step, "error") or "failed") if failed else ""
    tries = step.get("tries")
    tries = tries if isinstance(tries, int) and 0 < tries < 10**9 else 1
    return Deed(
        "", container, _word(step, "kind"), _word(step, "reason"), began, ended, error, _word(step, "hint"), tries
    )


def _list(value: object) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _word(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
