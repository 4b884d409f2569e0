"""Desired state as a whole: what one revision of the state repo asks for, already validated. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from controller.errors import Problem
from controller.spec.model import ContainerSpec, Tenant


@dataclass(frozen=True, slots=True)
class Library:
    """The Nix module library: each module's one-line description, and a digest of the library and nixpkgs."""

    modules: Mapping[str, str]
    digest: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One container as git wants it.

    `spec` is the valid spec, or the last valid one while `frozen` is not empty; None: there never was one.
    `revision` is the commit that last changed the file. `digest` is the system digest; `own` the digest of the
    system part that the file itself asks for, before defaults and library: it changes only by a commit to it.
    """

    name: str
    spec: ContainerSpec | None
    revision: str
    digest: str
    own: str
    frozen: tuple[Problem, ...] = ()
    changed_at: datetime | None = None
    """When `revision` was committed; it tells whether a scheduled stop or start came later."""
    moved_from: str | None = None
    """The host that had it before a change of `host:`, where that is known."""


class DecisionKind(StrEnum):
    """The one-shot acts that a commit can ask for, named as their trailers are."""

    APPROVE = "Voxnix-Approve"
    PURGE = "Voxnix-Purge"
    RESTORE = "Voxnix-Restore"
    ROLLBACK_DATA = "Voxnix-Rollback-Data"
    RESTART = "Voxnix-Restart"


@dataclass(frozen=True, slots=True)
class Decision:
    """A commit that says a thing once. `argument` is a hold, uid or trash id; `detail` a snapshot or a new name.

    `by` is the tenant id of who decided ("root" for the appliance's own root), `admin` whether they may decide on
    everything, `at` the time of the commit.
    """

    kind: DecisionKind
    argument: str
    commit: str
    at: datetime
    by: str = "root"
    admin: bool = True
    detail: str = ""
    delegate: bool = False


@dataclass(frozen=True, slots=True)
class Desired:
    """What git says at `revision`. `removed` maps names that history had, and no longer has, to the removing commit."""

    revision: str
    containers: Mapping[str, Wanted]
    tenants: Mapping[str, Tenant]
    removed: Mapping[str, str] = field(default_factory=dict)
    frozen_tenants: frozenset[str] = frozenset()
    decisions: tuple[Decision, ...] = ()
    problems: tuple[Problem, ...] = ()
    hosts: frozenset[str] = frozenset()
    paused_when_removed: frozenset[str] = frozenset()
    """Names in `removed` whose last spec said `paused: true`: their removal waits for an approval."""
    delegated: frozenset[str] = frozenset()
    """Commits brought by a delegate's key (the agent's): what they would destroy waits for an approval."""
