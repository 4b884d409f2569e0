"""A simulated host that looks at every command before it has its effect, and minds what must never be asked for.

It also plays dead: once a fault has killed the controller, nothing that it still tries has any effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from controller.host.sim import SimHost
from controller.host.sim.command import Answer
from controller.host.sim.tools import mutates
from controller.host.sim.zfs_data import Disk
from controller.host.sim.zfs_tree import Dataset
from controller.plan.view import moment
from tests.box import Killed

TRASH_FOR = timedelta(days=30)
FOREIGN = re.compile("alien|theirs|FOREIGN")
"""What bears one of these words is none of ours."""


class WatchedHost(SimHost):
    """Raises `AssertionError` in the controller's face, and keeps it in `crimes`, for what must never be run."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, **{**options, "die": self.drop})
        self.dead = False
        self.crimes: list[str] = []
        self.purges: set[str] = set()
        self.released: set[str] = set()
        self.changes: list[str] = []

    def drop(self) -> None:
        """The controller is killed."""
        self.dead = True
        raise Killed

    async def request(self, method: str, path: str, effect: Any) -> Answer:
        """To a dead controller it makes no difference what the tailnet answers."""
        try:
            return await super().request(method, path, effect)
        except Killed:
            return Answer(503, "", "the controller is dead\n")

    def _passage(self, words: tuple[str, ...]) -> Any:
        if self.dead:
            raise Killed
        return _Watched(super()._passage(words), self, words)

    def judge(self, words: tuple[str, ...]) -> None:
        """Look at a command that is about to have its effect."""
        text = " ".join(words)
        if mutates(words) and "oauth" not in text:
            self.changes.append(text)
            if FOREIGN.search(text.replace(str(self.directory), "")):
                self._crime(f"on something foreign: {text}")
        if words[:2] == ("zfs", "destroy"):
            self._destroys(words[2:], text)
        if words[:2] == ("zfs", "rollback"):
            self._crime(text)

    def _destroys(self, words: tuple[str, ...], text: str) -> None:
        name = words[-1]
        if set(words[:-1]) - {"-r"}:
            self._crime(text)
        elif "@" in name:
            if "@voxnix-" not in name or "-r" in words:
                self._crime(text)
        elif not re.fullmatch(r"tank/trash/[^/]+", name):
            self._crime(text)
        else:
            self._empties(name)

    def _empties(self, name: str) -> None:
        """Trash goes for good: its time must be up, or a purge approved; its tokens need not be found again."""
        found = Disk(self.world).tree().datasets.get(name)
        if found is None:
            return
        at = moment(found.local.get("voxnix:trashed", ""))
        old = at is not None and self.world.now() - at.timestamp() >= TRASH_FOR.total_seconds()
        if not old and not {name.rsplit("/", 1)[1], found.local.get("voxnix:uid", "")} & self.purges:
            self._crime(f"zfs destroy {name}: its time is not up, and nobody approved of a purge")
        self.release(name)

    def release(self, name: str) -> None:
        """A dataset goes, as somebody asked: the tokens in it are not missed."""
        self.released |= {token for path, token in self.tokens() if path == name or path.startswith(f"{name}/")}

    def tokens(self) -> Iterator[tuple[str, str]]:
        """Every token that a dataset holds now: the dataset, and the token."""
        disk = Disk(self.world)
        tree = disk.tree()
        places = {str(disk.place(each)) for each in tree.datasets.values()}
        for name, dataset in tree.datasets.items():
            yield from ((name, token) for token in _tokens(disk.place(dataset), places))

    def live(self, name: str) -> list[str]:
        """The datasets of ours of a container's name, whoever owns it."""
        found = Disk(self.world).tree().datasets.items()
        return [path for path, each in found if path.endswith(f"/containers/{name}") and uid_of(each)]

    def uids(self) -> tuple[str, ...]:
        """The uids of all live containers."""
        found = Disk(self.world).tree().datasets.items()
        return tuple(sorted(uid_of(each) for path, each in found if is_live(path) and uid_of(each)))

    def pieces(self) -> tuple[str, ...]:
        """The ids of all trash of ours."""
        found = Disk(self.world).tree().datasets.items()
        ours = [path for path, each in found if re.fullmatch(r"tank/trash/[^/]+", path) and uid_of(each)]
        return tuple(sorted(path.rsplit("/", 1)[1] for path in ours))

    def _crime(self, what: str) -> None:
        self.crimes.append(what)
        raise AssertionError(what)


class _Watched:
    def __init__(self, passage: Any, host: WatchedHost, words: tuple[str, ...]) -> None:
        self._passage = passage
        self._host = host
        self._words = words

    async def through(self, effect: Callable[..., Any]) -> Any:
        async def watched(interrupt: Any) -> Any:
            self._host.judge(self._words)
            return await effect(interrupt)

        return await self._passage.through(watched)


def uid_of(dataset: Dataset) -> str:
    """The uid that a dataset is marked with; empty for one that is not ours."""
    return dataset.local.get("voxnix:uid", "")


def is_live(path: str) -> bool:
    """Whether a dataset is where a container's would be."""
    return path.startswith("tank/users/") and path.count("/") == 4 and "/containers/" in path


def _tokens(folder: Path, others: set[str]) -> Iterator[str]:
    """Tokens in a folder and below, not looking into other datasets."""
    for part in ("", "home", "root", "var-lib"):
        place = folder / part
        if place.is_dir() and (not part or str(place) not in others):
            yield from (each.name for each in place.glob("token-*"))
