"""`voxnix keys`: what sshd has to know so that people can push, each with their own key. It only reads."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from controller.cli import text
from controller.cli.session import Session, pass_session
from controller.errors import BadInput

if TYPE_CHECKING:
    from controller.git import Objects
    from controller.receive.keys import Holder
    from controller.spec.model import Tenant

_TENANT = re.compile(r"state/(?i:tenants)/(?:.+/)?([^/]+)\.(?i:ya?ml)")
"""Files that stand for a tenant, in their right place or not, as `controller.spec.parse` has it."""
PASSED_ON = ("config", "state", "host")
"""Common options that the command in a line has as `voxnix keys` was given them."""


@click.command()
@click.argument("fingerprint", required=False)
@click.option("--command", "program", default="voxnix", show_default=True, help="How sshd starts voxnix.")
@pass_session
def keys(session: Session, fingerprint: str | None, program: str) -> None:
    """Lines for sshd's authorized_keys, for every key that may push: of tenants, and of the agent.

    With FINGERPRINT, the line of that key. As sshd's AuthorizedKeysCommand: `voxnix keys %f`, with root as its user.
    """
    from controller.receive import FINGERPRINT, Keys, authorized_keys

    if fingerprint is not None and not FINGERPRINT.fullmatch(fingerprint):
        raise BadInput(f"{text.clean(fingerprint)!r} is no fingerprint of a key", hint="SHA256: and 43 characters")
    revision, tenants = accepted_tenants(session)
    found = Keys(tenants, session.settings.delegates)
    words = [program, *passed_on(session), "serve"]
    lines = list(authorized_keys(found, words, only=fingerprint))
    for key, owners in found.shared.items():
        click.echo(f"# {key} is left out: it is of {' and of '.join(owners)}", err=True)
    told = [
        {"fingerprint": key, "tenant": owner.tenant, "delegate": owner.tenant is None, "key": owner.key}
        for key, owner in sorted(found.pushing.items(), key=lambda item: item[1].name)
        if fingerprint in (None, key)
    ]
    session.answer({"revision": revision, "keys": told, "lines": lines, "shared": dict(found.shared)}, lines)


@dataclass(frozen=True, slots=True)
class Kept:
    """A tenant's keys as the store has them: sshd waits, and what checks whole tenants takes long to load."""

    ssh_keys: tuple[str, ...]
    signing_keys: tuple[str, ...]


def accepted_tenants(session: Session) -> tuple[str, Mapping[str, Holder]]:
    """The accepted revision and its tenants by id; before there is one, those of the commit that will be it.

    The store also remembers tenants that were removed: these are left out.
    """
    store = session.store()
    revision = None
    if store is not None:
        with store:
            revision, paths, kept = store.revision, store.tree(), store.tenants()
    if revision is None:
        return session.head, tenants_at(session.repo, session.head)
    present = {match[1].lower() for match in map(_TENANT.fullmatch, paths) if match}
    rows = {name: json.loads(row) for name, row in kept.items() if name in present}
    return revision, {name: Kept(tuple(row["ssh_keys"]), tuple(row["signing_keys"])) for name, row in rows.items()}


def tenants_at(objects: Objects, revision: str) -> dict[str, Tenant]:
    """The tenants of a revision by id, from the repository; a file that does not validate makes none."""
    from controller.spec.fields import FileKind
    from controller.spec.model import Tenant
    from controller.spec.parse import parse_file

    tree = objects.tree(revision, "state/tenants")
    data = objects.blobs({blob.oid for blob in tree.values()})
    read = (parse_file(path, data[blob.oid], modules=()) for path, blob in tree.items() if blob.oid in data)
    valid = [file for file in read if file.kind is FileKind.TENANT and file.valid]
    return {file.stem: Tenant.model_validate({**file.values, "id": file.stem}) for file in valid}


def passed_on(session: Session, names: Sequence[str] = PASSED_ON) -> list[str]:
    """The common options as words, absolute where they are paths: the command is started elsewhere."""
    given = {name: session.options.get(name) or os.environ.get(f"VOXNIX_{name.upper()}") for name in names}
    return [word for name, value in given.items() if value for word in (f"--{name}", _absolute(name, value))]


def _absolute(name: str, value: str) -> str:
    """The value of a common option, understood from any directory."""
    if name != "host":
        return os.path.abspath(value)
    kind, colon, place = value.partition(":")
    return f"{kind}:{os.path.abspath(place)}" if colon else value
