"""Containers as systemd, machined and the host's files know them: what is there, and its power.

Never trusts an exit code alone: every verb looks at unit, machine and files afterwards. Never starts a name that
is not installed, for systemd would run the template and make an empty container of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.errors import Blocked, Transient
from controller.host.files import Files
from controller.host.installed import NAME, Installations, unit_of
from controller.host.run import Result, Runner
from controller.host.secrets import Deliveries
from controller.observed import parse
from controller.observed.facts import Installed, Machine, MachineState, UnitFacts
from controller.plan.actions import ClearFailed, Deliver, SetResources, Start, Stop


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long things may take, in seconds.

    `start` leaves the unit's own five minutes their time; after `stop`, before systemd would kill all that is left
    in one go, an orderly stop turns into a kill, which has `kill` seconds; meanwhile it is asked again every `ask`.
    `probe` is for commands that only look; between two looks `poll` passes.
    """

    start: float = 330
    stop: float = 60
    ask: float = 3
    kill: float = 15
    probe: float = 10
    poll: float = 0.1


class Machines:
    """Observes all containers of the host, and turns them on and off."""

    def __init__(self, run: Runner, files: Files, deliveries: Deliveries, deadlines: Deadlines | None = None) -> None:
        self._run = run
        self._deliveries = deliveries
        self._deadlines = deadlines or Deadlines()
        self._installations = Installations(files)

    async def observe(self, names: Iterable[str]) -> Mapping[str, Machine]:
        """Every container that is installed or running, and whatever there is of `names`, by name.

        One `machinectl list` and one `systemctl show`; a second one where a machine runs that nothing else names.
        Raises `Transient`, `Blocked` or `parse.Garbled`.
        """
        installed = self._installations.all()
        known = {name for name in names if NAME.fullmatch(name)} | installed.keys()
        listing, units = await asyncio.gather(self._list(), self._show(known))
        others = {name for name in listing if NAME.fullmatch(name)} - known
        units |= await self._show(others)
        owners = {n: found.document.owner for n, (found, _) in installed.items() if found and found.document}
        runtime = self._deliveries.observe(owners)
        return {
            name: _machine(name, units[name], installed.get(name), listing, runtime.get(name))
            for name in sorted(known | others)
        }

    def installed(self, name: str) -> Installed | None:
        """What is installed under this name, by the host's files alone; None for nothing, or half of it."""
        found = self._installations.of(name)
        return found[0] if found else None

    async def look(self, name: str) -> Machine:
        """One container as it is now."""
        units, listing = await asyncio.gather(self._show({name}), self._list())
        return _machine(name, units[name], self._installations.of(name), listing, None)

    async def expect_down(self, name: str) -> None:
        """Raise `Transient` while processes of a container may be running: ZFS would move its data under them."""
        machine = await self.look(name)
        if machine.up:
            raise Transient(f"{name} is still up ({machine.unit.active}), so its data is not moved")

    async def start(self, action: Start) -> None:
        """Start a container and see that it is ready. That its datasets are mounted is for the caller to see."""
        before = await self.look(action.name)
        if before.state is MachineState.RUNNING:
            return
        if before.installed is None:
            raise Transient(f"{action.name} is not installed, so it is not started")
        if before.unit.active == "failed":
            await self._systemctl("reset-failed", action.name)
        result = await self._systemctl("start", action.name, within=self._deadlines.start)
        after = await self.look(action.name)
        if after.state is not MachineState.RUNNING:
            raise Transient(_down(action.name, after.unit, result, await self.last_words(action.name)))

    async def stop(self, action: Stop) -> None:
        """Stop a container, and wait until neither unit nor machine is left; one that does not end is killed."""
        name = action.name
        if await self._gone(name):
            return
        try:
            await self._ask_to_stop(name)
        except Transient:
            await self._kill(name)
        if not await self._wait_gone(name):
            await self._kill(name)
            if not await self._wait_gone(name):
                machine = await self.look(name)
                raise Transient(f"{name} does not stop: its unit is {machine.unit.active}/{machine.unit.sub}")
        await self.clear_failed(ClearFailed(name))

    async def _ask_to_stop(self, name: str) -> None:
        """Have systemd stop a container, and ask its first process again meanwhile.

        What is asked of a container while it begins to boot is lost: nobody in it listens yet.
        """
        again = ("machinectl", "kill", name, "--kill-whom=leader", "--signal=SIGRTMIN+3")
        stopping = asyncio.create_task(self._systemctl("stop", name, within=self._deadlines.stop))
        try:
            while not (await asyncio.wait({stopping}, timeout=self._deadlines.ask))[0]:
                await self._run.run(again, timeout=self._deadlines.probe)
            await stopping
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def clear_failed(self, action: ClearFailed) -> None:
        """Forget that a unit failed; nothing where it did not."""
        unit = (await self._show({action.name}))[action.name]
        if unit.active == "failed":
            result = await self._systemctl("reset-failed", action.name)
            if (await self._show({action.name}))[action.name].active == "failed":
                raise Transient(f"the failed unit of {action.name} stays: {result.said}")

    async def set_resources(self, action: SetResources) -> None:
        """Set the limits of a container's unit, live, until the next boot; and see that they hold."""
        if self._installations.of(action.name) is None:
            raise Transient(f"{action.name} is not installed, so it has no limits")
        limits = (f"MemoryMax={action.memory}", f"CPUQuota={quota(action.cpus)}", f"TasksMax={action.tasks}")
        argv = ("systemctl", "set-property", "--runtime", unit_of(action.name), *limits)
        result = await self._run.run(argv, timeout=self._deadlines.probe)
        unit = (await self._show({action.name}))[action.name]
        cpus = unit.cpu_quota or 0.0
        if (unit.memory_max, unit.tasks_max) != (action.memory, action.tasks) or abs(cpus - action.cpus) > 0.01:
            raise Transient(f"the limits of {action.name} were not taken: {result.said}")

    async def deliver(self, action: Deliver) -> None:
        """See `Deliveries.deliver`."""
        self._deliveries.deliver(action)

    async def last_words(self, name: str, lines: int = 5) -> str:
        """The last lines of a container's journal, made harmless; empty where there are none to be had."""
        try:
            result = await self._run.run(logs(name, lines), timeout=self._deadlines.probe)
        except (Transient, Blocked):
            return ""
        said = [parse.plain(line) for line in result.out.splitlines() if line and not line.startswith("-- ")]
        return "\n".join(said[-lines:])

    async def _systemctl(self, verb: str, name: str, *more: str, within: float = 30) -> Result:
        return await self._run.run(("systemctl", verb, *more, unit_of(name)), timeout=within)

    async def _kill(self, name: str) -> None:
        """End whatever is left of a container, and tell systemd again to leave it down.

        Its first process goes first, so that nspawn can tidy up behind it: where nspawn itself was killed, the next
        start fails over what it left.
        """
        leader = ("machinectl", "kill", name, "--kill-whom=leader", "--signal=SIGKILL")
        await self._run.run(leader, timeout=self._deadlines.probe)
        if not await self._wait_gone(name):
            await self._systemctl("kill", name, "-s", "KILL")
        await self._systemctl("stop", name, within=self._deadlines.kill)

    async def _gone(self, name: str) -> bool:
        units, listing = await asyncio.gather(self._show({name}), self._list())
        return units[name].active in ("inactive", "failed") and name not in listing

    async def _wait_gone(self, name: str) -> bool:
        for _ in range(max(1, round(self._deadlines.kill / self._deadlines.poll))):
            if await self._gone(name):
                return True
            await asyncio.sleep(self._deadlines.poll)
        return False

    async def _list(self) -> dict[str, tuple[str, ...]]:
        result = await self._run.run(("machinectl", "list", "--output=json"), timeout=self._deadlines.probe)
        if result.code != 0:
            raise Transient(f"machinectl list: {result.said}")
        return parse.machines(result.out)

    async def _show(self, names: Iterable[str]) -> dict[str, UnitFacts]:
        """`systemctl show` of these containers; without any it would show systemd itself, so it is not run."""
        asked = sorted(names)
        if not asked:
            return {}
        argv = ("systemctl", "show", "-p", parse.UNIT_KEYS, *map(unit_of, asked))
        result = await self._run.run(argv, timeout=self._deadlines.probe)
        if result.code != 0:
            raise Transient(f"systemctl show: {result.said}")
        return parse.units(result.out, asked)


