"""Faults that a test orders: which command, the how-manieth, and what goes wrong with it.

Rules live in the host's database, so that a test can order a fault for a controller in another process. This
module decides and counts; `host.py` lets it happen.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from controller.errors import BadInput
from controller.host.sim.state import State

Mode = Literal["fail", "hang", "garble", "die-before", "die-during", "die-after", "meanwhile"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule. `match` is a regular expression searched in the command's words joined by spaces (empty: any).

    The `nth` match from when the rule was added (1 is the next; None too) is struck, and `times` - 1 more after it;
    `times` None: for ever. `fail` answers `code` and `stderr` and does nothing; `hang` never ends; `garble` does its
    work and prints rubbish; `die-before`, `die-during`, `die-after` kill the caller before the effect, with half of
    it done (after its `step`-th step), or with all of it done and no answer; `meanwhile` first runs the command
    `argv` as a second writer.
    """

    match: str = ""
    nth: int | None = None
    mode: Mode = "fail"
    code: int = 1
    stderr: str = "simulated failure\n"
    times: int | None = 1
    argv: tuple[str, ...] = ()
    step: int = 1


class Faults:
    """The fault rules of one simulated host."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, fault: Fault) -> int:
        """Order a fault; its rule's number."""
        if fault.mode not in get_args(Mode):
            raise BadInput(f"no such fault: {fault.mode}")
        re.compile(fault.match)
        with self._state.write() as db:
            cursor = db.execute(
                "INSERT INTO faults (rule, seen, struck) VALUES (?, 0, 0)", (json.dumps(asdict(fault)),)
            )
        return int(cursor.lastrowid or 0)

    def clear(self) -> None:
        """Forget all rules."""
        with self._state.write() as db:
            db.execute("DELETE FROM faults")

    def struck(self, number: int) -> int:
        """How often a rule has struck."""
        row = self._state.row("SELECT struck FROM faults WHERE id = ?", number)
        return int(row[0]) if row else 0

    def strike(self, argv: tuple[str, ...]) -> Fault | None:
        """Count one command against every rule; the first rule that strikes it. Called inside a transaction."""
        words = " ".join(argv)
        chosen: Fault | None = None
        for row in self._state.rows("SELECT * FROM faults ORDER BY id"):
            fault = _rule(row["rule"])
            if not re.search(fault.match, words):
                continue
            seen = row["seen"] + 1
            due = seen >= (fault.nth or 1) and (fault.times is None or row["struck"] < fault.times)
            hit = due and chosen is None
            with self._state.write() as db:
                db.execute("UPDATE faults SET seen = ?, struck = struck + ? WHERE id = ?", (seen, int(hit), row["id"]))
            if hit:
                chosen = fault
        return chosen


def _rule(text: str) -> Fault:
    values = json.loads(text)
    return Fault(**{**values, "argv": tuple(values["argv"])})


def garbled(text: str, seed: int) -> str:
    """The same output as a broken pipe or a broken tool would give it: cut short, replaced, or with noise inside."""
    chance = random.Random(seed)  # noqa: S311 - wants to be repeatable, not secret
    cut = text[: chance.randrange(len(text) + 1)]
    noise = "".join(chr(chance.choice((0, 7, 27, 123, 34, 44, 9, 10, 0xFFFD, 0x1F600))) for _ in range(8))
    return chance.choice((cut, cut + noise, noise + text, "\0" * 16, "Segmentation fault\n"))
