"""The little that neither git nor the host can tell. Pure values; `controller.store` keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """One container in the inventory, by uid: it was made here, and has not been wholly removed.

    `system` is the digest that was installed last; `power` what it was last seen at as wanted (`running`, `stopped`),
    which tells a container that went down from one that is to start; `removing` is since when its removal runs.
    """

    uid: str
    name: str
    owner: str
    system: str = ""
    node_id: str = ""
    power: str = ""
    removing: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backoff:
    """A lane that failed: how often in a row, why, and when it is tried again.

    `revision` is the commit behind the lane when it failed: another one cuts the wait short. `blocked` means that
    time alone will not help. `roll_out` is the system digest of the roll-out that it failed in, or empty.
    """

    attempts: int
    next_at: datetime
    message: str
    revision: str
    step: str = ""
    hint: str = ""
    blocked: bool = False
    roll_out: str = ""


@dataclass(frozen=True, slots=True)
class Debt:
    """A device that could not be deleted when its time came."""

    uid: str
    name: str
    node_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Suspension:
    """Root told the controller to keep its hands off: who, when, why."""

    by: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Adoption:
    """Root agreed that a foreign container becomes ours. It counts for that installed system only."""

    name: str
    system_path: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything remembered between passes.

    `inventory` by uid; `backoff` by lane; `debts` by node id; `decided` the commits of decisions already carried out;
    `destroys` when each uid's removal began, of the last hour at least; `adopted` by name. `rebuilt` names the moment
    at which a lost store was made again from the host's marks, until an admin has approved of going on.
    `clock_steady` is false after a jump.
    """

    inventory: Mapping[str, Entry] = field(default_factory=dict)
    backoff: Mapping[str, Backoff] = field(default_factory=dict)
    debts: Mapping[str, Debt] = field(default_factory=dict)
    decided: frozenset[str] = frozenset()
    destroys: Mapping[str, datetime] = field(default_factory=dict)
    adopted: Mapping[str, Adoption] = field(default_factory=dict)
    suspended: Suspension | None = None
    rebuilt: str = ""
    clock_steady: bool = True
