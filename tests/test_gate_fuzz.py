"""Random pushes, made object by object, before the gate: it never fails but in words, never lets in what the controller
would refuse or freeze, and never costs more than the size of the push allows.

The same ones are tried every time; `VOXNIX_DEEP` asks for more, and random ones.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.desired import Desires, Identities, Reading
from controller.errors import VoxnixError
from controller.gate.gate import Gate
from controller.gate.hooks import install
from controller.gate.push import Push, Update
from controller.git import Author, Mirror, StateRepo
from controller.receive import ReceiveLog
from controller.spec.state import Library
from controller.store import Store
from tests.keygen import Key, signed_commit
from tests.loose import FOLDER, Loose, raw_commit
from tests.pushers import AGENT, ALICE, ALICE_SIGNS, BOB, BOB_SIGNS, POLICY, REQUIRED, STRANGER, TENANTS

pytestmark = pytest.mark.push

DEEP = bool(os.environ.get("VOXNIX_DEEP"))
LIBRARY = Library({"git": "", "fish": "", "tailscale": "", "workspace": ""}, "l1")
FILES = {
    **TENANTS,
    POLICY: REQUIRED,
    "state/dev.yaml": "owner: alice\nmodules: [git, workspace]\nworkspace: {quota: 2G}\n",
    "state/web.yaml": "owner: bob\nmodules: [fish]\n",
    "README.md": "hello\n",
}
SECONDS, SECONDS_PER_MIB, SECONDS_PER_COMMIT = 1.5, 8.0, 0.02
"""CPU of a verdict, git's own included: a fixed part (some ten processes), the reading of YAML (PyYAML's own parser,
which words each mistake, takes 6 s for a MiB of them), and what each commit adds on a state of this size. Slow machines
are allowed thrice of all that."""
SLOW = 3.0
MEMORY, TIMES = 64 * 2**20, 40
"""Bytes that a verdict may take beyond what the gate has, and beyond that per byte of the push, unpacked: a path of a
tree becomes a line of git's, a value and a problem with its words."""


@dataclass(frozen=True)
class Commit:
    """A commit to be made: on which others (by place; 0 is where the branch is), with which files (a number: so many
    folders in each other, with one file in the last), in what dress.
    """

    parents: tuple[int, ...]
    files: tuple[tuple[bytes, str, bytes | int | None], ...]
    message: bytes
    head: tuple[str, ...] = ()
    signed: Key | None = None
    first: int = 0
    """Which parent's files it begins with."""


@dataclass(frozen=True)
class Verdict:
    taken: bool
    crash: str
    cpu: float
    peak: int


