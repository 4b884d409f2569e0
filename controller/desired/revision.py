"""Any revision as it would be, for a beginning and for `--revision`: judged by nobody, and written nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from controller.desired.files import Files
from controller.desired.points import Point, Site, settle
from controller.git import Blob, Objects
from controller.spec.fields import FileKind
from controller.spec.parse import classify
from controller.spec.resolve import LastGood
from controller.spec.result import FileResult
from controller.store import Removal, Row

_LONG_AGO = datetime.fromtimestamp(0, UTC)


def at_revision(objects: Objects, files: Files, site: Site, sha: str, *, present: Point | None = None) -> Point:
    """The point of history at `sha`, from the repository alone.

    `present` is the accepted point, where there is one: files that do not validate freeze at its last valid specs,
    and what it has and `sha` has not counts as removed. Takes three processes, a fourth where hosts are named.
    """
    tree = objects.tree(sha)
    changed, versions = objects.last_changes(sha)
    read = files.read(tree)
    before = present or Point(sha, {}, {})
    delegated = {row.commit for row in before.rows.values() if row.delegate}
    rows = {
        path: Row(blob.mode, blob.oid, commit, at, delegate=commit in delegated)
        for path, blob in tree.items()
        for commit, at in [changed.get(path, (sha, _LONG_AGO))]
    }
    names = {file.stem for file in read.values() if file.kind is FileKind.SPEC}
    gone = {path: commit for path, (commit, _) in changed.items() if path not in tree}
    ghosts = _ghosts(files, gone, versions, names)
    point = Point(
        sha,
        rows,
        read,
        removed=_removed(ghosts, gone, before, names, sha),
        moves=_moves(files, read, versions),
        last=before.last,
        tenants=before.tenants,
    )
    return settle(replace(point, last={**_lasts(point, ghosts, gone, site), **before.last}), site)


def _ghosts(
    files: Files, gone: Mapping[str, str], versions: Mapping[str, list[str]], names: set[str]
) -> dict[str, FileResult | None]:
    """The last versions of spec files that history had and the tree has not, by path; None for one that had none."""
    paths = {path: classify(path) for path in gone}
    specs = [path for path, (kind, stem, _) in paths.items() if kind is FileKind.SPEC and stem not in names]
    read = files.read({path: Blob("100644", versions[path][0]) for path in specs if versions.get(path)})
    return {path: read.get(path) for path in specs}


def _lasts(
    point: Point, ghosts: Mapping[str, FileResult | None], gone: Mapping[str, str], site: Site
) -> dict[str, LastGood]:
    """What removed containers last were, so that it is known whose a former name was: as if their files were there."""
    read = {path: ghost for path, ghost in ghosts.items() if ghost is not None and ghost.valid}
    if not read:
        return {}
    rows = {path: Row("100644", "", gone[path], _LONG_AGO) for path in read}
    once = settle(replace(point, rows={**point.rows, **rows}, files={**point.files, **read}, removed={}), site)
    return {ghost.stem: once.last[ghost.stem] for ghost in read.values() if ghost.stem in once.last}


def _removed(
    ghosts: Mapping[str, FileResult | None], gone: Mapping[str, str], before: Point, names: set[str], sha: str
) -> dict[str, Removal]:
    """Containers that history had and the tree has not; whether each was paused is in its last version."""
    removed = {
        classify(path)[1]: Removal(gone[path], paused=ghost is not None and ghost.values.get("paused") is True)
        for path, ghost in ghosts.items()
    }
    if before.desired is not None:
        for name in before.desired.containers.keys() - names - removed.keys():
            removed[name] = Removal(sha)
    return {name: before.removed[name] if _same(before, name, found) else found for name, found in removed.items()}


def _same(before: Point, name: str, found: Removal) -> bool:
    """Whether a removal is one that is known already, and known better."""
    return name in before.removed and before.removed[name].commit == found.commit


def _moves(files: Files, read: Mapping[str, FileResult], versions: Mapping[str, list[str]]) -> dict[str, str]:
    """The hosts that containers were on before the one that they name now, from older versions of their files."""
    hosted = {path: file for path, file in read.items() if file.kind is FileKind.SPEC and file.values.get("host")}
    older = [(path, oid) for path in hosted for oid in versions.get(path, [])[1:50]]
    moves: dict[str, str] = {}
    results = files.read_each([(path, Blob("100644", oid)) for path, oid in older])
    for (path, _), result in zip(older, results, strict=True):
        host, now = result.values.get("host"), hosted[path].values["host"]
        if isinstance(host, str) and host != now:
            moves.setdefault(hosted[path].stem, host)
    return moves
