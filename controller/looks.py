"""One look at the world as plain JSON values: the plan made from it, and the facts it saw. Pure.

Beside `controller.report`, which has the parts; of secrets there are names only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from controller import report
from controller.observed import Known, NotConfigured, Observed, Source, Unknown

if TYPE_CHECKING:
    from controller.publish import Look

Json = dict[str, Any]


def planned(look: Look) -> Json:
    """The plan of a look: `looked_at` when, `unknown` why desired state is not known, `trouble` why the newest is not.

    `problems` are the mistakes in files.
    """
    why = look.desired.why if isinstance(look.desired, Unknown) else ""
    problems = look.desired.value.problems if isinstance(look.desired, Known) else ()
    extra = {"looked_at": look.now.isoformat(), "unknown": why, "trouble": look.trouble}
    return {**report.plan(look.plan), **extra, "problems": [asdict(problem) for problem in problems]}


def observed(facts: Observed) -> Json:
    """Observed facts, each source with its state; a machine has its own in one word."""
    return {field.name: _source(getattr(facts, field.name)) for field in fields(facts)}


def _source(source: Source[Any]) -> Json:
    match source:
        case Known(value=value):
            return {"state": "known", "value": _plain(value)}
        case NotConfigured():
            return {"state": "not configured", "value": None}
        case Unknown(why=why):
            return {"state": "unknown", "why": why, "value": None}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, frozenset | set):
        return sorted(_plain(one) for one in value)
    if hasattr(value, "__dataclass_fields__"):
        state = {"state": str(value.state)} if hasattr(value, "state") else {}
        return {**state, **{field.name: _plain(getattr(value, field.name)) for field in fields(value)}}
    return value
