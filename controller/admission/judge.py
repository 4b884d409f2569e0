"""The rules: paths and modes that cannot be, who may change what, limits, tenants that are needed. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from controller.admission.decision import malformed, misplaced
from controller.admission.model import REQUESTED_BY, Change, Identity, Role, Snapshot, Touch, Verdict
from controller.errors import Problem
from controller.spec.fields import FileKind
from controller.spec.model import ContainerSpec
from controller.spec.parse import classify
from controller.spec.state import DecisionKind

_FILE = "100644"
_KNOWN = "a commit that is signed, or was pushed, with a key of a tenant"
_AGAIN = "push it with a key that your tenant's file lists, or sign it with one: `git commit --amend -S`"
_RETURN = (
    "put the branch back to the last good revision and push this with your own key; "
    "or root takes it as it is: `voxnix accept-rewrite COMMIT`"
)
_MODES = {"120000": "a symbolic link", "160000": "a submodule", "100755": "an executable file"}


@dataclass(frozen=True, slots=True)
class _Case:
    """One commit before the judge. `tenant` is whose rights count: a delegate's requester, or the identity's own."""

    change: Change
    identity: Identity
    tenant: str | None
    before: Snapshot
    after: Snapshot
    trash: Collection[str]
    strict: bool = False

    @property
    def limited(self) -> bool:
        """Whether only what is the tenant's own may be changed."""
        return self.identity.delegate or self.identity.role is Role.MEMBER

    def names(self) -> Iterator[tuple[Touch, str]]:
        """The touched spec files, each with its container's name."""
        for touch in self.change.touches:
            kind, stem, _ = classify(touch.path)
            if kind is FileKind.SPEC:
                yield touch, stem


def judge(
    change: Change,
    identity: Identity,
    before: Snapshot,
    after: Snapshot,
    *,
    trash: Collection[str] = (),
    strict: bool = False,
) -> Verdict:
    """Whether a commit by `identity` may take effect, by the tenants and owners of `before`, its parent.

    `trash` names the tenants whose data waits in the trash. A file that does not validate freezes its container and
    is only a warning; with `strict`, for a push that can still be mended, it is a refusal.
    """
    requesters = change.values(REQUESTED_BY)
    tenant = (requesters[0] if len(requesters) == 1 else None) if identity.delegate else identity.tenant
    case = _Case(change, identity, tenant, before, after, trash, strict)
    stranger, misplaced_files = list(_stranger(case, requesters)), list(_paths(case))
    refusals = [*misplaced_files, *malformed(change), *(stranger or _rights(case)), *_tenants(case)]
    warnings = [*misplaced(change), *_opened(case)]
    over = list(_limits(case))
    (refusals if case.limited else warnings).extend(over)
    touched = {touch.path for touch in change.touches} - {problem.path for problem in misplaced_files}
    seen = set(over)
    invalid = [problem for problem in after.problems if problem.path in touched and problem not in seen]
    (refusals if strict else warnings).extend(invalid)
    return Verdict(tuple(refusals), tuple(warnings))


def _stranger(case: _Case, requesters: tuple[str, ...]) -> Iterator[Problem]:
    """Why an identity has no rights at all, if it has none."""
    if case.identity.delegate:
        if len(requesters) != 1:
            yield _of(case, "the delegate has to say for whom it acts", f"one trailer `{REQUESTED_BY}: TENANT`")
        elif case.tenant not in case.before.tenants:
            message = f"there is no tenant `{case.tenant}` for whom the delegate could act"
            yield _of(case, message, f"one of {', '.join(sorted(case.before.tenants))}")
    elif case.identity.role is Role.NOBODY:
        message = f"nobody with rights here brought this commit: {case.identity.how or case.identity}"
        yield _of(case, message, _KNOWN if case.before.identity_required else "", _AGAIN if case.strict else _RETURN)
    elif case.identity.role is not Role.ROOT and case.identity.tenant not in case.before.tenants:
        yield _of(case, f"`{case.identity}` is no tenant at the commit before this one")


def _opened(case: _Case) -> Iterator[Problem]:
    """That a commit opens what was closed."""
    if case.before.identity_required and not case.after.identity_required:
        yield _of(case, "from now on a commit counts as root's own where it is not known who brought it")


