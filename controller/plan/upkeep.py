"""What a container needs once its data is settled: quotas, system, limits, run-time files, power, tailnet. Pure."""

from __future__ import annotations

from datetime import datetime

from controller.observed import Dataset, Machine, MachineState
from controller.plan.actions import (
    Build,
    CopyIn,
    CreateDataset,
    Deliver,
    Install,
    Mark,
    Mount,
    SetQuota,
    SetResources,
    Snapshot,
    Start,
    Stop,
)
from controller.plan.draft import Draft
from controller.plan.model import Cause, CauseKind, Reason
from controller.plan.power import Power
from controller.plan.site import Site, size
from controller.plan.tailnet import off_tailnet, on_tailnet
from controller.plan.view import View, snapshot_label, stamp
from controller.spec.compose import document
from controller.spec.model import ContainerSpec
from controller.spec.state import Wanted

COPIED = "copied"
"""The mark `adopting` of a dataset into which an adopted container's files were copied whole."""


def upkeep(  # noqa: PLR0913 - the whole case, each part of which is used
    view: View,
    draft: Draft,
    wanted: Wanted,
    spec: ContainerSpec,
    site: Site,
    power: Power,
    now: datetime,
    *,
    install: bool,
) -> None:
    """Add all steps that bring a container's system and state to what its spec says."""
    entry = view.memory.inventory.get(draft.uid)
    stopped_here = any(isinstance(step.action, Stop) for step in draft.steps)
    ran = site.up or stopped_here or bool(entry and entry.power == "running")
    _quotas(draft, spec, site, now)
    if install:
        _system(view, draft, wanted, spec, site, now)
    running = ran if power.running is None else power.running
    if running:
        started = _run(view, draft, wanted, spec, site, power)
        if started or (site.up and site.machine.state is MachineState.RUNNING):
            on_tailnet(view, draft, wanted, spec, site)
    elif site.up:
        draft.add(Stop(wanted.name), "the spec wants it stopped", power.cause)
    if not spec.on_tailnet:
        off_tailnet(view, draft, wanted, site)


def _quotas(draft: Draft, spec: ContainerSpec, site: Site, now: datetime) -> None:
    ground = site.ground
    if ground.data is not None:
        if site.in_place and not ground.data.mounted:
            draft.add(Mount(site.path), "it is not mounted", Cause(CauseKind.DRIFT, "unmounted"))
        _quota(draft, ground.data, site.path, site.home_quota, cloned=ground.cloned)
    if not spec.has_workspace:
        return
    path, quota = f"{site.path}/workspace", spec.workspace.quota
    if ground.child is None:
        draft.add(CreateDataset(path, (("part", "workspace"),), quota), "a dataset for /workspace")
    if ground.child is None or (ground.data and not ground.data.marks.get("workspace")):
        draft.add(Mark(site.path, "workspace", stamp(now)), "so that a workspace that vanishes is missed")
    if ground.child is None:
        return
    if site.in_place and not ground.child.mounted:
        draft.add(Mount(path), "it is not mounted", Cause(CauseKind.DRIFT, "unmounted"))
    _quota(draft, ground.child, path, quota, cloned=ground.cloned)


def _quota(draft: Draft, data: Dataset, path: str, quota: int, *, cloned: bool) -> None:
    now = 0 if cloned else data.refquota
    if now == quota:
        return
    if 0 < quota < data.referenced:
        draft.wait(
            Reason.QUOTA_BELOW_USE,
            f"{path.rsplit('/', 1)[1]} holds {size(data.referenced)}, more than the quota of {size(quota)}",
            hint="delete files, or write a larger quota",
        )
        return
    words = f"{size(now) if now else 'none'} → {size(quota) if quota else 'none'}"
    draft.add(SetQuota(path, quota), f"quota {words}")


def _copy_in(draft: Draft, wanted: Wanted, site: Site, *, again: bool) -> None:
    """The files of an adopted container; copied `again` if it ran since they were."""
    if again or site.marks.get("adopting") != COPIED:
        draft.add(CopyIn(wanted.name, site.path), "adopted: home, root and var/lib are copied into its dataset")
        draft.add(Mark(site.path, "adopting", COPIED), "the copy is whole")


def _system(view: View, draft: Draft, wanted: Wanted, spec: ContainerSpec, site: Site, now: datetime) -> None:
    if current(site.machine, wanted, draft.uid):
        if "adopting" in site.marks:
            draft.add(Mark(site.path, "adopting", ""), "it is adopted")
        return
    cause, why = _why_build(view, draft, wanted, site)
    if cause.kind is CauseKind.ROLL_OUT:
        draft.roll_out = wanted.digest
    text = document(
        spec,
        appliance=view.policy.appliance,
        uid=draft.uid,
        digest=wanted.digest,
        own=wanted.own,
        dataset=site.path,
    )
    draft.add(Build(wanted.name, wanted.digest, text), why, cause)
    was_up = site.up
    if site.up:
        draft.add(Stop(wanted.name), f"{why}; stopped to change it", cause)
        site.up = False
    if site.adopting:
        _copy_in(draft, wanted, site, again=was_up)
    places = (site.path, site.ground.data.name if site.ground.data else "")
    snapped = any(
        step.cause.kind is not CauseKind.ROUTINE
        and isinstance(step.action, Snapshot | CreateDataset)
        and step.action.dataset in places
        for step in draft.steps
    )
    if site.in_place and not snapped:
        draft.add(Snapshot(site.path, snapshot_label(now, "system")), "before the system changes", cause)
    draft.add(Install(wanted.name, wanted.digest), why, cause)
    if site.adopting:
        draft.add(Mark(site.path, "adopting", ""), "it is adopted", cause)


