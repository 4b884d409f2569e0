"""Observed state: frozen facts (`facts`), and the pure parsers of every tool's output (`parse`). No I/O."""

from controller.observed.facts import (
    Dataset,
    Device,
    Document,
    Installed,
    Known,
    Machine,
    MachineState,
    NotConfigured,
    Observed,
    Source,
    StorageFacts,
    UnitFacts,
    Unknown,
)

__all__ = [
    "Dataset",
    "Device",
    "Document",
    "Installed",
    "Known",
    "Machine",
    "MachineState",
    "NotConfigured",
    "Observed",
    "Source",
    "StorageFacts",
    "UnitFacts",
    "Unknown",
]
