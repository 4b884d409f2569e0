"""May this commit by this identity do that? One pure verdict, used on every commit and, later, before a push.

No I/O and no git: `controller.desired` says what a commit changes and what the state is before and after it. Says
nothing about what a decision would destroy: what it concerns is known to the host, and judged by the planner.
"""

from controller.admission.decision import decision_of
from controller.admission.judge import judge
from controller.admission.model import NOBODY, ROOT, Change, Identity, Role, Snapshot, Touch, Verdict

__all__ = ["NOBODY", "ROOT", "Change", "Identity", "Role", "Snapshot", "Touch", "Verdict", "decision_of", "judge"]
