"""Tools that propose: each draws one proposal up and hands it to `_propose`, the one way to a commit.

Owner and role are the person's; no tool takes either. What can lose something waits for the person's confirmation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from pydantic_ai import ApprovalRequired, FunctionToolset, ToolFailed, ToolReturn

from agent import past, wishes
from agent.answers import Cron, Ctx, Modules, Name, Size, Text, answer, told_of
from agent.desk import Desk, amount, card
from agent.forecast import forecast
from agent.proposal import Proposal
from agent.redact import harmless

propose: FunctionToolset[Desk] = FunctionToolset(id="propose", sequential=True)


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a confirmation was given for: it fits one proposal, on one base, by one person."""

    person: str
    digest: str
    base: str


async def _propose(ctx: Ctx, draw: Callable[[], Awaitable[Proposal]]) -> ToolReturn[str]:
    """Draw a proposal up and commit it; one that can lose something waits for its confirmation first."""

    async def work() -> ToolReturn[str]:
        desk = ctx.deps
        proposal = await draw()
        if not proposal.risks:
            return answer(await desk.carry(proposal, confirmed=False))
        if not ctx.tool_call_approved:
            raise ApprovalRequired(metadata=await _card(desk, proposal))
        _require_fits(ctx, proposal)
        return answer(await desk.carry(proposal, confirmed=True))

    return await told_of(work())


async def _card(desk: Desk, proposal: Proposal) -> dict[str, Any]:
    state = await desk.state()
    status = await desk.appliance.container(proposal.name, desk.person)
    shown = card(proposal, state, status, forecast(proposal, state, status, desk.trash_until))
    return {"person": desk.person.id, "digest": proposal.digest, "base": proposal.base, "shown": harmless(shown, 3500)}


def _require_fits(ctx: Ctx, proposal: Proposal) -> None:
    """Raise `ToolFailed` unless the confirmation was of exactly this, by the person who asks."""
    said = ctx.tool_call_metadata or {}
    given = Confirmed(str(said.get("person")), str(said.get("digest")), str(said.get("base")))
    if given.person != ctx.deps.person.id:
        raise ToolFailed("somebody else confirmed this; it does not count")
    if given.digest != proposal.digest:
        raise ToolFailed(f"{proposal.name} changed since it was shown; ask again to see how it is now")


@propose.tool
async def create_container(  # noqa: PLR0913 - the fields of a new container
    ctx: Ctx,
    *,
    name: Name,
    modules: Modules | None = None,
    quota: Size | None = None,
    memory: Size | None = None,
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = None,
    description: Text | None = None,
    stopped: bool = False,
    exact: bool = False,
) -> ToolReturn[str]:
    """Create a container. It gets workspace and tailscale besides the named modules, unless `exact`."""
    power = "stopped" if stopped else None
    wish = wishes.Wish(modules, quota=quota, memory=memory, cpus=cpus, description=description, power=power)

    async def draw() -> Proposal:
        return wishes.create(await ctx.deps.state(), ctx.deps.person, name, wish, exact=exact)

    return await _propose(ctx, draw)


@propose.tool
async def change_container(  # noqa: PLR0913 - the fields that can change
    ctx: Ctx,
    *,
    name: Name,
    add_modules: Modules | None = None,
    remove_modules: Modules | None = None,
    quota: Size | None = None,
    memory: Size | None = None,
    cpus: Annotated[float, Field(gt=0, le=1024)] | None = None,
    env: Annotated[dict[str, str | None], Field(max_length=40)] | None = None,
    description: Text | None = None,
    hostname: Annotated[str, Field(max_length=63)] | None = None,
    paused: bool | None = None,
) -> ToolReturn[str]:
    """Change a container: modules to add or remove, workspace quota, memory, cpus, variables, tailnet host name."""
    wish = wishes.Wish(
        add_modules=add_modules or (),
        remove_modules=remove_modules or (),
        quota=quota,
        memory=memory,
        cpus=cpus,
        env=env or {},
        description=description,
        hostname=hostname,
        paused=paused,
    )

    async def draw() -> Proposal:
        desk = ctx.deps
        if quota:
            used = int((await desk.appliance.container(name, desk.person) or {}).get("workspace_used", 0))
            if wishes.size(quota) < used:
                raise ToolFailed(f"{name} stores more than {quota} already; delete files first")
        return wishes.change(await desk.state(), desk.person, name, wish)

    return await _propose(ctx, draw)


