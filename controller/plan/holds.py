"""Law 7: what waits for an approval, and which approvals count. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from controller.plan.memory import Memory
from controller.plan.model import Hold, Lane
from controller.spec.state import Decision, DecisionKind

DECISION_LIFE = timedelta(days=7)
"""How long a decision can still be carried out."""
BULK_SHARE = 0.25
BULK_FLOOR = 2
RECENT = timedelta(hours=1)
EARLY = timedelta(hours=1)
"""How far ahead of this host's clock a decision may be."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a hold asks: of which lanes, for what act, and who may say yes.

    `act`, the uids and `bases` (the commits behind it) make the hold's id, so an approval survives a restart half
    way through the steps, and no longer fits once anything it was given for has changed.
    """

    act: str
    lanes: tuple[Lane, ...]
    reason: str
    bases: tuple[str, ...]
    owner: str = ""
    admin: bool = False
    personal: bool = False
    """Needs a person's own key: a delegate cannot bring the approval."""
    bytes: int = 0
    alone: bool = False
    """Only the act itself waits; all else that the container needs goes on meanwhile."""
    meanwhile: Lane | None = None
    """What runs as long as the answer is not yes."""


def hold_id(act: str, uids: Iterable[str], bases: Iterable[str]) -> str:
    """The digest of an act, the uids concerned and the revisions it is based on: 12 hexadecimal digits."""
    text = json.dumps([act, sorted(uids), sorted(set(bases))])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def settle(ask: Ask, decisions: Sequence[Decision], now: datetime) -> tuple[tuple[Lane, ...], Hold | None]:
    """The lanes that may run, or the hold that stands in their way."""
    hold = Hold(
        id=hold_id(ask.act, (lane.uid for lane in ask.lanes), ask.bases),
        lanes=ask.lanes,
        reason=ask.reason,
        owner=ask.owner,
        admin=ask.admin,
        personal=ask.personal or ask.admin,
        bytes=ask.bytes,
    )
    refused = ""
    for decision in approvals(decisions, now):
        if decision.argument != hold.id:
            continue
        refused = _refusal(hold, decision)
        if not refused:
            return ask.lanes, None
    return (), replace(hold, refused=refused)


def approvals(decisions: Iterable[Decision], now: datetime) -> list[Decision]:
    """The approvals that have not run out."""
    return [d for d in decisions if d.kind is DecisionKind.APPROVE and fresh(d, now)]


def fresh(decision: Decision, now: datetime) -> bool:
    """Whether a decision is still young enough to be carried out, and not of a time to come."""
    return -EARLY <= now - decision.at <= DECISION_LIFE


def may_decide(decision: Decision, owner: str) -> bool:
    """Whether this decision counts for something of this owner's: an owner for their own, an admin for all."""
    return decision.admin or (bool(owner) and decision.by == owner)


def under_way(memory: Memory) -> frozenset[str]:
    """The uids whose removal has begun and has not ended: it was let through once, and is resumed."""
    return frozenset(entry.uid for entry in memory.inventory.values() if entry.removing)


def _refusal(hold: Hold, decision: Decision) -> str:
    """Why this approval does not count, or nothing."""
    if hold.personal and decision.delegate:
        return f"approved by a delegate in {decision.commit[:10]}; this needs a person's own key"
    if hold.admin and not decision.admin:
        return f"approved by {decision.by} in {decision.commit[:10]}; this needs an admin"
    if not decision.admin and decision.by != hold.owner:
        return f"approved by {decision.by} in {decision.commit[:10]}; this needs {hold.owner or 'an admin'}"
    return ""


def too_many(new: Sequence[Lane], memory: Memory, existing: frozenset[str], now: datetime) -> str:
    """Why these removals have to wait for an admin, or nothing.

    `existing` are the uids of this host's containers now. Removals that are under way are not judged again, but they
    count, as do those of the last hour, whether or not they have ended.
    """
    if not new:
        return ""
    recent = {uid for uid, at in memory.destroys.items() if now - at < RECENT} | under_way(memory)
    new_uids = {lane.uid for lane in new}
    before = existing | recent
    limit = max(BULK_FLOOR, int(len(before) * BULK_SHARE))
    count = len(new_uids | recent)
    if count > limit:
        return (
            f"{len(new_uids)} containers would be removed, {count} within an hour; "
            f"{limit} of {len(before)} may go without an admin's approval"
        )
    if len(before) >= 2 and not existing - new_uids - under_way(memory):
        return "this would remove the last container of this host"
    return ""
