"""`voxnix blame`: of each field of a container, who set it last, when, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from controller.cli import text
from controller.cli.completion import container_names
from controller.cli.session import Session, checked_name, pass_session
from controller.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.audit import Origin
    from controller.cli.lineage import Lineage, Versions
    from controller.git import Commit

DEFAULTS = "state/defaults.yaml"
VALUE = 28
"""Columns of a value that people are shown; --json has it whole."""


@click.command()
@click.argument("name", shell_complete=container_names)
@pass_session
def blame(session: Session, name: str) -> None:
    """Of each field of NAME: who set it last, when, and why.

    Also tells what NAME has from state/defaults.yaml. Follows NAME through its former names.
    """
    from controller.audit import origins
    from controller.cli.lineage import Versions, lineage

    versions = Versions(session.repo)
    found = lineage(session.repo, versions, session.head, f"state/{checked_name(name)}.yaml")
    _require(session, name, found)
    own = origins(found.versions)[0]
    rows = [(origin, found.path) for origin in own]
    rows += _inherited(session, versions, own)
    commits = _commits(session, found, rows)
    value = [_row(origin, path, commits) for origin, path in rows]
    present = found.present
    problem = str(present.problems[0]) if present is not None and not present.valid else ""
    if session.json:
        session.answer({"name": name, "problem": problem, "former_names": list(found.former), "fields": value})
        return
    for line in _lines(value, problem):
        click.echo(line)


def _require(session: Session, name: str, found: Lineage) -> None:
    """Raise `BadInput` where there is no such container."""
    if not found.versions:
        paths = session.repo.tree(session.head)
        names = [path[6:-5] for path in paths if path.count("/") == 1 and path != DEFAULTS]
        raise BadInput(f"there never was a state/{name}.yaml", hint=text.suggestion(name, names))
    if found.present is None:
        last = found.commits[-1].sha[:10]
        raise BadInput(f"{name} was removed in commit {last}", hint=f"voxnix history {name}")


def _inherited(session: Session, versions: Versions, own: tuple[Origin, ...]) -> list[tuple[Origin, str]]:
    """What the container has from the defaults, because its own file does not say it."""
    from controller.audit import origins
    from controller.cli.lineage import lineage

    said = {origin.field for origin in own}
    found = lineage(session.repo, versions, session.head, DEFAULTS)
    if found.present is None:
        return []
    return [(origin, DEFAULTS) for origin in origins(found.versions)[0] if origin.field not in said]


def _commits(session: Session, found: Lineage, rows: list[tuple[Origin, str]]) -> Mapping[str, Commit]:
    """The commits that are told of, by id."""
    known = {commit.sha: commit for commit in found.commits}
    missing = {o.source.commit for o, _ in rows if o.source and o.source.commit not in known}
    return known | {sha: session.repo.show(sha) for sha in sorted(missing)}


def _row(origin: Origin, path: str, commits: Mapping[str, Commit]) -> dict[str, Any]:
    from controller.cli.told import reason_of, requester_of

    row: dict[str, Any] = {"field": origin.field, "value": origin.value, "item": origin.item, "file": path}
    if origin.source is None:
        return row | {"commit": None, "at": None, "author": "", "email": "", "requested_by": "", "reason": ""}
    commit = commits[origin.source.commit]
    return row | {
        "file": origin.source.path,
        "commit": commit.sha,
        "at": commit.at.isoformat(),
        "author": commit.author,
        "email": commit.email,
        "requested_by": requester_of(commit),
        "subject": commit.subject,
        "reason": reason_of(commit),
    }


def _lines(rows: list[dict[str, Any]], problem: str) -> list[str]:
    """A table, one field or list item a line; why is cut where the terminal ends."""
    from controller.cli.render_history import cut, people, when, width

    lines = []
    if problem:
        lines += [text.paint(f"The present file has no effect: {problem}", "yellow"), "This is the last valid one.", ""]
    told: list[tuple[str, ...]] = []
    before = ""
    for row in rows:
        field = "" if row["item"] and row["field"] == before else row["field"]
        before = row["field"]
        who = people(row["author"], row["requested_by"]) if row["commit"] else "unknown"
        short = str(row["commit"] or "")[:10]
        told.append((field, cut(row["value"], VALUE), cut(who, 20), when(row["at"])[:10], short, row["file"]))
    bare = [tuple(text.clean(cell) for cell in row) for row in told]
    head = ("FIELD", "VALUE", "WHO", "WHEN", "COMMIT")
    table = text.table(head, [row[:5] for row in bare])
    widest = max(len(click.unstyle(line)) for line in table)
    room = max(0, width() - widest - 2)
    lines.append(table[0])
    for line, row in zip(table[1:], rows, strict=True):
        why = cut(text.clean(str(row["reason"] or row.get("subject", ""))), room)
        pad = " " * (widest - len(click.unstyle(line)) + 2)
        lines.append((line + pad + text.paint(why, dim=True)).rstrip() if room > 8 else line)
    files = sorted({row["file"] for row in rows if row["file"] == DEFAULTS})
    return [*lines, *(["", f"What {DEFAULTS} says counts where the container's own file is silent."] if files else [])]
