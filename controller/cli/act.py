"""`plan`, `apply`, `run`: look, do once, keep doing. The controller does the work; this shows it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli.render_status import problem_lines
from controller.cli.session import Session, pass_session
from controller.cli.text import clean, command, moment, paint, plural
from controller.errors import BadInput, Transient, VoxnixError

if TYPE_CHECKING:
    from controller.converge import Progress
    from controller.desired import Desires
    from controller.loop import Settled

NOTHING, ERROR, CHANGES, NOT_YET, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes of `plan` (0, 2) and `apply` (0, 3, and 130 after Ctrl-C); 1 is an error."""


@click.command()
@click.option("--revision", "-r", metavar="REV", help="Plan this revision instead of what the branch says.")
@pass_session
def plan(session: Session, revision: str | None) -> int:
    """What would be done, and why, per container. Changes nothing.

    Exit code 0: nothing to do; 2: there is something; 1: an error.
    """
    value = _planned(session, revision)
    from controller.cli.render_plan import plan_lines

    kept = timedelta(days=session.settings.trash_days)
    now = moment(value["looked_at"]) or datetime.now(UTC)
    if value["unknown"] and not session.json:
        raise Transient(f"desired state is not known: {value['unknown']}")
    if value["trouble"]:
        click.echo(f"voxnix: {clean(value['trouble'])}\n  this is the plan for the revision accepted last", err=True)
    session.answer(value, [*_mistakes(value), *plan_lines(value, now, kept)])
    if value["lanes"] or value["holds"]:
        return CHANGES
    return ERROR if value["unknown"] or value["trouble"] else NOTHING


@click.command()
@click.option("--revision", "-r", metavar="REV", help="Only if the state repo is still at this revision.")
@pass_session
def apply(session: Session, revision: str | None) -> int:
    """Do what is to be done, with live progress, until nothing more can be done now.

    Exit code 0: converged; 3: not (yet), something waits or failed; 1: an error.
    """
    if revision is not None:
        _require_head(session, revision)
    from controller.cli.live import display

    try:
        with display(quiet=session.json) as shown:
            settled, trouble = asyncio.run(_converge(session, shown.tell))
    except KeyboardInterrupt:
        click.echo("\nStopped. Nothing is lost: `voxnix apply` goes on where this ended.", err=True)
        return INTERRUPTED
    return _report(session, settled, shown.failures, trouble)


@click.command()
@click.option("--verbose", "-v", is_flag=True, help="Log every pass and every step.")
@pass_session
def run(session: Session, verbose: bool) -> None:
    """The controller: converge whenever a commit, the clock or the host gives cause, until it is told to stop."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s  %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stdout,
    )
    for noisy in ("apscheduler", "aiohttp", "asyncio", "dbus_fast", "git", "watchfiles"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    log = logging.getLogger("voxnix")
    log.info("state repo %s, host %s", clean(session.settings.repository), clean(session.settings.host))
    asyncio.run(_run(session, _logged(log)))
    log.info("stopped")


def _planned(session: Session, revision: str | None) -> dict[str, Any]:
    """The plan that follows from a look now: the running controller's, or, where none runs, one of our own."""
    from controller.cli.client import Away, Client

    try:
        return dict(Client(session.settings.socket, timeout=120.0).get("/v1/plan", fresh=1, revision=revision))
    except Away:
        return asyncio.run(_look(session, revision))


async def _look(session: Session, revision: str | None) -> dict[str, Any]:
    from controller.looks import planned
    from controller.wiring import controller

    async with controller(session.settings) as at_work:
        if revision is not None:
            await asyncio.to_thread(_fetched, at_work.desires, revision)
        return planned(await at_work.look(revision))


def _fetched(desires: Desires, revision: str) -> None:
    """See that the mirror has a revision, before the host is asked anything; raises `BadInput` if there is none."""
    desires.read()
    desires.read_revision(revision)


async def _converge(session: Session, tell: Any) -> tuple[Settled, str]:
    """How it ended, and why the newest commit was not followed, if it was not."""
    from controller.wiring import controller

    async with controller(session.settings, tell=tell) as at_work:
        try:
            settled = await at_work.converge()
            published = json.loads(at_work.store.summary() or "{}")
            return settled, published.get("refused") or published.get("fetch") or ""
        finally:
            await at_work.stop()


async def _run(session: Session, tell: Any) -> None:
    from controller.api import Api
    from controller.cli.inside import journal
    from controller.wiring import controller, sweep

    async with controller(session.settings, tell=tell) as at_work:
        try:
            await sweep(session.settings)
        except VoxnixError as error:
            logging.getLogger("voxnix").warning(
                "snapshots that were read could not be tidied up: %s", clean(str(error))
            )
        settings = session.settings
        pokers = _owner(settings.repository)
        api = Api(at_work, settings.socket, logs=partial(journal, session), group=settings.socket_group, pokers=pokers)
        await api.start()
        try:
            await at_work.run(_refs(session.settings.repository))
        finally:
            await api.stop()


def _owner(repository: str) -> tuple[int, ...]:
    """The owner of a local state repo, whose hooks say that it has moved."""
    try:
        return (os.stat(repository).st_uid,)
    except OSError:
        return ()


def _refs(repository: str) -> Path | None:
    """The folder of a local state repo that changes with every push, and not with the notes that are written to it."""
    refs = Path(repository) / "refs/heads"
    return refs if refs.is_dir() else None


def _require_head(session: Session, revision: str) -> None:
    """Refuse to apply anything but what the branch says: going back is a new commit, not a mode of apply."""
    wanted = session.repo.resolve(revision)
    if wanted != session.head:
        raise BadInput(
            f"the state repo is at {session.head[:10]}, not at {wanted[:10]}",
            hint="`voxnix undo` or `voxnix rollback` brings an earlier version back, as a new commit",
        )


def _mistakes(planned: Mapping[str, Any]) -> list[str]:
    """The mistakes in files, as they stand at the head of a plan."""
    lines = [line for problem in planned["problems"] for line in problem_lines(problem)]
    return [*lines, ""] if lines else []


def _report(session: Session, settled: Settled, failures: list[str], trouble: str) -> int:
    """Tell how it ended. What the state repo refuses to tell is not converged either."""
    from controller import report
    from controller.cli.render_plan import plan_lines

    converged = settled.converged and not trouble
    code = NOTHING if converged else NOT_YET
    planned = report.plan(settled.plan)
    value = {"converged": converged, "failures": len(failures), "trouble": trouble, "plan": planned}
    if converged:
        session.answer(value, [paint("Converged.", "green", bold=True) + f" {command('voxnix status')} shows it."])
        return code
    failed = f" {plural(len(failures), 'step')} failed." if failures else ""
    lines = [paint("Not converged yet.", "yellow", bold=True) + failed, *clean(trouble, lines=True).splitlines(), ""]
    session.answer(value, [*lines, *plan_lines(planned, datetime.now(UTC))])
    return code


def _logged(log: logging.Logger) -> Any:
    """Progress as log lines."""
    from controller.cli.live import ended

    def tell(progress: Progress) -> None:
        line = ended(progress)
        if line:
            log.info("%s", click.unstyle(line) if not sys.stdout.isatty() else line)

    return tell
