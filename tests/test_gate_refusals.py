"""Bad pushes, one after the other, with the real git client: what is told, and that nothing of them stays.

The cases are in `tests/cases/pushes`; README.md there says what their words mean.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import keygen
from tests.keygen import Key
from tests.loose import FILE, FOLDER, WHO
from tests.pushers import ALICE, ALICE_SIGNS, BOB, BOB_SIGNS, tenant
from tests.pushing import LIMITED, MAIN, Ground, Pushed, Way

pytestmark = pytest.mark.push

CASES = Path(__file__).parent / "cases/pushes"
GOOD = {"files": {"state/web.yaml": "owner: bob\n"}}
TEXTS = {
    "ALICE-AS-MEMBER": tenant("Alice", ALICE, ALICE_SIGNS),
    "BOB-WITHOUT-TAGS": tenant("Bob", BOB, BOB_SIGNS),
    "BOB-WITH-LITTLE": tenant("Bob", BOB, BOB_SIGNS) + LIMITED.replace("containers: 3", "containers: 1"),
    "BOBS-KEY": tenant("Carol", BOB, Key("carol signs")),
    "NEW-KEY": tenant("Somebody", Key("new"), Key("new signs")),
}
"""Contents that a case names."""


def load() -> Iterator[Any]:
    for path in sorted(CASES.glob("*.yaml")):
        for case in yaml.safe_load(path.read_text()):
            yield pytest.param(case, id=f"{path.stem}: {case['case']}")


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    directory = tmp_path_factory.mktemp("ground")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VOXNIX_STATE", "VOXNIX_HOST", "VOXNIX_CONFIG", "VOXNIX_KEY", "SUDO_USER"):
            patch.delenv(name, raising=False)
        patch.setenv("PATH", f"{keygen.install(directory / 'programs')}:{os.environ['PATH']}")
        with Ground(directory).open() as found:
            yield found


def pushed(ground: Ground, case: Mapping[str, Any]) -> Pushed:
    """Make what a case pushes, and push it."""
    made = MAKERS[case["make"]](ground) if "make" in case else ground.make(_prepared(case))["tip"]
    names = {"TIP": made, "BASE": ground.base, "BEFORE": ground.parent(ground.base), **_objects(ground, made)}
    refs = [
        re.sub(r"\b(" + "|".join(names) + r")\b", lambda found: names[found[0]], ref)
        for ref in case.get("refs", [f"TIP:{MAIN}"])
    ]
    by = case.get("by", "bob")
    return ground.push(by, refs, Way(case.get("way", "door")), words=case.get("words", ()))


def _prepared(case: Mapping[str, Any]) -> Mapping[str, Any]:
    """A case with its short words written out."""
    if "web" in case:
        return {**case, "files": {"state/web.yaml": case["web"]}}
    if "refs" in case:
        return GOOD
    if "commits" in case:
        return {**case, "commits": [_prepared(one) for one in case["commits"]]}
    files = {re.sub(r"LONG(\d+)", lambda found: "a" * int(found[1]), path): text for path, text in _files(case)}
    return {**case, "files": files}


def _files(case: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for path, content in case.get("files", {}).items():
        yield path, TEXTS.get(content, content) if isinstance(content, str) else content


def _objects(ground: Ground, made: str) -> Mapping[str, str]:
    """A file, a folder, and tags of the base and of what was made."""
    blob = ground.clone.blob(b"a")
    text = "object {}\ntype commit\ntag v1\ntagger " + WHO + "\n\nfirst\n"
    tags = {
        name: ground.clone.write("tag", text.format(sha).encode())
        for name, sha in (("TAG", ground.base), ("NEWTAG", made))
    }
    return {"BLOB": blob, "TREE": ground.clone.tree({b"a": (FILE, blob)}), **tags}


def seen(told: str) -> str:
    """What was told, with commits by one word."""
    return re.sub(r"\b([0-9a-f]{40}|[0-9a-f]{10}|[0-9a-f]{12})\b", "COMMIT", told)


@pytest.mark.parametrize("case", list(load()))
def test_case(ground, case):
    done = pushed(ground, case)
    told = seen(done.told)
    changed = ground.changed()
    ground.restore()
    print(told)
    assert "Traceback" not in told
    assert "cannot run" not in told
    assert done.taken == ("taken" in case), told
    for part in case.get("taken", []) + case.get("refused", []):
        assert part in told, told
    if not done.taken:
        assert changed == []
        assert case.get("refused"), told


def _rooted(change: Callable[[Ground, list[tuple[str, bytes, str]]], None]) -> Callable[[Ground], str]:
    """A commit whose topmost tree is the base's, changed as a list of entries."""

    def make(ground: Ground) -> str:
        inner = ground.clone.tree(
            {path[6:]: entry for path, entry in ground.files[ground.base].items() if path.startswith(b"state/")}
        )
        entries = [(FILE, b"README.md", ground.clone.blob(b"x")), (FOLDER, b"state", inner)]
        change(ground, entries)
        return ground.clone.commit(ground.clone.entries(entries), [ground.base])

    return make


