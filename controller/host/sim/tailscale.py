"""The `tailscale` command inside a simulated container.

The daemon's state is a file below the container's own /var/lib/tailscale, so it lives and dies with the dataset
that is bound there: a container that lost it joins as a new machine, `dev-1`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from typing import Any

from controller.host.sim import control
from controller.host.sim.command import Answer, Call, Refusal, World
from controller.host.sim.view import View

STATE = "/var/lib/tailscale/tailscaled.state"
_FLAGS = {"auth-key", "authkey", "hostname", "login-server", "timeout", "reset", "ssh", "accept-dns", "advertise-tags",
          "accept-routes", "json", "peers", "force-reauth", "self"}  # fmt: skip


async def tailscale(call: Call, container: str, args: Sequence[str]) -> Answer:
    """One command of `tailscale`, run inside a container that has it."""
    verb = args[0] if args else ""
    flags = _flags(args[1:])
    daemon = Daemon(call.world, container)
    if verb == "up":
        return await _up(call, daemon, flags)
    if verb == "status":
        return _status(call.world, daemon, flags)
    if verb == "logout":
        return await _logout(call.world, daemon)
    if verb == "set":
        if "hostname" in flags:
            daemon.save(hostname=flags["hostname"])
            daemon.tell_hostname()
        return Answer()
    if verb in ("version", "--version"):
        return Answer(out="1.102.5\n")
    raise Refusal(f"tailscale: unknown subcommand: {verb}")


def _flags(args: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for arg in args:
        key, equals, value = arg.lstrip("-").partition("=")
        if not arg.startswith("-") or key not in _FLAGS:
            raise Refusal(f"flag provided but not defined: -{key}\nUSAGE\n  tailscale [flags]", 2)
        found[key] = value if equals else "true"
    return found


class Daemon:
    """tailscaled of one container: what its state file says, and whether control knows it."""

    def __init__(self, world: World, container: str) -> None:
        self.world = world
        self.container = container
        self._view = View(world, container)
        try:
            self._values: dict[str, Any] = json.loads(self._view.read(STATE))
        except (OSError, ValueError):
            self._values = {}

    def get(self, key: str) -> str:
        """A value of the state file, or ''."""
        return str(self._values.get(key, ""))

    def save(self, **changes: str) -> None:
        """Write the state file."""
        self._values |= changes
        directory = self._view.place(STATE.rpartition("/")[0]).path
        directory.mkdir(parents=True, exist_ok=True)
        self._view.write(STATE, json.dumps(self._values))

    def device(self) -> Any:
        """The device it is logged in as, or None."""
        if not self.get("node_key"):
            return None
        return control.find(self.world, self.get("machine_key"), self.get("node_key"))

    def read(self, path: str) -> str:
        """A file as the daemon sees it."""
        return self._view.read(path)

    def tell_hostname(self) -> None:
        """Tell control the hostname, if it is logged in and control can be reached."""
        device = self.device()
        if device is not None and self.get("hostname") and self.world.state.settings().tailnet_up:
            control.rename(self.world, device["node_id"], self.get("hostname"))


async def _up(call: Call, daemon: Daemon, flags: dict[str, str]) -> Answer:
    world = call.world
    daemon.save(hostname=flags.get("hostname") or daemon.get("hostname") or daemon.container)
    secret = flags.get("auth-key") or flags.get("authkey") or ""
    if secret.startswith("file:"):
        try:
            secret = daemon.read(secret.removeprefix("file:")).strip()
        except OSError as error:
            raise Refusal(f"open {secret.removeprefix('file:')}: {str(error.strerror).lower()}") from error
    if not world.state.settings().tailnet_up:
        await _wait_in_vain(world, flags.get("timeout", "0s"))
        raise Refusal(
            'timeout waiting for Tailscale service to enter a Running state; check health with "tailscale status"'
        )
    if daemon.device() is not None:
        daemon.tell_hostname()
        return Answer()
    if not secret:
        await _wait_in_vain(world, flags.get("timeout", "0s"))
        raise Refusal("timeout waiting for Tailscale service to enter a Running state")
    machine_key = daemon.get("machine_key") or f"mkey:{secrets.token_hex(32)}"
    node_key = f"nodekey:{secrets.token_hex(32)}"
    daemon.save(machine_key=machine_key, node_key=node_key)
    call.checkpoint()
    try:
        control.enrol(world, control.Node(daemon.container, daemon.get("hostname"), machine_key, node_key), secret)
    except control.Denied as denied:
        daemon.save(node_key="")
        raise Refusal(f"backend error: {denied}") from denied
    world.log(daemon.container, "tailscaled: Switching ipn state Starting -> Running", inside=True)
    return Answer()


async def _wait_in_vain(world: World, timeout: str) -> None:
    """Wait as long as `tailscale` does for what does not come; `0s` is for ever, within the host's patience."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", timeout)
    if match is None:
        raise Refusal(f'invalid value "{timeout}" for flag -timeout: parse error', 2)
    seconds = float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2]]
    patience = world.state.settings().tailnet_patience
    await world.sleep(min(seconds or patience, patience))


def _status(world: World, daemon: Daemon, flags: dict[str, str]) -> Answer:
    device = daemon.device()
    if "json" not in flags:
        if device is None:
            return Answer(1, "Logged out.\n")
        return Answer(out=f"{control.addresses(device['number'])[0]}  {device['label']}  tagged-devices  linux  -\n")
    hostname = daemon.get("hostname") or daemon.container
    values: dict[str, Any] = {
        "Version": "1.102.5",
        "BackendState": "Running" if device is not None else "NeedsLogin",
        "AuthURL": "",
        "TailscaleIPs": None,
        "Self": {"ID": "", "PublicKey": "nodekey:" + "0" * 64, "HostName": hostname, "DNSName": "", "OS": "linux",
                 "UserID": 0, "TailscaleIPs": None, "Online": False},
        "Peer": None,
    }  # fmt: skip
    if device is not None:
        settings = world.state.settings()
        addresses = control.addresses(device["number"])
        values["TailscaleIPs"] = addresses
        values["Self"] |= {
            "ID": device["node_id"],
            "PublicKey": device["node_key"],
            "DNSName": f"{device['label']}.{settings.tailnet_domain}.",
            "Tags": list(control.tags_of(device)),
            "TailscaleIPs": addresses,
            "Online": settings.tailnet_up,
        }
    return Answer(out=json.dumps(values, indent=2) + "\n")


async def _logout(world: World, daemon: Daemon) -> Answer:
    """Log out: 0 without a word to control when there is nothing to log out of, and the device stays listed."""
    if not daemon.get("node_key"):
        return Answer()
    machine_key = daemon.get("machine_key")
    if not world.state.settings().tailnet_up:
        daemon.save(node_key="")
        await _wait_in_vain(world, "10s")
        raise Refusal("failed to log out: Post control: context deadline exceeded")
    control.log_out(world, machine_key)
    daemon.save(node_key="")
    return Answer()
