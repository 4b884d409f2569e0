"""What a verdict is made of: who, what they changed, and the state before and after. Pure values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from controller.errors import Problem
from controller.spec.model import ContainerSpec, Tenant

REQUESTED_BY = "Requested-by"


class Role(StrEnum):
    """What an identity may do at most."""

    ROOT = "root"
    """Whoever may write to the appliance's own files: what they do cannot be judged, only checked for sense."""
    ADMIN = "admin"
    MEMBER = "member"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who brought a commit, as a signature or an authenticated key says; never git's author field.

    `delegate` is the agent's key: no person, it speaks for the tenant in `Requested-by`. `how` says in words how the
    identity is known, or why it is not; `at` is when the receiving side took the commit in, where it noted that.
    """

    tenant: str | None
    role: Role
    delegate: bool = False
    how: str = ""
    at: datetime | None = None

    @staticmethod
    def of(tenant: str, tenants: Mapping[str, Tenant], *, how: str = "") -> Identity:
        """The identity of a tenant, with the role that they have in `tenants`: none at all if they are not there."""
        known = tenants.get(tenant)
        return Identity(tenant, Role(known.role) if known else Role.NOBODY, how=how)

    def __str__(self) -> str:
        return "the delegate" if self.delegate else self.tenant or str(self.role)


ROOT = Identity(None, Role.ROOT, how="a repository on the appliance")
NOBODY = Identity(None, Role.NOBODY, how="no signature and no key")


@dataclass(frozen=True, slots=True)
class Touch:
    """One path that a commit changed, with git's file modes; None on the side where it does not exist."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One commit: what it touches, against the parent that it is judged by, and what its message asks for."""

    commit: str
    touches: tuple[Touch, ...] = ()
    message: str = ""
    trailers: tuple[tuple[str, str], ...] = ()

    def values(self, key: str) -> tuple[str, ...]:
        """The values of one trailer, whatever its case."""
        return tuple(value for name, value in self.trailers if name.lower() == key.lower())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at one commit, as far as rights depend on it.

    `specs` are the specs in force by name (of a frozen container its last valid one); `values` what each container's
    file says itself, as far as it could be read. `paths` are all files below `state/`; `problems` what
    keeps a file from having effect. `identity_required` is what the policy asks for.
    """

    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    specs: Mapping[str, ContainerSpec] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    paths: Collection[str] = ()
    problems: tuple[Problem, ...] = ()
    identity_required: bool = False

    def owner(self, name: str) -> str | None:
        """Whose a container is: as its file says, or, where that cannot be read, as its last valid one did."""
        if name not in self.values and name not in self.specs:
            return None
        said = self.values.get(name, {}).get("owner")
        spec = self.specs.get(name)
        return said if isinstance(said, str) else spec.owner if spec else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: any refusal refuses the commit as a whole; warnings are only told."""

    refusals: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the commit may take effect."""
        return not self.refusals
