"""What reading the state repo tells, as frozen values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controller.errors import Problem
from controller.git import Commit
from controller.observed import Known, Source, Unknown
from controller.spec.state import Desired


@dataclass(frozen=True, slots=True)
class Refused:
    """A commit that was not let in, and why. It and all that was built on it have no effect."""

    commit: str
    problems: tuple[Problem, ...]
    rewritten: bool = False
    """The history does not go on from the accepted revision; root can accept it as it is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Desired state, and what is new about it.

    `accepted` are the commits that were accepted in this reading, oldest first; `warnings` what admission had to
    say about them. `trouble` says why the state repo could not be read now; the last accepted revision stands.
    """

    desired: Source[Desired]
    accepted: tuple[Commit, ...] = ()
    warnings: tuple[Problem, ...] = ()
    refused: Refused | None = None
    trouble: str = ""

    @property
    def known(self) -> Desired | None:
        """Desired state, where it is known."""
        return self.desired.value if isinstance(self.desired, Known) else None

    @staticmethod
    def unknown(why: str, trouble: str = "") -> Reading:
        """Nothing was ever accepted, or what was accepted says nothing."""
        return Reading(Unknown(why), trouble=trouble)
