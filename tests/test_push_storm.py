"""Ten clones push two hundred changes at once while the controller converges, and all is as the last commit says.

On the way the gate is killed, the controller is killed, and people's own gits are killed in the middle of a push.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.loop import SETTLED, Look
from controller.receive import Arrival
from controller.receive.arrival import read_line
from controller.store import Store
from controller.wiring import controller
from tests.chaos.verdict import converged
from tests.keygen import Key
from tests.storm import Change, Clone, Post, wait

pytestmark = pytest.mark.push

SEED = os.environ.get("VOXNIX_STORM_SEED", "1")
CLONES, AT_ONCE = 10, 2
OURS, BOTH = "state/ours.yaml", "state/both.yaml"
SHARING = {0: OURS, 1: OURS, 8: BOTH, 9: BOTH}
"""Clones that edit a file of another clone's too."""
TENANT = {1: "t0", 9: "t8"}
"""Clones of somebody who has another clone already."""
KILLED = {2: frozenset({3, 9}), 4: frozenset({2}), 7: frozenset({2, 11})}
"""Which pushes of which clones are cut off."""
DOOR_DIES, DOOR_IS_BACK, CONTROLLER_DIES, CONTROLLER_IS_BACK = 0.25, 0.35, 0.55, 0.65
"""After which part of all pushes."""


@pytest.fixture
def post() -> Iterator[Post]:
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="voxnix-storm-", dir=shared if os.access(shared, os.W_OK) else None))
    found = Post(place)
    yield found
    for name in list(found.running):
        found.end(name, signal.SIGKILL)
    shutil.rmtree(place, ignore_errors=True)


def key_of(number: int) -> Key | None:
    """The later half of the clones comes with keys."""
    return Key(f"clone {number}") if number >= CLONES // 2 else None


def first(post: Post) -> str:
    """The tenants, and the files that several edit."""
    tree = post.place / "first"
    people: dict[str, list[str]] = {}
    for number in range(CLONES):
        key = key_of(number)
        people.setdefault(TENANT.get(number, f"t{number}"), []).extend([key.public] if key else [])
    post.git("clone", "-q", str(post.state), str(tree))
    for tenant, keys in people.items():
        (tree / f"state/tenants/{tenant}.yaml").write_text(f"name: {tenant}\nssh_keys: {keys}\n")
    for path, owner in ((OURS, "t0"), (BOTH, "t8")):
        text = "modules: [workspace]\npower: running\nworkspace: {quota: 1G}\n"
        (tree / path).write_text(f"owner: {owner}\n{text}")
    for words in (["add", "-A"], ["commit", "-q", "-m", "begin"], ["push", "-q", "origin", "main"]):
        post.git("-C", str(tree), f"--git-dir={tree}/.git", f"--work-tree={tree}", *words)
    return post.git("rev-parse", "main")


class Weather:
    """What befalls the appliance while people push."""

    def __init__(self, post: Post, pushes: int) -> None:
        self.post = post
        self.accepted = 0
        self._pushes = pushes
        self._lock = threading.Lock()

    def count(self) -> None:
        """One more push was accepted; accidents happen within the thread of whoever pushed."""
        with self._lock:
            self.accepted += 1
            if self._is(DOOR_DIES):
                self.post.end("door", signal.SIGKILL)
            if self._is(DOOR_IS_BACK):
                self.post.start("door")
            if self._is(CONTROLLER_DIES):
                self.post.end("run", signal.SIGKILL)
            if self._is(CONTROLLER_IS_BACK):
                self.post.start("run")

    def _is(self, part: float) -> bool:
        return self.accepted == int(part * self._pushes)


def blow(post: Post, clones: list[Clone], pushes: int) -> int:
    """All of them at once, until so many were accepted; how many that were."""
    weather, stop = Weather(post, pushes), threading.Event()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            clones[number].work(pushes // len(clones), stop, weather.count, KILLED.get(number, frozenset()))
        except BaseException as error:  # noqa: BLE001 - told by the thread that waits for all
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(clones))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return weather.accepted


PUSHES = 200


def test_pushes_of_ten_clones_lose_nothing(post: Post) -> None:
    began = time.monotonic()
    post.begin()
    start = first(post)
    post.start("door")
    post.start("run")
    road = threading.Semaphore(AT_ONCE)
    clones = [
        Clone(post, f"c{n}", TENANT.get(n, f"t{n}"), key_of(n), SHARING.get(n, ""), random.Random(f"{SEED} {n}"), road)
        for n in range(CLONES)
    ]
    for clone in clones:
        clone.begin()
    blowing = time.monotonic()
    assert blow(post, clones, PUSHES) == PUSHES
    calm = time.monotonic()
    accepted = [(sha, change, clone) for clone in clones for sha, change in clone.accepted]
    assert sum(clone.killed for clone in clones), "no push was cut off"
    assert sum(len(clone.told) for clone in clones) >= len(SHARING) // 2, "nobody clashed"
    history_is_whole(post, start, [(sha, change) for sha, change, _ in accepted])
    nothing_refused_came_in(post, [change for clone in clones for change in clone.told])
    pushers_are_named(post, [(sha, clone.key) for sha, _, clone in accepted])
    settle(post)
    nothing_stays(post)
    post.end("door")
    post.end("run")
    store_is_sound(post)
    asyncio.run(host_is_as_told(post))
    races, told, cut = (sum(each) for each in zip(*((c.races, len(c.told), c.killed) for c in clones), strict=True))
    print(f"\n{len(accepted)} pushes, {races} races lost, {told} clashes told, {cut} pushes cut off")
    print(f"{calm - blowing:.1f} s of storm, {time.monotonic() - began:.1f} s in all")


