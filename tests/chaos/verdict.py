"""Whether an appliance that was left in peace is as git says it should be."""

from __future__ import annotations

from controller.loop import SETTLED, Look
from controller.observed import Known
from controller.plan.model import Reason
from controller.spec.state import Wanted
from tests.chaos.watch import is_live

WAITS = SETTLED | {
    Reason.INVALID_FILE,
    Reason.OWNER_MISSING,
    Reason.FOREIGN,
    Reason.MISSING,
    Reason.HELD,
    Reason.QUOTA_BELOW_USE,
    Reason.SECRET_MISSING,
}
"""Why something may still wait after a quiet hour."""


def converged(look: Look) -> None:
    """Observed equals desired, but for what is held or waits for a good reason."""
    assert look.plan.empty, look.plan.lanes
    wrong = [wait for wait in look.plan.waits if wait.reason not in WAITS]
    assert not wrong, wrong
    if not isinstance(look.desired, Known):
        return
    apart = {wait.key for wait in look.plan.waits} | {name for hold in look.plan.holds for name in hold.names}
    for name, wanted in look.desired.value.containers.items():
        if name not in apart:
            _as_wanted(look, name, wanted)
    ours = [path.rsplit("/", 1)[1] for path in look.observed.storage.value.datasets if is_live(path)]
    wanted = look.desired.value.containers.values()
    apart |= {each.spec.renamed_from for each in wanted if each.name in apart and each.spec}
    extra = set(ours) - look.desired.value.containers.keys() - apart - {"theirs"}
    assert not extra, extra


def _as_wanted(look: Look, name: str, wanted: Wanted) -> None:
    spec = wanted.spec
    assert spec is not None
    path = f"tank/users/{spec.owner}/containers/{name}"
    found, machine = look.observed.storage.value.datasets, look.observed.machines.value[name]
    data = found[path]
    assert (data.mounted, data.marks["name"], data.marks["owner"]) == (True, name, spec.owner)
    if spec.has_workspace:
        child = found[f"{path}/workspace"]
        assert (child.mounted, child.refquota) == (True, spec.workspace.quota)
    document = machine.installed.document
    assert (document.uid, document.digest) == (data.marks["uid"], wanted.digest)
    down = machine.state in ("stopped", "failed")
    assert down if look.plan.power[name] == "stopped" else machine.state == "running", machine
    if machine.state == "running":
        unit, limits = machine.unit, spec.resources
        assert (unit.memory_max, unit.cpu_quota, unit.tasks_max) == (limits.memory, limits.cpus, limits.tasks)
        devices = look.observed.tailnet.value
        if spec.on_tailnet:
            assert devices[data.marks["node"]].hostname == spec.hostname
        else:
            assert "node" not in data.marks
