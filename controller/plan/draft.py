"""A lane in the making: the steps gathered so far, and what waits. Used inside the planner only. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from controller.plan.actions import Action
from controller.plan.holds import Ask
from controller.plan.model import Cause, CauseKind, Lane, LaneKind, Reason, Step, Wait
from controller.plan.view import View
from controller.spec.state import Desired


@dataclass(frozen=True, slots=True)
class Context:
    """What every container of a pass is judged by."""

    view: View
    desired: Desired
    now: datetime
    trusted: bool
    """Whether the clock may expire things, follow schedules and empty the trash."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided about one container: a lane to run, a hold to ask for, what waits and why.

    `uses` are the ids of trash that it takes or is going to take back, so that nothing else expires them.
    """

    lane: Lane | None = None
    ask: Ask | None = None
    waits: tuple[Wait, ...] = ()
    uses: frozenset[str] = frozenset()
    power: str = ""
    wakes: tuple[datetime, ...] = ()


@dataclass(slots=True)
class Draft:
    """Collects one container's steps. `cause` is the one given to steps that name no other."""

    key: str
    uid: str
    revision: str
    cause: Cause
    steps: list[Step] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    roll_out: str = ""

    def add(self, action: Action, reason: str, cause: Cause | None = None) -> None:
        """Append a step."""
        self.steps.append(Step(action, reason, cause or self.cause))

    def wait(self, reason: Reason, message: str, until: datetime | None = None, hint: str = "") -> None:
        """Say why something is not done."""
        self.waits.append(Wait(self.key, reason, message, until, hint))

    def lane(self) -> Lane | None:
        """The lane, if it has any step."""
        if not self.steps:
            return None
        decided = [s.cause.ref for s in self.steps if s.cause.kind is CauseKind.DECISION]
        revision = decided[0] if decided else self.revision
        return Lane(self.key, LaneKind.CONTAINER, self.uid, tuple(self.steps), revision, roll_out=self.roll_out)
