"""One pass's view of the world: every source asked side by side, each known or unknown for itself.

Reads only. A source that fails, takes too long, or says what it should not is unknown in this pass, with the reason;
it never takes another one down with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping
from typing import TypeVar

from controller.errors import Transient, VoxnixError
from controller.host.machines import Machines
from controller.host.run import Runner
from controller.host.secrets import SecretStore
from controller.host.storage import Storage
from controller.host.tailnet import Enrolment
from controller.observed import parse
from controller.observed.facts import Known, NotConfigured, Observed, Source, Unknown

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds a source has to answer."""
CLOCK = 2.0
"""Seconds for the clock, whose service may hang for long while its bus is started anew: no pass waits for that."""


async def observe(
    run: Runner,
    machines: Machines,
    storage: Storage,
    tailnet: Enrolment | None,
    secrets: SecretStore,
    names: Collection[str],
) -> Observed:
    """Everything the planner is to know. `names` are containers to look for beside what the host shows."""
    found, pool, devices, clock, stored = await asyncio.gather(
        _source(machines.observe(names)),
        _source(storage.observe()),
        _source(tailnet.devices()) if tailnet else _not_configured(),
        _source(_clock(run), CLOCK),
        _source(_secrets(secrets)),
    )
    return Observed(machines=found, storage=pool, tailnet=devices, clock=clock, secrets=stored)


async def _source(asked: Awaitable[T], patience: float = PATIENCE) -> Source[T]:
    try:
        async with asyncio.timeout(patience):
            return Known(await asked)
    except TimeoutError:
        return Unknown(f"no answer within {patience:.0f} s")
    except VoxnixError as error:
        return Unknown(parse.plain(str(error), 400))


async def _not_configured() -> NotConfigured:
    return NotConfigured()


async def _clock(run: Runner) -> bool:
    result = await run.run(("timedatectl", "show", "-p", "NTPSynchronized"), timeout=CLOCK)
    if result.code != 0:
        raise Transient(f"timedatectl: {result.said}")
    return parse.clock(result.out)


async def _secrets(secrets: SecretStore) -> Mapping[str, frozenset[str]]:
    return secrets.names()
