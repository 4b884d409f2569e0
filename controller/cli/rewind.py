"""`voxnix rollback --data` and `voxnix undo --data`: with the files of the state, the data of the containers goes back.

The data is only asked for, by a decision: it is held until it is approved, and what is there then is kept in the trash.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from controller.cli import history, text
from controller.cli.decide import decide
from controller.cli.session import Session, checked_name
from controller.errors import BadInput

if TYPE_CHECKING:
    from controller.git import Commit

DECISION = "Voxnix-Rollback-Data"
EVENTS = 10_000
"""Events of one container that are looked through."""
FAR = 10_000
"""Commits of one file that are looked through."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """One container's data that is to go back: to which snapshot, and because of which commit. `bytes` is held now."""

    name: str
    uid: str
    snapshot: str
    commit: Commit
    bytes: int


def label_before(
    labels: Iterable[str], committed: datetime, applied: datetime | None = None, until: datetime | None = None
) -> str | None:
    """The snapshot taken just before a revision was applied; None if none is that old.

    `applied` is when its first step was done, where that is known: the newest snapshot until then. Else the first one
    taken for a change of the system between the commit and `until`, the next commit of that file; else the newest
    before the commit.
    """
    from controller.plan.view import snapshot_time

    known = sorted((*found, label) for label in labels if (found := snapshot_time(label)))
    if applied is None:
        for at, why, label in known:
            if why == "system" and at >= committed and (until is None or at < until):
                return label
    limit = applied or committed
    return next((label for at, _, label in reversed(known) if at <= limit), None)


def applied_at(events: Iterable[Mapping[str, Any]], revision: str) -> datetime | None:
    """When the first step that a revision asked for was done, by a container's events: its system, if it had one."""
    mine = [event for event in events if event["cause"] == f"revision {revision[:10]}"]
    chosen = [event for event in mine if event["kind"] == "Install"] or mine
    return min((datetime.fromisoformat(event["at"]) for event in chosen), default=None)


def of_rollback(session: Session, given: Mapping[str, Any]) -> list[Rewind]:
    """What `rollback NAME [REV]` concerns: the change at REV, or the last one."""
    name, revision = checked_name(str(given["name"])), given.get("revision")
    until = session.repo.resolve(revision) if revision else session.head
    log = [commit for commit in session.repo.log(until, f"state/{name}.yaml", limit=1) if commit.changes]
    if not log:
        raise BadInput(f"there was no state/{text.clean(name)}.yaml at {until[:10]}", hint=f"voxnix history {name}")
    return [_rewind(session, name, log[0])]


def of_undo(session: Session, given: Mapping[str, Any]) -> list[Rewind]:
    """What `undo REV` concerns: every container whose spec that commit changed.

    One that it added is removed by undoing it, one that it removed comes back with its files: their data needs no word.
    """
    revision = given.get("revision") or "HEAD"
    commit = session.repo.show(session.head if revision == "HEAD" else session.repo.resolve(revision))
    names = [
        touched.path.removeprefix("state/").removesuffix(".yaml")
        for touched in commit.changes
        if touched.before and touched.after and touched.path.startswith("state/") and touched.path.count("/") == 1
    ]
    found = [_rewind(session, name, commit) for name in sorted(names) if name != "defaults"]
    if not found:
        raise BadInput(
            f"commit {commit.sha[:10]} changed no container that was there before and after it",
            hint="leave out --data: what it removed comes back with its files",
        )
    return found


def _rewind(session: Session, name: str, commit: Commit) -> Rewind:
    from controller.cli.files import find

    data = asyncio.run(find(session, name)).dataset
    later = [one for one in session.repo.log(session.head, f"state/{name}.yaml", limit=FAR) if one.at > commit.at]
    until = min((one.at for one in later), default=None)
    label = label_before(data.snapshots, commit.at, applied_at(_events(session, name), commit.sha), until)
    if label is None:
        raise BadInput(
            f"no snapshot of {text.clean(name)} is from before commit {commit.sha[:10]}",
            hint=f"`voxnix files {name}` lists those there are",
        )
    return Rewind(name, data.marks["uid"], label, commit, data.used)


