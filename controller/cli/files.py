"""`voxnix files`: what a container's data was at its snapshots, and single files out of them. It leaves data alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.cli import text
from controller.cli.completion import container_names
from controller.cli.session import Session, pass_session
from controller.errors import BadInput

if TYPE_CHECKING:
    from controller.host.browse import Found
    from controller.host.glimpse import Glimpses
    from controller.observed import Dataset

WHY = {
    "daily": "by the clock",
    "system": "before its system changed, or its data moved",
    "rollback": "before its data went back",
    "destroy": "before it was removed",
}
"""Why a snapshot of ours was taken, by the last part of its label."""
TOPS = {"home": ("home",), "root": ("root",), "var/lib": ("var-lib",)}
"""Paths in a container, and where they are in its dataset; `workspace` is a dataset of its own."""
WORKSPACE = "workspace"


@dataclass(frozen=True, slots=True)
class Data:
    """A container's data: its dataset, and its workspace if it has one."""

    dataset: Dataset
    workspace: Dataset | None


@click.command()
@click.argument("name", shell_complete=container_names)
@click.argument("paths", nargs=-1, metavar="[PATH…]")
@click.option("--at", "at", metavar="SNAPSHOT", help="Look into this one; a beginning that fits one only is enough.")
@click.option("--to", "to", metavar="DIR", type=click.Path(path_type=Path), help="Copy the files at PATH… into DIR.")
@pass_session
def files(session: Session, name: str, paths: tuple[str, ...], at: str | None, to: Path | None) -> None:
    """The snapshots of NAME's data; with --at, what is in one of them.

    NAME is a container, or the id of a piece of trash. PATH is a path as the container has it, such as
    /workspace/notes.txt: a folder is listed, a file is printed, or with --to copied.
    """
    if at is None and (paths or to):
        raise BadInput("say from which snapshot: --at SNAPSHOT", hint=f"`voxnix files {text.clean(name)}` lists them")
    if not session.settings.simulated and os.geteuid() != 0:
        raise BadInput("people's files are for root alone", hint=f"sudo voxnix files {text.clean(name)}")
    data = asyncio.run(find(session, name))
    if at is None:
        rows = [_row(label) for label in data.dataset.snapshots]
        session.answer(rows, _table(rows) if rows else [f"There is no snapshot of {text.clean(name)} yet."])
        return
    label = chosen(at, data.dataset.snapshots)
    wanted = [_parts(path) for path in paths] or [()]
    with _Look(session, data, label) as look:
        if to is not None:
            _copy(session, look, wanted, to)
        else:
            _show(session, look, wanted)


async def find(session: Session, name: str) -> Data:
    """The data of a container, or a piece of trash; raises `BadInput` where there is none, or more than one."""
    from controller.host.files import Files
    from controller.host.storage import Storage

    settings = session.settings
    facts = await Storage(session.runner, Files(settings.root), settings.pool).observe()
    users, trash = f"{settings.pool}/users/", f"{settings.pool}/trash/"
    ours = {path: one for path, one in facts.datasets.items() if one.marks.get("uid")}
    live = {
        path: one for path, one in ours.items() if path.startswith(users) and path.count("/") == users.count("/") + 2
    }
    found = [one for path, one in live.items() if path.endswith(f"/containers/{name}")]
    found += [one for path, one in ours.items() if path == trash + name]
    if len(found) == 1:
        return Data(found[0], facts.datasets.get(f"{found[0].name}/{WORKSPACE}"))
    if found:
        raise BadInput(f"several datasets are called {text.clean(name)}: {', '.join(one.name for one in found)}")
    names = [path.rpartition("/")[2] for path in live] + [path.removeprefix(trash) for path in ours if path not in live]
    raise BadInput(f"there is no data of {text.clean(name)}", hint=text.suggestion(name, names))


