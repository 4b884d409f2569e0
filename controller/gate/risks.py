"""What is allowed in a push and yet may not be meant: told, never refused. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from controller.errors import Problem
from controller.gate.brief import Side
from controller.plan.power import expired
from controller.spec.forms import size_text
from controller.spec.model import ContainerSpec, Tenant

SOON = timedelta(days=1)
_NAMED = re.compile(r"(?:^|_)(?:TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)(?:_|$)", re.IGNORECASE)
_SHAPED = re.compile(
    r"(?:tskey-|hskey-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|sk-[A-Za-z0-9]{16}|AKIA[0-9A-Z]{16}|\d{8,10}:[A-Za-z0-9_-]{35}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY)"
)
"""How keys of well-known services begin."""


def risks(before: Side, after: Side, now: datetime) -> Iterator[Problem]:
    """What is worth a warning in the files that a push has changed."""
    was, will = before.desired.containers, after.desired.containers
    for name, wanted in will.items():
        path = f"state/{name}.yaml"
        if wanted.spec is None or before.files.get(path) is after.files.get(path):
            continue
        old = was[name].spec if name in was else None
        yield from (Problem(path, 0, 0, what, "", hint) for what, hint in _container(old, wanted.spec, now))
    for tenant, found in after.desired.tenants.items():
        path = f"state/tenants/{tenant}.yaml"
        if before.files.get(path) is not after.files.get(path):
            yield from (Problem(path, 0, 0, what, "", hint) for what, hint in _tenant(found))


def _container(old: ContainerSpec | None, new: ContainerSpec, now: datetime) -> Iterator[tuple[str, str]]:
    for key, value in new.env.items():
        known = old is not None and old.env.get(key) == value
        if not known and ((_NAMED.search(key) and value) or _SHAPED.search(value)):
            hint = f"`voxnix secret set --tenant {new.owner} {key.lower()}`, and `secrets: [{key.lower()}]` here"
            yield f"`env.{key}` looks like a secret: who can read this repository, or its history, has it", hint
    if new.expires is not None and (old is None or old.expires != new.expires):
        if expired(new, now):
            yield "`expires` is over already: the container is removed", "its data stays in the trash for a while"
        elif new.expires <= now + SOON:
            yield f"it is removed soon: `expires` is {new.expires:%Y-%m-%d %H:%M %Z}", ""
    if old is None:
        return
    if old.has_workspace and not new.has_workspace:
        yield (
            "without module `workspace` there is no /workspace any more",
            "its files stay, and are back with the module",
        )
    if new.has_workspace and new.workspace.quota < old.workspace.quota:
        size = size_text(new.workspace.quota)
        yield f"a smaller quota: nothing changes if more than {size} is used in /workspace", ""
    if old.workspace.restore == "latest" and new.workspace.restore == "never":
        yield "`restore: never`: once removed, it comes back empty; the trash keeps its files for a while", ""


def _tenant(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """An admin of whom nobody can know that they speak."""
    if tenant.role == "admin" and not (tenant.ssh_keys or tenant.signing_keys):
        yield f"{tenant.id} is an admin without a key: only root can speak for them", "add one to `ssh_keys`"