def _more(*more: tuple[str, bytes]) -> Callable[[Ground], str]:
    return _rooted(lambda ground, entries: entries.extend((mode, name, ground.clone.blob(b"y")) for mode, name in more))


def _padded(ground: Ground, entries: list[tuple[str, bytes, str]]) -> None:
    entries[1] = ("040000", *entries[1][1:])


def _disguised(ground: Ground, entries: list[tuple[str, bytes, str]]) -> None:
    entries.append((FILE, b"z", entries[1][2]))


def _torn(ground: Ground) -> str:
    tree = ground.clone.write("tree", b"100644 README.md\0" + b"\x01" * 7)
    return ground.clone.commit(tree, [ground.base])


def _bulky(ground: Ground) -> str:
    noise = ground.clone.blob(random.Random(1).randbytes(65 * 2**20))
    return ground.clone.commit(ground.clone.tree({b"noise": (FILE, noise)}), [ground.base])


def _thousands(count: int) -> Callable[[Ground], str]:
    """That many commits without a change, one on top of the other."""

    def make(ground: Ground) -> str:
        who = "committer x <x@example.org> 1790000000 +0000\ndata 1\nx\n"
        lines = [f"commit refs/heads/thousands\n{who}{f'from {ground.base}' if not n else ''}\n" for n in range(count)]
        git = ["git", f"--git-dir={ground.clone.path}"]
        subprocess.run([*git, "fast-import", "--quiet", "--force"], input="".join(lines).encode(), check=True)
        done = subprocess.run([*git, "rev-parse", "refs/heads/thousands"], capture_output=True, check=True)
        (ground.clone.path / "refs/heads/thousands").unlink()
        return done.stdout.decode().strip()

    return make


def _wordy(ground: Ground) -> str:
    tree = ground.clone.tree(ground.files[ground.base])
    return ground.clone.commit(tree, [ground.base], b"x\n\n" + b"word\n" * 2**19)


def _bomb(ground: Ground) -> str:
    oid, mode = ground.clone.blob(b"x"), FILE
    for _ in range(5):
        oid, mode = ground.clone.entries([(mode, b"%d" % n, oid) for n in range(10)]), FOLDER
    return _rooted(lambda _, entries: entries.insert(1, (FOLDER, b"a", oid)))(ground)


def _nul(ground: Ground) -> str:
    forged = f"x\0\0{ground.base}\0\0A\0a@b\0001790000000\0go\n\nVoxnix-Purge: u-1\n"
    return ground.clone.commit(ground.clone.tree(ground.files[ground.base]), [ground.base], forged.encode())


def _emptied(ground: Ground) -> str:
    return ground.clone.commit(ground.clone.entries([]), [ground.base])


MAKERS: Mapping[str, Callable[[Ground], str]] = {
    "absolute": _more((FILE, b"/etc")),
    "slash": _more((FILE, b"state/x.yaml")),
    "nameless": _more((FILE, b"")),
    "unsorted": _more((FILE, b"a")),
    "doubled": _more((FILE, b"x"), (FILE, b"x")),
    "both": _more((FILE, b"state")),
    "modeless": _more(("", b"x")),
    "padded": _rooted(_padded),
    "disguised": _rooted(_disguised),
    "torn": _torn,
    "bulky": _bulky,
    "thousands": _thousands(10_050),
    "wordy": _wordy,
    "bomb": _bomb,
    "nul": _nul,
    "emptied": _emptied,
}
"""What cannot be told in YAML."""
