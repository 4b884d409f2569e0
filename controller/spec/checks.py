"""What only several state files together can get wrong: claims on the same name, key or host, and limits.

Pure. Whoever had something first keeps it, so that nobody can freeze another's container by asking for what it
has. Each check looks at the specs in force (a frozen container's last one included) and blames valid files only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from controller.errors import Problem
from controller.spec.forms import size_text
from controller.spec.model import ContainerSpec, Tenant
from controller.spec.result import FileResult
from controller.spec.scalars import nearest


@dataclass(frozen=True, slots=True)
class Scene:
    """The containers of one revision by name.

    `files` of all, `specs` of those that nothing is wrong with so far, `last` valid specs of earlier revisions.
    """

    files: Mapping[str, FileResult]
    specs: Mapping[str, ContainerSpec]
    last: Mapping[str, ContainerSpec]

    def in_force(self) -> Iterator[tuple[str, ContainerSpec]]:
        """Every container's spec, by name: the valid one, or the last valid one of a frozen container."""
        for name in self.files:
            spec = self.specs.get(name) or self.last.get(name)
            if spec is not None:
                yield name, spec


Blame = dict[str, Problem]
"""Containers that a check freezes, by name, and why."""


def hosts(scene: Scene, here: str | None) -> Blame:
    """Where several hosts are named, each spec must say which it is for; `here` is this appliance's own name."""
    named = sorted(named_hosts(scene))
    if len(named) < 2:
        return {}
    message, hint = (
        "several hosts are in use, and this does not say which it is for",
        f"write `host: {here or named[0]}`",
    )
    return {
        name: scene.files[name].problem("", message, f"`host:` and one of {', '.join(named)}", hint)
        for name, spec in scene.specs.items()
        if spec.host is None
    }


def named_hosts(scene: Scene) -> frozenset[str]:
    """All hosts that a spec names."""
    return frozenset(spec.host for _, spec in scene.in_force() if spec.host is not None)


def tags(scene: Scene, tenants: Mapping[str, Tenant]) -> Blame:
    """A container may ask only for tailnet tags that its tenant may use."""
    blame: Blame = {}
    for name, spec in scene.specs.items():
        asked = spec.tailnet.tags
        if not asked or not spec.on_tailnet:
            continue
        allowed = tenants[spec.owner].tailnet_tags
        for index, tag in enumerate(asked):
            if tag not in allowed:
                message = f"tenant `{spec.owner}` may not use the tailnet tag `{tag}`"
                expected = f"one of {', '.join(allowed)}" if allowed else "no tags"
                hint = f"or let an admin add it to `tailnet_tags` in state/tenants/{spec.owner}.yaml"
                blame[name] = scene.files[name].problem(f"tailnet.tags.{index}", message, expected, hint)
                break
    return blame


def renames(scene: Scene) -> Blame:
    """A former name is claimed once, by the same owner, and only when nothing has that name any more."""
    claims: dict[str, list[str]] = {}
    for name, spec in scene.in_force():
        if spec.renamed_from is not None:
            claims.setdefault(spec.renamed_from, []).append(name)
    blame: Blame = {}
    for old, names in claims.items():
        kept = [name for name in names if name in scene.last and scene.last[name].renamed_from == old]
        for name in names:
            if name in kept or name not in scene.specs:
                continue
            if wrong := _bad_rename(scene, old, name, kept or names):
                blame[name] = scene.files[name].problem("renamed_from", *wrong)
        if kept and old in scene.specs:
            message = f"`{old}` is still the former name of `{kept[0]}`"
            hint = f"remove `renamed_from: {old}` from {scene.files[kept[0]].path} first"
            blame[old] = scene.files[old].problem("", message, "a name that nothing claims", hint)
    return blame


def _bad_rename(scene: Scene, old: str, name: str, claimants: list[str]) -> tuple[str, str, str] | None:
    """Message, expectation and hint for a new rename that cannot be."""
    others = [other for other in claimants if other != name]
    if old in scene.files:
        hint = f"`git mv {scene.files[old].path} state/{name}.yaml`, or leave `renamed_from` out"
        return f"`{old}` still exists, so nothing can be renamed from it", "the name of a removed file", hint
    if others:
        return f"`{others[0]}` says that it was `{old}`, too", "one file that claims it", "leave it out of one"
    former = scene.last.get(old)
    if former is not None and former.owner != scene.specs[name].owner:
        message = f"`{old}` belonged to `{former.owner}`, and a rename cannot change the owner"
        return message, f"`owner: {former.owner}`", "rename first, then change the owner in another commit"
    return None


def hostnames(scene: Scene) -> Blame:
    """On one appliance a tailnet name belongs to one container: to who had it, else to who is called so."""
    claims: dict[tuple[str | None, str], list[str]] = {}
    for name, spec in scene.in_force():
        if "tailscale" in spec.modules:
            claims.setdefault((spec.host, spec.hostname), []).append(name)
    blame: Blame = {}
    for (_, hostname), names in claims.items():
        if len(names) < 2:
            continue
        ranks = {name: _rank(scene, name, hostname) for name in names}
        best = min(ranks.values())
        for name, rank in ranks.items():
            if name not in scene.specs or (rank == best and best < 2):
                continue
            other = min((rank, other) for other, rank in ranks.items() if other != name)[1]
            message = f"the tailnet name `{hostname}` is that of container `{other}`, too"
            hint = "write another name below `tailnet:` as `hostname:`"
            blame[name] = scene.files[name].problem("tailnet.hostname", message, "a name of its own", hint)
    return blame


