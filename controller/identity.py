"""Whose host this is: the appliance that a store which was lost or never made belongs to. Pure."""

from __future__ import annotations

from controller.errors import Blocked
from controller.observed import Known, Observed
from controller.plan.model import Policy
from controller.plan.view import is_container_path


def appliance_of(observed: Observed, policy: Policy) -> str | None:
    """The id of the appliance whose marks the pool bears; None for a pool without.

    Raises `Blocked` where the host cannot be looked at, since it is not known then whether there are any, and where
    there are those of several.
    """
    if not isinstance(observed.storage, Known) or not isinstance(observed.machines, Known):
        raise Blocked(
            "the store is new and the host cannot be looked at, so it is not known whether this appliance "
            "had containers before",
            hint="run `voxnix doctor`",
        )
    datasets = observed.storage.value.datasets.values()
    placed = [d for d in datasets if is_container_path(d.name, policy) or d.name.startswith(policy.trash + "/")]
    marks = {d.marks["appliance"] for d in placed if d.marks.get("appliance")}
    if len(marks) > 1:
        raise Blocked(f"the pool bears the marks of several appliances: {', '.join(sorted(marks))}")
    return next(iter(marks), None)
