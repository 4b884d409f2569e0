"""`voxnix serve`: what sshd starts for whoever comes with a key that `voxnix keys` has listed.

It answers git for the one state repo, and a few questions about the caller's own containers. It runs as the state
repo's owner, has no rights on the host, and takes nothing from the caller but the words of the request.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from controller.cli import text
from controller.cli.session import Session, pass_session
from controller.errors import BadInput

if TYPE_CHECKING:
    from controller.receive import Owner, Request

LINES = 200
"""Lines of a journal that are shown."""


@click.command(hidden=True)
@click.option("--key", "fingerprint", required=True, metavar="FINGERPRINT", help="The key that sshd has checked.")
@pass_session
def serve(session: Session, fingerprint: str) -> int:
    """For sshd alone: answer who came with a key. What they ask for is in SSH_ORIGINAL_COMMAND.

    Settings come from the options and the file alone, since sshd may let the caller set variables.
    """
    from controller.receive import FINGERPRINT, Service, read_request

    if not FINGERPRINT.fullmatch(fingerprint):
        raise BadInput("--key has to be the fingerprint of a key", hint="`voxnix keys` writes the lines for sshd")
    words = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    session = Session(session.options, session.json, environment={})
    request = read_request(words, str(session.here.path))
    if request.git:
        _git(session, request, fingerprint)
    if request.service is Service.ENTER:
        from controller.entry.caller import enter

        return enter(session.settings.run / "enter", fingerprint, request.name)
    _answer(session, request, fingerprint)
    return 0


def _git(session: Session, request: Request, fingerprint: str) -> NoReturn:
    """Become git; the hooks find the key in their environment, and the settings as this command was given them."""
    from controller.git.serving import serve as become
    from controller.receive import Service

    hook = session.here.path / "hooks/pre-receive"
    if request.service is Service.PUSH and not os.access(hook, os.X_OK):
        raise BadInput(
            "this state repo has no pre-receive hook that notes who pushes, so nobody can push by key",
            hint="whoever runs the appliance puts it there: `voxnix hooks`",
        )
    given = {f"VOXNIX_{name.upper()}": value for name, value in session.options.items() if value}
    more = {**given, "VOXNIX_STATE": str(session.here.path), "VOXNIX_KEY": fingerprint}
    become(session.here.path, str(request.service), more)


def _answer(session: Session, request: Request, fingerprint: str) -> None:
    """Answer a question about the caller's own containers; an admin's own are all."""
    from controller.cli import render_status
    from controller.receive import Service

    document = session.client.get("/v1/status")
    owner, admin = _caller(session, document, fingerprint)
    mine = [row for row in document["containers"] if admin or row["owner"] == owner.tenant]
    if request.name and request.name not in {row["name"] for row in mine}:
        hint = text.suggestion(request.name, [row["name"] for row in mine])
        raise BadInput(f"{owner.name} has no container {request.name}", hint=hint)
    now = datetime.now(UTC)
    if request.service is Service.LOGS:
        query: dict[str, Any] = {"lines": LINES} | ({} if admin else {"tenant": owner.tenant})
        told = session.client.get(f"/v1/logs/{request.name}", **query)["text"]
        session.answer(told, [text.clean(line) for line in told.splitlines()] or ["The journal is empty."])
        return
    if request.name:
        [found] = (row for row in mine if row["name"] == request.name)
        session.answer(found, render_status.container(found, now))
        return
    shown = {**document, "containers": mine, "live": True}
    session.answer(shown, render_status.overview(shown, now))


def _caller(session: Session, document: Mapping[str, Any], fingerprint: str) -> tuple[Owner, bool]:
    """Whose key it is at the revision that the controller has accepted, and whether they are an admin.

    The state repo is asked for that revision by its id, so what its branch says meanwhile does not matter.
    """
    from controller.cli.keys import tenants_at
    from controller.receive import Keys

    revision = document.get("revision")
    if not isinstance(revision, str) or not revision:
        raise BadInput("the controller has accepted no revision yet", hint="try again in a moment")
    tenants = tenants_at(session.repo, revision)
    owner = Keys(tenants, session.settings.delegates).pushing.get(fingerprint)
    if owner is None:
        raise BadInput("this key is no tenant's any more", hint="ask an admin to add it to your `ssh_keys`")
    if owner.tenant is None:
        raise BadInput("the agent's key has no containers of its own", hint="it pushes; status is on the socket")
    return owner, tenants[owner.tenant].role == "admin"
