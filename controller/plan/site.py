"""A container's surroundings while its lane is drawn up. Used inside the planner only. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.observed import Dataset, Machine
from controller.plan.view import View
from controller.spec.model import ContainerSpec
from controller.spec.state import Wanted


@dataclass(frozen=True, slots=True)
class Ground:
    """The observed dataset that is, or after the first steps will be, the container's, and its workspace.

    Nothing for one that is made anew. `cloned` says that its properties start afresh.
    """

    data: Dataset | None = None
    child: Dataset | None = None
    cloned: bool = False


@dataclass(slots=True)
class Site:
    """A container's whereabouts while its lane is drawn up; `up` changes as steps stop it."""

    path: str
    ground: Ground
    machine: Machine
    home_quota: int
    up: bool
    marks: Mapping[str, str]
    mounts: tuple[str, ...]
    in_place: bool
    adopting: bool

    @staticmethod
    def of(view: View, wanted: Wanted, spec: ContainerSpec, uid: str, ground: Ground, home_quota: int) -> Site:
        """Look at the container's surroundings; `uid` is the one it will have."""
        path = view.policy.dataset(spec.owner, wanted.name)
        machine = view.machine(wanted.name)
        marks = ground.data.marks if ground.data and ground.data.marks.get("uid") == uid else {}
        in_place = ground.data is not None and ground.data.name == path and not ground.cloned
        from_trash = ground.data is not None and ground.data.name.startswith(view.policy.trash + "/")
        if from_trash:
            marks = {key: value for key, value in marks.items() if key not in ("node", "key", "tailnet")}
        mounts = (path, f"{path}/workspace") if spec.has_workspace else (path,)
        adopting = view.adopted(wanted.name) and (ground.data is None or "adopting" in marks)
        return Site(path, ground, machine, home_quota, machine.up, marks, mounts, in_place, adopting)


def size(amount: int) -> str:
    """Bytes as people and specs write them: `5G`, `1.5G`, `512M`."""
    value, unit = float(amount), 0
    while value >= 1024 and unit < 4:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return f"{amount} bytes"
    return f"{value:.1f}".rstrip("0").rstrip(".") + "KMGT"[unit - 1]
