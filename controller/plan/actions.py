"""Everything the controller can do to the world, one frozen value an action.

Pure values: an action says what, never how; `controller.converge` hands each to the driver that can. Every action is
idempotent: carried out on a world where it is already done, it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]
"""A small ordered mapping as a hashable value, such as ZFS marks without their `voxnix:` prefix."""


@dataclass(frozen=True, slots=True)
class PrepareStorage:
    """Make `POOL/users` and `POOL/trash` with the properties that keep neighbours apart."""


@dataclass(frozen=True, slots=True)
class CreateDataset:
    """A new dataset with its marks and `refquota` (bytes, 0 for none); its parents are made, its properties set."""

    dataset: str
    marks: Pairs
    refquota: int = 0


@dataclass(frozen=True, slots=True)
class SetQuota:
    """Change a dataset's `refquota`, in bytes; 0 removes it."""

    dataset: str
    refquota: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Set one `voxnix:` property of a dataset; an empty value removes it."""

    dataset: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Mount:
    """Mount a dataset that should be mounted and is not."""

    dataset: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshot a dataset and its children under one label (the part after the `@`)."""

    dataset: str
    label: str


@dataclass(frozen=True, slots=True)
class DropSnapshot:
    """Prune one snapshot of one dataset."""

    dataset: str
    label: str


@dataclass(frozen=True, slots=True)
class ToTrash:
    """Move a dataset whole to `target` in the trash, marked so that it can be found and restored."""

    dataset: str
    target: str
    marks: Pairs


@dataclass(frozen=True, slots=True)
class FromTrash:
    """Move a dataset back from the trash to `target`, dropping the marks that trash put on it."""

    dataset: str
    target: str
    marks: Pairs


@dataclass(frozen=True, slots=True)
class MoveDataset:
    """Rename a live dataset (its container was renamed, or changed owner) and correct its marks."""

    dataset: str
    target: str
    marks: Pairs


@dataclass(frozen=True, slots=True)
class CloneBack:
    """Make `target`, and its workspace if `dataset` has one, from a snapshot of `dataset` in the trash."""

    dataset: str
    label: str
    target: str
    marks: Pairs


@dataclass(frozen=True, slots=True)
class DestroyTrash:
    """Destroy a dataset in the trash for good, snapshots and all. Only trash expiry and purge decisions do this."""

    dataset: str


@dataclass(frozen=True, slots=True)
class CopyIn:
    """Copy home, root and var/lib of an adopted container's root tree into its new dataset."""

    name: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Build:
    """Build a container's system from its document (canonical JSON text)."""

    name: str
    digest: str
    document: str


@dataclass(frozen=True, slots=True)
class Install:
    """Install the system that `Build` made, so that conf file and unit link carry `digest`. Starts nothing."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Write the run-time files (secrets, as `tenant/name` references) that are bound read-only into the container."""

    name: str
    owner: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetResources:
    """Resource control of the unit, live: memory in bytes, CPUs, tasks."""

    name: str
    memory: int
    cpus: float
    tasks: int


@dataclass(frozen=True, slots=True)
class Start:
    """Start an installed container, once each of `datasets` is mounted; wait until it is ready."""

    name: str
    datasets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a container and wait until unit and machine are gone."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveSystem:
    """Remove a container's unit, conf file and disposable root tree; data is not concerned."""

    name: str


@dataclass(frozen=True, slots=True)
class ClearFailed:
    """Forget a failed unit that has no container any more."""

    name: str


@dataclass(frozen=True, slots=True)
class Enrol:
    """See that the running container is on the tailnet under `hostname`, and record its node id on `dataset`.

    Uses a single-use key tagged `tags`; does nothing to a container that is on it already as asked.
    """

    name: str
    uid: str
    dataset: str
    hostname: str
    tags: tuple[str, ...]
    ssh: bool
    previous: str = ""
    """The node id recorded before, where there is one."""


@dataclass(frozen=True, slots=True)
class RecordNode:
    """Learn a running container's node id, if the control plane confirms it, and record it on `dataset`."""

    name: str
    uid: str
    dataset: str


@dataclass(frozen=True, slots=True)
class LogOut:
    """Log the container's node out, from inside; best effort, bounded, proves nothing."""

    name: str


@dataclass(frozen=True, slots=True)
class DeleteDevice:
    """Delete the device with this node id, if the control plane still shows it under this appliance's tag.

    An empty `node_id` stands for the one that `RecordNode` has just put on `dataset`. Where the control plane cannot
    be had, the step becomes a debt of `uid` and the lane goes on.
    """

    uid: str
    name: str
    node_id: str
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class NoteDebt:
    """Remember that this device is still to be deleted."""

    uid: str
    name: str
    node_id: str
    dataset: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """Record that a decision has been carried out, so that it never runs again."""

    commit: str


@dataclass(frozen=True, slots=True)
class TrustStore:
    """Record that an admin has approved of destructive actions after the store was rebuilt."""

    token: str


Action = (
    PrepareStorage
    | CreateDataset
    | SetQuota
    | Mark
    | Mount
    | Snapshot
    | DropSnapshot
    | ToTrash
    | FromTrash
    | MoveDataset
    | CloneBack
    | DestroyTrash
    | CopyIn
    | Build
    | Install
    | Deliver
    | SetResources
    | Start
    | Stop
    | RemoveSystem
    | ClearFailed
    | Enrol
    | RecordNode
    | LogOut
    | DeleteDevice
    | NoteDebt
    | Decided
    | TrustStore
)
