"""A plan as a value: lanes of steps, each with its reason, and what is held or waiting. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from controller.plan.actions import Action


@dataclass(frozen=True, slots=True)
class Policy:
    """What an appliance's owner has settled once. `tag` is this appliance's own tailnet tag; empty: no tailnet.

    `login_server` is the control server's URL for `tailscale up`, empty for Tailscale's own.
    """

    appliance: str
    pool: str = "tank"
    host: str | None = None
    tag: str = ""
    trash_for: timedelta = timedelta(days=30)
    snapshot_every: timedelta = timedelta(days=1)
    keep_daily: int = 7
    pool_limit: float = 0.9

    @property
    def users(self) -> str:
        """The dataset above all users' data."""
        return f"{self.pool}/users"

    @property
    def trash(self) -> str:
        """The dataset above all trash."""
        return f"{self.pool}/trash"

    def dataset(self, owner: str, name: str) -> str:
        """Where a container's data lives."""
        return f"{self.pool}/users/{owner}/containers/{name}"


class CauseKind(StrEnum):
    """What brought a step about."""

    REVISION = "revision"
    DECISION = "decision"
    DRIFT = "drift"
    SCHEDULE = "schedule"
    EXPIRY = "expiry"
    ROLL_OUT = "roll-out"
    TRASH_EXPIRY = "trash expiry"
    DEBT = "debt"
    ROUTINE = "routine"


@dataclass(frozen=True, slots=True)
class Cause:
    """What brought a step about, and which one: a commit, a time, a digest."""

    kind: CauseKind
    ref: str = ""

    def __str__(self) -> str:
        if self.kind in (CauseKind.REVISION, CauseKind.DECISION):
            return f"{self.kind} {self.ref[:10]}"
        return f"{self.kind} {self.ref}".rstrip()


@dataclass(frozen=True, slots=True)
class Step:
    """One action with the reason a person is given for it."""

    action: Action
    reason: str
    cause: Cause


class LaneKind(StrEnum):
    """What a lane is about; its key is unique within a plan."""

    HOST = "host"
    CONTAINER = "container"
    TRASH = "trash"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Lane:
    """The steps of one container (or piece of trash, or device), in order.

    `after` names the lane that must have succeeded in this plan first. `destroys` tells a removal, which counts
    against the limit of removals an hour. `revision` is the commit behind it: another one cuts backoff short.
    """

    key: str
    kind: LaneKind
    uid: str
    steps: tuple[Step, ...]
    revision: str = ""
    after: str | None = None
    destroys: bool = False
    roll_out: str = ""


class Reason(StrEnum):
    """Why a condition is as it is. Each member has a row in docs/status.md."""

    # Valid
    VALID = "Valid"
    INVALID_FILE = "InvalidFile"
    OWNER_MISSING = "OwnerMissing"
    NOT_READ = "NotRead"
    # Storage
    MOUNTED = "Mounted"
    MISSING = "Missing"
    NOT_MOUNTED = "NotMounted"
    POOL_FULL = "PoolFull"
    QUOTA_BELOW_USE = "QuotaBelowUse"
    FOREIGN = "Foreign"
    IN_TRASH = "InTrash"
    # System
    CURRENT = "Current"
    OUTDATED = "Outdated"
    ROLL_OUT_WAITS = "RollOutWaits"
    ROLL_OUT_STOPPED = "RollOutStopped"
    NOT_INSTALLED = "NotInstalled"
    # Power
    RUNNING = "Running"
    STOPPED = "Stopped"
    STARTING = "Starting"
    STOPPING = "Stopping"
    DOWN = "Down"
    CRASH_LOOP = "CrashLoop"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason's name
    MISSING_RESOURCES = "LimitsDiffer"
    # Tailnet
    ENROLLED = "Enrolled"
    OFFLINE = "Offline"
    NOT_ENROLLED = "NotEnrolled"
    NOT_ON_TAILNET = "NotOnTailnet"
    NO_TAILNET = "NoTailnet"
    # any
    CONVERGING = "Converging"
    FAILED = "Failed"
    BLOCKED = "Blocked"
    HELD = "Held"
    PAUSED = "Paused"
    SUSPENDED = "Suspended"
    REMOVING = "Removing"
    EXPIRED = "Expired"
    ELSEWHERE = "Elsewhere"
    AWAITS_DATA = "AwaitsData"
    UNKNOWN_SOURCE = "SourceUnknown"
    CLOCK_UNTRUSTED = "ClockUntrusted"
    BACKING_OFF = "BackingOff"


@dataclass(frozen=True, slots=True)
class Hold:
    """Steps that the plan names and will not run without an approval of exactly them.

    `id` is a digest of the steps, the uids and the base revisions. `admin` says that an admin has to decide,
    `owner` who may otherwise; `personal` that a delegate's approval does not do. `bytes` is how much data is concerned.
    """

    id: str
    lanes: tuple[Lane, ...]
    reason: str
    owner: str = ""
    admin: bool = False
    personal: bool = False
    bytes: int = 0
    refused: str = ""
    """Why an approval that came does not count, if one came."""

    @property
    def names(self) -> tuple[str, ...]:
        """The lanes it holds."""
        return tuple(lane.key for lane in self.lanes)


EVERYTHING = "*"
"""The key of a wait that concerns the whole appliance."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something is not done in this pass, and until when, where that is known."""

    key: str
    reason: Reason
    message: str
    until: datetime | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, side by side by lane; what is held; what waits; what is stale or foreign and left alone.

    `wake` is the next moment at which time alone changes the plan (schedule, expiry, backoff, trash).
    `power` is what each container's power should be now, schedule included. `next_power` when that changes next.
    """

    revision: str
    lanes: tuple[Lane, ...] = ()
    holds: tuple[Hold, ...] = ()
    waits: tuple[Wait, ...] = ()
    foreign: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    power: Mapping[str, str] = field(default_factory=dict)
    wake: datetime | None = None

    @property
    def blind(self) -> bool:
        """Whether a source is unknown, so that the plan says nothing about anything."""
        return any(wait.key == EVERYTHING for wait in self.waits)

    @property
    def empty(self) -> bool:
        """Whether nothing would be done; holds and waits may remain."""
        return not self.lanes
