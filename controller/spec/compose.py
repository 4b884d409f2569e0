"""The document that a container's system is built from and carries: canonical JSON. Pure.

It says everything that the module library needs and nothing that changes without a rebuild: no quota, no power, no
secret. Host paths are bound in; what else the root tree holds is disposable.
"""

from __future__ import annotations

import json

from controller.spec.model import ContainerSpec

VERSION = 1
RUNTIME = "/run/voxnix"
"""Where run-time files (secrets, the enrolment key) are inside a container; on the host below `containers/NAME`."""

BOUND = {"home": "/home", "root": "/root", "var-lib": "/var/lib"}
"""The directories of a container's dataset, and where each is inside."""


def document(spec: ContainerSpec, *, appliance: str, uid: str, digest: str, own: str, dataset: str) -> str:
    """The document of a container whose data is in `dataset`, as one line of sorted ASCII JSON."""
    value = {
        "version": VERSION,
        "appliance": appliance,
        "uid": uid,
        "name": spec.name,
        "owner": spec.owner,
        "digest": digest,
        "own": own,
        "system": {
            "modules": sorted(set(spec.modules)),
            "env": dict(spec.env),
            "tailscale": spec.on_tailnet,
            "workspace": spec.has_workspace,
        },
        "binds": binds(spec, dataset),
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def binds(spec: ContainerSpec, dataset: str) -> list[dict[str, str | bool]]:
    """What is bound into a container: its data, its workspace if the module is there, its run-time files.

    A dataset `tank/users/…` is mounted at `/tank/users/…`.
    """
    pairs = [(f"/{dataset}/{folder}", guest, False) for folder, guest in BOUND.items()]
    if spec.has_workspace:
        pairs.append((f"/{dataset}/workspace", "/workspace", False))
    pairs.append((f"{RUNTIME}/containers/{spec.name}", RUNTIME, True))
    return [{"host": host, "guest": guest, "readOnly": read_only} for host, guest, read_only in pairs]
