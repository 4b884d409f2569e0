"""Plans, holds and statuses as plain JSON values: what the store keeps, the API serves and the CLI prints. Pure.

Every document carries `schema`; keys are only ever added within one schema version. Times are ISO 8601 with a zone,
sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any, cast

from controller.observed import Known, NotConfigured, Observed, Source, Unknown
from controller.plan.memory import Memory
from controller.plan.model import Hold, Lane, Plan, Policy, Step, Wait
from controller.plan.view import View
from controller.spec.state import Desired
from controller.status import SCHEMA, ContainerStatus

Json = dict[str, Any]


def container(status: ContainerStatus) -> Json:
    """One container's status."""
    return cast(Json, _plain(status))


def plan(plan: Plan) -> Json:
    """A plan, its holds and what waits."""
    return {
        "schema": SCHEMA,
        "revision": plan.revision,
        "lanes": [lane(one) for one in plan.lanes],
        "holds": [hold(one) for one in plan.holds],
        "waits": [wait(one) for one in plan.waits],
        "foreign": list(plan.foreign),
        "stale": list(plan.stale),
        "wake": _text(plan.wake),
    }


def lane(lane: Lane) -> Json:
    """One lane with its steps."""
    return {
        "key": lane.key,
        "kind": str(lane.kind),
        "uid": lane.uid,
        "after": lane.after,
        "destroys": lane.destroys,
        "steps": [step(one) for one in lane.steps],
    }


def step(step: Step) -> Json:
    """One step: the action's name and its parameters, the reason and the cause. A build's document is left out."""
    action = {key: value for key, value in _plain(step.action).items() if key != "document"}
    return {"action": type(step.action).__name__, **action, "reason": step.reason, "cause": str(step.cause)}


def hold(hold: Hold) -> Json:
    """One hold: what waits for whose approval, and how much data is concerned."""
    return {
        "id": hold.id,
        "reason": hold.reason,
        "names": list(hold.names),
        "owner": hold.owner,
        "admin": hold.admin,
        "bytes": hold.bytes,
        "refused": hold.refused,
        "personal": hold.personal,
        "steps": [step(one) for lane in hold.lanes for one in lane.steps],
    }


def wait(wait: Wait) -> Json:
    """One thing that is not done now, and why."""
    return cast(Json, _plain(wait))


def summary(
    desired: Source[Desired], observed: Observed, memory: Memory, plan: Plan, policy: Policy, now: datetime
) -> Json:
    """All of a pass that is not about one container."""
    view = View.of(observed, memory, policy)
    storage = observed.storage.value if isinstance(observed.storage, Known) else None
    return {
        "schema": SCHEMA,
        "appliance": policy.appliance,
        "host": policy.host,
        "revision": plan.revision,
        "passed_at": now.isoformat(),
        "sources": _sources(desired, observed),
        "problems": [_plain(p) for p in desired.value.problems] if isinstance(desired, Known) else [],
        "pool": {"name": policy.pool, "used": storage.used, "available": storage.available} if storage else None,
        "holds": [hold(one) for one in plan.holds],
        "waits": [wait(one) for one in plan.waits],
        "trash": [] if isinstance(view, Unknown) else _trash(view, policy),
        "debts": [_plain(debt) for _, debt in sorted(memory.debts.items())],
        "foreign": list(plan.foreign),
        "stale": list(plan.stale),
        "suspended": _plain(memory.suspended) if memory.suspended else None,
        "rebuilt": memory.rebuilt,
        "wake": _text(plan.wake),
    }


def document(summary: Mapping[str, Any], containers: Iterable[Mapping[str, Any]], *, controller: int | None) -> Json:
    """The status document; `controller` is the process id of the running controller, if one runs."""
    return {**summary, "controller": controller, "containers": list(containers)}


def _trash(view: View, policy: Policy) -> list[Json]:
    return [
        {
            "id": piece.id,
            "uid": piece.uid,
            "name": piece.name,
            "owner": piece.owner,
            "bytes": piece.dataset.used,
            "since": _text(piece.at),
            "until": _text(piece.at + policy.trash_for) if piece.at else None,
            "reason": piece.dataset.marks.get("trash-reason", ""),
            "aside": bool(piece.decision),
        }
        for piece in view.trash
    ]


def _sources(desired: Source[Desired], observed: Observed) -> Json:
    sources: dict[str, Source[Any]] = {
        "git": desired,
        "machines": observed.machines,
        "storage": observed.storage,
        "tailnet": observed.tailnet,
        "clock": observed.clock,
        "secrets": observed.secrets,
    }
    return {name: _source(source) for name, source in sources.items()}


def _source(source: Source[Any]) -> str:
    match source:
        case Known():
            return "known"
        case NotConfigured():
            return "not configured"
        case Unknown(why=why):
            return f"unknown: {why}"


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _plain(value: Any) -> Any:
    """A frozen value as JSON values."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list | frozenset | set):
        return [_plain(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def read_container(text: str) -> ContainerStatus:
    """The status that `container` wrote, from JSON text; an empty one where a former version wrote other keys."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(ContainerStatus).validate_json(text)
    except ValidationError:
        return ContainerStatus("")
