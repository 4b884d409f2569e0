"""History, and what goes back by it: undo, restore, rollback of data; and approval of what is held.

It reads git through the outbox and draws up proposals; it commits nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.desk import APPROVE, Desk, amount, not_ours
from agent.outbox import Commit
from agent.proposal import Proposal
from agent.redact import line
from agent.snapshot import State, path_of
from agent.wishes import put_back
from controller.audit import describe, read_state
from controller.cli.render_plan import SILENT
from controller.cli.render_plan import describe as describe_step
from controller.errors import BadInput
from controller.spec.fields import FileKind
from controller.spec.parse import classify

FAR = 300
"""Commits that are looked through."""


@dataclass(frozen=True, slots=True)
class Told:
    """One commit of the history: what it made of which containers. All of it is claims of the commit."""

    sha: str
    at: str
    by: str
    subject: str
    why: str
    changes: tuple[str, ...]


async def history(desk: Desk, name: str | None, limit: int) -> list[Told]:
    """What was changed of the person's containers (an admin's: of all), the newest first."""
    state = await desk.state()
    path = path_of(name) if name else None
    found = []
    for commit in await desk.outbox.log(path, limit=FAR if name is None else limit * 2):
        told = await _told(desk, state, commit, name)
        if told is not None:
            found.append(told)
        if len(found) >= limit:
            break
    return found


async def _told(desk: Desk, state: State, commit: Commit, name: str | None) -> Told | None:
    said = dict(commit.trailers)
    requester = said.get("Requested-by", "")
    lines = []
    oids = {blob.oid for touched in commit.changes for blob in (touched.before, touched.after) if blob}
    data = await desk.outbox.blobs(oids) if oids else {}
    for touched in commit.changes:
        kind, stem, _ = classify(touched.path)
        if kind is not FileKind.SPEC or (name is not None and stem != name):
            continue
        before, after = (
            read_state(touched.path, data[blob.oid]) if blob and blob.oid in data else None
            for blob in (touched.before, touched.after)
        )
        whose = {str(side.values.get("owner", "")) for side in (before, after) if side}
        if desk.person.admin or desk.person.id in whose:
            lines.append(f"{stem}: {'; '.join(describe(touched.path, before, after).words)}")
    if not lines and not (requester == desk.person.id and name is None):
        return None
    by = line(commit.author, 60) + (f" for {line(requester, 40)}" if requester else "")
    why = line(said.get("Reason", ""), 120)
    return Told(commit.sha, f"{commit.at:%Y-%m-%d %H:%M}", by, line(commit.subject, 100), why, tuple(lines))


async def undo(desk: Desk, name: str | None) -> Proposal:
    """Take back the last change of a container of theirs, by default of the one that was changed last."""
    state = await desk.state()
    for commit in await desk.outbox.log(path_of(name) if name else None, limit=FAR):
        touched = [one for one in commit.changes if classify(one.path)[0] is FileKind.SPEC]
        if not touched or not await _concerns(desk, touched):
            continue
        if len(commit.changes) > 1:
            raise BadInput(
                f"commit {commit.sha[:10]} changed {len(commit.changes)} files, more than the agent takes back",
                hint=f"with your own key: `voxnix undo {commit.sha[:10]}`",
            )
        return await _reversed(desk, state, commit)
    raise BadInput(f"nothing of {name} is there to undo" if name else "there is nothing of yours to undo")


async def _concerns(desk: Desk, touched: Sequence[Any]) -> bool:
    """Whether a commit was about a container of the person's."""
    oids = {blob.oid for one in touched for blob in (one.before, one.after) if blob}
    data = await desk.outbox.blobs(oids)
    return any(
        read_state(one.path, data[blob.oid]).values.get("owner") == desk.person.id
        for one in touched
        for blob in (one.before, one.after)
        if blob and blob.oid in data
    )


async def _reversed(desk: Desk, state: State, commit: Commit) -> Proposal:
    """A proposal that takes one commit back; raises `BadInput` where the file changed again since."""
    (touched,) = commit.changes
    stem = classify(touched.path)[1]
    oids = {blob.oid for blob in (touched.before, touched.after) if blob}
    data = await desk.outbox.blobs(oids)
    now = data.get(touched.after.oid) if touched.after else None
    if state.data.get(touched.path) != now:
        raise BadInput(f"{stem} changed again since", hint="look at `history`")
    content = data.get(touched.before.oid) if touched.before else None
    found = put_back(state, desk.person, stem, content, f"undo the last change of {stem}")
    if content is not None:
        return found
    held = amount(await desk.appliance.container(stem, desk.person))
    risk = f"{stem} is removed. Its data waits in the trash until {desk.trash_until}, then it is gone for good."
    return replace(found, risks=(risk,), bytes=held, subject=f"undo the creation of {stem}")


