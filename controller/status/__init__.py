"""Status: typed conditions, reasons and phases, and how the outcome of a lane is remembered. Pure.

A status says what is so and why; it never decides what to do. Each reason has a row in docs/status.md.
"""

from controller.status.assess import GROUP, STEPS, assess
from controller.status.conditions import POWER
from controller.status.model import SCHEMA, Condition, ConditionType, ContainerStatus, Phase, Truth
from controller.status.outcome import FIRST_RETRY, LAST_RETRY, Outcome, after

__all__ = [
    "FIRST_RETRY",
    "GROUP",
    "LAST_RETRY",
    "POWER",
    "SCHEMA",
    "STEPS",
    "Condition",
    "ConditionType",
    "ContainerStatus",
    "Outcome",
    "Phase",
    "Truth",
    "after",
    "assess",
]
