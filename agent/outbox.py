"""Commits in a person's name: made on the branch as it is now, pushed, and waited for until the controller has judged.

The only module of the agent that touches git. It pushes as the agent's key and never forces; what the controller
makes of a commit is the controller's to say. Every commit bears `Requested-by`, `Reason` and `Chat-message`.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from agent.appliance import Appliance, Away
from agent.ledger import Entry, Ledger, Stage
from agent.redact import line
from agent.snapshot import State, read_state
from controller.errors import BadInput, Transient, VoxnixError
from controller.git import Author, Commit
from controller.git.access import Access
from controller.git.process import GitFailed
from controller.git.remote import PushRefused, Remote
from controller.git.signing import Signer
from controller.git.weave import Edit, write
from controller.spec.state import Library

__all__ = ["LOOK_EVERY", "Commit", "Outbox", "trailers"]

VERDICT_WITHIN = 20.0
"""Seconds that a commit waits for the controller's verdict before the person is told that there is none yet."""
LOOK_EVERY = 0.1
FRESH = 300.0
"""Seconds within which what a crash left unsent is still sent; later nobody expects it any more."""
FAR = 1_000
"""Commits that are looked through where it is not known since when."""
TRIES = 40


class Outbox:
    """One clone of the state repo, in a folder of the agent's own."""

    def __init__(
        self,
        remote: Remote,
        ledger: Ledger,
        appliance: Appliance,
        library: Library,
        *,
        now: Callable[[], float] = time.time,
        within: float = VERDICT_WITHIN,
    ) -> None:
        self.ledger = ledger
        self._remote = remote
        self._appliance = appliance
        self._library = library
        self._now = now
        self._within = within
        self._one = threading.Lock()
        self._states: dict[str, State] = {}

    @staticmethod
    def remote(folder: Path, source: str, branch: str, key: str = "", known_hosts: str = "") -> Remote:
        """The clone for a state repo; with `key`, the agent's, it signs with that, and pushes with it over SSH."""
        signer = Signer(Path(key)) if key else None
        hosts = Path(known_hosts) if known_hosts else None
        access = Access(key=Path(key), known_hosts=hosts) if key and ":" in source else None
        return Remote(folder, source, branch=branch, access=access, signer=signer)

    async def state(self, revision: str | None = None) -> State:
        """The state at a revision, by default at the branch's head. Raises `Transient` where it cannot be had."""
        return await asyncio.to_thread(self._read, revision)

    def _read(self, revision: str | None) -> State:
        with self._one:
            head = self._remote.head()
            wanted = revision or head
            if wanted is None:
                raise Transient("the state repo has no commit yet")
            if wanted not in self._states:
                tree = self._remote.tree(wanted)
                blobs = self._remote.blobs({blob.oid for blob in tree.values()})
                data = {path: blobs[blob.oid] for path, blob in tree.items() if blob.oid in blobs}
                self._states = dict(list(self._states.items())[-3:])
                self._states[wanted] = read_state(wanted, data, self._library)
            return self._states[wanted]

    async def log(self, path: str | None = None, *, limit: int = 20) -> tuple[Commit, ...]:
        """History of the branch, newest first; with `path`, of that file."""

        def look() -> tuple[Commit, ...]:
            with self._one:
                head = self._remote.head()
                return self._remote.log(head, path, limit=limit) if head else ()

        return await asyncio.to_thread(look)

    async def blobs(self, oids: set[str]) -> Mapping[str, bytes]:
        """Contents by id."""

        def look() -> Mapping[str, bytes]:
            with self._one:
                return self._remote.blobs(sorted(oids))

        return await asyncio.to_thread(look)

    async def contains(self, tip: str, sha: str) -> bool:
        """Whether a revision has a commit."""
        if not tip or not sha:
            return False
        return tip == sha or await asyncio.to_thread(self._contains, tip, sha)

    def _contains(self, tip: str, sha: str) -> bool:
        with self._one:
            try:
                return not self._remote.commits(tip, sha)
            except (GitFailed, BadInput):
                return False

    async def send(self, entry: Entry) -> Entry:
        """Commit an entry once, however often it is sent, and wait for the verdict.

        Raises `Clashing` where somebody set the same field meanwhile: nothing was committed. Raises `Transient` where
        the state repo cannot be reached: it is sent by `recover`, as long as it is fresh.
        """
        found = self.ledger.begin(entry)
        if found.stage is Stage.BEGUN:
            found = await asyncio.to_thread(self._commit, found)
        if found.stage is Stage.SENT:
            found = await self._judged(found)
        return found

    def _commit(self, entry: Entry) -> Entry:
        """Commit and push, unless a former try did: then that commit is found by its `Chat-message`.

        Where the state repo cannot be reached the entry stays as it is, for `recover`; what cannot be is forgotten.
        """
        with self._one:
            try:
                sha = self._found(entry) or self._put(entry)
            except PushRefused as error:
                return self.ledger.settle(entry, Stage.REFUSED, detail=str(error.what))
            except BadInput:
                self.ledger.drop(entry)
                raise
        return self.ledger.settle(entry, Stage.SENT, sha=sha)

    def _found(self, entry: Entry) -> str | None:
        """The commit that an earlier try made, if it did."""
        head = self._remote.head()
        if head is None or head == entry.base:
            return None
        try:
            commits = self._remote.commits(entry.base, head)
        except GitFailed:  # the clone was made anew, or history rewritten
            commits = self._remote.log(head, limit=FAR)
        for commit in commits:
            if ("Chat-message", entry.key) in commit.trailers:
                return commit.sha
        return None

    def _put(self, entry: Entry) -> str:
        author = Author(entry.author, f"{entry.person}@voxnix")
        if entry.path:
            edit = Edit(entry.path, entry.content, entry.base, entry.subject, author, entry.trailers)
            return write(self._remote, edit, jitter=random.random, tries=TRIES).commit
        for attempt in range(TRIES):
            time.sleep(min(0.02 * attempt, 1.0))
            sha = self._remote.put(self._remote.head(), {}, entry.subject, author, entry.trailers)
            if sha is not None:
                return sha
        raise Transient("the state repo keeps moving", hint="try again")

    async def _judged(self, entry: Entry) -> Entry:
        """Wait for the controller's word on a commit; without one in time, it stays `sent`."""
        await self._appliance.poke()
        deadline = time.monotonic() + self._within
        while time.monotonic() < deadline:
            found = await self.verdict(entry)
            if found.stage is not Stage.SENT:
                return found
            await asyncio.sleep(LOOK_EVERY)
        return entry

    async def verdict(self, entry: Entry) -> Entry:
        """What the controller says of a commit now."""
        try:
            document = await self._appliance.status()
        except Away:
            return entry
        if await self.contains(str(document.get("revision") or ""), entry.sha):
            return self.ledger.settle(entry, Stage.ACCEPTED)
        refused = str(document.get("refused") or "")
        if refused and entry.sha[:10] in refused:
            return self.ledger.settle(entry, Stage.REFUSED, detail=refused)
        return entry

    async def recover(
        self, *, older: float = 0.0, but: Collection[str] = (), mine: Callable[[str], bool] = lambda _: True
    ) -> list[Entry]:
        """What was left open, taken up again: sent if it is fresh, found if it was sent. None is sent twice.

        Only what is `older` than so many seconds and from chats that are `mine`; `but` are keys of what is dealt with
        elsewhere.
        """
        found = []
        for entry in self.ledger.untold():
            if not mine(entry.chat) or entry.key in but or (older and self._now() - entry.at < older):
                continue
            one = entry
            if entry.stage is Stage.BEGUN:
                one = await asyncio.to_thread(self._resume, entry)
            if one.stage is Stage.SENT:
                one = await self._judged(one)
            found.append(one)
        return found

    def _resume(self, entry: Entry) -> Entry:
        with self._one:
            try:
                sha = self._found(entry)
            except VoxnixError:
                return entry
        if sha:
            return self.ledger.settle(entry, Stage.SENT, sha=sha)
        if self._now() - entry.at > FRESH:
            return self.ledger.settle(entry, Stage.DROPPED)
        try:
            return self._commit(entry)
        except VoxnixError as error:
            return self.ledger.settle(entry, Stage.DROPPED, detail=str(error))


def trailers(person: str, reason: str, key: str, *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """The trailers of a commit for a person; their words on one line, without secrets."""
    said = line(reason) or "no words"
    return (("Requested-by", person), ("Reason", said), ("Chat-message", key), *more)
