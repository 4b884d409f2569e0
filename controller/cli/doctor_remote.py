"""What the doctor has to say of a state repo on another machine: what opens it, whether it answers, what counts there.

It fetches into the copy that commands use, and asks whether a push would be let in; nothing over there is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from controller.cli.finding import Finding, State
from controller.cli.remote import asks_for_identity, signer_of
from controller.cli.session import Session
from controller.errors import BadInput, VoxnixError
from controller.git.remote import Remote
from controller.sources import writer

_KEYS = "docs/remote.md tells how it is set up"


def remote_findings(session: Session) -> Iterator[Finding]:
    """The checks, each of which the next ones need: the first that fails is the last."""
    remote = writer(session.settings, lambda *_: None)
    access = remote.git.access
    opened = ", ".join(str(place) for place in (access.key, access.known_hosts, access.token, access.ca) if place)
    yield (found := _tried("state repo access", access.check, opened or "without a key or token"))
    if found.state is State.FAILS:
        return
    yield (found := _tried("state repo", lambda: _seen(remote), ""))
    head = remote.fetched()
    if found.state is State.FAILS or head is None:
        return
    yield _tried("state repo push", remote.may_push, "commits of commands and notes are let in")
    yield _identity(session, remote, head)


def _seen(remote: Remote) -> str:
    head = remote.head()
    if head is None:
        hint = "push the state there, or set `branch` to another"
        raise BadInput(f"{remote.source} has no branch {remote.branch} yet", hint=hint)
    return f"{remote.source}, {remote.branch} at {head[:10]}"


def _identity(session: Session, remote: Remote, head: str) -> Finding:
    """Who may change things there, and whether our own commands may."""
    what = "state repo identity"
    if not asks_for_identity(remote, head):
        found = "whoever may push there counts as root here"
        return Finding(
            what, State.NOTE, found, "`identity: required` in state/policy.yaml lets signed commits count alone"
        )
    signer = remote.signer
    if signer is None:
        found = "signed commits count alone, and commands have no key to sign with"
        return Finding(what, State.NOTE, found, "`sign_with` in [remote], for approve, undo and the like")
    return _tried(what, lambda: f"commands sign as {signer_of(session, remote, signer, head)}", "")


def _tried(what: str, look: Callable[[], str | None], found: str) -> Finding:
    """A check whose failure is a finding."""
    try:
        return Finding(what, State.FINE, look() or found)
    except VoxnixError as error:
        return Finding(what, State.FAILS, error.what, error.hint or _KEYS)
