"""What the host and the tailnet say, as frozen facts.

Pure values. Each source is `Known`, `Unknown` or `NotConfigured`: unknown is never empty, and not configured is
known to be empty. What runs inside a container is hostile, so a fact learned there is called a claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """A source that answered, and what it said."""

    value: T


@dataclass(frozen=True, slots=True)
class Unknown:
    """A source that did not answer in this pass, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class NotConfigured:
    """A source that this appliance does not have: known to be empty."""


Source = Known[T] | Unknown | NotConfigured


class MachineState(StrEnum):
    """What a container's unit, machine and files together amount to."""

    ABSENT = "absent"
    """Nothing installed, nothing running."""
    PARTIAL = "partial"
    """Of conf file and unit link only one resolves: an install or a destroy was cut short."""
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    """Between two automatic restarts: a crash loop, or start timeouts that repeat."""
    FAILED = "failed"
    """Installed, and systemd has given up on it."""
    ORPHAN = "orphan"
    """Running, though its files are gone."""
    TOMBSTONE = "tombstone"
    """Not installed; only a failed unit is left, until `reset-failed`."""


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """`systemctl show` of one `container@NAME.service`.

    `memory_max` in bytes, `cpu_quota` in CPUs, `tasks_max` a count; None where there is no limit.
    """

    load: str = "loaded"
    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    restarts: int = 0
    exit_status: int = 0
    status_text: str = ""
    fragment: str = ""
    job: bool = False
    memory_max: int | None = None
    cpu_quota: float | None = None
    tasks_max: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The spec document that an installed system carries: which spec it was built from, and for whom.

    `digest` is the system digest (spec's system part, library and nixpkgs); `own` is the digest of the system part
    that the spec's own file asked for, which tells a roll-out from a change that a commit to the spec asked for.
    """

    appliance: str
    uid: str
    name: str
    owner: str
    digest: str
    own: str


@dataclass(frozen=True, slots=True)
class Installed:
    """A container whose conf file and mutable unit link both resolve. `document` is None for a foreign one."""

    system_path: str
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything observed of one container name on the host."""

    name: str
    unit: UnitFacts = UnitFacts()
    installed: Installed | None = None
    partial: bool = False
    registered: bool = False
    addresses: tuple[str, ...] = ()
    runtime: Mapping[str, str] | None = None
    """The delivered run-time files: secret name → `current` or `stale`; None: the directory does not exist."""

    @property
    def state(self) -> MachineState:
        """One word for unit, machine and files together (see `docs/status.md`)."""
        active = self.unit.active
        if self.partial and active in ("inactive", "failed"):
            return MachineState.PARTIAL
        if self.installed is None and not self.partial:
            return self._uninstalled()
        if active == "activating":
            looping = self.unit.sub == "auto-restart" or self.unit.restarts > 0
            return MachineState.RESTARTING if looping else MachineState.STARTING
        if active == "deactivating":
            return MachineState.STOPPING
        if active in ("active", "reloading"):
            return MachineState.RUNNING
        if active == "failed":
            return MachineState.FAILED
        return MachineState.STOPPING if self.registered else MachineState.STOPPED

    def _uninstalled(self) -> MachineState:
        if self.unit.active == "failed":
            return MachineState.TOMBSTONE
        if self.unit.active != "inactive" or self.registered:
            return MachineState.ORPHAN
        return MachineState.ABSENT

    @property
    def up(self) -> bool:
        """Whether processes of it may be running: nothing of its data may be moved."""
        return self.registered or self.unit.active not in ("inactive", "failed")


@dataclass(frozen=True, slots=True)
class Dataset:
    """One ZFS file system below `POOL/users` or `POOL/trash`. Sizes in bytes; `refquota` 0 means none.

    `marks` are the user properties `voxnix:*` set on this very dataset (inherited ones do not count), keys
    without the prefix. `snapshots` are the names after the `@`, oldest first.
    """

    name: str
    used: int = 0
    referenced: int = 0
    available: int = 0
    refquota: int = 0
    mounted: bool = True
    mountpoint: str = ""
    origin: str = ""
    marks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    snapshots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """The pool: what it holds in bytes, whether `POOL/users` and `POOL/trash` are prepared, every dataset below."""

    used: int
    available: int
    prepared: bool
    datasets: Mapping[str, Dataset]

    @property
    def fullness(self) -> float:
        """Share of the pool in use, 0 … 1."""
        total = self.used + self.available
        return self.used / total if total else 1.0


@dataclass(frozen=True, slots=True)
class Device:
    """A tailnet device as the control plane shows it. `key_id` is the auth key it enrolled with, where it says."""

    node_id: str
    name: str
    hostname: str
    tags: tuple[str, ...]
    created: datetime | None = None
    last_seen: datetime | None = None
    online: bool | None = None
    addresses: tuple[str, ...] = ()
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """One pass's view of the world.

    `machines` by container name; `tailnet` by node id; `clock` whether the host's clock is synchronised;
    `secrets` the names stored on the host by tenant.
    """

    machines: Source[Mapping[str, Machine]]
    storage: Source[StorageFacts]
    tailnet: Source[Mapping[str, Device]]
    clock: Source[bool]
    secrets: Source[Mapping[str, frozenset[str]]]
