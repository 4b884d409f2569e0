"""Any revision as it would be, for a beginning and for `--revision`: judged by nobody, and written nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from controller.desired.files import Files
from controller.desired.points import Point, Site, settle
from controller.git import Blob, Objects
from controller.spec.fields import FileKind
from controller.spec.parse import classify
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
    point = Point(
        sha,
        rows,
        read,
        removed=_removed(files, gone, versions, names, before, sha),
        moves=_moves(files, read, versions),
        last=before.last,
        tenants=before.tenants,
    )
    return settle(point, site)


def _removed(
    files: Files,
    gone: Mapping[str, str],
    versions: Mapping[str, list[str]],
    names: set[str],
    before: Point,
    sha: str,
) -> dict[str, Removal]:
    """Containers that history had and the tree has not; whether each was paused is in its last version."""
    paths = {path: classify(path) for path in gone}
    specs = {path: stem for path, (kind, stem, _) in paths.items() if kind is FileKind.SPEC and stem not in names}
    last = {path: Blob("100644", versions[path][0]) for path in specs if versions.get(path)}
    read = files.read(last)
    removed = {
        stem: Removal(gone[path], paused=path in read and read[path].values.get("paused") is True)
        for path, stem in specs.items()
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
