"""`voxnix trash`: what removed containers left, and the decisions about it, which are commits."""

from __future__ import annotations

import re
from typing import Any

import click

from controller.cli import text
from controller.cli.completion import trash_ids
from controller.cli.decide import decide, reason_option, wait_option, yes_option
from controller.cli.history import last_version
from controller.cli.render_status import trash_table
from controller.cli.session import Session, checked_name, confirm, pass_session
from controller.errors import BadInput


@click.group()
def trash() -> None:
    """Data of removed containers: list, restore, purge."""


@trash.command("list")
@pass_session
def list_(session: Session) -> None:
    """What is in the trash, and until when."""
    pieces = session.document()["trash"]
    session.answer(pieces, trash_table(pieces) if pieces else ["The trash is empty."])


@trash.command()
@click.argument("trash_id", metavar="ID", shell_complete=trash_ids)
@click.option("--as", "name", metavar="NAME", help="Restore it under another name.")
@reason_option
@wait_option
@pass_session
def restore(session: Session, trash_id: str, name: str | None, reason: str, wait: bool) -> None:
    """Bring data back, and with it, where there is none any more, the spec of its container."""
    piece = _piece(session, trash_id)
    target = checked_name(name or piece["name"])
    changes, words = _spec(session, piece["name"], target)
    as_name = f" as {target}" if target != piece["name"] else ""
    subject = f"restore {piece['name']}{as_name}"
    sha = decide(session, subject, "Voxnix-Restore", f"{piece['id']}{as_name}", reason, changes)
    session.tell_seen(session.seen(sha, wait=wait), f"{target} comes back{words}")


@trash.command()
@click.argument("trash_id", metavar="ID", shell_complete=trash_ids)
@yes_option
@reason_option
@wait_option
@pass_session
def purge(session: Session, trash_id: str, yes: bool, reason: str, wait: bool) -> None:
    """Ask for data to be destroyed for good before its time. It is held until it is approved once more."""
    piece = _piece(session, trash_id)
    session.say("\n".join(trash_table([piece])))
    confirm("Ask for this to be destroyed for good?", yes=yes)
    sha = decide(session, f"purge {piece['name']} from the trash", "Voxnix-Purge", piece["id"], reason)
    told = session.seen(sha, wait=wait)
    session.tell_seen(told, "Asked for")
    session.say("It is held: `voxnix status` shows the `voxnix approve` that destroys it.")


def _piece(session: Session, word: str) -> dict[str, Any]:
    """The one piece of trash whose id begins with `word`, or that is the only one of a container of that name."""
    pieces = session.document()["trash"]
    found = [piece for piece in pieces if piece["id"] == word]
    found = found or [piece for piece in pieces if piece["id"].startswith(word)]
    found = found or [piece for piece in pieces if piece["name"] == word]
    if len(found) == 1:
        return dict(found[0])
    if found:
        ids = ", ".join(piece["id"] for piece in found)
        raise BadInput(f"{len(found)} pieces of trash match {text.clean(word)}", hint=f"say which: {ids}")
    hint = text.suggestion(word, [piece["id"] for piece in pieces]) if pieces else "the trash is empty"
    raise BadInput(f"there is no {text.clean(word)} in the trash", hint=hint)


def _spec(session: Session, old: str, target: str) -> tuple[dict[str, bytes | None], str]:
    """The spec to commit along with a restore, and words about it; nothing where there is one already."""
    path = f"state/{target}.yaml"
    if session.repo.read(session.head, [path]):
        return {}, ""
    content = last_version(session.repo, session.head, f"state/{old}.yaml")
    if content is None:
        raise BadInput(
            f"there is no spec {path}, and history has none of {old} either",
            hint=f"write one first: voxnix new {target} --output {path}",
        )
    if target != old:
        content = re.sub(rb"^name:.*$", b"name: " + target.encode(), content, flags=re.MULTILINE)
    return {path: content}, ", with its last spec"
