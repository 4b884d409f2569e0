"""What one request works with: who asks, what they said, the appliance's socket, the outbox. And how it is carried out.

A proposal becomes a commit here and nowhere else. What the controller then holds for an approval is approved only with
the person's own confirmation of exactly that, and only if it is about that one container of theirs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from agent.appliance import Appliance, Json
from agent.ledger import Entry, Stage, key_of
from agent.outbox import LOOK_EVERY, Outbox, trailers
from agent.person import Heard, Person
from agent.proposal import Proposal
from agent.redact import harmless
from agent.snapshot import State
from controller.cli.text import size
from controller.errors import BadInput, Transient

HOLD_WITHIN = 20.0
"""Seconds that a removal waits until the controller has published its hold."""
APPROVE = "Voxnix-Approve"


@dataclass
class Desk:
    """Everything that the tools of one request share. `sent` has what was committed, in order."""

    person: Person
    heard: Heard
    appliance: Appliance
    outbox: Outbox
    modules: Mapping[str, str]
    trash_days: int = 30
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sent: list[Entry] = field(default_factory=list)
    hold_within: float = HOLD_WITHIN

    async def state(self) -> State:
        """The state as it is now."""
        return await self.outbox.state()

    @property
    def trash_until(self) -> str:
        """The date until which what is destroyed now can be brought back."""
        return f"{self.now() + timedelta(days=self.trash_days):%Y-%m-%d}"

    async def carry(self, proposal: Proposal, *, confirmed: bool) -> str:
        """Commit a proposal; what came of it, in words. Raises `BadInput` for one with risks that nobody confirmed."""
        if proposal.risks and not confirmed:
            raise BadInput(f"{proposal.subject} needs a confirmation")
        extra = (proposal.decision,) if proposal.decision else ()
        entry = await self.send(proposal, extra)
        if entry.stage is Stage.REFUSED:
            return f"refused: {harmless(entry.detail, 1500)}"
        if entry.stage is Stage.DROPPED:
            return f"{proposal.subject}: this was not written. Ask again if you still want it."
        if entry.stage is Stage.SENT:
            return f"{proposal.subject}: committed as {entry.sha[:10]}; the controller has not looked at it yet"
        if confirmed and (proposal.removes or proposal.decision):
            return await self._approve(proposal, entry)
        return f"{proposal.subject}: committed as {entry.sha[:10]}, the controller took it"

    async def send(self, proposal: Proposal, extra: tuple[tuple[str, str], ...] = ()) -> Entry:
        """Commit what a proposal says, once for each message."""
        changes = proposal.before != proposal.after
        key = key_of(self.heard.chat, self.heard.id, f"{proposal.subject} {proposal.digest}")
        entry = Entry(
            key=key,
            chat=self.heard.chat,
            message=self.heard.id,
            person=self.person.id,
            author=self.person.name,
            name=proposal.name,
            subject=proposal.subject,
            base=proposal.base,
            at=self.now().timestamp(),
            path=proposal.path if changes else "",
            content=proposal.after if changes else None,
            trailers=trailers(self.person.id, self.heard.text, key, *extra),
        )
        try:
            done = await self.outbox.send(entry)
        except Transient as error:
            later = "it is sent as soon as that works, if it does within five minutes"
            raise Transient(f"{proposal.subject} could not be sent now ({error.what}); {later}") from error
        self.sent = [one for one in self.sent if one.key != done.key] + [done]
        return done

    async def _approve(self, proposal: Proposal, entry: Entry) -> str:
        """Bring the person's approval of what their confirmed commit is held for, where the agent may."""
        hold = await self._hold(proposal.name, entry)
        if hold is None:
            return f"{proposal.subject}: committed as {entry.sha[:10]}, the controller took it"
        if why := not_ours(hold, self.person, proposal.name):
            return f"{proposal.subject}: committed as {entry.sha[:10]}, and held. {why}"
        subject = f"approve: {proposal.subject}"
        approval = Proposal(proposal.name, entry.sha, None, None, subject, decision=(APPROVE, hold["id"]))
        done = await self.send(approval, ((APPROVE, hold["id"]),))
        if done.stage is Stage.REFUSED:
            return f"{proposal.subject}: the approval was refused: {harmless(done.detail, 1500)}"
        return f"{proposal.subject}: committed as {entry.sha[:10]} and approved with {done.sha[:10]}"

    async def _hold(self, name: str, entry: Entry) -> Json | None:
        """The hold that a commit met with; None if the controller does it without one, or says nothing in time."""
        deadline = time.monotonic() + self.hold_within
        while time.monotonic() < deadline:
            document = await self.appliance.status()
            if not await self.outbox.contains(str(document.get("revision") or ""), entry.sha):
                await asyncio.sleep(LOOK_EVERY)
                continue
            for hold in document["holds"]:
                if name in hold["names"] and any(entry.sha[:10] in step["cause"] for step in hold["steps"]):
                    return dict(hold)
            return None
        return None


def not_ours(hold: Json, person: Person, name: str) -> str:
    """Why an approval through the agent would not count for this hold, and who can give it; empty if it would."""
    command = f"`voxnix approve {hold['id']}`"
    if hold["names"] != [name] or hold["admin"]:
        return f"{hold['reason']}: that is for an admin, with a key of their own: {command}"
    if hold.get("personal"):
        return f"{hold['reason']}: that needs a person's own key: {command}"
    if hold["owner"] != person.id:
        return f"{hold['reason']}: that is for {hold['owner'] or 'an admin'} to say: {command}"
    return ""


def amount(status: Json | None) -> int:
    """Bytes of data that a container has, as published."""
    return int(status.get("home_used", 0)) + int(status.get("workspace_used", 0)) if status else 0


def card(proposal: Proposal, state: State, status: Json | None, forecast: list[str]) -> str:
    """The text of a confirmation: what, the diff, what would happen, bytes concerned. Drawn by code alone."""
    title = f"{proposal.subject[:1].upper()}{proposal.subject[1:]}?"
    lines = [title, *(f"! {risk}" for risk in proposal.risks)]
    held = proposal.bytes or amount(status)
    lines.append(f"Data concerned: {size(held)}")
    lines += ["", "What would happen:", *(f"  {line}" for line in forecast)]
    if proposal.before != proposal.after:
        lines += ["", proposal.diff]
    elif proposal.decision:
        lines += ["", f"{proposal.decision[0]}: {proposal.decision[1]}"]
    return "\n".join([*lines, "", f"On commit {state.revision[:10]}."])
