"""Decisions: `approve` and `restart` are commits; `suspend`, `resume`, `accept-rewrite` are root's word on the host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from controller.cli import text
from controller.cli.completion import container_names, hold_ids
from controller.cli.render_plan import describe
from controller.cli.render_status import hold_lines
from controller.cli.session import Session, confirm, pass_session, root_name
from controller.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.store import Store

ACTS = {
    "ToTrash": "removal of",
    "RemoveSystem": "removal of",
    "DestroyTrash": "purge of",
    "CloneBack": "rollback of the data of",
    "FromTrash": "exchange of the data of",
    "MoveDataset": "another owner for",
    "CreateDataset": "an empty start of",
    "TrustStore": "going on with the rebuilt",
}
"""What a hold is about, told by the action that matters most in it; the first that is found counts."""

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
reason_option = click.option("--reason", "-m", default="", help="Why; it becomes part of the commit message.")
wait_option = click.option(
    "--wait/--no-wait", default=True, help="Wait a few seconds until the controller has seen it."
)


@click.command()
@click.argument("hold", shell_complete=hold_ids)
@yes_option
@reason_option
@wait_option
@pass_session
def approve(session: Session, hold: str, yes: bool, reason: str, wait: bool) -> None:
    """Let something happen that waits for a word. HOLD is its id, or the beginning of it (`voxnix status`)."""
    found = _hold(session.document()["holds"], hold)
    for line in hold_lines(found)[:-1]:
        session.say(line)
    for step in found["steps"]:
        session.say(f"    {describe(step)}")
    confirm("Approve of exactly this?", yes=yes)
    subject = f"approve {act_of(found)} {', '.join(found['names'])}"
    sha = decide(session, subject, "Voxnix-Approve", found["id"], reason)
    session.tell_seen(session.seen(sha, wait=wait), "Approved")


@click.command()
@click.argument("name", shell_complete=container_names)
@reason_option
@wait_option
@pass_session
def restart(session: Session, name: str, reason: str, wait: bool) -> None:
    """Restart NAME once."""
    found = session.container(name)
    if not found["uid"]:
        raise BadInput(f"{name} was not made yet, so there is nothing to restart", hint=f"voxnix status {name}")
    sha = decide(session, f"restart {name}", "Voxnix-Restart", found["uid"], reason)
    session.tell_seen(session.seen(sha, wait=wait), f"{name} will be restarted")


@click.command()
@click.option("--reason", "-m", required=True, help="Why; everybody who looks at the status is told.")
@pass_session
def suspend(session: Session, reason: str) -> None:
    """Tell the controller to keep its hands off everything, until `resume`."""
    from controller.plan.memory import Suspension

    suspension = Suspension(root_name(), datetime.now(UTC), text.clean(reason.strip()))
    _record(session, "suspended", f"suspended: {suspension.reason}", lambda store: store.suspend(suspension))
    done = "Suspended: nothing is done until `voxnix resume`."
    session.answer({"suspended": True, "by": suspension.by, "reason": suspension.reason}, [done])


@click.command()
@pass_session
def resume(session: Session) -> None:
    """Let the controller go on."""
    _record(session, "resumed", "resumed", lambda store: store.resume())
    session.answer({"suspended": False}, ["The controller goes on."])


@click.command("accept-rewrite")
@click.argument("sha")
@click.option("--reason", "-m", required=True, help="Why the history was rewritten.")
@yes_option
@pass_session
def accept_rewrite(session: Session, sha: str, reason: str, yes: bool) -> None:
    """Accept a state repo whose history was rewritten: SHA, the commit it is at now, is a new beginning."""
    full = session.repo.resolve(sha)
    commit = session.repo.show(full)
    session.say(f"{full[:10]}  {text.clean(commit.author)}  {commit.at:%Y-%m-%d %H:%M}  {text.clean(commit.subject)}")
    confirm("Take this commit as a new beginning, whatever was before it?", yes=yes)
    why = text.clean(reason.strip())

    def record(store: Store) -> None:
        store.accept_rewrite(full, root_name(), why, datetime.now(UTC))

    _record(session, "rewrite accepted", f"rewritten history accepted: {why}", record)
    session.answer({"accepted": full}, [f"Accepted: the controller goes on from {full[:10]}."])


def decide(
    session: Session,
    subject: str,
    key: str,
    value: str,
    reason: str = "",
    changes: dict[str, bytes | None] | None = None,
) -> str:
    """Commit one decision, with the changes that go with it; the commit's id."""
    body = f"\n\n{reason.strip()}" if reason.strip() else ""
    return session.repo.commit(changes or {}, subject + body, session.author, [(key, value)])


def act_of(hold: dict[str, Any]) -> str:
    """What a hold is about, as a commit's subject says it: `removal of`."""
    actions = {step["action"] for step in hold["steps"]}
    return next((words for action, words in ACTS.items() if action in actions), "changes to")


def _hold(holds: list[dict[str, Any]], word: str) -> dict[str, Any]:
    """The one hold whose id begins with `word`, or that is about the container of that name."""
    found = [hold for hold in holds if hold["id"].startswith(word)] or [h for h in holds if h["names"] == [word]]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(hold["id"] for hold in found)
        raise BadInput(f"{len(found)} holds begin with {text.clean(word)}", hint=f"say which: {ids}")
    hint = text.suggestion(word, [hold["id"] for hold in holds]) if holds else "nothing waits for a word just now"
    raise BadInput(f"there is no hold {text.clean(word)}", hint=hint)


def _record(session: Session, kind: str, message: str, write: Callable[[Store], None]) -> None:
    """Write something of root's into the store, with an event that says who did, and let the controller know."""
    from controller.store import Event
    from controller.wiring import open_store

    store = open_store(session.settings, create=True)
    assert store is not None
    with store, store.transaction(durable=True):
        write(store)
        store.record([Event(datetime.now(UTC), kind, message, "warning", cause=f"by {root_name()}")])
    session.client.poke()
