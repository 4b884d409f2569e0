"""The `voxnix` command itself: common options, the list of commands, and how every failure is told."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from controller.cli import text
from controller.cli.session import Session
from controller.errors import BadInput, InvalidFiles, VoxnixError

COMMANDS = {
    "init": ("setup", "A new state repo, with an example to start from."),
    "new": ("setup", "A commented spec to start from."),
    "validate": ("check", "Check state files and explain every mistake."),
    "schema": ("check", "JSON Schema of state files, for editors."),
    "plan": ("act", "What would be done, and why."),
    "apply": ("act", "Do what is to be done, with live progress."),
    "run": ("act", "The controller: converge, and keep at it."),
    "status": ("status", "What is running, what is not as it should be, and why."),
    "events": ("events", "What happened."),
    "logs": ("inside", "A container's journal."),
    "enter": ("inside", "A shell in a container."),
    "approve": ("decide", "Let something happen that waits for your word."),
    "restart": ("decide", "Restart a container once."),
    "trash": ("trash", "Data of removed containers: list, restore, purge."),
    "suspend": ("decide", "Tell the controller to keep its hands off everything."),
    "resume": ("decide", "Let the controller go on."),
    "accept-rewrite": ("decide", "Accept a state repo whose history was rewritten."),
    "history": ("history", "Who changed what, when, and why."),
    "blame": ("blame", "Of each field of a container, who set it last, and why."),
    "rollback": ("rewind", "Bring an earlier version of a spec back."),
    "undo": ("rewind", "Take a commit back, with a new one."),
    "files": ("files", "What a container's data was: its snapshots, and single files out of them."),
    "secret": ("secret", "Secrets of tenants: set, list, remove."),
    "keys": ("keys", "Lines for sshd, so that people push with their own keys."),
    "hooks": ("hooks", "Put the state repo's hooks in place, or bring them up to date."),
    "door": ("hooks", "The gate of the state repo, kept running so that pushes are quick."),
    "serve": ("serve", "For sshd: answer who came with such a key."),
    "entry": ("entry", "For systemd: a shell for who came with such a key."),
    "adopt": ("adopt", "Bring a container that exists already under a spec."),
    "doctor": ("doctor", "Is this host able to run us, and if not, what to do."),
    "demo": ("demo", "A guided tour on a simulated host."),
    "completion": ("completion", "Shell completion for bash, zsh or fish."),
    "sim": ("sim", "A simulated host: make one, act on it behind the controller's back."),
}
"""Every command: the module that has it, and what it is for."""


COMMON = {"--state": True, "--host": True, "--config": True, "--json": False}
"""The options that every command takes, and whether a value follows."""
HIDDEN = ("serve", "entry", "sim")
"""Commands that people do not type."""
PASSING_ON = ("enter", "sim")
"""Commands that hand words on to others."""


class Voxnix(click.Group):
    """The group of all commands; a command's module is loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"controller.cli.{COMMANDS[cmd_name][0]}")
        found = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the words name; an unknown one suggests the nearest."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = text.suggestion(args[0], COMMANDS)
            raise click.UsageError(f"there is no command {text.clean(args[0])!r}{'; ' + hint if hint else ''}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items() if name not in HIDDEN])

    def __call__(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a command and exit: with the code it returns, or 1 and a clear message, never a traceback."""
        sys.exit(main(*args, **extra))


@click.group(cls=Voxnix, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--state", metavar="REPO", help="The state repo, a path or an address. [env: VOXNIX_STATE]")
@click.option("--host", metavar="HOST", help="`nixos`, or `sim:DIR` for a simulated one. [env: VOXNIX_HOST]")
@click.option("--config", metavar="FILE", help="Settings, /etc/voxnix/config.toml if not given. [env: VOXNIX_CONFIG]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.version_option(package_name="voxnix", prog_name="voxnix")
@click.pass_context
def cli(ctx: click.Context, state: str | None, host: str | None, config: str | None, as_json: bool) -> None:
    """Dev containers on your own NixOS box, converged from a git repository.

    The options below may stand before or after the command.
    """
    ctx.obj = Session({"state": state, "host": host, "config": config}, as_json)
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main(args: Sequence[str] | None = None, **extra: Any) -> int:
    """Run one command; its exit code. Usage errors are 1 like all other mistakes: `plan` says something else by 2."""
    words = _hoisted(sys.argv[1:] if args is None else args)
    as_json = "--json" in words
    extra |= {"prog_name": "voxnix", "standalone_mode": False}
    try:
        code = click.Group.main(cli, words, **extra)
    except VoxnixError as error:
        return _failed(error, as_json=as_json)
    except click.ClickException as error:
        error.show()
        return 1
    except (KeyboardInterrupt, click.Abort):
        click.echo("", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _failed(BadInput(f"{where}{error.strerror or error}"), as_json=as_json)
    return code if isinstance(code, int) else 0


def _hoisted(args: Sequence[str]) -> list[str]:
    """The common options first, wherever they stood: `voxnix status --json` is what people type.

    What follows `--`, and the words that `enter` and `sim` pass on, are left as they are.
    """
    front: list[str] = []
    rest: list[str] = []
    words = list(args)
    while words:
        word = words.pop(0)
        if word == "--" or (word in PASSING_ON and not rest):
            return [*front, *rest, word, *words]
        name, has_value, _ = word.partition("=")
        if name not in COMMON:
            rest.append(word)
            continue
        front.append(word)
        if COMMON[name] and not has_value and words:
            front.append(words.pop(0))
    return [*front, *rest]


def _failed(error: VoxnixError, *, as_json: bool) -> int:
    """Tell what went wrong on stderr; 1."""
    if as_json:
        click.echo(json.dumps({"error": error.what, "hint": error.hint}), err=True)
        return 1
    if isinstance(error, InvalidFiles):
        for problem in error.problems:
            click.echo(text.clean(problem.render(), lines=True), err=True)
        return 1
    click.echo(f"voxnix: {text.clean(error.what, lines=True)}", err=True)
    if error.hint:
        click.echo(f"  {text.clean(error.hint, lines=True)}", err=True)
    return 1