def quota(cpus: float) -> str:
    """CPUs as systemd's percentage: 1.5 is `150%`."""
    return f"{cpus * 100:.2f}".rstrip("0").rstrip(".") + "%"


def logs(name: str, lines: int, *, inside: bool = False, follow: bool = False) -> tuple[str, ...]:
    """The command for a container's journal: the unit's own, or the one `inside`, to be had only while it runs."""
    unit = unit_of(name)
    which = ("-M", name) if inside else ("-u", unit)
    tail = ("-n", str(lines), "--no-pager", "-o", "short-iso")
    return ("journalctl", *which, *tail, *(("-f",) if follow else ()))


def enter(name: str) -> tuple[str, ...]:
    """The command for a root shell in a running container."""
    unit_of(name)
    return ("machinectl", "shell", f"root@{name}")


def _machine(
    name: str,
    unit: UnitFacts,
    installed: tuple[Installed | None, bool] | None,
    listing: Mapping[str, tuple[str, ...]],
    runtime: Mapping[str, str] | None,
) -> Machine:
    system, partial = installed or (None, False)
    return Machine(
        name=name,
        unit=unit,
        installed=system,
        partial=partial,
        registered=name in listing,
        addresses=listing.get(name, ()),
        runtime=runtime,
    )


def _down(name: str, unit: UnitFacts, result: Result, words: str) -> str:
    """Why a start came to nothing, told apart as the unit's state allows, with the journal's last lines."""
    if unit.active == "activating" and unit.result in ("success", "timeout"):
        what = f"{name} was not ready in time and is being started again (restart {unit.restarts})"
    elif unit.active in ("failed", "activating"):
        what = f"{name} ends again and again as it starts (restart {unit.restarts}, exit {unit.exit_status})"
    elif unit.active == "active":
        what = f"{name} is active, but not running: {unit.status_text or unit.sub}"
    else:
        what = f"{name} did not start: {result.said}"
    return f"{what}; its journal ends:\n{words}" if words else what