def chosen(word: str, labels: tuple[str, ...]) -> str:
    """The one snapshot whose label, or the time in it, begins with a word; `latest` is the newest."""
    if word == "latest" and labels:
        return labels[-1]
    found = [label for label in labels if label == word]
    found = found or [label for label in labels if label.startswith(word) or label.startswith(f"voxnix-{word}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{len(found)} snapshots begin with {text.clean(word)}", hint=f"say which: {', '.join(found)}")
    raise BadInput(f"there is no snapshot {text.clean(word)}", hint=text.suggestion(word, labels))


def why(label: str) -> str:
    """Why a snapshot was taken, in words."""
    from controller.plan.view import snapshot_time

    known = snapshot_time(label)
    return WHY.get(known[1], known[1]) if known else "not taken by voxnix"


def taken(label: str) -> datetime | None:
    """When a snapshot of ours was taken."""
    from controller.plan.view import snapshot_time

    known = snapshot_time(label)
    return known[0] if known else None


class _Look:
    """One snapshot while it is looked at; each of its datasets is opened when it is first asked for."""

    def __init__(self, session: Session, data: Data, label: str) -> None:
        from controller.host.files import Files
        from controller.host.glimpse import Glimpses

        self._glimpses: Glimpses = Glimpses(session.runner, Files(session.settings.root), session.settings.pool)
        self._data = data
        self._label = label
        self._loop = asyncio.Runner()
        self._open = contextlib.AsyncExitStack()
        self._folders: dict[str, int] = {}

    def __enter__(self) -> _Look:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._loop.run(self._open.aclose())
        finally:
            self._loop.close()

    def place(self, parts: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
        """Where a path of the container is: an open directory, and the path below it."""
        for top, inner in TOPS.items():
            words = tuple(top.split("/"))
            if parts[: len(words)] == words:
                return self._folder(self._data.dataset), (*inner, *parts[len(words) :])
        if parts[:1] == (WORKSPACE,) and self.has_workspace:
            assert self._data.workspace is not None
            return self._folder(self._data.workspace), parts[1:]
        raise BadInput(
            f"/{'/'.join(parts)} is not kept in snapshots", hint=f"there is {', '.join(f'/{top}' for top in self.tops)}"
        )

    @property
    def has_workspace(self) -> bool:
        """Whether there was a workspace when the snapshot was taken."""
        return self._data.workspace is not None and self._label in self._data.workspace.snapshots

    @property
    def tops(self) -> list[str]:
        """The paths of the container that are in the snapshot."""
        return [*TOPS, *([WORKSPACE] if self.has_workspace else [])]

    def _folder(self, dataset: Dataset) -> int:
        if dataset.name not in self._folders:
            mountpoint = dataset.mountpoint if dataset.mounted and dataset.mountpoint.startswith("/") else ""
            opening = self._glimpses.opened(dataset.name, self._label, mountpoint)
            self._folders[dataset.name] = self._loop.run(self._open.enter_async_context(opening))
        return self._folders[dataset.name]


def _parts(path: str) -> tuple[str, ...]:
    """A path of the container in parts; raises `BadInput` for one that goes upwards."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise BadInput(f"{text.clean(path)} goes upwards", hint="name the path without `..`")
    return parts


def _show(session: Session, look: _Look, wanted: list[tuple[str, ...]]) -> None:
    """List folders, or print one file."""
    from controller.host import browse

    if len(wanted) > 1:
        raise BadInput("one folder or file at a time is shown", hint="--to DIR copies several files")
    parts = wanted[0]
    if parts in ((), ("var",)):
        tops = [top for top in look.tops if not parts or top.startswith("var/")]
        session.answer([{"name": f"/{top}", "kind": "folder"} for top in tops], [f"/{top}" for top in tops])
        return
    top, inner = look.place(parts)
    if browse.kind(top, inner) != "folder":
        _print(session, top, inner)
        return
    found, whole = browse.entries(top, inner)
    lines = _listing(found) if found else ["The folder is empty."]
    more = [] if whole else [f"… and more: only {len(found)} entries are shown"]
    session.answer([_entry(one) for one in found], [*lines, *more])


def _print(session: Session, top: int, parts: tuple[str, ...]) -> None:
    """A file as it is, or, on a terminal, harmless."""
    from controller.host import browse

    if session.json:
        raise BadInput("a file is not JSON", hint="leave out --json, or copy it with --to DIR")
    with browse.opened(top, parts) as (handle, _):
        out = sys.stdout.buffer
        terminal = sys.stdout.isatty()

        def write(piece: bytes) -> None:
            shown = text.clean(piece.decode("utf-8", "replace"), lines=True).encode() if terminal else piece
            out.write(shown)

        browse.pour(handle, write)
        out.flush()


def _copy(session: Session, look: _Look, wanted: list[tuple[str, ...]], to: Path) -> None:
    """Copy files into a folder, which is made if need be."""
    from controller.host import browse

    if not all(wanted):
        raise BadInput("say which files", hint="voxnix files NAME --at SNAPSHOT --to DIR /workspace/FILE…")
    to.mkdir(parents=True, exist_ok=True)
    folder = os.open(to, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    told: list[dict[str, Any]] = []
    try:
        for parts in wanted:
            top, inner = look.place(parts)
            with browse.opened(top, inner) as (handle, status):
                size = browse.copy(handle, status, folder, parts[-1])
            told.append({"path": f"/{'/'.join(parts)}", "to": str(to / parts[-1]), "bytes": size})
    finally:
        os.close(folder)
    session.answer(told, [f"{text.clean(one['to'])}  {text.size(one['bytes'])}" for one in told])


def _row(label: str) -> dict[str, Any]:
    at = taken(label)
    return {"snapshot": label, "at": at.isoformat() if at else None, "why": why(label)}


def _table(rows: list[dict[str, Any]]) -> list[str]:
    now = datetime.now(UTC)
    lines = []
    for row in rows:
        at = text.moment(row["at"])
        when = f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at else ""
        lines.append((text.clean(row["snapshot"]), when, text.ago(row["at"], now), text.clean(row["why"])))
    return text.table(("SNAPSHOT", "WHEN", "AGE", "WHY"), lines)


def _entry(one: Found) -> dict[str, Any]:
    changed = datetime.fromtimestamp(one.changed, UTC).isoformat()
    name = one.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return {"name": name, "kind": one.kind, "bytes": one.size, "changed": changed}


def _listing(found: list[Found]) -> list[str]:
    rows = []
    for one in found:
        changed = f"{datetime.fromtimestamp(one.changed, UTC).astimezone():%Y-%m-%d %H:%M}"
        size = text.size(one.size) if one.kind == "file" else ""
        name = text.clean(one.name) + ("/" if one.kind == "folder" else "")
        rows.append((name, one.kind if one.kind in ("symlink", "special") else "", size, changed))
    return text.table(("NAME", "", "SIZE", "CHANGED"), rows)
