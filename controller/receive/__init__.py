"""The receiving side of the state repo: who came with which key, what they may ask for, and what is noted of it.

It judges no commit: that is for `controller.admission`, here and again in the controller. It starts no process.
"""

from controller.receive.arrival import Arrival
from controller.receive.authorized import authorized_keys
from controller.receive.fingerprint import FINGERPRINT, fingerprint, fingerprint_of
from controller.receive.keys import Keys, Owner, read_keys
from controller.receive.log import Found, ReceiveLog
from controller.receive.noting import note_arrival, note_commit, pusher
from controller.receive.request import Request, Service, read_request

__all__ = [
    "FINGERPRINT",
    "Arrival",
    "Found",
    "Keys",
    "Owner",
    "ReceiveLog",
    "Request",
    "Service",
    "authorized_keys",
    "fingerprint",
    "fingerprint_of",
    "note_arrival",
    "note_commit",
    "pusher",
    "read_keys",
    "read_request",
]
