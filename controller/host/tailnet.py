"""Containers' tailnet nodes: enrolled with single-use keys, known by node id, deleted by node id.

What a container says of itself is a claim. Its node id counts only if the control plane lists it under our own tag,
as enrolled with our key or while that key was good, and as nobody else's. Host names identify nothing. A key goes
through a private file, never through argv, logs or errors.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controller.errors import Blocked, Transient
from controller.host.controlplane import ControlPlane, MintedKey
from controller.host.files import Files
from controller.host.run import Result, Runner
from controller.host.secrets import RUNTIME
from controller.host.storage import Storage
from controller.observed import parse
from controller.observed import tailnet as said
from controller.observed.facts import Device
from controller.observed.tailnet import Claim
from controller.plan.actions import DeleteDevice, Enrol, LogOut, Mark, RecordNode
from controller.plan.tailnet import tailnet_mark

KEY_FILE = "tailscale.key"
KEY_LIFETIME = timedelta(minutes=10)
SLACK = timedelta(minutes=5)
"""How far apart our clock and the control plane's may be."""
LOG_OUT_TIMEOUT = 15.0
_UNSETTLED = ("NoState", "Starting")


@dataclass(frozen=True, slots=True)
class Tailnet:
    """What an appliance's tailnet is like: our own `tag`, and the `login_server`, empty for Tailscale's.

    `program` is what `tailscale` is called inside a container; between two looks at what has not settled yet,
    `poll` seconds pass.
    """

    tag: str
    login_server: str = ""
    program: str = "/run/current-system/sw/bin/tailscale"
    poll: float = 0.5


