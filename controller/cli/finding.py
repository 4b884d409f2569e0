"""What one check of `voxnix doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended. Only `FAILS` makes the doctor's exit code 1."""

    FINE = "fine"
    NOTE = "note"
    FAILS = "fails"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, how it is, what was found, and what to do."""

    what: str
    state: State
    found: str
    remedy: str = ""
