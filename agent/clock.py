"""Times as people say them, as cron lines and moments. Pure: what is now is told by the caller."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from controller.spec.forms import check_zone

_UNITS = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000}
_DAYS = {"weekdays": "1-5", "weekends": "6,0"}


class Unclear(ValueError):
    """A time that cannot be told for sure; the text says what is wrong with it."""


def weekly(start: str | None, stop: str | None, days: str | None, zone: str | None) -> dict[str, str]:
    """The fields of a schedule: cron lines and a zone."""
    which = _DAYS.get((days or "").lower(), "*")
    found = {key: f"{_cron(text)} * * {which}" for key, text in (("start", start), ("stop", stop)) if text}
    return found | ({"timezone": _zone(zone)} if zone else {})


def _cron(text: str) -> str:
    """Minute and hour of `8`, `8:30`, `8pm`."""
    match = re.fullmatch(r"([0-9]{1,2})(?::([0-9]{2}))? ?([ap]m)?", text.strip().lower())
    if match is None:
        raise Unclear(f"{text} is not a time of day")
    hour, minute, half = int(match[1]), int(match[2] or 0), match[3]
    if half and not 1 <= hour <= 12:
        raise Unclear(f"{text} is not a time of day")
    hour = hour % 12 + (12 if half == "pm" else 0) if half else hour
    if hour > 23 or minute > 59:
        raise Unclear(f"{text} is not a time of day")
    return f"{minute} {hour}"


def _zone(name: str) -> str:
    parts = [part[:1].upper() + part[1:] for part in name.split("/")]
    proper = "UTC" if name.upper() == "UTC" else "/".join(parts)
    try:
        check_zone(proper)
    except ValueError as error:
        raise Unclear(f"there is no time zone {name[:40]}") from error
    return proper


def expiry(said: str, now: datetime) -> str:
    """The moment that `in 3 days`, `for 2 weeks`, `until 2030-01-01` or `on 2030-01-01 at 18:00` means, in UTC."""
    text = said.strip().lower()
    if match := re.fullmatch(r"(?:in|for) ([0-9]{1,3}|an?) (minute|hour|day|week|month)s?", text):
        count = 1 if match[1] in ("a", "an") else int(match[1])
        when = now.astimezone(UTC) + timedelta(seconds=count * _UNITS[match[2]])
        return when.replace(microsecond=0).isoformat()
    date = r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    if match := re.fullmatch(
        rf"(?:on|at|until|till) {date}(?:(?: at |t| )([0-9]{{2}}:[0-9]{{2}}))?(?: ?(?:utc|z))?", text
    ):
        try:
            return datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}:00+00:00").isoformat()
        except ValueError as error:
            raise Unclear(f"there is no such moment: {said}") from error
    raise Unclear(f"“{said[:40]}” is not a time that I know")