def history_is_whole(post: Post, start: str, accepted: list[tuple[str, Change]]) -> None:
    """Every accepted change is there once, says what its author wrote, and the last one of each file stands."""
    log = post.git("log", "--reverse", "--format=%H%x09%P%x09%s", f"{start}..main").splitlines()
    rows = [line.split("\t") for line in log]
    assert Counter(sha for sha, _, _ in rows) == Counter(sha for sha, _ in accepted)
    assert Counter(subject for _, _, subject in rows) == Counter(change.subject for _, change in accepted)
    assert [parents for _, parents, _ in rows] == [start, *(sha for sha, _, _ in rows[:-1])], "no line of commits"
    wanted, last = dict(accepted), dict[str, str | None]()
    for sha, _, _ in rows:
        change = wanted[sha]
        assert post.git("diff-tree", "--no-commit-id", "--name-only", "-r", sha) == change.path
        last[change.path] = change.content
    for path, content in last.items():
        there = post.git("ls-tree", "main", path)
        assert bool(there) == (content is not None), path
        assert content is None or post.git("show", f"main:{path}") == content.strip(), path


def nothing_refused_came_in(post: Post, told: list[Change]) -> None:
    """What clashed with another's change is not in history."""
    subjects = set(post.git("log", "--format=%s", "main").splitlines())
    assert not subjects & {change.subject for change in told}


def pushers_are_named(post: Post, accepted: list[tuple[str, Key | None]]) -> None:
    """The receive log names whoever pushed each commit, and names nobody else."""
    lines = (post.state / "voxnix/received.jsonl").read_bytes().splitlines()
    entries = [read_line(line) for line in lines]
    by: dict[str, set[tuple[str, str]]] = {}
    for entry in entries:
        assert isinstance(entry, Arrival)
        for sha in entry.commits:
            by.setdefault(sha, set()).add((entry.via, entry.key))
    wrong = {
        sha: by.get(sha) for sha, key in accepted if by.get(sha) != {("ssh", key.fingerprint) if key else ("path", "")}
    }
    assert not wrong


def settle(post: Post) -> None:
    """Wait until the controller is through, root approving of what waits for that."""
    asked: set[str] = set()

    def through() -> bool:
        status: Any = post.status()
        head = post.git("rev-parse", "main")
        if not status or status["revision"] != head:
            return False
        assert not status["refused"], status["refused"]
        for hold in status["holds"]:
            if hold["id"] not in asked:
                asked.add(hold["id"])
                post.voxnix("approve", "--yes", hold["id"])
        waits = [one for one in status["waits"] if one["reason"] not in SETTLED]
        return not status["holds"] and not waits and {row["phase"] for row in status["containers"]} <= {"ready"}

    wait(through, "all is as the last commit says")


def nothing_stays(post: Post) -> None:
    """No lock, scratch ref, quarantine or half of a file in the state repo or the mirror."""
    mirror = post.settings.data / "mirror.git"
    wait(lambda: not leftovers(post.state) and not leftovers(mirror), f"{leftovers(post.state)} {leftovers(mirror)} go")
    refs = set(post.git("for-each-ref", "--format=%(refname)").splitlines())
    assert refs == {"refs/heads/main", "refs/notes/voxnix"}
    post.git("fsck", "--strict", "--no-dangling")


def leftovers(repository: Path) -> list[Path]:
    places = [*repository.rglob("*.lock"), *repository.rglob("tmp_*"), *(repository / "refs/voxnix").glob("writing-*")]
    return sorted(set(places))


def store_is_sound(post: Post) -> None:
    with closing(sqlite3.connect(post.settings.store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with Store.open(post.settings.store) as store:
        assert store.revision == post.git("rev-parse", "main")
        refused = [event for event in store.events(limit=10_000) if "refused" in event.kind]
    assert not refused


async def host_is_as_told(post: Post) -> None:
    """The host as the drivers see it, against the files of the last commit as anybody would read them."""
    async with controller(post.settings) as found:
        look: Look = await found.look()
    converged(look)
    assert not look.plan.holds
    specs = {}
    for path in post.git("ls-tree", "--name-only", "main", "state/").splitlines():
        if path.endswith(".yaml") and Path(path).stem not in ("defaults", "policy"):
            specs[Path(path).stem] = yaml.safe_load(post.git("show", f"main:{path}"))
    datasets, machines = look.observed.storage.value.datasets, look.observed.machines.value
    live = {name for name, dataset in datasets.items() if name.startswith("tank/users/") and name.count("/") == 4}
    assert live == {f"tank/users/{spec['owner']}/containers/{name}" for name, spec in specs.items()}
    uids = [datasets[name].marks["uid"] for name in live]
    assert len(set(uids)) == len(uids)
    for name, spec in specs.items():
        path = f"tank/users/{spec['owner']}/containers/{name}"
        document = machines[name].installed.document
        assert (document.uid, document.name, document.owner) == (datasets[path].marks["uid"], name, spec["owner"])
        running = spec.get("power", "running") == "running"
        assert (machines[name].state == "running") == running, name
        if "workspace" in spec.get("modules", []) and "workspace" in spec:
            assert datasets[f"{path}/workspace"].refquota == int(spec["workspace"]["quota"][:-1]) * 2**30
    entries = {entry.name: uid for uid, entry in look.memory.inventory.items()}
    assert entries == {path.rsplit("/", 1)[1]: datasets[path].marks["uid"] for path in live}