@propose.tool
async def start_container(ctx: Ctx, name: Name) -> ToolReturn[str]:
    """Start a container, and keep it running."""

    async def draw() -> Proposal:
        return wishes.power(await ctx.deps.state(), ctx.deps.person, name, "running")

    return await _propose(ctx, draw)


@propose.tool
async def stop_container(ctx: Ctx, name: Name) -> ToolReturn[str]:
    """Stop a container, and keep it stopped. Its data stays."""

    async def draw() -> Proposal:
        return wishes.power(await ctx.deps.state(), ctx.deps.person, name, "stopped")

    return await _propose(ctx, draw)


@propose.tool
async def restart_container(ctx: Ctx, name: Name) -> ToolReturn[str]:
    """Restart a container once."""
    return await _propose(ctx, lambda: past.restart(ctx.deps, name))


@propose.tool
async def destroy_container(ctx: Ctx, name: Name) -> ToolReturn[str]:
    """Remove a container. The person is asked to confirm by code; do not ask them yourself."""

    async def draw() -> Proposal:
        desk = ctx.deps
        held = amount(await desk.appliance.container(name, desk.person))
        return wishes.destroy(await desk.state(), desk.person, name, size=held, until=desk.trash_until)

    return await _propose(ctx, draw)


@propose.tool
async def restore_container(ctx: Ctx, name: Name) -> ToolReturn[str]:
    """Bring back a container that was destroyed, with its data from the trash."""
    return await _propose(ctx, lambda: past.restore(ctx.deps, name))


@propose.tool
async def undo_change(ctx: Ctx, name: Name | None = None) -> ToolReturn[str]:
    """Take back the last change of a container, or the person's last change of all."""
    return await _propose(ctx, lambda: past.undo(ctx.deps, name))


@propose.tool
async def schedule_container(
    ctx: Ctx,
    name: Name,
    start: Cron | None = None,
    stop: Cron | None = None,
    timezone: Annotated[str, Field(max_length=64)] | None = None,
) -> ToolReturn[str]:
    """Start and stop a container by the clock; with neither `start` nor `stop`, take its schedule away."""

    async def draw() -> Proposal:
        state = await ctx.deps.state()
        return wishes.schedule(state, ctx.deps.person, name, start=start, stop=stop, timezone=timezone)

    return await _propose(ctx, draw)


@propose.tool
async def expire_container(
    ctx: Ctx,
    name: Name,
    at: Annotated[str, Field(max_length=40, description="2030-12-24T18:00:00+01:00; none: never")] | None = None,
) -> ToolReturn[str]:
    """Remove a container at a moment to come; without a moment, take its expiry away."""

    async def draw() -> Proposal:
        desk = ctx.deps
        return wishes.expire(await desk.state(), desk.person, name, at, desk.now(), desk.trash_days)

    return await _propose(ctx, draw)


@propose.tool
async def rollback_data(
    ctx: Ctx, name: Name, snapshot: Annotated[str, Field(max_length=120)] = "latest"
) -> ToolReturn[str]:
    """Put a container's data back to one of its snapshots (`describe_container` names them)."""
    return await _propose(ctx, lambda: past.rollback_data(ctx.deps, name, snapshot))


@propose.tool
async def approve_held(ctx: Ctx, name: Name) -> ToolReturn[str]:
    """Let go on what the controller holds of one container of the person's."""
    return await _propose(ctx, lambda: past.approve(ctx.deps, name))
