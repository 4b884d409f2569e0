"""Whether the host's clock can be trusted to expire things (law 9). Pure: instants arrive as arguments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

JUMP = 3600.0
"""Seconds by which wall time and elapsed time may differ between two passes."""
DOUBT = 600.0
"""Seconds without another jump until the clock is trusted again."""


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment, by the wall clock and by seconds since `boot` (the kernel's boot id).

    `doubt_until` is the uptime, in seconds, before which a jumped clock is not trusted.
    """

    wall: datetime
    uptime: float
    boot: str
    doubt_until: float = 0.0

    @property
    def steady(self) -> bool:
        """Whether expiry, schedules and trash expiry may go by this clock."""
        return self.uptime >= self.doubt_until


def tick(last: Instant | None, wall: datetime, uptime: float, boot: str) -> Instant:
    """The present instant, doubted if the clock jumped more than an hour since the last pass.

    Across a reboot only a step backwards can be told from time that passed while the host was off.
    """
    if last is None:
        return Instant(wall, uptime, boot)
    passed = (wall - last.wall).total_seconds()
    if boot != last.boot:
        jumped, doubt = passed < -JUMP, 0.0
    else:
        jumped, doubt = abs(passed - (uptime - last.uptime)) > JUMP, last.doubt_until
    return Instant(wall, uptime, boot, uptime + DOUBT if jumped else doubt)