def current(machine: Machine, wanted: Wanted, uid: str) -> bool:
    """Whether the installed system is the one that is wanted."""
    document_ = machine.installed.document if machine.installed else None
    return bool(document_ and document_.digest == wanted.digest and document_.uid == uid and not machine.partial)


def rolls_out(machine: Machine, wanted: Wanted, uid: str) -> bool:
    """Whether the system is outdated for a reason that no commit to this spec gave."""
    found = machine.installed.document if machine.installed else None
    return bool(
        found and not machine.partial and found.uid == uid and found.own == wanted.own and found.digest != wanted.digest
    )


def _why_build(view: View, draft: Draft, wanted: Wanted, site: Site) -> tuple[Cause, str]:
    if rolls_out(site.machine, wanted, draft.uid):
        return Cause(CauseKind.ROLL_OUT, wanted.digest[:10]), "module library, nixpkgs or defaults changed"
    entry = view.memory.inventory.get(draft.uid)
    if site.machine.installed is None and entry and entry.system == wanted.digest:
        return Cause(CauseKind.DRIFT, "not installed"), "its system is not installed any more"
    if site.machine.installed is None:
        return draft.cause, "its system is not installed yet"
    return draft.cause, "the spec asks for another system"


def _run(view: View, draft: Draft, wanted: Wanted, spec: ContainerSpec, site: Site, power: Power) -> bool:
    """Limits, run-time files and start; whether a start is planned."""
    missing = _missing_secrets(view, spec)
    if missing:
        names = ", ".join(missing)
        draft.wait(
            Reason.SECRET_MISSING,
            f"no secret {names} on this host",
            hint=f"voxnix secret set --tenant {spec.owner} {missing[0].rsplit('/', 1)[-1]}",
        )
    installed = site.machine.installed is not None or any(isinstance(s.action, Install) for s in draft.steps)
    if not installed or (missing and not site.up):
        return False
    _limits(draft, spec, site)
    if not missing and _stale_runtime(site.machine, spec):
        draft.add(Deliver(wanted.name, spec.owner, spec.secrets), "its run-time files are not as the spec says")
    if site.up:
        _not_settled(draft, site.machine.state)
        return False
    reason, cause = _why_start(view, draft, site, power)
    draft.add(Start(wanted.name, site.mounts), reason, cause)
    return True


def _not_settled(draft: Draft, state: MachineState) -> None:
    match state:
        case MachineState.RESTARTING:
            draft.wait(
                Reason.CRASH_LOOP,
                "it keeps failing to start; systemd retries it",
                hint=f"voxnix logs {draft.key}",
            )
        case MachineState.STOPPING:
            draft.wait(Reason.STOPPING, "it is shutting down")
        case MachineState.STARTING:
            draft.wait(Reason.STARTING, "it is starting")


def _missing_secrets(view: View, spec: ContainerSpec) -> list[str]:
    if not spec.secrets or view.secrets is None:
        return []
    mine = view.secrets.get(spec.owner, frozenset())
    return [ref for ref in spec.secrets if ref not in mine]


def _stale_runtime(machine: Machine, spec: ContainerSpec) -> bool:
    if machine.runtime is None:
        return True
    return set(machine.runtime) != set(spec.secrets) or "stale" in machine.runtime.values()


def _limits(draft: Draft, spec: ContainerSpec, site: Site) -> None:
    unit, want = site.machine.unit, spec.resources
    same = (
        unit.memory_max == want.memory
        and unit.tasks_max == want.tasks
        and unit.cpu_quota is not None
        and abs(unit.cpu_quota - want.cpus) < 0.005
    )
    if not same:
        words = f"limits: {size(want.memory)} memory, {want.cpus:g} CPUs, {want.tasks} tasks"
        draft.add(SetResources(draft.key, want.memory, want.cpus, want.tasks), words)


def _why_start(view: View, draft: Draft, site: Site, power: Power) -> tuple[str, Cause]:
    entry = view.memory.inventory.get(draft.uid)
    untouched = not any(isinstance(step.action, Install | Stop) for step in draft.steps)
    if untouched and (site.machine.state is MachineState.FAILED or (entry and entry.power == "running")):
        return "it went down; the spec wants it running", Cause(CauseKind.DRIFT, "down")
    return "the spec wants it running", power.cause
