"""`voxnix-agent`: the commands, and the one place where the agent's parts are put together."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.errors import BadInput, Transient, VoxnixError
from controller.settings import Settings
from controller.settings import load as load_settings

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from agent.appliance import Appliance
    from agent.config import AgentConfig
    from agent.outbox import Outbox
    from agent.person import Person, Surface
    from agent.snapshot import State
    from agent.store import Store
    from agent.talk import Talk
    from controller.spec.model import Tenant
    from controller.spec.state import Library


@dataclass(frozen=True)
class Given:
    """The options before the command."""

    settings: Settings
    config: AgentConfig


@dataclass(frozen=True)
class Parts:
    """What any surface needs: the appliance's socket, the outbox, the agent's memory, the modules, the model."""

    appliance: Appliance
    outbox: Outbox
    store: Store
    library: Library
    model: Model | None
    settings: Settings
    config: AgentConfig

    def talk(self, surface: Surface) -> Talk:
        """The core behind a surface."""
        from agent.budget import Budget
        from agent.talk import Talk

        days = self.settings.trash_days
        found = Talk(surface, self.appliance, self.outbox, self.store, self.library.modules, self.model, days)
        limits = {"requests": self.config.requests, "tokens": self.config.tokens}
        found.budget = Budget(self.store, lambda: found.now().timestamp(), **limits)
        return found

    async def tenants(self) -> Mapping[str, Tenant]:
        """The tenants of the accepted revision: nobody else is heard, whatever newer commits say."""
        return (await self.accepted()).tenants

    async def accepted(self) -> State:
        """The state at the accepted revision."""
        revision = str((await self.appliance.status()).get("revision") or "")
        if not revision:
            raise Transient("the controller has not accepted a revision yet", hint="voxnix status")
        return await self.outbox.state(revision)


def parts(given: Given) -> Parts:
    """Everything but the surface. Raises `BadInput` or `Blocked` for what cannot be."""
    from agent.appliance import Appliance
    from agent.ledger import Ledger
    from agent.library import library
    from agent.models import credential, model_of
    from agent.outbox import Outbox
    from agent.store import Store
    from controller.cli.client import Client

    settings, config = given.settings, given.config
    folder = config.folder(settings)
    store = Store(folder / "agent.db")
    appliance = Appliance(Client(settings.socket, timeout=30.0))
    modules = library(settings.modules)
    source = config.state or settings.repository
    remote = Outbox.remote(folder / "state.git", source, settings.branch, config.key, config.known_hosts)
    outbox = Outbox(remote, Ledger(store), appliance, modules)
    model = model_of([config.model, *config.fallback], url=config.url, key=credential("model_key"))
    return Parts(appliance, outbox, store, modules, model, settings, config)


def person_of(tenants: Mapping[str, Tenant], wanted: str) -> Person:
    """The tenant of that id; of nobody in particular, the only one there is, or else the only admin."""
    from agent.person import Person

    admins = [name for name, tenant in tenants.items() if tenant.role == "admin"]
    only = list(tenants) if len(tenants) == 1 else admins
    name = wanted or (only[0] if len(only) == 1 else "")
    tenant = tenants.get(name)
    if tenant is None:
        raise BadInput(
            f"there is no tenant {wanted[:40]!r}" if wanted else "say who talks: --as TENANT",
            hint=f"there is {', '.join(sorted(tenants))}",
        )
    return Person(name, tenant.name, tenant.role)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--state", metavar="REPO", help="The state repo.")
@click.option("--host", metavar="HOST", help="`nixos`, or `sim:DIR` for a simulated host.")
@click.option("--config", metavar="FILE", help="voxnix' settings, by default /etc/voxnix/config.toml.")
@click.option("--agent-config", metavar="FILE", type=Path, help="The agent's, by default /etc/voxnix/agent.toml.")
@click.option("--verbose", "-v", is_flag=True, help="Log more.")
@click.pass_context
def cli(
    ctx: click.Context,
    state: str | None,
    host: str | None,
    config: str | None,
    agent_config: Path | None,
    verbose: bool,
) -> None:
    """Talk with a voxnix appliance."""
    from agent import telemetry
    from agent.config import load

    telemetry.logs(verbose=verbose, quiet=ctx.invoked_subcommand in ("chat", "eval"))
    settings = load_settings({"state": state, "host": host, "config": config})
    ctx.obj = Given(settings, load(agent_config, os.environ))


@cli.command()
@click.option("--as", "tenant", default="", envvar="VOXNIX_TENANT", help="The tenant who talks.")
@click.option("--offline", is_flag=True, help="Without a model, whatever is configured.")
@click.pass_obj
def chat(given: Given, tenant: str, offline: bool) -> None:
    """Talk here, at the terminal."""
    asyncio.run(_chat(given, tenant, offline))


async def _chat(given: Given, tenant: str, offline: bool) -> None:
    from agent import telemetry, terminal
    from agent.people import person as person_in

    found = parts(given)
    end = telemetry.traces(content=given.config.content)
    try:
        tenants = await found.tenants()
        person = person_of(tenants, tenant)
        surface = terminal.Terminal(sys.stdout)
        talk = found.talk(surface)
        talk.model = None if offline else found.model
        talk.mine = f"{terminal.CHAT}{person.id}".__eq__
        people = partial(person_in, tenants)
        await talk.recover(people)
        tending = asyncio.create_task(talk.tend(people))
        how = "with a model" if talk.model else "by the grammar (“help” shows it)"
        click.echo(f"You are {person.name}. I listen {how}. Ctrl-D ends.")
        session = f"{int(talk.now().timestamp())}-{secrets.token_hex(4)}"
        await terminal.chat(talk, surface, person, terminal.stdin(), session=session, prompt="you> ")
        tending.cancel()
        await talk.close()
    finally:
        found.store.close()
        if end is not None:
            end()


@cli.command()
@click.pass_obj
def telegram(given: Given) -> None:
    """Be there on Telegram, until told to end."""
    from agent import telemetry
    from agent.telegram.serve import serve, token_of

    token = token_of(given.config.token_file)
    found = parts(given)
    end = telemetry.traces(content=given.config.content)
    try:
        asyncio.run(serve(found, token))
    finally:
        found.store.close()
        if end is not None:
            end()


@cli.command()
@click.argument("tenant")
@click.pass_obj
def enrol(given: Given, tenant: str) -> None:
    """Print a one-time code, and wait until somebody says it to the bot: this shows which chat is TENANT's.

    It changes no tenant; the line to commit is printed.
    """
    from agent.store import Store
    from agent.telegram.serve import wait_for_claim

    store = Store(given.config.folder(given.settings) / "agent.db")
    try:
        wait_for_claim(store, tenant, click.echo)
    finally:
        store.close()


@cli.command(name="eval")
@click.option("--model", default="", help="A model as pydantic-ai names it; without, the grammar on what it claims.")
@click.option("--only", default="", help="Cases whose names begin so.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1, 20))
@click.pass_obj
def evaluate(given: Given, model: str, only: str, repeat: int) -> None:
    """Try the dataset of requests on a model, or on the grammar, and report. Exit code 1 if a case fails."""
    from agent.evals import run
    from agent.library import library

    modules = library(given.settings.modules)
    if not run(modules, model=model, only=only, repeat=repeat, url=given.config.url):
        raise SystemExit(1)


def main() -> None:
    """The entry point: errors for people, never a traceback of theirs."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        raise SystemExit(130) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except VoxnixError as error:
        click.echo(f"voxnix-agent: {error.what}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("pydantic_ai", "pydantic_evals", "opentelemetry", "telegram"):
            raise
        click.echo("voxnix-agent: the agent's libraries are not installed\n  pip install 'voxnix[agent]'", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
