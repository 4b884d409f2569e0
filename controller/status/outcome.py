"""How the outcome of a lane is remembered: nothing after a success, growing backoff after failures. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.errors import Blocked, VoxnixError
from controller.plan.actions import Start
from controller.plan.memory import Backoff
from controller.plan.model import CauseKind, Lane

FIRST_RETRY, LAST_RETRY = 1.0, 900.0
"""Seconds of backoff after the first failure and at the most."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a lane ended: `step` is the name of the action that failed, `error` what it said; None for success."""

    lane: Lane
    step: str = ""
    error: VoxnixError | None = None


def after(outcome: Outcome, previous: Backoff | None, now: datetime, jitter: float) -> Backoff | None:
    """What is remembered of a lane's outcome: nothing after a success, growing backoff (1 s … 15 min) after failures.

    `jitter` in 0 … 1 spreads retries over the upper half of the delay. A container that was started again because it
    went down keeps a silent backoff, so that one which dies at once is not started in a tight loop.
    """
    if outcome.error is None and not _healed(outcome.lane):
        return None
    attempts = (previous.attempts if previous else 0) + 1
    if previous and previous.revision != outcome.lane.revision:
        attempts = 1
    blocked = isinstance(outcome.error, Blocked)
    delay = LAST_RETRY if blocked else min(LAST_RETRY, FIRST_RETRY * 2 ** min(attempts - 1, 20))
    return Backoff(
        attempts=attempts,
        next_at=now + timedelta(seconds=delay * (0.5 + jitter / 2)),
        message=outcome.error.what if outcome.error else "",
        hint=outcome.error.hint if outcome.error else "",
        revision=outcome.lane.revision,
        step=outcome.step,
        blocked=blocked,
        roll_out=_failed_roll_out(outcome, previous),
    )


def _healed(lane: Lane) -> bool:
    return any(isinstance(step.action, Start) and step.cause.kind is CauseKind.DRIFT for step in lane.steps)


def _failed_roll_out(outcome: Outcome, previous: Backoff | None) -> str:
    """The roll-out that a lane failed in; retries of its later steps are that roll-out's too."""
    if outcome.error is None:
        return ""
    return outcome.lane.roll_out or (previous.roll_out if previous else "")
