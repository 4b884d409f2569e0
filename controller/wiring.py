"""The one place where drivers, store, git and loop are put together. It does nothing by itself."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from controller.errors import BadInput
from controller.settings import Settings, TailnetSettings

if TYPE_CHECKING:
    from controller.converge import Progress
    from controller.host.controlplane import ControlPlane
    from controller.host.hands import Hands
    from controller.host.run import Runner
    from controller.loop import Controller
    from controller.observed import Observed
    from controller.plan.model import Policy
    from controller.spec.state import Library
    from controller.store import Store
    from controller.waking import Clock, Watch

SIM_TAG = "tag:vox"
"""The tailnet tag of an appliance on a simulated host that is not told another."""


def runner(settings: Settings) -> Runner:
    """Whoever answers host commands: this machine, or a simulated one."""
    if settings.simulated:
        from controller.host.sim import SimHost

        if not (settings.sim / "sim.db").exists():
            raise BadInput(f"there is no simulated host in {settings.sim}", hint=f"voxnix sim create {settings.sim}")
        return SimHost(settings.sim)
    from controller.host.run import Processes

    return Processes()


@asynccontextmanager
async def control_plane(settings: Settings, run: Runner) -> AsyncIterator[ControlPlane | None]:
    """The tailnet's control plane, if one is configured; a simulated host brings its own."""
    from controller.host.controlplane import HeadscaleV1, TailscaleV2, read_credentials
    from controller.host.files import Files

    async with AsyncExitStack() as stack:
        tailnet = settings.tailnet
        if settings.simulated:
            from controller.host.sim import SimHost
            from controller.host.sim.tailnet import SimTailnet

            url = await stack.enter_async_context(
                SimTailnet(settings.sim, host=run if isinstance(run, SimHost) else None)
            )
            tailnet = replace(tailnet or TailnetSettings(SIM_TAG), url=url)
        if tailnet is None:
            yield None
            return
        credentials = read_credentials(Files(settings.root), tailnet.credentials)
        plane: ControlPlane = (
            HeadscaleV1(tailnet.url, credentials)
            if tailnet.dialect == "headscale"
            else TailscaleV2(tailnet.url, credentials, tailnet.tailnet)
        )
        stack.push_async_callback(plane.close)
        yield plane


@asynccontextmanager
async def controller(
    settings: Settings,
    *,
    tell: Callable[[Progress], None] = lambda _: None,
    clock: Clock | None = None,
    jitter: Callable[[], float] = random.random,
    run: Runner | None = None,
    listen: Watch | None = None,
) -> AsyncIterator[Controller]:
    """A controller for these settings, holding the lock that keeps a second one away.

    `run` stands in for the host that the settings name, and `listen` for what hears of its changes.
    Raises `Blocked` where another controller runs, or the store cannot be read.
    """
    from controller import sources
    from controller.chronicle import Chronicle
    from controller.git.following import Followed
    from controller.loop import Controller
    from controller.store import Store, controller_lock
    from controller.waking import Clock, Poll

    clock = clock or Clock(boot=boot_id())
    run = run or runner(settings)
    async with AsyncExitStack() as stack:
        stack.enter_context(controller_lock(settings.data))
        store = stack.enter_context(Store.open(settings.store, create=True))
        plane = await stack.enter_async_context(control_plane(settings, run))
        host = Host.of(settings, run, plane, store, clock.now)
        mirror = sources.mirror(settings, jitter=jitter, now=clock.now)
        poll = Poll(mirror.refresh, mirror.pause, mirror.halt) if isinstance(mirror, Followed) else None
        desires = sources.Following(
            mirror,
            store,
            modules(settings),
            settings.name,
            witnesses=sources.witnesses(settings, mirror),
            trash=lambda: host.trash_of,
            now=clock.now,
        )
        chronicle = await stack.enter_async_context(
            Chronicle(store, settings.name, clock.now, mirror, sources.notebook(settings, mirror))
        )

        def both(progress: Progress) -> None:
            chronicle.progress(progress)
            tell(progress)

        yield Controller(
            store=store,
            desires=desires,
            observe=host.observe,
            act=host.act,
            policy=policy(settings),
            clock=clock,
            tell=both,
            jitter=jitter,
            resync=settings.resync,
            listen=listen or signals(settings),
            poll=poll,
            looked=chronicle.looked,
        )


