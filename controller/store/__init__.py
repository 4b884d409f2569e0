"""What the controller remembers, in one SQLite file: the little that neither git nor the host can tell.

Several processes may read while one writes. A store that is absent is said to be absent; one that cannot be read is
a stop that a person has to look at, and never counts as empty. Decides nothing. Imports nothing heavy, so that
`voxnix status` starts at once.
"""

from controller.store.database import StoreUnreadable
from controller.store.lock import controller_lock
from controller.store.records import Accepted, Event, Removal, Row
from controller.store.store import Store

__all__ = ["Accepted", "Event", "Removal", "Row", "Store", "StoreUnreadable", "controller_lock"]