def _events(session: Session, name: str) -> Sequence[Mapping[str, Any]]:
    """What happened to a container, as far as that is kept."""
    from controller.cli.client import Away

    try:
        return list(session.client.get("/v1/events", name=name, limit=EVENTS)["events"])
    except Away:
        store = session.store()
    if store is None:
        return []
    with store:
        return [
            {"kind": event.kind, "cause": event.cause, "at": event.at.isoformat()}
            for event in store.events(container=name, limit=EVENTS)
        ]


def explain(session: Session, rewind: Rewind) -> str:
    """What will happen to a container's data, in words."""
    from controller.cli.files import taken, why

    at = taken(rewind.snapshot)
    when = f"{at.astimezone():%Y-%m-%d %H:%M:%S}, {text.ago(at.isoformat(), datetime.now(UTC))} ago" if at else "?"
    return (
        f"{text.clean(rewind.name)}: its data goes back to {rewind.snapshot} ({when}; {why(rewind.snapshot)}), the last"
        f" before commit {rewind.commit.sha[:10]} was applied. What it holds now, {text.size(rewind.bytes)}, is kept"
        f" whole in the trash for {session.settings.trash_days} days."
    )


def with_data(command: click.Command, concerned: Callable[[Session, Mapping[str, Any]], list[Rewind]]) -> click.Command:
    """A command of the history with a `--data` that also asks for the data of the containers concerned."""
    usual = command.callback
    assert usual is not None

    def callback(data: bool, **given: Any) -> Any:
        if not data:
            return usual(**given)
        session = click.get_current_context().find_object(Session)
        assert session is not None
        rewinds = concerned(session, given)
        for rewind in rewinds:
            session.say(explain(session, rewind))
        spec = _spec(session, usual, given)
        told = [_ask(session, rewind, str(given.get("reason", "")), wait=bool(given.get("wait"))) for rewind in rewinds]
        if session.json:
            session.answer({"spec": spec, "data": told})
        return None

    option = click.Option(["--data"], is_flag=True, help="The data too: to the snapshot before it, once approved.")
    about = (command.help or "").replace(" Its data is not concerned.", "")
    return click.Command(command.name, params=[*command.params, option], callback=callback, help=about)


def _spec(session: Session, usual: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Do what the command does without `--data`; its answer. A spec that is as it was already needs nothing done."""
    name, revision = given.get("name"), given.get("revision")
    if name and revision:
        path = f"state/{name}.yaml"
        then, now = (session.repo.read(sha, [path]).get(path) for sha in (session.repo.resolve(revision), session.head))
        if then == now:
            return None
    said = io.StringIO()
    with contextlib.redirect_stdout(said) if session.json else contextlib.nullcontext():
        usual(**given)
    return json.loads(said.getvalue()) if session.json else None


def _ask(session: Session, rewind: Rewind, reason: str, *, wait: bool) -> dict[str, Any]:
    """Commit the decision, and say how it is approved."""
    subject = f"roll the data of {rewind.name} back to {rewind.snapshot}"
    sha = decide(session, subject, DECISION, f"{rewind.uid} {rewind.snapshot}", reason)
    told = session.seen(sha, wait=wait)
    hold = _hold(session, rewind) if told["seen"] else ""
    told |= {"name": rewind.name, "snapshot": rewind.snapshot, "bytes": rewind.bytes, "hold": hold}
    if not session.json:
        session.tell_seen(told, f"Asked for {text.clean(rewind.name)}'s data")
        approve = text.command(f"voxnix approve {hold or rewind.name}")
        session.say(f"It is held, and nothing happens to the data until somebody says: {approve}")
    return told


def _hold(session: Session, rewind: Rewind) -> str:
    """The id of the hold that waits for the word; empty where it is not published yet."""
    for hold in session.document()["holds"]:
        back = any(step["action"] == "CloneBack" and step.get("label") == rewind.snapshot for step in hold["steps"])
        if hold["names"] == [rewind.name] and back:
            return str(hold["id"])
    return ""


rollback = with_data(history.rollback, of_rollback)
undo = with_data(history.undo, of_undo)
