"""Tenants' secrets: stored root-only on the host, delivered to containers as read-only run-time files.

Values pass through here and nowhere else: never into argv, logs, errors or facts. Whether what was delivered
is still current is told by size and time of change alone, without reading a value.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping

from controller.errors import BadInput, Waiting
from controller.host.files import Files
from controller.plan.actions import Deliver

STORE = "/var/lib/voxnix/secrets"
RUNTIME = "/run/voxnix/containers"
VALUE_LIMIT = 64 * 1024
"""Bytes in one secret."""

_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_SHARED = ".shared"


class SecretStore:
    """`STORE/TENANT/NAME`, 0600, and beside it `NAME.shared`: the other tenants who may use it."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def put(self, tenant: str, name: str, value: bytes, shared_with: Iterable[str] = ()) -> None:
        """Store a secret, in place of one of that name. Raises `BadInput` for a name or value that cannot be."""
        path = _path(tenant, name)
        others = sorted(set(shared_with) - {tenant})
        for other in others:
            _check(_TENANT, other, "a tenant id")
        if not value or len(value) > VALUE_LIMIT:
            raise BadInput(f"the value of a secret is 1 to {VALUE_LIMIT} bytes; this one has {len(value)}")
        self._files.make_private(f"{STORE}/{tenant}")
        if others:
            self._files.write(path + _SHARED, json.dumps(others).encode())
        else:
            self._files.remove(path + _SHARED)
        self._files.write(path, value)

    def drop(self, tenant: str, name: str) -> bool:
        """Remove a secret; whether there was one. What was delivered of it stays until the next delivery."""
        path = _path(tenant, name)
        was_there = self._files.there(path)
        self._files.remove(path)
        self._files.remove(path + _SHARED)
        return was_there

    def names(self) -> Mapping[str, frozenset[str]]:
        """What each tenant may name in a spec: own secrets as `name`, those shared with them as `tenant/name`."""
        found: dict[str, set[str]] = {}
        for tenant in self._files.names(STORE):
            stored = set(self._files.names(f"{STORE}/{tenant}"))
            for name in stored:
                if name.endswith(_SHARED) or not _NAME.fullmatch(name):
                    continue
                found.setdefault(tenant, set()).add(name)
                for other in self.shared_with(tenant, name) if name + _SHARED in stored else ():
                    found.setdefault(other, set()).add(f"{tenant}/{name}")
        return {tenant: frozenset(names) for tenant, names in found.items()}

    def shared_with(self, tenant: str, name: str) -> tuple[str, ...]:
        """The other tenants who may use this secret; nobody where the list cannot be read."""
        try:
            others = json.loads(self._files.read(_path(tenant, name) + _SHARED) or "[]")
        except ValueError:
            return ()
        return tuple(other for other in others if isinstance(other, str)) if isinstance(others, list) else ()

    def find(self, owner: str, reference: str) -> str | None:
        """The host path of what `owner` means by `name` or `tenant/name`; None: not there, or not theirs to use."""
        tenant, name = split(owner, reference)
        try:
            path = _path(tenant, name)
        except BadInput:
            return None
        if not self._files.there(path):
            return None
        return path if tenant == owner or owner in self.shared_with(tenant, name) else None


class Deliveries:
    """The run-time files of containers: `RUNTIME/CONTAINER`, bound read-only at `/run/voxnix` inside."""

    def __init__(self, files: Files, store: SecretStore) -> None:
        self._files = files
        self._store = store

    def deliver(self, action: Deliver) -> None:
        """Write every secret of the action whole, and remove what is there beside them.

        Raises `Waiting`, naming the command, where a secret is not stored yet; nothing is changed then.
        """
        found = {_place(r): self._required(action.owner, r) for r in action.secrets}
        base = f"{RUNTIME}/{action.name}"
        self._files.make_private(base)
        for place, source in found.items():
            self._files.make_private(os.path.dirname(f"{base}/{place}"))
            value, changed = self._files.read_dated(source)
            self._files.write(f"{base}/{place}", value, mode=0o400, mtime_ns=changed)
        for place in self._places(action.name):
            if place not in found:
                self._files.remove(f"{base}/{place}")

    def observe(self, owners: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """What is delivered, by container: reference → `current` or `stale`. `owners` says whose each one is."""
        return {
            name: {
                _reference(place): self._age(name, owners.get(name, ""), place)
                for place in self._places(name)
                if "/." not in place
            }
            for name in self._files.names(RUNTIME)
        }

    def remove(self, container: str) -> None:
        """Remove a container's run-time files, secrets and all."""
        self._files.remove_tree(f"{RUNTIME}/{container}")

    def _required(self, owner: str, reference: str) -> str:
        path = self._store.find(owner, reference)
        if path is None:
            tenant, name = split(owner, reference)
            share = "" if tenant == owner else f" --share {owner}"
            raise Waiting(
                f"secret {reference} of {owner} is not stored on this host",
                hint=f"store it: voxnix secret set {tenant}/{name}{share}",
            )
        return path

    def _age(self, container: str, owner: str, place: str) -> str:
        """`current` where the delivered file has the size and time of the stored one."""
        source = self._store.find(owner, _reference(place)) if owner else None
        stored = self._files.status(source) if source else None
        delivered = self._files.status(f"{RUNTIME}/{container}/{place}")
        if stored is None or delivered is None:
            return "stale"
        same = (stored.st_size, stored.st_mtime_ns) == (delivered.st_size, delivered.st_mtime_ns)
        return "current" if same else "stale"

    def _places(self, container: str) -> list[str]:
        base = f"{RUNTIME}/{container}"
        own = [f"secrets/{name}" for name in self._files.names(f"{base}/secrets")]
        tenants = self._files.names(f"{base}/shared")
        return own + [f"shared/{t}/{name}" for t in tenants for name in self._files.names(f"{base}/shared/{t}")]


def split(owner: str, reference: str) -> tuple[str, str]:
    """The tenant and the name that a reference of `owner` means."""
    tenant, slash, name = reference.rpartition("/")
    return (tenant, name) if slash else (owner, reference)


def _place(reference: str) -> str:
    """Where a reference is below the container's run-time directory; no two references share a place."""
    return f"shared/{reference}" if "/" in reference else f"secrets/{reference}"


def _reference(place: str) -> str:
    return place.split("/", 1)[1]


def _path(tenant: str, name: str) -> str:
    _check(_TENANT, tenant, "a tenant id")
    _check(_NAME, name, "the name of a secret")
    if name.endswith(_SHARED):
        raise BadInput(f"the name of a secret cannot end in {_SHARED}: {name}")
    return f"{STORE}/{tenant}/{name}"


def _check(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise BadInput(f"{text!r} is not {what}")
