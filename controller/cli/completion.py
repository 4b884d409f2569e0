"""Shell completion: the script a shell loads, and the names that it then offers. Never fails, never waits long."""

from __future__ import annotations

from typing import Any

import click

from controller.cli.session import Session
from controller.errors import VoxnixError

SETUP = {
    "bash": 'add to ~/.bashrc:  eval "$(voxnix completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(voxnix completion zsh)"',
    "fish": "voxnix completion fish > ~/.config/fish/completions/voxnix.fish",
}


@click.command(epilog="\b\n" + "\n".join(SETUP.values()))
@click.argument("shell", type=click.Choice(list(SETUP)))
def completion(shell: str) -> None:
    """Print the script that completes commands, containers, holds and trash in SHELL."""
    from click.shell_completion import get_completion_class

    from controller.cli.app import cli

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "voxnix", "_VOXNIX_COMPLETE").source())


def container_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of containers."""
    names = [str(status["name"]) for status in _document(ctx).get("containers", [])]
    return [name for name in names if name.startswith(incomplete)]


def hold_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[Any]:
    """What waits for an approval."""
    return _items(_document(ctx).get("holds", []), incomplete, "reason")


def trash_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[Any]:
    """What is in the trash."""
    return _items(_document(ctx).get("trash", []), incomplete, "name")


def _items(values: list[dict[str, Any]], incomplete: str, about: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(v["id"], help=str(v[about])) for v in values if str(v["id"]).startswith(incomplete)]


def _document(ctx: click.Context) -> dict[str, Any]:
    """The published status; nothing where there is none, for a shell has no use for an error."""
    options = ctx.find_root().params
    session = Session({key: options.get(key) for key in ("state", "host", "config")})
    try:
        session.client.timeout = 1.0
        return session.document()
    except (VoxnixError, OSError, ValueError):
        return {}
