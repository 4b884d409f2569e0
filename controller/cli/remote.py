"""A state repo on another machine, for commands that read its history or commit to it: a copy, fetched and pushed.

A commit that the controller would refuse would stand in everybody's way there: what can be known of that beforehand is
asked before the push.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from controller.cli import text
from controller.errors import BadInput, Blocked, Transient
from controller.git.remote import Remote
from controller.git.signing import Signer
from controller.receive import Keys, fingerprint
from controller.sources import writer
from controller.spec.fields import FileKind
from controller.spec.parse import classify, parse_file
from controller.spec.policy import identity_required

if TYPE_CHECKING:
    from controller.cli.session import Session


def open_remote(session: Session) -> Remote:
    """The state repo as it is now; as it was seen last, with a word about that, where it cannot be seen now."""
    remote = writer(session.settings, partial(_require_identity, session))
    try:
        remote.head()
    except (Transient, Blocked) as error:
        if remote.fetched() is None:
            raise
        click.echo(f"voxnix: {text.clean(str(error))}\n  this is as it was seen last", err=True)
    return remote


def asks_for_identity(remote: Remote, head: str) -> bool:
    """Whether the policy at a commit lets nothing count of which nobody knows who brought it."""
    tree = remote.tree(head)
    paths = {path: blob.oid for path, blob in tree.items() if classify(path)[0] is FileKind.POLICY}
    data = remote.blobs(paths.values())
    return identity_required(parse_file(path, data.get(oid, b""), modules=()) for path, oid in paths.items())


def signer_of(session: Session, remote: Remote, signer: Signer, head: str) -> str:
    """The admin whose key signs what commands commit; raises `BadInput` where it is no admin's at a commit."""
    from controller.cli.keys import tenants_at

    public = signer.public()
    tenants = tenants_at(remote, head)
    owner = Keys(tenants, session.settings.delegates).signing.get(fingerprint(public))
    if owner is None or owner.tenant is None or tenants[owner.tenant].role != "admin":
        whose = "no tenant's" if owner is None else f"that of {owner.name}, who is no admin"
        raise BadInput(
            f"the key {signer.key}, which signs what voxnix commits, is {whose} at {head[:10]}: it would be refused",
            hint=f"an admin adds this to `signing_keys` in their state/tenants/ID.yaml, and pushes: {public}",
        )
    return owner.tenant


def _require_identity(session: Session, remote: Remote, head: str) -> None:
    """Raise `BadInput` where a commit on top of `head` would be refused, since nobody could tell whose it is."""
    if not asks_for_identity(remote, head):
        return
    if remote.signer is None:
        raise BadInput(
            f"{remote.source} asks for an identity, which only a signature gives there: a commit without is refused",
            hint="`sign_with` in [remote] names an SSH key, whose public half is among an admin's `signing_keys`",
        )
    signer_of(session, remote, remote.signer, head)