class Ground:
    """A state repo, its gate, and a controller's view of it, each copied for those pushes that are taken."""

    def __init__(self, place: Path) -> None:
        self.place = place
        files = {path: text.encode() for path, text in FILES.items()}
        self.repo = StateRepo.init(place / "state.git", files, Author("root", "root@example.org"))
        self.head = self.repo.head() or ""
        self.gate = Gate(self.repo.path, "main", lambda: LIBRARY, delegates=lambda: [AGENT.public])
        self.base = {
            path.encode(): (blob.mode, blob.oid)
            for path, blob in self.repo.tree(self.head, "state", "README.md").items()
        }
        self._number = itertools.count()
        found, _ = self.controller(self.repo.path, place / "view")
        assert found.known is not None

    def controller(self, source: Path, view: Path) -> tuple[Reading, Path]:
        """What a controller that has accepted the branch as it was makes of `source`."""
        store = Store.open(view / "store.db", create=True)
        mirror = Mirror(view / "mirror.git", str(source))
        identities = Identities(mirror, ReceiveLog(source), [AGENT.public])
        with store:
            return Desires(mirror, store, LIBRARY, witnesses=identities).read(), view

    def make(self, commits: Sequence[Commit]) -> tuple[Path, str, int]:
        """The objects of a push in a folder, its tip, and their bytes."""
        folder = self.place / f"push-{next(self._number)}"
        (folder / "objects").mkdir(parents=True)
        loose = Sized(folder)
        made = [(self.head, self.base)]
        for commit in commits:
            files = dict(made[commit.first % len(made)][1])
            for path, mode, data in commit.files:
                if data is None:
                    files.pop(path, None)
                elif isinstance(data, int):
                    files[path] = (FOLDER, nested(loose, data))
                else:
                    files[path] = (mode, loose.blob(data))
            parents = [made[number % len(made)][0] for number in commit.parents]
            raw = raw_commit(loose.tree(files), parents, commit.message, head=commit.head)
            made.append((loose.write("commit", signed_commit(raw, commit.signed) if commit.signed else raw), files))
        return folder, made[-1][0], SIZES.pop(folder, 0)

    def judged(self, folder: Path, tip: str, key: Key | None) -> Verdict:
        """The gate's verdict in a process of its own, with the objects where git keeps those of a push."""
        quarantine = self.repo.path / "objects" / f"tmp_objdir-incoming-{folder.name}"
        (folder / "objects").rename(quarantine)
        update = Update(self.head, tip, "refs/heads/main")
        push = Push((update,), key.fingerprint if key else "", "" if key else "root", str(quarantine))
        try:
            return measured(lambda: not self.gate.admit(push).refusals)
        finally:
            quarantine.rename(folder / "objects")

    def fits(self, folder: Path, tip: str) -> list[str]:
        """What the controller holds against a push that the gate has taken, if git itself would take it."""
        copy = folder / "state.git"
        shutil.copytree(self.repo.path, copy)
        shutil.copytree(folder / "objects", copy / "objects", dirs_exist_ok=True)
        git(copy, "update-ref", "refs/heads/main", tip)
        view = folder / "view"
        shutil.copytree(self.place / "view", view)
        reading, _ = self.controller(copy, view)
        if reading.trouble and not self.received(folder, tip):
            return []
        wrong = [f"trouble: {reading.trouble}"] if reading.trouble else []
        if reading.refused:
            wrong.append(f"refused: {reading.refused}")
        if reading.known is not None and not wrong:
            wrong += [f"frozen: {name}" for name, one in reading.known.containers.items() if one.frozen]
            wrong += [f"frozen: {name}" for name in reading.known.frozen_tenants]
            wrong += [] if reading.known.revision == tip else ["not accepted"]
        return wrong

    def received(self, folder: Path, tip: str) -> bool:
        """Whether git takes such objects by a push, with what voxnix has it check, and no hook."""
        copy = folder / "received.git"
        shutil.copytree(self.repo.path, copy)
        install(copy, ())
        shutil.rmtree(copy / "hooks")
        git(folder, "init", "-q", "--bare", str(folder / "sender.git"))
        shutil.copytree(self.repo.path / "objects", folder / "sender.git/objects", dirs_exist_ok=True)
        shutil.copytree(folder / "objects", folder / "sender.git/objects", dirs_exist_ok=True)
        return git(folder / "sender.git", "push", "-q", str(copy), f"{tip}:refs/heads/main").returncode == 0


SIZES: dict[Path, int] = {}


class Sized(Loose):
    """Counts the bytes of what it makes."""

    def write(self, kind: str, data: bytes) -> str:
        SIZES[self.path] = SIZES.get(self.path, 0) + len(data)
        return super().write(kind, data)


def nested(loose: Loose, depth: int) -> str:
    """So many folders, one in the other, and a file."""
    entry = ("100644", b"x.yaml", loose.blob(b"owner: bob\n"))
    for _ in range(depth):
        entry = (FOLDER, b"a", loose.entries([entry]))
    return entry[2]


def git(path: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    keep = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *words], cwd=path, env=keep, capture_output=True, check=False, timeout=60)