def _paths(case: _Case) -> Iterator[Problem]:
    """Files below `state/` that nobody may add: they cannot be read safely, or on every machine."""
    folded: dict[str, list[str]] = {}
    if any(touch.before is None for touch in case.change.touches):
        for path in case.after.paths:
            folded.setdefault(_folded(path), []).append(path)
    for touch in case.change.touches:
        path = touch.path
        if touch.after is None or not _below_state(path):
            continue
        parts = path.split("/")
        if path.casefold() == "state":
            yield Problem("state", 0, 0, "`state` has to be a folder")
        elif parts[0] != "state":
            yield Problem(path, 0, 0, "differs from `state/` only in case", "`state/`", "rename it")
        elif not path.isprintable() or "\\" in path:
            yield Problem(ascii(path), 0, 0, "a file name with control characters", "plain letters", "rename it")
        elif any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
            yield Problem(path, 0, 0, "a path that points elsewhere", "", "remove it")
        elif any(part.endswith((".", " ")) for part in parts):
            yield Problem(path, 0, 0, "a name that ends in a dot or a blank", "a name for every machine", "rename it")
        elif touch.after != _FILE:
            what = _MODES.get(touch.after, f"a file with the odd mode {touch.after}")
            hint = "`git update-index --chmod=-x`" if touch.after == "100755" else "put a plain file in its place"
            yield Problem(path, 0, 0, f"{what} below `state/`", "a plain file", hint)
        twin = next((other for other in folded.get(_folded(path), ()) if other != path), None)
        if twin is not None and touch.before is None:
            how = "in case" if twin.casefold() == path.casefold() else "in how its letters are put together"
            yield Problem(path, 0, 0, f"differs from {twin} only {how}", "", "rename one of the two")


def _rights(case: _Case) -> Iterator[Problem]:
    """What a member, or a delegate for one, may not change. Root and admins may change everything."""
    if not case.limited:
        return
    for touch in case.change.touches:
        kind, name, _ = classify(touch.path)
        if kind is FileKind.SPEC and touch.path == f"state/{name}.yaml":
            yield from _own(case, touch, name)
        elif _below_state(touch.path):
            yield Problem(touch.path, 0, 0, f"{_who(case)} may not change this", "", "ask an admin")
        elif case.identity.delegate:
            yield Problem(touch.path, 0, 0, "the delegate may only change files of containers")
    if case.identity.delegate and case.change.values(DecisionKind.PURGE):
        yield _of(case, "a purge needs a person's own key", "", "decide it yourself: `voxnix trash purge`")


def _own(case: _Case, touch: Touch, name: str) -> Iterator[Problem]:
    """One spec file, changed by somebody who may only change their own."""
    was = case.before.owner(name) if touch.before is not None else case.tenant
    now = case.after.owner(name) if touch.after is not None else was
    if touch.before is not None and was != case.tenant:
        whose = f"belongs to {was}" if was else "belongs to nobody that can be told"
        yield Problem(
            touch.path, 0, 0, f"`{name}` {whose}; {_who(case)} may not change it", "", "ask them, or an admin"
        )
    elif now is None:
        yield Problem(touch.path, 0, 0, "it cannot be told whose this is", f"`owner: {case.tenant}`")
    elif now != was:
        yield Problem(
            touch.path, 0, 0, f"{_who(case)} may not give `{name}` to {now}", f"`owner: {was}`", "ask an admin"
        )
    said, before = case.after.values.get(name, {}), case.before.values.get(name, {})
    if touch.after is None:
        return
    former = said.get("renamed_from")
    if isinstance(former, str) and former != before.get("renamed_from"):
        theirs = case.before.owner(former)
        if theirs is not None and theirs != case.tenant:
            yield Problem(touch.path, 0, 0, f"`{former}` belongs to {theirs}: it cannot become `{name}`")
    if case.identity.delegate and touch.before is not None and said.get("host") != before.get("host"):
        yield Problem(touch.path, 0, 0, "the delegate may not change `host`", "", "ask an admin, or commit it yourself")
    yield from _tags(case, touch, _tags_of(said), _tags_of(before))


