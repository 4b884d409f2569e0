"""Whether a container should be running now: power, schedule and expiry. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from controller.plan.model import Cause, CauseKind
from controller.spec.model import ContainerSpec, Schedule


@dataclass(frozen=True, slots=True)
class Power:
    """`running`: what should be; None: the clock cannot be trusted to follow the schedule, so it stays as it was.

    `next` is when the clock alone changes it.
    """

    running: bool | None
    cause: Cause
    next: datetime | None = None


def wanted_power(
    spec: ContainerSpec, revision: str, changed_at: datetime | None, now: datetime, *, trusted: bool
) -> Power:
    """What a spec's `power` and `schedule` amount to at `now`.

    `power: stopped` always wins. With a start and a stop, the later of the two decides. With only one of them, it
    decides until a commit to the spec comes after it. While the clock is not trusted, a schedule decides nothing.
    """
    by_spec = Power(spec.power == "running", Cause(CauseKind.REVISION, revision))
    schedule = spec.schedule
    if schedule is None or spec.power == "stopped":
        return by_spec
    if not trusted:
        return Power(None, by_spec.cause)
    events = {
        "start": _before(schedule.start, schedule, now),
        "stop": _before(schedule.stop, schedule, now),
    }
    upcoming = [at for at in (_after(schedule.start, schedule, now), _after(schedule.stop, schedule, now)) if at]
    following = min(upcoming, default=None)
    happened = [(at, kind) for kind, at in events.items() if at is not None]
    if not happened:
        return Power(by_spec.running, by_spec.cause, following)
    at, kind = max(happened)
    lone = schedule.start is None or schedule.stop is None
    if lone and (changed_at is None or changed_at >= at):
        return Power(by_spec.running, by_spec.cause, following)
    return Power(kind == "start", Cause(CauseKind.SCHEDULE, f"{kind} at {at:%Y-%m-%d %H:%M %Z}"), following)


def expired(spec: ContainerSpec, now: datetime) -> bool:
    """Whether the spec's time is up."""
    return spec.expires is not None and spec.expires <= now


def _before(cron: str | None, schedule: Schedule, now: datetime) -> datetime | None:
    """The last time at or before `now` that the cron expression names."""
    if cron is None:
        return None
    local = now.astimezone(ZoneInfo(schedule.timezone))
    try:
        for at in CronSim(cron, local + timedelta(minutes=1), reverse=True):
            if at <= now:
                return at
    except (CronSimError, OverflowError):
        return None
    return None


def _after(cron: str | None, schedule: Schedule, now: datetime) -> datetime | None:
    """The first time after `now` that the cron expression names."""
    if cron is None:
        return None
    try:
        return next(CronSim(cron, now.astimezone(ZoneInfo(schedule.timezone))), None)
    except (CronSimError, OverflowError):
        return None