def signals(settings: Settings) -> Watch | None:
    """What hears that a container of this machine has changed; a simulated host is looked at now and then."""
    if settings.simulated:
        return None
    from controller.host.signals import Signals

    return Signals().watch


def modules(settings: Settings) -> Library:
    """The module library in use, and what nixpkgs it is built with."""
    from controller.host.files import Files
    from controller.host.nixos import channel, library

    return library(settings.modules, channel(Files(settings.root)))


def policy(settings: Settings) -> Policy:
    """What the planner is told of the settings; the appliance's id comes from the store."""
    from controller.plan.model import Policy

    tag = settings.tailnet.tag if settings.tailnet else SIM_TAG if settings.simulated else ""
    return Policy(
        appliance="",
        pool=settings.pool,
        host=settings.name,
        tag=tag,
        trash_for=timedelta(days=settings.trash_days),
    )


class Host:
    """One host's drivers, put together."""

    def __init__(self, look: Callable[[Iterable[str]], Awaitable[Observed]], hands: Hands, pool: str) -> None:
        self._look = look
        self._hands = hands
        self._trash = f"{pool}/trash/"
        self.act = hands.act
        self.trash_of: frozenset[str] = frozenset()
        """The tenants whose data waits in the trash, as of the last look."""

    async def observe(self, names: Iterable[str]) -> Observed:
        """One look at everything."""
        from controller.observed import Known

        seen = await self._look(names)
        if isinstance(seen.storage, Known):
            self._hands.know(seen.storage.value)
            thrown = (d for d in seen.storage.value.datasets.values() if d.name.startswith(self._trash))
            self.trash_of = frozenset(d.marks["owner"] for d in thrown if "owner" in d.marks)
        return seen

    @staticmethod
    def of(
        settings: Settings, run: Runner, plane: ControlPlane | None, store: Store, now: Callable[[], datetime]
    ) -> Host:
        """The drivers for these settings."""
        from controller.host.files import Files
        from controller.host.hands import Hands
        from controller.host.machines import Machines
        from controller.host.nixos import Systems
        from controller.host.observe import observe
        from controller.host.secrets import Deliveries, SecretStore
        from controller.host.storage import Storage
        from controller.host.tailnet import Enrolment, Tailnet

        files = Files(settings.root)
        secrets = SecretStore(files)
        deliveries = Deliveries(files, secrets)
        machines = Machines(run, files, deliveries)
        storage = Storage(run, files, settings.pool)
        systems = Systems(run, files, machines, deliveries, str(settings.modules))
        enrolment = None
        if plane:
            tailnet = settings.tailnet or TailnetSettings(SIM_TAG)
            enrolment = Enrolment(run, files, plane, storage, Tailnet(tailnet.tag, tailnet.login_server), now)

        hands = Hands(machines, storage, systems, enrolment, Books(store, now))

        async def look(names: Iterable[str]) -> Observed:
            return await observe(run, machines, storage, enrolment, secrets, list(names))

        return Host(look, hands, settings.pool)


class Books:
    """The store, as the ledger of what actions leave to be remembered."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def owe(self, uid: str, name: str, node_id: str) -> None:
        """A device is still to be deleted."""
        from controller.plan.memory import Debt

        self._store.note_debt(Debt(uid, name, node_id, self._now()))

    def paid(self, node_id: str) -> None:
        """A device is gone."""
        self._store.forget_debt(node_id)

    def decided(self, commit: str) -> None:
        """A decision has been carried out."""
        self._store.decided(commit)

    def trust(self, token: str) -> None:
        """An admin approved of going on with a rebuilt store."""
        if self._store.rebuilt == token:
            self._store.rebuilt = ""


async def sweep(settings: Settings) -> None:
    """Remove what a killed reader of snapshots left, which would keep these from being pruned."""
    from controller.host.files import Files
    from controller.host.glimpse import Glimpses

    await Glimpses(runner(settings), Files(settings.root), settings.pool).sweep()


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def open_store(settings: Settings, *, create: bool = False) -> Store | None:
    """The store, for reading beside a running controller or, with `create`, for the controller itself."""
    from controller.store import Store

    return Store.open(settings.store, create=True) if create else Store.open(settings.store)
