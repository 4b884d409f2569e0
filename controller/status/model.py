"""What is published about containers: conditions, phases and statuses as frozen values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from controller.plan.model import Reason

SCHEMA = 1
"""Version of the status document; a reader that meets a higher one says so instead of guessing."""


class ConditionType(StrEnum):
    """The five statements made about every container."""

    VALID = "Valid"
    STORAGE = "Storage"
    SYSTEM = "System"
    POWER = "Power"
    TAILNET = "Tailnet"


class Phase(StrEnum):
    """One word for a container as a whole."""

    READY = "ready"
    CONVERGING = "converging"
    DEGRADED = "degraded"
    HELD = "held"
    FROZEN = "frozen"
    PAUSED = "paused"
    REMOVING = "removing"


class Truth(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One typed statement about a container: `since` when it became so, `revision` the commit it was judged by."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str = ""
    hint: str = ""
    since: datetime | None = None
    revision: str = ""


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """All that is published about one container. Sizes in bytes; `retry_at` when a failed lane is tried again."""

    name: str
    uid: str = ""
    owner: str = ""
    phase: Phase = Phase.CONVERGING
    power: str = ""
    machine: str = ""
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[str, ...] = ()
    tailnet_name: str = ""
    tailnet_addresses: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    home_used: int = 0
    home_quota: int = 0
    workspace_used: int = 0
    workspace_quota: int = 0
    snapshots: tuple[str, ...] = ()
    hold: str = ""
    retry_at: datetime | None = None
    attempts: int = 0
    expires: datetime | None = None
    description: str = ""
    revision: str = ""
