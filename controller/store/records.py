"""What is kept, as frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.spec.state import Decision


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `id` counts up and is 0 until it is stored.

    `severity` is `info`, `warning` or `error`; `kind` a word such as `start`, `destroy`, `refused`; `container` and
    `revision` may be empty; `cause` is what brought it about, in words.
    """

    at: datetime
    kind: str
    message: str
    severity: str = "info"
    container: str = ""
    revision: str = ""
    cause: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One path of the accepted revision: mode and blob id as git has them, the commit that last changed it, when,
    and whether a delegate's key brought that commit.
    """

    mode: str
    oid: str
    commit: str
    at: datetime
    delegate: bool = False


@dataclass(frozen=True, slots=True)
class Removal:
    """A container that history had: the commit that removed it, whether its last spec was paused, and whether a
    delegate's key brought the commit.
    """

    commit: str
    paused: bool = False
    delegate: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """What becomes known with a newly accepted revision. A value of None drops the entry.

    `tree` by path; `removed` by name; `moves` names to the host they were on; `last_good` and `tenants`
    are JSON texts by name and id; `decisions` are new ones. `whole` replaces all that was known before.
    """

    revision: str
    tree: Mapping[str, Row | None] = field(default_factory=dict)
    removed: Mapping[str, Removal | None] = field(default_factory=dict)
    moves: Mapping[str, str | None] = field(default_factory=dict)
    last_good: Mapping[str, str | None] = field(default_factory=dict)
    tenants: Mapping[str, str | None] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    whole: bool = False
