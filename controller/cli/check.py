"""`voxnix validate` and `voxnix schema`: state files, checked and described. They change nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli import text
from controller.cli.session import Session, pass_session
from controller.errors import BadInput

if TYPE_CHECKING:
    from controller.errors import Problem
    from controller.spec.result import FileResult

LONGEST = 2**20
"""Bytes of one file that are read; the parser refuses long ones in its own words."""


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH…]", type=click.Path(path_type=Path))
@click.option("--revision", "-r", metavar="REV", help="Check this revision of the state repo instead.")
@pass_session
def validate(session: Session, paths: tuple[Path, ...], revision: str | None) -> int:
    """Check state files: a file, a `state` folder, or a tree that holds one; else the state repo's head.

    Exit code 1 if there is any mistake.
    """
    if paths and revision:
        raise BadInput("either paths or --revision, not both")
    if not paths and revision is None and not session.options.get("state") and Path("state").is_dir():
        paths = (Path(),)
    if not paths and revision is None and not session.settings.state:
        raise BadInput("there is no `state` folder here, and no --state repo", hint="voxnix validate PATH")
    found: list[Problem] = []
    count = 0
    for files, shown in [_folder(path) for path in paths] or [_revision(session, revision or "HEAD")]:
        count += sum(path.endswith((".yaml", ".yml")) for path in files)
        found += [replace(p, path=shown.get(p.path, p.path)) for p in _problems(session, files)]
    if count == 0:
        raise BadInput("there are no state files here", hint="state/NAME.yaml, state/tenants/ID.yaml")
    told = {"files": count, "problems": [asdict(problem) for problem in found]}
    summary = f"{text.plural(count, 'file')}, {text.plural(len(found), 'mistake') if found else 'no mistakes'}"
    lines = [line for problem in found for line in (*_shown(problem), "")]
    session.answer(told, [*lines, text.paint(summary, "red" if found else "green")])
    return 1 if found else 0


@click.command()
@click.argument("kind", type=click.Choice(["spec", "tenant", "policy", "defaults"]), required=False)
@click.option(
    "--write",
    "tree",
    metavar="[DIR]",
    is_flag=False,
    flag_value=".",
    type=click.Path(path_type=Path),
    help="Bring `schema/` in a work tree up to date, the one here if DIR is left out.",
)
@pass_session
def schema(session: Session, kind: str | None, tree: Path | None) -> None:
    """The JSON Schema of one kind of state file, or of all."""
    from controller.cli.editor import write_schemas
    from controller.spec.schema import schemas

    if tree is not None:
        told = write_schemas(tree, session.library.modules)
        session.answer(told, [f"{'wrote' if new else 'as it was'}  {tree / path}" for path, new in told.items()])
        return
    found = schemas(session.library.modules)
    click.echo(json.dumps(found[kind] if kind else found, indent=2))


def _shown(problem: Problem) -> list[str]:
    """A problem with its caret, its place and its hint standing out."""
    first, *rest = text.clean(problem.render(), lines=True).splitlines()
    place = text.clean(problem.where)
    lines = [text.heading(place) + first.removeprefix(place)]
    return lines + [text.paint(line, "red") if line.strip() == "^" else line for line in rest]


Files = tuple[Mapping[str, bytes], Mapping[str, str]]
"""Contents by path below the state repo, and how each path is shown to the one who asked."""


def _folder(path: Path) -> Files:
    """The state files that a path means."""
    if not path.exists():
        raise BadInput(f"there is no {text.clean(str(path))}")
    if path.is_file():
        name = _place(path)
        return {name: _bytes(path)}, {name: str(path)}
    folder = path / "state" if (path / "state").is_dir() else path
    if folder is path and path.resolve().name != "state" and not any(path.glob("tenants/*.yaml")):
        raise BadInput(f"{path} is no `state` folder, and holds none", hint="voxnix init DIR makes a state repo")
    found = sorted(file for file in folder.rglob("*") if file.is_file() and ".git" not in file.parts)
    names = {file: f"state/{file.relative_to(folder)}" for file in found}
    return {name: _bytes(file) for file, name in names.items()}, {name: str(file) for file, name in names.items()}


def _place(path: Path) -> str:
    """Where a single file would be in a state repo."""
    parts = path.absolute().parts
    if "state" in parts[:-1]:
        last = len(parts) - 2 - parts[:-1][::-1].index("state")
        return "/".join(parts[last:])
    return f"state/tenants/{path.name}" if path.absolute().parent.name == "tenants" else f"state/{path.name}"


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {os.strerror(error.errno or 0)}") from error


def _revision(session: Session, revision: str) -> Files:
    """The state files of a revision."""
    repo = session.repo
    sha = session.head if revision == "HEAD" else repo.resolve(revision)
    tree = {path: blob.oid for path, blob in repo.tree(sha).items() if blob.mode.startswith("100")}
    blobs = repo.blobs(tree.values(), limit=LONGEST)
    return {path: blobs[oid] for path, oid in tree.items() if oid in blobs}, {}


def _problems(session: Session, contents: Mapping[str, bytes]) -> list[Problem]:
    """All mistakes: of each file by itself, and, where there are tenants, of all together."""
    from controller.observed import Unknown
    from controller.spec.parse import parse_file
    from controller.spec.resolve import resolve

    library = session.library
    files: dict[str, FileResult] = {
        path: parse_file(path, data, modules=library.modules) for path, data in contents.items()
    }
    alone = sorted({problem for file in files.values() for problem in file.problems})
    if not any(path.startswith("state/tenants/") for path in files):
        return alone
    desired = resolve(files, revision="", changed={}, last={}, last_tenants={}, library=library)
    return alone if isinstance(desired, Unknown) else list(desired.problems)
