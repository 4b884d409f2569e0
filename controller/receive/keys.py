"""Whose a public key is: a tenant's, the delegate's, or nobody's. Pure.

A key stands for one owner only. One that several have stands for none of them, whatever else they agree on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from controller.errors import BadInput
from controller.receive.fingerprint import bare, fingerprint


class Holder(Protocol):
    """Who has keys: a tenant, as far as it matters here."""

    @property
    def ssh_keys(self) -> Sequence[str]:
        """Public keys they push with."""
        ...

    @property
    def signing_keys(self) -> Sequence[str]:
        """Public keys whose signatures are theirs."""
        ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a key is: a tenant's, by id, or the delegate's (None). `key` is its type and base64 part, nothing else."""

    tenant: str | None
    key: str

    @property
    def name(self) -> str:
        """The owner in a word."""
        return self.tenant or "delegate"


class Keys:
    """The keys of tenants (by id) and of the delegate, by fingerprint: `pushing` with them, and `signing` with them.

    The delegate's keys count for both, a tenant's for what their file lists them for.
    """

    def __init__(self, tenants: Mapping[str, Holder], delegates: Iterable[str] = ()) -> None:
        self.pushing: dict[str, Owner] = {}
        self.signing: dict[str, Owner] = {}
        self._owners: dict[str, set[str]] = {}
        for key in delegates:
            self._add(None, key, self.pushing, self.signing)
        for name, tenant in tenants.items():
            for key in tenant.ssh_keys:
                self._add(name, key, self.pushing)
            for key in tenant.signing_keys:
                self._add(name, key, self.signing)
        for shared in self.shared:
            self.pushing.pop(shared, None)
            self.signing.pop(shared, None)

    @property
    def shared(self) -> Mapping[str, tuple[str, ...]]:
        """Keys that stand for nobody since several have them, with the names of who does."""
        return {found: tuple(sorted(owners)) for found, owners in self._owners.items() if len(owners) > 1}

    def _add(self, tenant: str | None, key: str, *places: dict[str, Owner]) -> None:
        try:
            owner, found = Owner(tenant, bare(key)), fingerprint(key)
        except ValueError:
            return
        self._owners.setdefault(found, set()).add(f"tenant {tenant}" if tenant else "the delegate")
        for place in places:
            place[found] = owner


def read_keys(text: str, place: str) -> tuple[str, ...]:
    """The public keys of a file, one a line, without empty lines and comments.

    Raises `BadInput` that names `place` and the line for what is neither.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        key = line.strip()
        if not key or key.startswith("#"):
            continue
        try:
            found.append(bare(key))
        except ValueError as error:
            hint = "one public key a line, such as `ssh-ed25519 AAAA… agent`"
            raise BadInput(f"{place}:{number}: {error}", hint=hint) from error
    return tuple(found)
