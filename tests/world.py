"""What one pass is given, as one value, and what all tests of the planner agree on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from controller.observed import Observed
from controller.plan.memory import Memory
from controller.plan.model import Policy
from controller.spec.state import Desired

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
POLICY = Policy(appliance="app1", host="here", tag="tag:vox")
GIB = 2**30


@dataclass(frozen=True)
class World:
    """All that one pass is given."""

    desired: Desired
    observed: Observed
    memory: Memory
    now: datetime = NOW
    policy: Policy = POLICY
