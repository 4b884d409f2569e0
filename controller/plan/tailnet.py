"""What a container's tailnet device needs: enrolment, other settings, or to be gone. Pure."""

from __future__ import annotations

from controller.observed import MachineState
from controller.plan.actions import DeleteDevice, Enrol, LogOut, Mark
from controller.plan.draft import Draft
from controller.plan.model import Reason
from controller.plan.removal import leave_tailnet
from controller.plan.site import Site
from controller.plan.view import View
from controller.spec.model import ContainerSpec
from controller.spec.state import Wanted


def on_tailnet(view: View, draft: Draft, wanted: Wanted, spec: ContainerSpec, site: Site) -> None:
    """Steps that enrol a container which is, or is about to be, running."""
    if not spec.on_tailnet:
        return
    if not view.tailnet:
        draft.wait(
            Reason.NO_TAILNET,
            "module tailscale, but this appliance has no tailnet configured",
            hint="set [tailnet] in the configuration",
        )
        return
    if view.devices is None:
        if not site.marks.get("node"):
            draft.wait(Reason.UNKNOWN_SOURCE, "the tailnet cannot be asked now; it is enrolled when it can")
        return
    node, tags = site.marks.get("node", ""), (view.policy.tag, *spec.tailnet.tags)
    asked = tailnet_mark(spec.hostname, ssh=spec.tailnet.ssh, tags=tags)
    listed = view.on_our_tag(view.devices.get(node)) if node else False
    if listed and site.marks.get("tailnet") == asked:
        return
    said = site.marks.get("tailnet", "")
    if listed and said and said.rsplit(",", 1)[-1] != asked.rsplit(",", 1)[-1]:
        draft.add(LogOut(wanted.name), "its tailnet tags change: it enrols anew")
        draft.add(DeleteDevice(draft.uid, wanted.name, node, site.path), "its tailnet tags change")
        node = ""
    reason = "it has no device on the tailnet" if not listed else "its tailnet settings change"
    draft.add(Enrol(wanted.name, draft.uid, site.path, spec.hostname, tags, spec.tailnet.ssh, node), reason)


def tailnet_mark(hostname: str, *, ssh: bool, tags: tuple[str, ...]) -> str:
    """What is noted on a dataset about the tailnet settings in force: `dev,ssh,tag:vox+tag:lab`."""
    return f"{hostname},{'ssh' if ssh else 'nossh'},{'+'.join(tags)}"


def off_tailnet(view: View, draft: Draft, wanted: Wanted, site: Site) -> None:
    """Steps that take a device away whose container does not ask for one any more."""
    node = site.marks.get("node", "")
    if not node or not view.tailnet:
        return
    why = "module tailscale is gone from the spec"
    if site.up and site.machine.state is MachineState.RUNNING:
        draft.add(LogOut(wanted.name), why)
    for action, reason in leave_tailnet(view, wanted.name, draft.uid, site.path, node, why):
        draft.add(action, reason)
    draft.add(Mark(site.path, "tailnet", ""), why)
    draft.add(Mark(site.path, "node", ""), why)