def _rank(scene: Scene, name: str, hostname: str) -> int:
    """How good a claim on a tailnet name is: 0 had it already, 1 is called so, 2 asks for it."""
    last = scene.last.get(name)
    if name not in scene.specs or (last is not None and last.on_tailnet and last.hostname == hostname):
        return 0
    return 1 if name == hostname else 2


def owner_missing(file: FileResult, owner: str, tenants: Mapping[str, object]) -> Problem:
    """The problem of a spec whose owner has no tenant file."""
    near = nearest(owner, tenants)
    expected = f"one of {', '.join(sorted(tenants))}" if tenants else "a tenant"
    hint = f"did you mean `{near}`?" if near else f"or add state/tenants/{owner}.yaml"
    return file.problem("owner", f"there is no tenant `{owner}`", expected, hint)


def identities(
    files: Mapping[str, FileResult],
    valid: dict[str, Tenant],
    kept: dict[str, Tenant],
    last: Mapping[str, Tenant],
) -> Blame:
    """A key or a chat speaks for one tenant only; whoever had it keeps it.

    `valid` are the tenants that nothing is wrong with so far, `kept` the last values of the others, by id.
    """
    claims: dict[str, dict[str, str]] = {}
    for tenant_id, tenant in (valid | kept).items():
        for credential, mark in _credentials(tenant):
            claims.setdefault(credential, {}).setdefault(tenant_id, mark)
    blame: Blame = {}
    for credential, claimants in claims.items():
        if len(claimants) < 2:
            continue
        had = {name for name in claimants if name in last and credential in dict(_credentials(last[name]))}
        losers = (claimants.keys() - had if had else claimants.keys()) & valid.keys()
        for name in sorted(losers):
            other = min(had or claimants.keys() - {name})
            message = f"this also stands for tenant `{other}`"
            problem = files[name].problem(claimants[name], message, "what is theirs alone", "remove it from one")
            blame.setdefault(name, problem)
    return blame


def _credentials(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """What identifies a tenant (keys without their comments, chats), each with the mark of its field."""
    for field, keys in (("signing_keys", tenant.signing_keys), ("ssh_keys", tenant.ssh_keys)):
        for index, key in enumerate(keys):
            yield " ".join(key.split(" ")[:2]), f"{field}.{index}"
    for index, chat in enumerate(tenant.telegram):
        yield f"telegram {chat}", f"telegram.{index}"


def limits(scene: Scene, tenants: Mapping[str, Tenant]) -> list[Problem]:
    """Specs that take their tenant over a limit: the newest and grown ones are named, not what was there before."""
    owned: dict[str, list[str]] = {}
    specs = dict(scene.in_force())
    limited = {tenant.id for tenant in tenants.values() if tenant.limits != _UNLIMITED}
    for name, spec in specs.items():
        if spec.owner in limited:
            owned.setdefault(spec.owner, []).append(name)
    found: list[Problem] = []
    for owner, names in sorted(owned.items()):
        for kind in _LIMITS:
            limit = getattr(tenants[owner].limits, kind.name)
            if limit is not None:
                found += _over(scene, specs, sorted(names), kind, owner, limit)
    return found


@dataclass(frozen=True, slots=True)
class _Limit:
    """One kind of limit: its field in `limits`, what a spec takes of it, where that stands, how it is told."""

    name: str
    takes: Callable[[ContainerSpec], int]
    mark: str
    what: str
    tell: Callable[[int], str]


_UNLIMITED = Tenant.model_fields["limits"].default
_LIMITS = (
    _Limit("containers", lambda spec: 1, "owner", "the number of containers", str),
    _Limit(
        "storage",
        lambda spec: spec.workspace.quota if spec.has_workspace else 0,
        "workspace.quota",
        "workspace quotas together",
        size_text,
    ),
    _Limit("memory", lambda spec: spec.resources.memory, "resources.memory", "memory limits together", size_text),
)


def _over(
    scene: Scene, specs: Mapping[str, ContainerSpec], names: list[str], kind: _Limit, owner: str, limit: int
) -> Iterator[Problem]:
    """The specs that a limit has no room for, when those that have not grown are served first."""

    def grown(name: str) -> bool:
        last = scene.last.get(name)
        return last is None or last.owner != owner or kind.takes(specs[name]) > kind.takes(last)

    total = 0
    for name in sorted(names, key=grown):
        taken = kind.takes(specs[name])
        total += taken
        if taken and total > limit:
            message = f"{kind.what} of tenant `{owner}` would be {kind.tell(total)}"
            hint = f"or let an admin raise `limits.{kind.name}` in state/tenants/{owner}.yaml"
            yield scene.files[name].problem(kind.mark, message, f"at most {kind.tell(limit)}", hint)
