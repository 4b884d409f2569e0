"""The history as git alone tells it: who, what in words, why, what it led to, who approved. Judges nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from controller.audit import FileChange, Held, Note, describe, read_note
from controller.cli.lineage import FAR, Versions, lineage
from controller.git.notes import read_notes

if TYPE_CHECKING:
    from controller.git import Blob, Commit, Objects, Touched

DECISION = "voxnix-"
DEFAULTS = "state/defaults.yaml"
APPROVE = "voxnix-approve"
SIGNS = {"new": "+", "removed": "-", "changed": "~"}
_TRAILER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*:[ \t]*\S")


@dataclass(frozen=True, slots=True)
class _Pages:
    """What is read for all entries at once. `approvals` are the commits that approved, by hold.

    `names` are those of the one container that is asked about; None: all are. `defaults` is by commit.
    """

    versions: Versions
    notes: Mapping[str, tuple[Note, ...]]
    approvals: Mapping[str, list[Commit]]
    names: Collection[str] | None
    defaults: Mapping[str, Blob | None]

    def change(self, commit: Commit, touched: Touched) -> FileChange:
        """What became of a file."""
        before, after = (self.versions.read(touched.path, blob) for blob in (touched.before, touched.after))
        defaults = self.versions.read(DEFAULTS, self.defaults[commit.sha])
        return describe(touched.path, before, after, defaults)

    def concerns(self, path: str) -> bool:
        """Whether a file is asked about."""
        if not path.startswith("state/"):
            return False
        return self.names is None or path in {f"state/{name}.yaml" for name in self.names}

    def holds(self) -> dict[str, Held]:
        """All holds that any of the notes tells of, by id."""
        return {hold.id: hold for notes in self.notes.values() for note in notes for hold in note.held}


def history_of(repo: Objects, head: str, name: str | None, limit: int) -> list[dict[str, Any]]:
    """The newest commits that concern the state, or one container of it under all its names; the newest first.

    Some eight processes, whatever the number of commits; two more for each former name.
    """
    versions = Versions(repo)
    names: Collection[str] | None = None
    if name is None:
        log, commits = _recent(repo, head, limit)
        notes = _notes(repo, commits)
    else:
        log = repo.log(head, limit=FAR)
        found = lineage(repo, versions, head, f"state/{name}.yaml")
        names = {name, *found.former}
        commits, notes = _of_one(repo, log, found.commits, names, limit)
    defaults = _defaults(log, repo.tree(head).get(DEFAULTS))
    versions.fetch(commits, *(defaults[commit.sha] for commit in commits))
    pages = _Pages(versions, notes, _approvals(log), names, defaults)
    holds = pages.holds()
    return [_row(commit, pages, holds) for commit in commits]


def requester_of(commit: Commit) -> str:
    """On whose behalf a commit was made, as it says itself."""
    return ", ".join(value for key, value in commit.trailers if key.lower() == "requested-by")


def reason_of(commit: Commit) -> str:
    """Why: the trailer `Reason`, or else what the message says below its first line."""
    said = [value for key, value in commit.trailers if key.lower() == "reason"]
    if said:
        return "; ".join(said)
    paragraphs = re.split(r"\n[ \t]*\n", commit.message.strip())[1:]
    if paragraphs and all(_TRAILER.match(line) for line in paragraphs[-1].splitlines()):
        paragraphs = paragraphs[:-1]
    return "\n\n".join(paragraph.strip() for paragraph in paragraphs).strip()


def decisions_of(commit: Commit) -> list[str]:
    """The trailers by which a commit decides something, as they stand there."""
    return [f"{key}: {value}" for key, value in commit.trailers if key.lower().startswith(DECISION)]


def _notes(repo: Objects, commits: Sequence[Commit]) -> dict[str, tuple[Note, ...]]:
    found = read_notes(repo, repo.git.directory, [commit.sha for commit in commits])
    return {sha: read_note(data) for sha, data in found.items()}


def _recent(repo: Objects, head: str, limit: int) -> tuple[Sequence[Commit], list[Commit]]:
    """The newest commits that concern the state, and the log that they are from, no longer than it has to be."""
    log: Sequence[Commit] = ()
    found: list[Commit] = []
    for reach in (min(FAR, 4 * limit + 100), FAR):
        log = repo.log(head, limit=reach)
        found = [c for c in log if decisions_of(c) or any(t.path.startswith("state/") for t in c.changes)]
        if len(found) >= limit or len(log) < reach:
            break
    return log, found[:limit]


def _of_one(
    repo: Objects, log: Sequence[Commit], own: Sequence[Commit], names: Collection[str], limit: int
) -> tuple[list[Commit], dict[str, tuple[Note, ...]]]:
    """The commits about one container: those that changed its file, and the decisions that led to something with it."""
    files = {commit.sha for commit in own}
    decisions = [commit for commit in log if decisions_of(commit) and commit.sha not in files]
    notes = _notes(repo, [*own, *decisions])
    holds = {hold.id for sha in files for note in notes.get(sha, ()) for hold in note.held}
    concerned = files | {c.sha for c in decisions if _concerns(c, notes.get(c.sha, ()), names, holds)}
    return [commit for commit in log if commit.sha in concerned][:limit], notes


def _concerns(commit: Commit, notes: Sequence[Note], names: Collection[str], holds: Collection[str]) -> bool:
    """Whether a decision was about one of `names`: by what it led to, or by the hold that it approved."""
    approved = {value for key, value in commit.trailers if key.lower() == APPROVE}
    done = {name for note in notes for name in note.containers}
    return bool(done & set(names)) or bool(approved & set(holds))


def _approvals(log: Sequence[Commit]) -> dict[str, list[Commit]]:
    found: dict[str, list[Commit]] = {}
    for commit in reversed(log):
        for key, value in commit.trailers:
            if key.lower() == APPROVE:
                found.setdefault(value, []).append(commit)
    return found


def _defaults(log: Sequence[Commit], present: Blob | None) -> dict[str, Blob | None]:
    """The defaults at each commit of a log that ends with `present`, as far as a branched history is a row."""
    found: dict[str, Blob | None] = {}
    for commit in log:
        found[commit.sha] = present
        for touched in commit.changes:
            if touched.path == DEFAULTS:
                found[commit.sha], present = touched.after, touched.before
    return found


def _row(commit: Commit, pages: _Pages, holds: Mapping[str, Held]) -> dict[str, Any]:
    files = [pages.change(commit, touched) for touched in commit.changes if pages.concerns(touched.path)]
    notes = pages.notes.get(commit.sha, ())
    met = {hold.id: hold for note in notes for hold in note.held}
    decisions = [(key, value) for key, value in commit.trailers if key.lower().startswith(DECISION)]
    return {
        "commit": commit.sha,
        "at": commit.at.isoformat(),
        "author": commit.author,
        "email": commit.email,
        "requested_by": requester_of(commit),
        "reason": reason_of(commit),
        "subject": commit.subject,
        "merge": len(commit.parents) > 1,
        "changes": [f"{SIGNS[file.sort]}{_short(file.path)}" for file in files],
        "files": [_file(file) for file in files],
        "decisions": decisions_of(commit),
        "decided": [_decided(key, value, holds) for key, value in decisions],
        "led_to": [_led(note, pages.names) for note in notes],
        "approved": [_approval(one, hold) for hold in met.values() for one in pages.approvals.get(hold.id, ())],
    }


def _short(path: str) -> str:
    return path.removeprefix("state/").removesuffix(".yaml")


def _file(file: FileChange) -> dict[str, Any]:
    return {
        "path": file.path,
        "kind": str(file.kind),
        "name": file.name,
        "sort": str(file.sort),
        "words": list(file.words),
        "fields": [
            {"field": one.field, "before": list(one.before), "after": list(one.after), "list": one.many}
            for one in file.fields
        ],
        "problem": file.problem,
    }


def _decided(key: str, value: str, holds: Mapping[str, Held]) -> str:
    """A decision in words; what exactly an approval was of is known where a note tells of the hold."""
    first, _, rest = value.partition(" ")
    match key.lower():
        case "voxnix-approve":
            hold = holds.get(value)
            return f"approves of {value}" + (f" ({', '.join(hold.names)}): {hold.reason}" if hold else "")
        case "voxnix-purge":
            return f"purges the data of {value} for good"
        case "voxnix-restore":
            return f"brings {first} back from the trash{f' {rest}' if rest else ''}"
        case "voxnix-rollback-data":
            return f"rolls the data of {first} back to {rest or 'a snapshot'}"
        case "voxnix-restart":
            return f"restarts {value} once"
    return f"{key}: {value}"


def _led(note: Note, names: Collection[str] | None) -> dict[str, Any]:
    """What a commit led to on one host, with these containers."""
    actions = []
    for deed in note.deeds:
        if names is not None and deed.container not in names:
            continue
        row = asdict(deed) | {"outcome": "failed" if deed.error else "done"}
        row |= {"began": deed.began.isoformat(), "ended": deed.ended.isoformat()}
        del row["commit"]
        actions.append(row)
    return {
        "host": note.host,
        "outcome": note.outcome,
        "actions": actions,
        "held": [asdict(hold) for hold in note.held],
        "waits": [{"container": name, "for": words} for name, words in note.waits],
        "refused": note.refused,
        "left_out": note.left_out,
    }


def _approval(commit: Commit, hold: Held) -> dict[str, Any]:
    return {
        "hold": hold.id,
        "what": hold.reason,
        "commit": commit.sha,
        "at": commit.at.isoformat(),
        "author": commit.author,
        "requested_by": requester_of(commit),
    }
