"""`voxnix secret`: values come from stdin and go into a root-only file of the host; nowhere else."""

from __future__ import annotations

import getpass
import sys

import click

from controller.cli import text
from controller.cli.session import Session, pass_session
from controller.errors import BadInput


@click.group()
def secret() -> None:
    """Secrets of tenants: set, list, remove. Values are kept on the host, root-only, and never shown."""


tenant_option = click.option("--tenant", metavar="ID", help="Whose it is; or write TENANT/NAME.")


@secret.command("set")
@click.argument("name")
@tenant_option
@click.option("--share", metavar="TENANT,…", default="", help="Other tenants who may use it as TENANT/NAME.")
@pass_session
def set_(session: Session, name: str, tenant: str | None, share: str) -> None:
    """Store a secret, its value read from stdin (one line end at its end is dropped)."""
    whose, plain = _reference(session, name, tenant)
    value = _value()
    shared = [other.strip() for other in share.split(",") if other.strip()]
    session.secrets.put(whose, plain, value, shared)
    session.client.poke()
    used = f"secrets: [{plain}]" if not shared else f"secrets: [{plain}], for others [{whose}/{plain}]"
    session.answer(
        {"tenant": whose, "name": plain, "shared_with": shared, "bytes": len(value)},
        [f"Stored {whose}/{plain} ({text.plural(len(value), 'byte')}). A spec asks for it with {used}."],
    )


@secret.command("list")
@tenant_option
@pass_session
def list_(session: Session, tenant: str | None) -> None:
    """Names of secrets, never values."""
    found = [
        {"tenant": whose, "name": name, "shared_with": list(session.secrets.shared_with(whose, name))}
        for whose, names in sorted(session.secrets.names().items())
        for name in sorted(names)
        if "/" not in name and tenant in (None, whose)
    ]
    rows = [(str(s["tenant"]), str(s["name"]), ", ".join(map(str, s["shared_with"]))) for s in found]
    session.answer(found, text.table(("TENANT", "NAME", "SHARED WITH"), rows) if rows else ["No secrets are stored."])


@secret.command()
@click.argument("name")
@tenant_option
@pass_session
def rm(session: Session, name: str, tenant: str | None) -> None:
    """Remove a secret. Containers that ask for it lose it with the next pass."""
    whose, plain = _reference(session, name, tenant)
    if not session.secrets.drop(whose, plain):
        own = [known for known in session.secrets.names().get(whose, ()) if "/" not in known]
        raise BadInput(f"{text.clean(whose)} has no secret {text.clean(plain)}", hint=text.suggestion(plain, own))
    session.client.poke()
    session.answer({"tenant": whose, "name": plain, "removed": True}, [f"Removed {whose}/{plain}."])


def _reference(session: Session, name: str, tenant: str | None) -> tuple[str, str]:
    """Whose secret is meant, and its name; where there is one tenant only, it is theirs."""
    whose, slash, plain = name.rpartition("/")
    if slash and tenant and tenant != whose:
        raise BadInput(f"--tenant {text.clean(tenant)} does not go with {text.clean(name)}")
    known = _tenants(session)
    whose = whose or tenant or (known[0] if len(known) == 1 else "")
    if not whose:
        hint = f"say whose: --tenant {' or '.join(known) if known else 'ID'}"
        raise BadInput("a secret belongs to a tenant", hint=hint)
    if known and whose not in known:
        raise BadInput(f"there is no tenant {text.clean(whose)}", hint=text.suggestion(whose, known))
    return whose, plain


def _tenants(session: Session) -> list[str]:
    """The tenants that the state repo names; nobody where it cannot be read from here."""
    try:
        paths = session.repo.tree(session.head, "state/tenants")
    except BadInput:
        return []
    return sorted(path.rpartition("/")[2].removesuffix(".yaml") for path in paths if path.endswith(".yaml"))


def _value() -> bytes:
    """The value: from a pipe, or typed without being shown."""
    if sys.stdin.isatty():
        value = getpass.getpass("Value (not shown): ").encode()
    else:
        value = sys.stdin.buffer.read()
        value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise BadInput("the value is empty", hint="pipe it in: voxnix secret set NAME < FILE")
    return value