def _tags(case: _Case, touch: Touch, said: set[str], before: set[str]) -> Iterator[Problem]:
    """Tailnet tags that the tenant does not have."""
    tenant = case.before.tenants.get(case.tenant or "")
    wrong = sorted(said - before - set(tenant.tailnet_tags if tenant else ()))
    if wrong:
        has = f"one of {', '.join(tenant.tailnet_tags)}" if tenant and tenant.tailnet_tags else "no tags"
        yield Problem(touch.path, 0, 0, f"{case.tenant} may not use {', '.join(wrong)}", has, "ask an admin")


def _limits(case: _Case) -> Iterator[Problem]:
    """Tenants whose containers add up to more than they may, and to more than before."""
    for owner in sorted({owner for _, name in case.names() if (owner := case.after.owner(name))}):
        tenant = case.after.tenants.get(owner)
        if tenant is None:
            continue
        was, now = _totals(case.before.specs, owner), _totals(case.after.specs, owner)
        limits = (tenant.limits.containers, tenant.limits.storage, tenant.limits.memory)
        words = ("containers", "of workspace quotas", "of memory")
        for limit, old, new, word in zip(limits, was, now, words, strict=True):
            if limit is not None and new > max(limit, old):
                amount, most = (str(n) if word == "containers" else _size(n) for n in (new, limit))
                first = next(touch.path for touch, name in case.names() if case.after.owner(name) == owner)
                message = f"{owner} would have {amount} {word}"
                yield Problem(first, 0, 0, message, f"at most {most}", f"an admin can raise state/tenants/{owner}.yaml")


def _tenants(case: _Case) -> Iterator[Problem]:
    """Tenants that cannot go: those who own something, and the last admin."""
    for touch in case.change.touches:
        kind, tenant, _ = classify(touch.path)
        if kind is not FileKind.TENANT or touch.after is not None or f"state/tenants/{tenant}.yaml" in case.after.paths:
            continue
        owned = sorted(name for name in {*case.after.specs, *case.after.values} if case.after.owner(name) == tenant)
        if owned:
            names = ", ".join(owned[:5]) + (" …" if len(owned) > 5 else "")
            yield Problem(touch.path, 0, 0, f"{tenant} still owns {names}", "", "give them away or remove them first")
        elif tenant in case.trash:
            hint = "restore or purge it first: `voxnix trash list`"
            yield Problem(touch.path, 0, 0, f"data of {tenant} is still in the trash", "", hint)
    if case.identity.role is Role.ADMIN and _admins(case.before) and not _admins(case.after):
        yield _of(case, "no admin would be left", "a tenant with `role: admin`", "only root may do this")


def _totals(specs: Mapping[str, ContainerSpec], owner: str) -> tuple[int, int, int]:
    """Count, bytes of workspace quota and bytes of memory of one tenant's containers."""
    own = [spec for spec in specs.values() if spec.owner == owner]
    storage = sum(spec.workspace.quota for spec in own if spec.has_workspace)
    return len(own), storage, sum(spec.resources.memory for spec in own)


def _tags_of(values: Mapping[str, object]) -> set[str]:
    section = values.get("tailnet")
    tags = section.get("tags") if isinstance(section, Mapping) else None
    return {tag for tag in tags if isinstance(tag, str)} if isinstance(tags, list | tuple) else set()


def _admins(snapshot: Snapshot) -> bool:
    return any(tenant.role == "admin" for tenant in snapshot.tenants.values())


def _folded(path: str) -> str:
    """A path as machines see it that take letters for the same where git does not."""
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def _below_state(path: str) -> bool:
    return path.casefold() == "state" or path.casefold().startswith("state/")


def _who(case: _Case) -> str:
    return f"the delegate of {case.tenant}" if case.identity.delegate else f"{case.tenant}, a member,"


def _of(case: _Case, message: str, expected: str = "", hint: str = "") -> Problem:
    return Problem(f"commit {case.change.commit[:10]}", 0, 0, message, expected, hint)


def _size(amount: int) -> str:
    """Bytes as people write sizes."""
    for unit, word in ((2**40, "T"), (2**30, "G"), (2**20, "M")):
        if amount >= unit and amount % unit == 0:
            return f"{amount // unit}{word}"
    return f"{amount / 2**30:.1f}G"