async def restore(desk: Desk, name: str) -> Proposal:
    """Bring a destroyed container of theirs back: its last file; its data comes out of the trash by itself."""
    state = await desk.state()
    if path_of(name) in state.data:
        mine = state.owner(name) == desk.person.id
        raise BadInput(f"{name} is there" if mine else f"the name {name} is taken by somebody else's container")
    for commit in await desk.outbox.log(path_of(name), limit=FAR):
        for touched in commit.changes:
            blob = touched.before if touched.after is None else touched.after
            data = (await desk.outbox.blobs({blob.oid})).get(blob.oid) if blob else None
            if data is None or read_state(touched.path, data).values.get("owner") != desk.person.id:
                continue
            return put_back(state, desk.person, name, data, f"restore {name}")
    gone = sorted({piece["name"] for piece in await trash(desk)})
    hint = f"in the trash: {', '.join(gone)}" if gone else "nothing of yours is in the trash"
    raise BadInput(f"you never had a container {name}", hint=hint)


async def trash(desk: Desk) -> list[dict[str, Any]]:
    """What the person (an admin: everybody) has in the trash."""
    document = await desk.appliance.status()
    return [dict(one) for one in document["trash"] if desk.person.admin or one["owner"] == desk.person.id]


async def rollback_data(desk: Desk, name: str, snapshot: str) -> Proposal:
    """Ask for a container's data as it was at one of its snapshots; what it holds now goes to the trash whole."""
    status = await _mine(desk, name)
    state = await desk.state()
    known = list(status.get("snapshots", []))
    if snapshot == "latest" and known:
        snapshot = known[-1]
    if snapshot not in known:
        near = difflib.get_close_matches(snapshot, known, 3, 0.3) or known[-3:]
        raise BadInput(f"{name} has no snapshot {snapshot[:60]!r}", hint=f"it has {', '.join(near) or 'none'}")
    content = state.data.get(path_of(name))
    risk = f"The data of {name} goes back to {snapshot}. What it holds now waits in the trash until {desk.trash_until}."
    decision = ("Voxnix-Rollback-Data", f"{status['uid']} {snapshot}")
    subject = f"roll the data of {name} back to {snapshot}"
    return Proposal(name, state.revision, content, content, subject, (risk,), amount(status), decision)


async def restart(desk: Desk, name: str) -> Proposal:
    """Restart a container of theirs once."""
    status = await _mine(desk, name)
    state = await desk.state()
    content = state.data.get(path_of(name))
    return Proposal(
        name, state.revision, content, content, f"restart {name}", decision=("Voxnix-Restart", status["uid"])
    )


async def approve(desk: Desk, name: str) -> Proposal:
    """Let go on what is held of one container of theirs. What is not the agent's to bring is said, with who can."""
    document = await desk.appliance.status()
    state = await desk.state()
    holds = [one for one in document["holds"] if name in one["names"]]
    if not holds:
        raise BadInput(f"nothing of {name[:40]} waits for an approval")
    hold = holds[0]
    if hold["owner"] != desk.person.id and await desk.appliance.container(name, desk.person) is None:
        raise BadInput(f"nothing of {name[:40]} waits for an approval of yours")
    if why := not_ours(hold, desk.person, name):
        raise BadInput(why)
    content = state.data.get(path_of(name))
    risk = f"{line(hold['reason'])}"
    return Proposal(
        name,
        state.revision,
        content,
        content,
        f"approve what is held of {name}",
        (risk,),
        int(hold["bytes"]),
        (APPROVE, hold["id"]),
        tuple(describe_step(step) for step in hold["steps"] if step["action"] not in SILENT),
    )


async def _mine(desk: Desk, name: str) -> dict[str, Any]:
    status = await desk.appliance.container(name, desk.person)
    if status is None or status["owner"] != desk.person.id:
        raise BadInput(f"you have no container {name[:40]!r}")
    if not status["uid"]:
        raise BadInput(f"{name} was not made yet")
    return dict(status)
