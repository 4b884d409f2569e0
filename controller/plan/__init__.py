"""The planner: `plan(desired, observed, memory, now, policy) -> Plan`. Pure, total, deterministic; no I/O, no clock."""

from controller.plan.memory import Adoption, Backoff, Debt, Entry, Memory, Suspension
from controller.plan.model import (
    Cause,
    CauseKind,
    Hold,
    Lane,
    LaneKind,
    Plan,
    Policy,
    Reason,
    Step,
    Wait,
)

__all__ = [
    "Adoption",
    "Backoff",
    "Cause",
    "CauseKind",
    "Debt",
    "Entry",
    "Hold",
    "Lane",
    "LaneKind",
    "Memory",
    "Plan",
    "Policy",
    "Reason",
    "Step",
    "Suspension",
    "Wait",
]
