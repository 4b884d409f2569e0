"""Decisions as trailers: read, checked for form, and attributed. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import datetime

from controller.admission.model import REQUESTED_BY, Change, Identity, Role
from controller.errors import Problem
from controller.spec.model import NAME_PATTERN
from controller.spec.state import Decision, DecisionKind

_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}"
_PREFIX = "voxnix-"
_FORMS = {
    DecisionKind.APPROVE: (re.compile(f"({_ID})"), "HOLD"),
    DecisionKind.PURGE: (re.compile(f"({_ID})"), "UID"),
    DecisionKind.RESTORE: (re.compile(f"({_ID})(?: as ({NAME_PATTERN}))?"), "TRASH-ID, or TRASH-ID as NAME"),
    DecisionKind.ROLLBACK_DATA: (re.compile(f"({_ID}) ({_ID})"), "UID SNAPSHOT"),
    DecisionKind.RESTART: (re.compile(f"({_ID})"), "UID"),
}
_KINDS = {str(kind).lower(): kind for kind in DecisionKind}
_AMEND = "mend the message with `git commit --amend`"


def decision_of(change: Change, identity: Identity, at: datetime) -> Decision | None:
    """The decision that an admitted commit brings, if it brings one. `at` is when it was committed."""
    found = _trailers(change)
    if not found:
        return None
    key, value = found[0]
    kind = _KINDS.get(key.lower())
    match = _FORMS[kind][0].fullmatch(value) if kind else None
    if kind is None or match is None:
        return None
    requesters = change.values(REQUESTED_BY)
    by = (requesters[0] if requesters else "") if identity.delegate else identity.tenant
    return Decision(
        kind=kind,
        argument=match[1],
        commit=change.commit,
        at=at,
        by=by or str(identity.role),
        admin=identity.role in (Role.ROOT, Role.ADMIN) and not identity.delegate,
        detail=(match[2] or "") if match.re.groups > 1 else "",
        delegate=identity.delegate,
    )


def malformed(change: Change) -> Iterator[Problem]:
    """What is wrong with a commit's decision trailers, if anything is."""
    found = _trailers(change)
    for key, value in found:
        kind = _KINDS.get(key.lower())
        if kind is None:
            near = difflib.get_close_matches(key.lower(), _KINDS, n=1)
            hint = f"did you mean `{_KINDS[near[0]]}`? {_AMEND}" if near else _AMEND
            yield _problem(change, f"there is no decision `{key}`", ", ".join(DecisionKind), hint)
        elif not _FORMS[kind][0].fullmatch(value):
            yield _problem(change, f"`{key}: {value[:80]}` cannot be read", f"`{kind}: {_FORMS[kind][1]}`", _AMEND)
    if len(found) > 1:
        keys = " and ".join(f"`{key}`" for key, _ in found[:3])
        yield _problem(change, f"one commit decides one thing, this one {keys}", "", "make a commit for each")


def misplaced(change: Change) -> Iterator[Problem]:
    """A decision that stands where trailers do not count: in the subject, or above the last paragraph."""
    found = {(key.lower(), value) for key, value in _trailers(change)}
    for line in change.message.splitlines():
        match = re.fullmatch(r"(voxnix-[a-z-]+):(.*)", line, re.IGNORECASE)
        if match and match[1].lower() in _KINDS and (match[1].lower(), match[2].strip(" \t")) not in found:
            hint = "put it on a line of its own after an empty line at the end of the message, in another commit"
            yield _problem(change, f"`{match[1]}` does not count here", "a trailer", hint)


def _trailers(change: Change) -> list[tuple[str, str]]:
    return [(key, value) for key, value in change.trailers if key.lower().startswith(_PREFIX)]


def _problem(change: Change, message: str, expected: str, hint: str) -> Problem:
    return Problem(f"commit {change.commit[:10]}", 0, 0, message, expected, hint)
