"""What `state/policy.yaml` asks for, whatever state it is in. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from controller.spec.fields import FileKind
from controller.spec.model import StatePolicy
from controller.spec.result import FileResult

_OPEN = str(StatePolicy.model_fields["identity"].default)


def identity_required(files: Iterable[FileResult]) -> bool:
    """Whether a commit counts only if it is known who brought it.

    A policy that cannot be read, or that lies in a wrong place, asks for it: a slip never opens what was closed.
    """
    found = [file for file in files if file.kind is FileKind.POLICY]
    return any(not file.valid or file.values.get("identity", _OPEN) == "required" for file in found)
