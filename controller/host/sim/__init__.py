"""A NixOS host with ZFS and a tailnet, simulated in a directory: the same commands, words, exit codes and lies.

`create(DIR)` makes one, `SimHost(DIR)` is the `Runner` that answers, `tailnet.SimTailnet(DIR)` its control plane.
Several processes share a directory, and any of them may be killed at any instant.
"""

from controller.host.sim.faults import Fault
from controller.host.sim.host import SimHost
from controller.host.sim.installed import Bind
from controller.host.sim.setup import create, define, foreign
from controller.host.sim.state import Settings

__all__ = ["Bind", "Fault", "Settings", "SimHost", "create", "define", "foreign"]
