"""From the files of one revision to desired state: defaults merged in, cross-checked, and frozen where in doubt.

Pure. A file that does not validate never removes or changes anything: its container stays as the last valid spec
asked for. Callers keep the `FileResult`s of unchanged blobs and pass the very same objects again, with the same
`memo`: then an unchanged container costs a few look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from controller.errors import Problem
from controller.observed import Unknown
from controller.spec import checks
from controller.spec.digest import own_digest, system_digest
from controller.spec.fields import FileKind
from controller.spec.model import ContainerSpec, Tenant
from controller.spec.parse import unknown_module
from controller.spec.result import FileResult
from controller.spec.state import Decision, Desired, Library, Wanted

_NO_DEFAULTS = FileResult("state/defaults.yaml", FileKind.DEFAULTS, "defaults", {})
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LastGood:
    """The last valid spec of a container, and the commit it is from: what it stays at while frozen."""

    spec: ContainerSpec
    revision: str
    digest: str
    own: str
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """One spec with its defaults, before it is compared with other files; `spec` is None if it has problems."""

    spec: ContainerSpec | None
    problems: tuple[Problem, ...]
    digest: str = ""
    own: str = ""


Memo = MutableMapping[str, tuple[FileResult, FileResult, str, Draft]]
"""Drafts by path, with what each was made from (file, defaults, library digest). Starts empty; `resolve` keeps it."""


def resolve(  # noqa: PLR0913 - everything that desired state depends on, by name
    files: Mapping[str, FileResult],
    *,
    revision: str,
    changed: Mapping[str, str],
    last: Mapping[str, LastGood],
    last_tenants: Mapping[str, Tenant],
    library: Library,
    host: str | None = None,
    changed_at: Mapping[str, datetime] = _EMPTY,
    decisions: Iterable[Decision] = (),
    removed: Mapping[str, str] = _EMPTY,
    moves: Mapping[str, str] = _EMPTY,
    memo: Memo | None = None,
) -> Desired | Unknown:
    """Desired state of one revision; `Unknown` for a tree without state files or without tenants.

    `files` by path; `changed` and `changed_at` map paths to the commit that last changed them and its time;
    `last` and `last_tenants` are the last valid values of earlier revisions, by name and id; `removed` and
    `moves` are passed on (`Desired.removed`, `Wanted.moved_from`). `host` is this appliance's own name, for messages.
    Problems of limits are reported in `Desired.problems` and freeze nothing: admission refuses them earlier.
    """
    chosen = _choose(files.values())
    tenant_files = {stem: file for (kind, stem), file in chosen.items() if kind is FileKind.TENANT}
    if not tenant_files:
        found = "tenants (state/tenants/ID.yaml)" if any(kind != "other" for kind, _ in chosen) else "state files"
        return Unknown(f"revision {revision[:12]} has no {found}")
    tenants, tenant_problems = _tenants(tenant_files, last_tenants)
    specs = {stem: file for (kind, stem), file in chosen.items() if kind is FileKind.SPEC}
    defaults = chosen.get((FileKind.DEFAULTS, "defaults"), _NO_DEFAULTS)
    drafts = _drafts(specs, defaults, library, {} if memo is None else memo)
    frozen = _frozen_alone(specs, drafts, defaults, tenant_files, tenant_problems)
    lasts = {name: good.spec for name, good in last.items()}
    scene = _freeze_together(specs, drafts, frozen, tenants, lasts, host)
    wanted = {}
    for name, file in specs.items():
        commit, at = changed.get(file.path, revision), changed_at.get(file.path)
        wanted[name] = _wanted(name, drafts[name], frozen.get(name, ()), last.get(name), commit, at, moves.get(name))
    owners = {spec.owner for _, spec in scene.in_force()}
    return Desired(
        revision=revision,
        containers=wanted,
        tenants=tenants,
        removed=removed,
        frozen_tenants=frozenset(tenant_problems) | ((owners | set(last_tenants)) - set(tenant_files)),
        decisions=tuple(decisions),
        problems=_told(files.values(), [*frozen.values(), *tenant_problems.values(), checks.limits(scene, tenants)]),
        hosts=checks.named_hosts(scene),
    )


def _told(files: Iterable[FileResult], groups: Iterable[Iterable[Problem]]) -> tuple[Problem, ...]:
    """Every problem once, in the order of files and lines."""
    alone = {problem for file in files for problem in file.problems}
    return tuple(sorted(alone.union(*groups)))


def merge(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` values over `defaults`: maps are merged key by key, anything else (lists, null) replaces."""
    merged = dict(defaults)
    for key, value in own.items():
        below = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        merged[key] = merge(below, value) if both and below is not None else value
    return merged


def build_spec(
    file: FileResult, defaults: FileResult, modules: Mapping[str, str]
) -> tuple[ContainerSpec | None, tuple[Problem, ...]]:
    """The spec of one valid file with its defaults, or what is wrong once both are put together."""
    merged = merge(defaults.values, file.values) | {"name": file.stem}
    try:
        spec = ContainerSpec.model_validate(merged)
    except ValidationError as error:
        found = (_located(file, defaults, item) for item in error.errors(include_url=False))
        return None, tuple(found)
    at = file if "modules" in file.values else defaults
    missing = tuple(
        at.problem(f"modules.{index}", *unknown_module(name, modules))
        for index, name in enumerate(spec.modules)
        if name not in modules
    )
    return (None if missing else spec), missing