class Enrolment:
    """Enrols containers, learns their node ids, logs them out and deletes their devices."""

    def __init__(
        self,
        run: Runner,
        files: Files,
        plane: ControlPlane,
        storage: Storage,
        tailnet: Tailnet,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._run = run
        self._files = files
        self._plane = plane
        self._storage = storage
        self._tailnet = tailnet
        self._now = now

    async def devices(self) -> Mapping[str, Device]:
        """Every device of the tailnet, by node id."""
        return await self._plane.devices()

    async def enrol(self, action: Enrol, bound: Mapping[str, str]) -> str:
        """See that a running container is on the tailnet as asked; its node id, recorded on its dataset.

        `bound` says which uid each node id is already recorded for.
        """
        self._files.remove(_key_file(action.name))
        marks = await self._storage.marks(action.dataset)
        claim, devices = await asyncio.gather(self._settled(action.name), self._plane.devices())
        device = devices.get(claim.node_id)
        doubt = self.doubt(claim.node_id, device, marks, bound, action.uid)
        fits = device is not None and set(device.tags) == set(action.tags)
        if claim.state == "Running" and not doubt and fits:
            await self._adjust(action, marks)
            return await self._record(action, claim.node_id)
        if claim.state == "Running":
            await self.log_out(LogOut(action.name))
        for node_id in {action.previous, marks.get("node", ""), "" if doubt else claim.node_id} - {""}:
            if self._may_delete(devices.get(node_id), bound, action.uid):
                await self._plane.delete(node_id)
        return await self._join(action, bound)

    async def _join(self, action: Enrol, bound: Mapping[str, str]) -> str:
        """Enrol with a new key, which is worth nothing afterwards, however this ends."""
        key = await self._plane.mint(action.tags, f"voxnix {action.name} {action.uid}", KEY_LIFETIME)
        place = _key_file(action.name)
        try:
            await self._storage.mark(Mark(action.dataset, "key", key.id))
            await self._storage.mark(Mark(action.dataset, "minted", self._now().isoformat(timespec="seconds")))
            self._files.make_private(f"{RUNTIME}/{action.name}")
            self._files.write(place, key.secret.encode(), mode=0o400)
            await self._up(action, key)
            node_id = await self._confirmed(action, bound)
        finally:
            self._files.remove(place)
            with contextlib.suppress(Transient, Blocked):
                await self._plane.revoke(key.id)
        return await self._record(action, node_id)

    async def _up(self, action: Enrol, key: MintedKey) -> None:
        argv = [f"--auth-key=file:/run/voxnix/{KEY_FILE}", f"--hostname={action.hostname}"]
        if self._tailnet.login_server:
            argv.append(f"--login-server={self._tailnet.login_server}")
        argv += ["--timeout=60s", "--reset", *(["--ssh"] if action.ssh else [])]
        result = await self._inside(action.name, "up", *argv, within=75)
        if result.code != 0:
            words = parse.plain(result.said.replace(key.secret, "…").replace("\n", " "), 400)
            raise Transient(f"{action.name} did not get onto the tailnet: {words}")

    async def _confirmed(self, action: Enrol, bound: Mapping[str, str]) -> str:
        """The node id that a container claims, once the control plane confirms it; a list may lag a little."""
        doubt = ""
        for _ in range(10):
            claim = await self._settled(action.name)
            marks = await self._storage.marks(action.dataset)
            device = (await self._plane.devices()).get(claim.node_id)
            doubt = self.doubt(claim.node_id, device, marks, bound, action.uid)
            if claim.state == "Running" and not doubt:
                return claim.node_id
            doubt = doubt or f"its daemon says {claim.state}"
            await asyncio.sleep(self._tailnet.poll)
        raise Transient(f"the tailnet node of {action.name} is not confirmed: {doubt}")

    async def _adjust(self, action: Enrol, marks: Mapping[str, str]) -> None:
        """Change host name and SSH of a node that is on the tailnet already, if they are not as asked."""
        if marks.get("tailnet") == _asked(action):
            return
        ssh = "true" if action.ssh else "false"
        result = await self._inside(action.name, "set", f"--hostname={action.hostname}", f"--ssh={ssh}", within=30)
        if result.code != 0:
            raise Transient(f"tailscale set in {action.name}: {parse.plain(result.said, 400)}")

    async def _record(self, action: Enrol, node_id: str) -> str:
        await self._storage.mark(Mark(action.dataset, "node", node_id))
        await self._storage.mark(Mark(action.dataset, "tailnet", _asked(action)))
        return node_id

    async def record_node(self, action: RecordNode, bound: Mapping[str, str]) -> str:
        """Learn and record a container's node id; empty, and nothing recorded, where it cannot be confirmed."""
        try:
            claim = said.claim((await self._status(action.name)).out)
            devices = await self._plane.devices()
        except (Transient, Blocked):
            return ""
        marks = await self._storage.marks(action.dataset)
        if self.doubt(claim.node_id, devices.get(claim.node_id), marks, bound, action.uid):
            return ""
        await self._storage.mark(Mark(action.dataset, "node", claim.node_id))
        return claim.node_id

    async def log_out(self, action: LogOut) -> None:
        """Log a node out from inside. Best effort: its success proves nothing, its failure stops nothing."""
        with contextlib.suppress(Transient, Blocked):
            await self._inside(action.name, "logout", within=LOG_OUT_TIMEOUT)

    async def delete_device(self, action: DeleteDevice, bound: Mapping[str, str]) -> None:
        """Delete a device by node id, if the control plane shows it under our tag; one that is gone is fine.

        Raises `Transient` where the control plane cannot be had: the caller owes the step.
        """
        marks = await self._storage.marks(action.dataset) if action.dataset else {}
        node_id = action.node_id or marks.get("node", "")
        if not node_id:
            return
        device = (await self._plane.devices()).get(node_id)
        if device is not None and self._may_delete(device, bound, action.uid):
            await self._plane.delete(node_id)

    def doubt(
        self, node_id: str, device: Device | None, marks: Mapping[str, str], bound: Mapping[str, str], uid: str
    ) -> str:
        """Why a claimed node id is not believed; empty where it is."""
        if not node_id:
            return "it claims no node id"
        if device is None:
            return f"the control plane does not list node {node_id}"
        if self._tailnet.tag not in device.tags:
            return f"node {node_id} does not bear {self._tailnet.tag}"
        if bound.get(node_id, uid) != uid:
            return f"node {node_id} is another container's"
        if marks.get("node") == node_id:
            return ""
        if device.key_id is not None:
            return "" if device.key_id == marks.get("key") else f"node {node_id} enrolled with another key"
        return _time_doubt(device, marks.get("minted", ""))

    def _may_delete(self, device: Device | None, bound: Mapping[str, str], uid: str) -> bool:
        if device is None or self._tailnet.tag not in device.tags:
            return False
        return bound.get(device.node_id, uid) == uid

    async def _settled(self, name: str) -> Claim:
        """What the daemon inside says once it has made up its mind, or after a bounded wait."""
        for left in reversed(range(20)):
            result = await self._status(name)
            if result.code == 0:
                claim = said.claim(result.out)
                if claim.state not in _UNSETTLED or not left:
                    return claim
            elif not left:
                raise Transient(f"tailscale in {name}: {parse.plain(result.said, 400)}")
            await asyncio.sleep(self._tailnet.poll)
        raise AssertionError("unreachable")

    async def _status(self, name: str) -> Result:
        return await self._inside(name, "status", "--json", "--peers=false", within=15)

    async def _inside(self, name: str, *args: str, within: float) -> Result:
        argv = ("systemd-run", "-M", name, "--wait", "--pipe", "--collect", "-q", self._tailnet.program, *args)
        return await self._run.run(argv, timeout=within)


def _key_file(name: str) -> str:
    """Where a key is put for a container; one that a killed controller left there is of no use any more."""
    return f"{RUNTIME}/{name}/{KEY_FILE}"


def _asked(action: Enrol) -> str:
    return tailnet_mark(action.hostname, ssh=action.ssh, tags=action.tags)


def _time_doubt(device: Device, minted: str) -> str:
    """Whether a device appeared while our key was good, for control planes that do not tell with which it enrolled."""
    if device.created is None:
        return ""
    try:
        at = datetime.fromisoformat(minted)
    except ValueError:
        return f"node {device.node_id} was there before any key of ours"
    if at - SLACK <= device.created <= at + KEY_LIFETIME + SLACK:
        return ""
    return f"node {device.node_id} did not appear while our key was good"
