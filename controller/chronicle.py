"""What commits led to, published as notes in the state repo: gathered while lanes run, written when they have ended.

It only tells. Deeds are in the store as soon as they are done, so whoever is killed loses none; notes are written
beside the passes, some seconds after them and in batches. A state repo that cannot be written is told and tried again,
and holds nothing up.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from controller.audit import Deed, Note, read_note, render_note
from controller.audit.note import note_of
from controller.audit.seen import Seen, commit_of, seen_of
from controller.converge import Moment, Progress
from controller.desired import Reading
from controller.errors import BadInput, VoxnixError
from controller.git import Objects
from controller.git.notes import Mend
from controller.publish import Look, refusal
from controller.store import Event, Store
from controller.store.deeds import Noted

log = logging.getLogger(__name__)

EVERY, RETRY = 2.0, 60.0
"""Seconds between two batches of notes, and after one that could not be written."""
Write = Callable[[Mapping[str, Mend]], int]
"""Writes notes on commits; raises a `VoxnixError` where it cannot."""


class Chronicle:
    """Notes for one host. `progress` and `looked` are told what happens; the rest is done beside.

    `mirror` says which commits have come in, `write` writes.
    """

    def __init__(
        self,
        store: Store,
        host: str,
        now: Callable[[], datetime],
        mirror: Objects,
        write: Write,
        every: float = EVERY,
    ) -> None:
        self._store = store
        self._host = host
        self._now = now
        self._mirror = mirror
        self._write = write
        self._every = every
        self._seen = Seen()
        self._touched: set[str] | None = None
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble = ""

    def progress(self, progress: Progress) -> None:
        """A moment of a convergence: what a commit asked for and has ended is kept at once."""
        step = progress.step
        if progress.moment not in (Moment.DONE, Moment.FAILED) or step is None or not commit_of(step.cause):
            return
        ended = self._now()
        error = progress.error
        deed = Deed(
            commit_of(step.cause),
            progress.lane.key,
            type(step.action).__name__,
            step.reason,
            ended - timedelta(seconds=progress.seconds),
            ended,
            (error.what or type(error).__name__) if error else "",
            error.hint if error else "",
        )
        try:
            self._store.done(deed)
        except VoxnixError as trouble:
            log.warning("what was done for commit %s could not be kept: %s", deed.commit[:10], trouble)
        if self._touched is not None:
            self._touched.add(deed.commit)

    def looked(self, look: Look, reading: Reading) -> None:
        """A pass has looked, and planned: notes are due soon if that says anything new."""
        refused = (reading.refused.commit, refusal(reading)) if reading.refused else ("", "")
        seen = seen_of(look.desired, look.plan, refused)
        if not seen.revision:
            seen = replace(self._seen, refused=seen.refused)
        if seen == self._seen and not self._touched:
            return
        self._seen = seen
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._beside())

    async def __aenter__(self) -> Chronicle:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End, after writing what is to be written; where something was raised, the next start writes it."""
        self._closing.set()
        if self._task is not None:
            await self._task
            if self._news.is_set() and not self._trouble and kind is None:
                await self.publish()

    async def _beside(self) -> None:
        while not self._closing.is_set():
            await _first(self._news, self._closing)
            await _first(self._closing, within=RETRY if self._trouble else self._every)
            if not self._closing.is_set():
                await self.publish()

    async def publish(self) -> None:
        """Write the notes that have changed; that they could not be written is told once, and tried again."""
        self._news.clear()
        touched, self._touched = self._touched, set()
        trouble = await asyncio.to_thread(self._safely, self._seen, touched)
        if trouble:
            self._touched = None
            self._news.set()
        if trouble and trouble != self._trouble:
            self._tell(trouble)
        self._trouble = trouble

    def _safely(self, seen: Seen, touched: set[str] | None) -> str:
        """Write notes; why that was not possible, if it was not."""
        try:
            self._publish(seen, touched)
        except (VoxnixError, OSError) as error:
            return str(error)
        except Exception as error:
            log.exception("notes could not be made, in a way that never should be")
            return repr(error)
        return ""

    def _publish(self, seen: Seen, touched: set[str] | None) -> None:
        """Bring what is known of commits up to what was seen, and write the notes that differ. Blocks.

        `touched` are the commits that something was done because of since the last time; None: look at all.
        """
        if not (seen.revision or seen.refused[0]):
            return
        known = dict(self._store.noted())
        done = self._store.done_by() if touched is None else touched
        news = sorted({*done, *seen.held, seen.refused[0]} - {""})
        fresh = {sha: Noted(sha) for sha in [*self._arrived(seen.revision), *news]}
        rows = {sha: _brought_up(row, seen) for sha, row in {**fresh, **known}.items()}
        changed = {sha for sha, row in rows.items() if row != known.get(sha)}
        self._store.note([rows[sha] for sha in rows if sha in changed])
        waiting = {sha for sha, row in rows.items() if not row.written}
        due = (changed | waiting | {*done}) - seen.due
        self._write_notes([row for sha, row in rows.items() if sha in due])
        if seen.revision:
            self._store.put("noted", seen.revision)

    def _write_notes(self, rows: Sequence[Noted]) -> None:
        """Write the notes of some commits, and remember that they are written."""
        deeds = self._store.deeds([row.commit for row in rows])
        mends: dict[str, Mend] = {}
        written = []
        for row in rows:
            note = note_of(self._host, deeds[row.commit], row.held, row.waits, row.refused)
            digest = _digest(note)
            if digest != row.written:
                mends[row.commit] = partial(_mended, note, not row.written)
                written.append(replace(row, written=digest))
        if mends:
            self._write(mends)
            self._store.note(written)

    def _arrived(self, revision: str) -> Sequence[str]:
        """The commits that have come in since notes were made last."""
        last = self._store.get("noted")
        if not revision or last == revision:
            return ()
        if not isinstance(last, str):
            return (revision,)
        try:
            self._mirror.resolve(last)
        except BadInput:
            return (revision,)
        return [commit.sha for commit in self._mirror.commits(last, revision)] or (revision,)

    def _tell(self, trouble: str) -> None:
        message = f"what commits led to cannot be noted in the state repo: {trouble}"
        log.warning("%s", message)
        try:
            self._store.record([Event(self._now(), "notes", message, "warning")])
        except VoxnixError as error:
            log.warning("nor can that be told: %s", error)