def _located(file: FileResult, defaults: FileResult, item: Mapping[str, Any]) -> Problem:
    """A validation error of the merged values, at the file that said the value."""
    mark = ".".join(map(str, item["loc"]))
    top = mark.partition(".")[0]
    at = file if top in file.marks or top not in defaults.marks else defaults
    message = str(item["msg"]).removeprefix("Value error, ")
    return at.problem(mark, f"`{mark}`: {message}" if mark else message)


def _choose(files: Iterable[FileResult]) -> dict[tuple[FileKind, str], FileResult]:
    """One file for each container, tenant and the defaults: the one in its right place, where there are two."""
    chosen: dict[tuple[FileKind, str], FileResult] = {}
    for file in sorted(files, key=_rank):
        chosen.setdefault((file.kind, file.stem), file)
    return chosen


def _rank(file: FileResult) -> tuple[bool, str]:
    folder = "state/tenants/" if file.kind is FileKind.TENANT else "state/"
    return file.path != f"{folder}{file.stem}.yaml", file.path


def _tenants(
    files: Mapping[str, FileResult], last: Mapping[str, Tenant]
) -> tuple[dict[str, Tenant], dict[str, tuple[Problem, ...]]]:
    """Tenants by id (the last valid one where the file is not), and the problems of those in doubt."""
    problems = {name: file.problems for name, file in files.items() if file.problems}
    read = {name: Tenant.model_validate({**file.values, "id": name}) for name, file in files.items() if file.valid}
    while True:
        valid = {name: tenant for name, tenant in read.items() if name not in problems}
        kept = {name: last[name] for name in problems if name in last}
        blame = checks.identities(files, valid, kept, last)
        if not blame:
            return valid | kept, problems
        problems.update({name: (problem,) for name, problem in blame.items()})


def _drafts(specs: Mapping[str, FileResult], defaults: FileResult, library: Library, memo: Memo) -> dict[str, Draft]:
    """A draft of every spec; those whose file, defaults and library are the same come from the memo."""
    drafts = {}
    paths = set()
    for name, file in specs.items():
        entry = memo.get(file.path)
        if entry is None or entry[:3] != (file, defaults, library.digest):
            entry = memo[file.path] = (file, defaults, library.digest, _draft(file, defaults, library))
        drafts[name] = entry[3]
        paths.add(file.path)
    for path in memo.keys() - paths:
        del memo[path]
    return drafts


def _draft(file: FileResult, defaults: FileResult, library: Library) -> Draft:
    """One spec with its defaults; the problems of either, or of both together."""
    if file.problems or defaults.problems:
        return Draft(None, file.problems + defaults.problems)
    spec, problems = build_spec(file, defaults, library.modules)
    if spec is None:
        return Draft(None, problems)
    return Draft(spec, (), system_digest(spec, library), own_digest(file.stem, file.values))


def _frozen_alone(
    specs: Mapping[str, FileResult],
    drafts: Mapping[str, Draft],
    defaults: FileResult,
    tenant_files: Mapping[str, FileResult],
    tenant_problems: Mapping[str, tuple[Problem, ...]],
) -> dict[str, tuple[Problem, ...]]:
    """Why containers freeze for their own file, the defaults or their tenant."""
    frozen = {}
    for name, draft in drafts.items():
        if draft.spec is None:
            frozen[name] = draft.problems
        elif draft.spec.owner not in tenant_files:
            frozen[name] = (checks.owner_missing(specs[name], draft.spec.owner, tenant_files),)
        elif draft.spec.owner in tenant_problems:
            frozen[name] = tenant_problems[draft.spec.owner]
    return frozen


def _freeze_together(
    files: Mapping[str, FileResult],
    drafts: Mapping[str, Draft],
    frozen: dict[str, tuple[Problem, ...]],
    tenants: Mapping[str, Tenant],
    last: Mapping[str, ContainerSpec],
    here: str | None,
) -> checks.Scene:
    """Add to `frozen` what the files get wrong together, until nothing new is found; the scene that is left.

    It is repeated because a container that freezes falls back to its last spec, which may claim other names.
    """
    while True:
        specs = {n: draft.spec for n, draft in drafts.items() if draft.spec is not None and n not in frozen}
        scene = checks.Scene(files, specs, last)
        blame = checks.tags(scene, tenants) | checks.renames(scene) | checks.hosts(scene, here)
        blame = blame or checks.hostnames(scene)
        if not blame:
            return scene
        frozen.update({name: (problem,) for name, problem in blame.items()})


def _wanted(
    name: str,
    draft: Draft,
    frozen: tuple[Problem, ...],
    last: LastGood | None,
    commit: str,
    at: datetime | None,
    moved_from: str | None,
) -> Wanted:
    """One container: as its draft says, or frozen as it last was."""
    if not frozen:
        return Wanted(name, draft.spec, commit, draft.digest, draft.own, (), at, moved_from)
    if last is None:
        return Wanted(name, None, commit, "", "", frozen, at, None)
    return Wanted(name, last.spec, last.revision, last.digest, last.own, frozen, last.changed_at, None)
