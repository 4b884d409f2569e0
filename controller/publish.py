"""What a controller tells: one status row a container, a summary of the pass, and events. It decides nothing.

Readers (API, CLI, agents) get it from the store, whether or not a controller runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from controller import report
from controller.converge import Moment, Progress
from controller.desired import Reading
from controller.observed import Known, Observed, Source
from controller.plan.memory import Memory
from controller.plan.model import Plan, Policy
from controller.spec.state import Desired
from controller.status import ContainerStatus, Outcome, Phase, Truth, assess
from controller.store import Event, Store

TOLD = frozenset(
    {
        *("CreateDataset", "SetQuota", "ToTrash", "FromTrash", "MoveDataset", "CloneBack", "DestroyTrash", "CopyIn"),
        *("Install", "SetResources", "Start", "Stop", "RemoveSystem"),
        *("Enrol", "DeleteDevice", "NoteDebt", "Decided"),
    }
)
"""Actions whose end is an event; the rest is to be seen in the progress only."""
WORTH_A_WARNING = (Phase.DEGRADED, Phase.HELD, Phase.FROZEN)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the world, and the plan that follows from it.

    `trouble` says why the state repo could not be read, or why its newest commit is not followed, if that is so.
    """

    desired: Source[Desired]
    observed: Observed
    memory: Memory
    plan: Plan
    now: datetime
    trouble: str = ""


class Publisher:
    """Publishes to one store; knows what it published last, so that only changes are written and told."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._events: list[Event] = []
        self._refused = ""
        self._warned: frozenset[str] = frozenset()
        self._statuses: Mapping[str, ContainerStatus] | None = None

    def publish(self, reading: Reading, look: Look, policy: Policy) -> None:
        """Publish what a pass found."""
        changed: dict[str, str] = {}
        gone: set[str] = set()
        if isinstance(look.desired, Known):
            before = self._before()
            fresh = assess(look.desired.value, look.observed, look.memory, look.plan, policy, before, look.now)
            statuses = {status.name: status for status in fresh}
            for name, status in statuses.items():
                if before.get(name) != status:
                    changed[name] = _json(report.container(status))
                    self._tell_phase(before.get(name), status)
            gone = set(before) - set(statuses)
            self._statuses = statuses
        refused = refusal(reading)
        if refused and refused != self._refused:
            self.tell("refused", refused, "error")
        self._refused = refused
        warned = frozenset(map(str, reading.warnings))
        for words in sorted(warned - self._warned):
            self.tell("warning", words, "warning")
        self._warned = warned
        summary = report.summary(look.desired, look.observed, look.memory, look.plan, policy, look.now)
        summary |= {"refused": refused, "fetch": reading.trouble}
        events, self._events = self._events, []
        self._store.publish(changed, gone=gone, summary=_json(summary), events=events)

    def progress(self, progress: Progress) -> None:
        """A moment of a convergence: some are events, at once."""
        step = progress.step
        if progress.moment is Moment.DONE and step and type(step.action).__name__ in TOLD:
            kind, lane = type(step.action).__name__, progress.lane
            self.tell(kind, step.reason, "info", lane.key, lane.revision, str(step.cause))
            self.flush()

    def settled(self, outcome: Outcome) -> None:
        """The end of a lane: a failure is an event."""
        if outcome.error:
            self.tell("failed", str(outcome.error), "error", outcome.lane.key, outcome.lane.revision)

    def tell(
        self, kind: str, message: str, severity: str = "info", container: str = "", revision: str = "", cause: str = ""
    ) -> None:
        """An event; it is written with the next publication, or by `flush`."""
        self._events.append(Event(self._now(), kind, message, severity, container, revision, cause))

    def flush(self) -> None:
        """Write the events that wait."""
        events, self._events = self._events, []
        self._store.record(events)

    def _before(self) -> Mapping[str, ContainerStatus]:
        """The statuses as published last, by this process or one before it, so that `since` survives a restart."""
        if self._statuses is None:
            self._statuses = {name: report.read_container(text) for name, text in self._store.statuses().items()}
        return self._statuses

    def _tell_phase(self, before: ContainerStatus | None, status: ContainerStatus) -> None:
        if before and before.phase == status.phase:
            return
        wrong = [c.message for c in status.conditions if c.status is Truth.FALSE and c.message]
        message = f"{status.phase}: {wrong[0]}" if wrong else str(status.phase)
        severity = "warning" if status.phase in WORTH_A_WARNING else "info"
        self.tell("phase", message, severity, status.name, status.revision)


def refusal(reading: Reading) -> str:
    """Why newer commits are not followed, or nothing."""
    if reading.refused is None:
        return ""
    commit, problems = reading.refused.commit, reading.refused.problems
    if reading.refused.rewritten:
        return f"history was rewritten: {commit[:10]} does not go on from the accepted revision"
    return f"commit {commit[:10]} is refused: " + "; ".join(map(str, problems))


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"))
