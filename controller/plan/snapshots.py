"""Snapshots by the clock, and which of them are pruned. Pure."""

from __future__ import annotations

from datetime import datetime

from controller.observed import Dataset
from controller.plan.actions import DropSnapshot, Snapshot
from controller.plan.draft import Draft
from controller.plan.model import Cause, CauseKind
from controller.plan.site import Site
from controller.plan.view import View, moment, snapshot_label, snapshot_time

CAUSE = Cause(CauseKind.ROUTINE, "snapshots")


def routine(view: View, draft: Draft, site: Site, now: datetime) -> None:
    """Snapshots by a trusted clock, and pruning: the newest dailies stay, all others as long as trash does.

    The data is at `site.path` by now, wherever it came from. What was cloned has no snapshots of its own yet.
    """
    data, child = site.ground.data, site.ground.child
    if data is None or site.ground.cloned:
        return
    if not any(isinstance(step.action, Snapshot) for step in draft.steps):
        daily(view, draft, data, site.path, now)
    for dataset, path in ((data, site.path), (child, f"{site.path}/workspace")):
        for label in _prunable(view, dataset, now) if dataset else ():
            draft.add(DropSnapshot(path, label), "no undo needs it any more", CAUSE)


def daily(view: View, draft: Draft, data: Dataset, path: str, now: datetime) -> None:
    """A snapshot of the data at `path`, if the last one is too old; one of a time to come does not count."""
    taken = [found[0] for label in data.snapshots if (found := snapshot_time(label))]
    made = moment(data.marks.get("created", ""))
    last = max((at for at in (*taken, made) if at and at <= now), default=None)
    if last is None or now - last >= view.policy.snapshot_every:
        draft.add(Snapshot(path, snapshot_label(now, "daily")), "the last snapshot is a day old", CAUSE)


def _prunable(view: View, dataset: Dataset, now: datetime) -> list[str]:
    ours = [(found, label) for label in dataset.snapshots if (found := snapshot_time(label))]
    dailies = sorted((at, label) for (at, why), label in ours if why == "daily")
    kept = {label for _, label in dailies[-view.policy.keep_daily :]}
    old = [label for (at, why), label in ours if why != "daily" and now - at > view.policy.trash_for]
    surplus = [label for _, label in dailies if label not in kept]
    return sorted(label for label in old + surplus if f"{dataset.name}@{label}" not in view.origins)