def _brought_up(row: Noted, seen: Seen) -> Noted:
    """What is known of a commit, after a pass. A hold that is in no plan any more does not wait any more."""
    present = {hold.id: hold for hold in seen.held.get(row.commit, ())}
    over = [replace(hold, waits=False) for hold in row.held if hold.id not in present]
    waits = seen.waits.get(row.commit, ()) if row.waits or not row.written else ()
    refused = seen.refused[1] if seen.refused[0] == row.commit else row.refused
    return replace(row, held=(*over, *present.values()), waits=waits, refused=refused)


def _mended(note: Note, first: bool, present: bytes | None) -> bytes:
    """The new note. The first one that a store writes goes on from what one before it had written."""
    if first:
        mine = [deed for one in read_note(present or b"") if one.host == note.host for deed in one.deeds]
        again = {_which(deed) for deed in note.deeds}
        older = [deed for deed in mine if _which(deed) not in again]
        if older:
            note = note_of(note.host, [*older, *note.deeds], note.held, note.waits, note.refused)
    return render_note(note, present)


def _which(deed: Deed) -> tuple[str, str, str]:
    return deed.container, deed.kind, deed.began.isoformat(timespec="milliseconds")


def _digest(note: Note) -> str:
    """Tells notes apart by what was done and how it ended; how often, when, and in what words it failed is no news."""
    deeds = [(deed.container, deed.kind, deed.reason, bool(deed.error)) for deed in note.deeds]
    text = repr((note.host, note.outcome, deeds, note.held, note.waits, note.refused))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


async def _first(*events: asyncio.Event, within: float | None = None) -> None:
    """Until one of these has happened, or the time is over."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