def measured(judge: Callable[[], bool]) -> Verdict:
    """A judgement in a child process: how it ended, its CPU seconds and git's, and its peak memory beyond ours now."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        crash, taken = "", False
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
        try:
            taken = judge()
        except VoxnixError:
            pass
        except BaseException as error:  # noqa: BLE001 - told by the process that waits
            crash = repr(error)
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(one.ru_utime + one.ru_stime for one in used)
        os.write(writer, json.dumps([taken, crash, cpu, max(0, _memory("VmHWM") - before)]).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return Verdict(*json.loads(said)) if said else Verdict(False, "the judge died", 0.0, 0)


def _memory(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{field}:")[2].split()[0]) * 1024


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="voxnix-fuzz-", dir=shared if os.access(shared, os.W_OK) else None))
    yield Ground(place)
    shutil.rmtree(place, ignore_errors=True)


def tried(ground: Ground, commits: Sequence[Commit], key: Key | None) -> Verdict:
    """One push, held against everything that has to be so."""
    folder, tip, size = ground.make(commits)
    try:
        verdict = ground.judged(folder, tip, key)
        assert not verdict.crash, verdict.crash
        bound = SECONDS + SECONDS_PER_MIB * size / 2**20 + SECONDS_PER_COMMIT * len(commits)
        assert verdict.cpu <= bound * SLOW, (verdict, size)
        assert verdict.peak <= MEMORY + TIMES * size, (verdict, size)
        if verdict.taken:
            wrong = ground.fits(folder, tip)
            assert not wrong, wrong
        return verdict
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Random pushes

GOOD = (
    b"owner: bob\n",
    b"owner: alice\nmodules: [git]\n",
    b"owner: bob\nmodules: [workspace]\nworkspace: {quota: 3G}\n",
)
ODD = (
    *(
        b"",
        b"\xff\xfe",
        b"owner: [",
        b"owner: bob\nowner: alice\n",
        b"owner: &a bob\nenv: {A: *a}\n",
        b"owner: carol\n",
    ),
    *(b"a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", b"owner: bob\nrenamed_from: dev\n", b"name: Bob\nrole: admin\n"),
    *(b"- " * 200, b"{" * 400, b"owner: bob\n\0", b"owner: bob\nhost: elsewhere\n", b"identity: open\n"),
)
PATHS = (
    *(b"state/web.yaml", b"state/web.yaml", b"state/new.yaml", b"state/api.yaml", b"state/dev.yaml", b"README.md"),
    *(b"state/tenants/bob.yaml", b"state/policy.yaml", b"state/defaults.yaml", b"docs/x.txt", b"state/Web.yaml"),
    *(b"state/sub/x.yaml", b"State/x.yaml", b"state", b"state/\xff.yaml", b"state/a\nb.yaml", b"x\\y", b"state/..yaml"),
)
names = st.one_of(
    st.sampled_from(PATHS), st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=4).map(b"/".join)
)
paths = names.map(lambda path: b"/".join(part for part in path.replace(b"\0", b"_").split(b"/") if part) or b"x")
modes = st.sampled_from(("100644",) * 8 + ("100755", "120000", "100664", "160000", "40000", "777", "100600"))
contents = st.one_of(
    st.sampled_from(GOOD), st.sampled_from(GOOD), st.none(), st.sampled_from(ODD), st.binary(max_size=80)
)
TRAILERS = (
    b"Requested-by: bob",
    b"Requested-by: \xff",
    b"Voxnix-Approve: 0123456789ab",
    b"Voxnix-Purge: x",
    b"A:" + b" " * 99,
)
messages = st.builds(
    lambda subject, lines: subject + b"\n\n" + b"\n".join(lines) + b"\n",
    st.one_of(st.just(b"change"), st.binary(max_size=40).map(lambda text: text.replace(b"\0", b" "))),
    st.lists(st.sampled_from(TRAILERS), max_size=2),
)
HEADS = (
    (),
    (),
    (),
    ("encoding UTF-7",),
    ("encoding latin-1",),
    ("gpgsig -----BEGIN SSH SIGNATURE-----\n x",),
    ("mergetag x",),
)


@st.composite
def pushes(draw: Any) -> tuple[Commit, ...]:
    found = []
    for number in range(draw(st.integers(1, 4))):
        plain = draw(st.booleans())
        parents = (number,) if plain else tuple(draw(st.lists(st.integers(0, number), min_size=1, max_size=3)))
        files = draw(st.lists(st.tuples(paths, modes, contents), max_size=3))
        if plain and draw(st.booleans()):
            files = [(path, "100644", data) for path, _, data in files]
        head, signed = (
            draw(st.sampled_from(HEADS)),
            draw(st.sampled_from((None, None, None, BOB_SIGNS, ALICE_SIGNS, STRANGER))),
        )
        found.append(Commit(parents, tuple(files), draw(messages), head, signed, parents[0]))
    return tuple(found)


COUNTS = {True: 0, False: 0}


@settings(
    max_examples=3_000 if DEEP else 120,
    derandomize=not DEEP,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(commits=pushes(), key=st.sampled_from((None, None, ALICE, BOB, AGENT, STRANGER)))
def test_random_pushes(ground: Ground, commits: tuple[Commit, ...], key: Key | None) -> None:
    COUNTS[tried(ground, commits, key).taken] += 1


def test_both_verdicts_were_met() -> None:
    """Runs after the random ones: a fuzzer of which nothing is taken, or all, tries nothing."""
    if sum(COUNTS.values()) >= 100:
        assert min(COUNTS.values()) * 10 >= sum(COUNTS.values()), COUNTS


# Big ones

BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
)
WHOLE = {
    "a YAML bomb": [(b"state/web.yaml", BOMB)],
    "deep YAML": [(b"state/web.yaml", b"[" * 30_000)],
    "deep block YAML": [(b"state/web.yaml", b"".join(b" " * n + b"a:\n" for n in range(300)))],
    "a file of 64 KiB of mistakes": [(b"state/web.yaml", b"owner bob\n" * 6_500)],
    "a file of 64 KiB of odd keys": [(b"state/web.yaml", b"".join(b"k%d: 1\n" % n for n in range(6_500)))],
    "a giant file below state": [(b"state/web.yaml", b"owner: bob\n" * 400_000)],
    "a giant file elsewhere": [(b"big.bin", b"\0" * 20_000_000)],
    "deep folders": [(b"deep", 1_500)],
    "deep folders below state": [(b"state/deep", 1_500)],
    "folders deeper than a stack": [(b"deep", 30_000)],
    "thousands of containers": [(b"state/c%d.yaml" % n, b"owner: bob\n") for n in range(2_000)],
    "thousands of files elsewhere": [(b"docs/%d" % n, b"x") for n in range(5_000)],
    "thousands of names that differ in case": [
        (b"state/%s.yaml" % bytes(c ^ (32 if n >> i & 1 else 0) for i, c in enumerate(b"abcdefghijk")), b"owner: bob\n")
        for n in range(1_500)
    ],
}


@pytest.mark.parametrize("name", WHOLE)
def test_big_pushes(ground: Ground, name: str) -> None:
    files = tuple((path, "100644", data) for path, data in WHOLE[name])
    tried(ground, [Commit((0,), files, b"big\n")], BOB)


LONG: Mapping[str, Sequence[Commit]] = {
    "a message of a MiB": [Commit((0,), (), b"m" * 2**20)],
    "many trailers": [Commit((0,), (), b"x\n\n" + b"Requested-by: bob\n" * 3_000)],
    "many parents": [
        *(Commit((0,), ((b"state/web.yaml", "100644", b"owner: bob\n# %d\n" % n),), b"one\n") for n in range(60)),
        Commit(tuple(range(1, 61)), (), b"all\n", first=1),
    ],
    "three hundred commits": [
        Commit((n,), ((b"state/web.yaml", "100644", b"owner: bob\n# %d\n" % n),), b"one\n", first=n) for n in range(300)
    ],
}


@pytest.mark.parametrize("name", LONG)
def test_long_pushes(ground: Ground, name: str) -> None:
    tried(ground, LONG[name], BOB)


def test_a_line_of_blanks_is_read_in_linear_time(ground: Ground) -> None:
    """A trailer whose value holds blanks without end, before its last letter."""
    tried(ground, [Commit((0,), (), b"x\n\nA: x" + b" " * 60_000 + b"y\n")], BOB)
