"""`voxnix history`, `rollback`, `undo`: the state repo is the audit log; going back is a new commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from controller.cli import text
from controller.cli.completion import container_names
from controller.cli.decide import reason_option, wait_option
from controller.cli.session import Session, checked_name, pass_session
from controller.errors import BadInput

if TYPE_CHECKING:
    from controller.git import Blob, Commit, Objects, Touched

PLAIN = ("100644", "100755")
"""Modes of the files that are brought back."""
BYTES = 2**20
"""Most that one file may have."""
FAR = 10_000
"""Commits that are looked through at most."""


@click.command()
@click.argument("name", required=False, shell_complete=container_names)
@click.option("-n", "limit", type=click.IntRange(1, FAR), default=20, show_default=True, help="At most so many.")
@pass_session
def history(session: Session, name: str | None, limit: int) -> None:
    """Who changed what, when, and why; newest first. With NAME, that container only."""
    from controller.cli.told import history_of

    found = history_of(session.repo, session.head, checked_name(name) if name else None, limit)
    if not found and name:
        names = _names(session.repo, session.head)
        raise BadInput(f"{text.clean(name)} was never in the state repo", hint=text.suggestion(name, names))
    if session.json:
        session.answer(found)
        return
    from controller.cli.render_history import history_lines, width

    session.answer(found, history_lines(found, width()) or ["Nothing was changed yet."])


@click.command()
@click.argument("name", shell_complete=container_names)
@click.argument("revision", metavar="[REV]", required=False)
@reason_option
@wait_option
@pass_session
def rollback(session: Session, name: str, revision: str | None, reason: str, wait: bool) -> None:
    """Bring an earlier version of NAME's spec back: the previous one, or the one at REV. Its data is not concerned."""
    path = f"state/{name}.yaml"
    present = session.repo.read(session.head, [path]).get(path)
    if revision is None:
        content, source = _previous(session, name, path)
    else:
        sha = session.repo.resolve(revision)
        found = session.repo.read(sha, [path]).get(path)
        if found is None:
            raise BadInput(f"there was no {path} at {sha[:10]}", hint=f"voxnix history {name}")
        content, source = found, f"commit {sha[:10]}"
    if content == present:
        raise BadInput(f"{path} is already as it was at {source}", hint=f"voxnix history {name}")
    body = f"\n\n{reason.strip()}" if reason.strip() else ""
    message = f"roll {name} back to {source}{body}"
    sha = session.repo.commit({path: content}, message, session.author, expect=session.head)
    session.tell_seen(session.seen(sha, wait=wait), f"{name} is back at {source}")


@click.command()
@click.argument("revision", metavar="[REV]", default="HEAD")
@reason_option
@wait_option
@pass_session
def undo(session: Session, revision: str, reason: str, wait: bool) -> None:
    """Take back what commit REV (by default the last one) changed in the state, with a new commit."""
    head = session.head
    sha = head if revision == "HEAD" else session.repo.resolve(revision)
    commit = session.repo.show(sha)
    changes = _reversed(session.repo, head, commit)
    body = f"This takes back commit {sha}." + (f"\n\n{reason.strip()}" if reason.strip() else "")
    message = f'undo "{text.clean(commit.subject)}"\n\n{body}'
    new = session.repo.commit(changes, message, session.author, expect=head)
    about = text.clean(", ".join(sorted(changes)))
    session.tell_seen(session.seen(new, wait=wait), f"Undone in {about}")


def last_version(repo: Objects, revision: str, path: str) -> bytes | None:
    """The newest content that a file ever had up to a revision; None if it never was there."""
    for commit in repo.log(revision, path, limit=FAR):
        for touched in commit.changes:
            blob = touched.after or touched.before
            if touched.path == path and blob and blob.mode in PLAIN:
                return repo.blobs([blob.oid], limit=BYTES).get(blob.oid)
    return None


def _previous(session: Session, name: str, path: str) -> tuple[bytes, str]:
    """The version before the last change of a file, and where it is from."""
    repo = session.repo
    log = [commit for commit in repo.log(session.head, path, limit=2) if commit.changes]
    if not log:
        raise BadInput(f"there never was a {path}", hint=text.suggestion(name, _names(repo, session.head)))
    before = log[0].changes[0].before
    if before is None:
        raise BadInput(f"{path} has had one version only", hint="to remove the container, delete its file")
    if before.mode not in PLAIN:
        raise BadInput(f"{path} was not a plain file before")
    source = f"commit {log[1].sha[:10]}" if len(log) > 1 else "the version before"
    return repo.blobs([before.oid], limit=BYTES)[before.oid], source


def _reversed(repo: Objects, head: str, commit: Commit) -> dict[str, bytes | None]:
    """What takes a commit's changes back; raises `BadInput` where files have changed since."""
    from controller.cli.told import decisions_of

    touched = [found for found in commit.changes if found.path.startswith("state/")]
    if not touched:
        what = "is a decision, which is not taken back" if decisions_of(commit) else "changed nothing in the state"
        raise BadInput(f"commit {commit.sha[:10]} {what}: {text.clean(commit.subject)}", hint="voxnix history")
    present = repo.tree(head)
    moved = [found.path for found in touched if present.get(found.path) != found.after]
    if moved:
        paths = text.clean(", ".join(sorted(moved)))
        raise BadInput(
            f"{paths} changed again after commit {commit.sha[:10]}, so it cannot be taken back alone",
            hint="undo the later commits first, or use `voxnix rollback NAME REV`",
        )
    return {found.path: _content(repo, found) for found in touched}


def _content(repo: Objects, touched: Touched) -> bytes | None:
    """What a file held before a change; None: it was not there."""
    before: Blob | None = touched.before
    if before is None:
        return None
    data = repo.blobs([before.oid], limit=BYTES).get(before.oid) if before.mode in PLAIN else None
    if data is None or len(data) > BYTES:
        raise BadInput(f"{text.clean(touched.path)} was not a plain file of at most {BYTES // 1024} KiB before")
    return data


def _names(repo: Objects, head: str) -> list[str]:
    """All containers that history knows."""
    return [path[6:-5] for path in repo.last_changes(head)[0] if path.startswith("state/") and path.count("/") == 1]
