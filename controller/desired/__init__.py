"""From the state repo to desired state: fetched, every new commit judged, files read once, the result remembered.

The last accepted revision stands whatever happens: a fetch that fails, a commit that is refused, a history that was
rewritten. Never reads a work tree, and never changes the state repo.
"""

from controller.desired.desires import Desires, Witnesses
from controller.desired.files import Files
from controller.desired.identities import Identify, Identities, Witness, on_the_appliance
from controller.desired.reading import Reading, Refused
from controller.desired.revision import at_revision

__all__ = [
    "Desires",
    "Files",
    "Identify",
    "Identities",
    "Reading",
    "Refused",
    "Witness",
    "Witnesses",
    "at_revision",
    "on_the_appliance",
]
