"""Who brought each commit: by its signature, by the receive log, or else by what the policy makes of nobody.

Each commit is looked at with the keys of its parent's tenants, so a key that was taken away there counts no more.
Git's author field is never asked. What an identity may do is for `controller.admission`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from controller.admission import NOBODY, ROOT, Identity, Role, Snapshot
from controller.errors import Problem
from controller.git import Commit, Objects
from controller.git.signatures import Signed, signatures, verify
from controller.receive import Arrival, Found, Keys, Owner, fingerprint_of
from controller.spec.model import Tenant

log = logging.getLogger(__name__)

Identify = Callable[[Commit, Snapshot], Sequence[Identity]]
"""Who brought a commit, by the state at the commit before it: one, or several that each would do, the first told."""

LOG = "voxnix/received.jsonl"
_KEPT = 4_096


def on_the_appliance(commit: Commit, before: Snapshot) -> Sequence[Identity]:
    """Whoever can write to a repository on the appliance itself could do anything there: root."""
    del commit, before
    return (ROOT,)


class Arrivals(Protocol):
    """Who tells what came in with whose key: `controller.receive.ReceiveLog`, as a rule."""

    def find(self, commits: Collection[str]) -> Found:
        """The latest entry of each of these commits that has one."""
        ...

    def mark(self) -> object:
        """A value that differs whenever `find` may answer something else."""
        ...


@dataclass(frozen=True, slots=True)
class Witness:
    """Who brought the commits of one look at the state repo. `problems` are about the receive log, to be told."""

    identify: Identify
    problems: tuple[Problem, ...] = ()


class Identities:
    """Tells who brought commits. `objects` has them; `log` is the receive log, None for a state repo far away.

    `delegates` are the agent's public keys.
    """

    def __init__(self, objects: Objects, log: Arrivals | None, delegates: Collection[str] = ()) -> None:
        self._objects = objects
        self._log = log
        self._delegates = tuple(delegates)
        self._keys: tuple[Mapping[str, Tenant], Keys] | None = None
        self._verified: dict[tuple[str, str], str] = {}

    def mark(self) -> object:
        """A value that differs whenever the same commits may have been brought by somebody else."""
        return self._log.mark() if self._log else None

    def of(self, commits: Sequence[Commit]) -> Witness:
        """Look the commits up. Signatures are read when they are first asked for: one process for all."""
        found = self._log.find([commit.sha for commit in commits]) if self._log else None
        look = _Look(self, found, tuple(commit.sha for commit in commits))
        return Witness(look.identify, tuple(_complaints(found)) if found else ())

    def keys(self, tenants: Mapping[str, Tenant]) -> Keys:
        """Whose keys are whose, by the tenants of one commit."""
        if self._keys is None or self._keys[0] is not tenants:
            self._keys = (tenants, Keys(tenants, self._delegates))
        return self._keys[1]

    def signatures(self, commits: Sequence[str]) -> Mapping[str, Signed]:
        """The signatures that commits bear, not verified."""
        return signatures(self._objects, commits)

    def why_not(self, sha: str, signed: Signed, key: str) -> str:
        """Why a commit's signature by `key` is not good, or nothing if it is; verified once."""
        if (sha, key) not in self._verified:
            if len(self._verified) >= _KEPT:
                self._verified.clear()
            self._verified[sha, key] = verify(signed, key)
        return self._verified[sha, key]


class _Look:
    """One look: what the log says of the commits, if there is one, and their signatures once these matter."""

    def __init__(self, identities: Identities, found: Found | None, commits: Sequence[str]) -> None:
        self._identities = identities
        self._found = found
        self._commits = commits
        self._signatures: Mapping[str, Signed] | None = None

    def identify(self, commit: Commit, before: Snapshot) -> Sequence[Identity]:
        """See `Identify`. Root's word is enough; a signature goes before the key of a push, and either will do."""
        arrival = self._found.arrivals.get(commit.sha) if self._found else None
        at = arrival.at if arrival else None
        if arrival is not None and not arrival.key:
            how = f"brought there by {arrival.by or 'root'}, on the appliance"
            return (replace(ROOT, how=how, at=at),)
        keys = self._identities.keys(before.tenants)
        signer, against = self._signer(commit.sha, keys, before.tenants)
        if against and signer is None:
            return (replace(NOBODY, how=against, at=at),)
        pusher = _pusher(arrival, keys, before.tenants) if arrival else None
        known = [replace(found, at=at) for found in (signer, pusher) if found and found.role is not Role.NOBODY]
        if known:
            return known
        if pusher is not None:
            return (replace(pusher, at=at),)
        if not before.identity_required:
            return (ROOT,)
        return (replace(NOBODY, how=_unknown(self._found, signed=self._has_signature(commit.sha))),)

    def _signer(self, sha: str, keys: Keys, tenants: Mapping[str, Tenant]) -> tuple[Identity | None, str]:
        """Who signed a commit, if it is somebody; and what speaks against a signature with a key of somebody's."""
        if not keys.signing:
            return None, ""
        signed = self._all_signatures().get(sha)
        owner = keys.signing.get(fingerprint_of(signed.key)) if signed else None
        if signed is None or owner is None:
            return None, ""
        wrong = self._identities.why_not(sha, signed, owner.key)
        if wrong:
            return None, f"it bears a signature with the key of {owner.name} that is not theirs: {wrong}"
        return _identity(owner, tenants, "signed"), ""

    def _has_signature(self, sha: str) -> bool:
        return sha in self._all_signatures()

    def _all_signatures(self) -> Mapping[str, Signed]:
        if self._signatures is None:
            self._signatures = self._identities.signatures(self._commits)
        return self._signatures


def _identity(owner: Owner, tenants: Mapping[str, Tenant], did: str) -> Identity:
    if owner.tenant is None:
        return Identity(None, Role.MEMBER, delegate=True, how=f"{did} with the agent's key")
    return Identity.of(owner.tenant, tenants, how=f"{did} with a key of {owner.tenant}")


def _pusher(arrival: Arrival, keys: Keys, tenants: Mapping[str, Tenant]) -> Identity:
    """Who pushed a commit with a key that sshd had checked: nobody, if it is nobody's at the commit before."""
    owner = keys.pushing.get(arrival.key)
    if owner is not None:
        return _identity(owner, tenants, "pushed")
    shared = keys.shared.get(arrival.key)
    why = f"has several owners: {', '.join(shared)}" if shared else "is no tenant's at the commit before this one"
    return replace(NOBODY, how=f"it was pushed with the key {arrival.key}, which {why}")


def _unknown(found: Found | None, *, signed: bool) -> str:
    """Why it is not known who brought a commit, where that is required."""
    signature = "a signature with a key that is no tenant's" if signed else "no signature"
    if found is None:
        return f"it bears {signature}, and nothing else tells that of a state repo on another machine"
    if found.distrust:
        return f"it bears {signature}, and the receive log is not believed: {found.distrust}"
    return f"it bears {signature}, and the receive log knows nothing of it: it came past the receiving side"


def _complaints(found: Found) -> list[Problem]:
    """What is wrong with the receive log itself."""
    if found.distrust:
        log.warning("the receive log is not believed: %s", found.distrust)
        return [Problem(LOG, 0, 0, f"the receive log is not believed: {found.distrust}")]
    if found.damaged:
        log.warning("the receive log has %d damaged lines", found.damaged)
        return [Problem(LOG, 0, 0, f"lines that cannot be read, left out: {found.damaged}")]
    return []
