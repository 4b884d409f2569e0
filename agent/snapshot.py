"""The state at one commit as the agent needs it: everybody's specs, tenants, defaults; who may change what. Pure.

It judges a proposal by the same functions as the controller will, so that a person is told before there is a commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.admission import Change, Identity, Role, Snapshot, judge
from controller.admission.model import REQUESTED_BY, Touch
from controller.errors import InvalidFiles, Problem
from controller.spec.fields import FileKind
from controller.spec.model import ContainerSpec, Tenant
from controller.spec.parse import parse_file
from controller.spec.resolve import build_spec
from controller.spec.result import FileResult
from controller.spec.state import Library

DEFAULTS = FileResult("state/defaults.yaml", FileKind.DEFAULTS, "defaults", {})
PLAIN = "100644"


@dataclass(frozen=True, slots=True)
class State:
    """The files below `state/` at `revision`, read. `data` is their bytes by path."""

    revision: str
    data: Mapping[str, bytes]
    files: Mapping[str, FileResult]
    library: Library
    specs: Mapping[str, ContainerSpec] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def defaults(self) -> FileResult:
        """What specs need not repeat."""
        return self.files.get(DEFAULTS.path, DEFAULTS)

    @property
    def tenants(self) -> dict[str, Tenant]:
        """Tenants by id, of the files that can be read."""
        found = [file for file in self.files.values() if file.kind is FileKind.TENANT and file.valid]
        return {file.stem: Tenant.model_validate({**file.values, "id": file.stem}) for file in found}

    def values(self, name: str) -> Mapping[str, Any]:
        """What a container's file says itself; empty where there is none."""
        found = self.files.get(path_of(name))
        return found.values if found else {}

    def owner(self, name: str) -> str | None:
        """Whose a container is, as far as its file tells."""
        return self.snapshot.owner(name)

    @property
    def snapshot(self) -> Snapshot:
        """The state as admission judges by it."""
        values = {file.stem: file.values for file in self.files.values() if file.kind is FileKind.SPEC}
        return Snapshot(self.tenants, self.specs, values, frozenset(self.data), self.problems)

    def names(self, owner: str | None = None) -> list[str]:
        """The containers that have a file; with `owner`, theirs."""
        stems = sorted(file.stem for file in self.files.values() if file.kind is FileKind.SPEC)
        return [name for name in stems if owner is None or self.owner(name) == owner]


def path_of(name: str) -> str:
    """The file of a container."""
    return f"state/{name}.yaml"


def read_state(revision: str, data: Mapping[str, bytes], library: Library) -> State:
    """Read all files of a revision. Mistakes in files are in `problems`, never raised."""
    files = {path: parse_file(path, content, modules=library.modules) for path, content in sorted(data.items())}
    defaults = files.get(DEFAULTS.path, DEFAULTS)
    specs: dict[str, ContainerSpec] = {}
    problems = [problem for file in files.values() for problem in file.problems]
    for file in files.values():
        if file.kind is not FileKind.SPEC or not file.valid or not defaults.valid:
            continue
        spec, wrong = build_spec(file, defaults, library.modules)
        problems += wrong
        if spec is not None:
            specs[file.stem] = spec
    return State(revision, data, files, library, specs, tuple(problems))


def after(state: State, path: str, content: bytes | None) -> State:
    """The state as one changed file would make it."""
    data = {key: value for key, value in state.data.items() if key != path}
    return read_state(state.revision, data if content is None else {**data, path: content}, state.library)


def require_allowed(state: State, changed: State, path: str, tenant: str) -> None:
    """Raise `InvalidFiles` if the controller would refuse this change of one file, made for a tenant."""
    before, now = (PLAIN if path in one.data else None for one in (state, changed))
    trailers = ((REQUESTED_BY, tenant),)
    change = Change("proposal".ljust(40, "-"), (Touch(path, before, now),), trailers=trailers)
    delegate = Identity(None, Role.MEMBER, delegate=True)
    verdict = judge(change, delegate, state.snapshot, changed.snapshot, strict=True)
    if verdict.refusals:
        raise InvalidFiles(verdict.refusals)
