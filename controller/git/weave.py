"""Writers side by side: a change of one file, made on some commit, brought onto whatever the branch is at by now.

Who loses the race looks again and repeats; what others changed meanwhile stays, and both changes stand side by side
unless they set the same field: then nothing is written, and the error says so to both. Never forces a branch.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from controller.errors import BadInput, Transient
from controller.git.commits import Commit, Touched
from controller.git.committing import Writable
from controller.git.fields import Clash, fields_of_text, whole
from controller.git.process import Git, GitFailed
from controller.git.threeway import Merged, merge
from controller.git.writing import Author

TRIES = 40
"""Lost races after which a writer gives up."""
BYTES = 2**20
"""Most that is read of one version of a file; a state file has 64 KiB at most."""
PLAIN = "100644"


class Branch(Writable, Protocol):
    """One that also shows its commits and their files."""

    def commits(self, old: str | None, new: str) -> tuple[Commit, ...]:
        """What `new` has and `old` has not, parents first."""
        ...

    def read(self, revision: str, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Some files at a revision; those that it does not have are left out."""
        ...

    def blobs(self, oids: Sequence[str], *, limit: int = ...) -> Mapping[str, bytes]:
        """Contents by id."""
        ...


@dataclass(frozen=True, slots=True)
class Edit:
    """One file as a writer wants it (None: removed), made with the commit `base` before their eyes."""

    path: str
    content: bytes | None
    base: str
    message: str
    author: Author
    trailers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """How an edit ended: the commit; whether it was brought onto later changes of the same file (`combined`).

    `commit` is the head as it was where nothing was left to change: somebody else had written the same.
    """

    commit: str
    content: bytes | None
    combined: bool = False
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """One clash with the commit that set the field meanwhile, None where that cannot be told."""

    clash: Clash
    by: Commit | None


class Clashing(BadInput):
    """Two writers set the same field; nothing was written. `told` has each field, `edit` what was not written.

    `what` is for the one whose edit was not written, `for_others` for those whose values stand.
    """

    def __init__(self, edit: Edit, told: tuple[Told, ...]) -> None:
        self.edit = edit
        self.told = told
        lines = [f"{edit.path}: {_sentence(one, 'you')}" for one in told]
        super().__init__("\n".join(lines), hint="look at what is there now, and repeat what you still want")

    def for_others(self) -> dict[str, str]:
        """What to tell each of the others, by the commit that set what stands."""
        found: dict[str, list[str]] = {}
        for one in self.told:
            if one.by is not None:
                line = f"{self.edit.path}: {_sentence(one, self.edit.author.name)}; your value stands"
                found.setdefault(one.by.sha, []).append(line)
        return {sha: "\n".join(lines) for sha, lines in found.items()}


def _sentence(one: Told, who: str) -> str:
    """A clash in words: the field, both values, both authors."""
    clash, by = one.clash, one.by
    other = f"{by.author} ({by.sha[:10]})" if by else "somebody"
    was, ours, theirs = (_value(value) for value in (clash.before, clash.ours, clash.theirs))
    if clash.field:
        return f"{who} would make `{_value(clash.field)}` {ours}, {other} made it {theirs} meanwhile; it was {was}"
    if clash.ours is None or clash.theirs is None:
        mine, theirs = ("remove", "changed") if clash.ours is None else ("change", "removed")
        return f"{who} would {mine} it, {other} {theirs} it meanwhile"
    verb = "made" if clash.before is None else "changed"
    return f"{who} and {other} both {verb} it, and the two cannot be put together"


def _value(value: str | None) -> str:
    shown = "absent" if value is None else value or '""'
    return shown if shown.isprintable() else ascii(shown)


def write(
    branch: Branch,
    edit: Edit,
    *,
    jitter: Callable[[], float],
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
) -> Written:
    """Commit an edit onto the branch as it is now. `jitter` gives numbers from 0 to 1 for the waits between tries.

    Raises `Clashing` where somebody set the same field since `edit.base`, and `Transient` when `tries` races in a row
    were lost.
    """
    for attempt in range(tries):
        if attempt:
            sleep(jitter() * min(0.02 * 2**attempt, 1.0))
        head = branch.head()
        if head is None:
            raise BadInput("the branch is gone", hint="look at the state repo")
        before = branch.read(edit.base, [edit.path]).get(edit.path)
        theirs = before if head == edit.base else branch.read(head, [edit.path]).get(edit.path)
        found = merge(before, edit.content, theirs, merge_text)
        if not isinstance(found, Merged):
            raise Clashing(edit, _told(branch, edit, head, found))
        if found.content == theirs:
            return Written(head, theirs, changed=False)
        sha = branch.put(head, {edit.path: found.content}, edit.message, edit.author, edit.trailers)
        if sha is not None:
            return Written(sha, found.content, combined=found.content != edit.content)
    raise Transient(f"{edit.path} could not be written: the branch keeps moving", hint="try again")


def merge_text(ours: bytes, before: bytes, theirs: bytes, union: bool) -> bytes | None:
    """Merge three texts line by line with `git merge-file`; None where lines clash and `union` does not keep both."""
    with tempfile.TemporaryDirectory(prefix="voxnix-merge-") as name:
        folder = Path(name)
        for part, text in (("ours", ours), ("before", before), ("theirs", theirs)):
            (folder / part).write_bytes(text)
        words = ["merge-file", "-p", "-q", *(["--union"] if union else [])]
        try:
            return Git(folder).run(*words, *(str(folder / part) for part in ("ours", "before", "theirs")))
        except GitFailed as error:
            if 0 < error.code < 128:
                return None
            raise


def _told(branch: Branch, edit: Edit, head: str, clashes: tuple[Clash, ...]) -> tuple[Told, ...]:
    """Each clash with the newest commit since the base that gave the field the value it has now."""
    later = [
        (commit, touched)
        for commit in reversed(branch.commits(edit.base, head))
        for touched in commit.changes
        if touched.path == edit.path
    ]
    oids = {blob.oid for _, touched in later for blob in (touched.before, touched.after) if blob}
    texts = branch.blobs(sorted(oids), limit=BYTES) if oids else {}
    return tuple(
        Told(clash, next((commit for commit, touched in later if _sets(touched, texts, clash.field)), None))
        for clash in clashes
    )


def _sets(touched: Touched, texts: Mapping[str, bytes], field: str) -> bool:
    """Whether a change of the file changed this field; any change counts where fields cannot be told."""
    sides = [fields_of_text(texts.get(blob.oid) if blob else None) for blob in (touched.before, touched.after)]
    before, after = sides
    if not field or before is None or after is None:
        return True
    paths = [path for path in {*before, *after} if ".".join(path) == field]
    path = paths[0] if paths else tuple(field.split("."))
    return whole(before, path) != whole(after, path)
