"""The row about pushes: with the gate's verdict, beside the same push without hooks and the start of `voxnix`.

The state repo has 1,000 specs, and the gate stays running, as on an appliance. A push brings one change of one file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from controller.gate.hooks import HOOKS, install
from controller.gate.push import DOOR
from controller.git import StateRepo
from controller.host.sim import create
from tests.bench.clocks import Spread, taken
from tests.bench.daemon import VOXNIX, wait_for
from tests.bench.seed import SPEC, TENANTS, WHO
from tests.bench.table import Row

SPECS = 1_000
ROUNDS, WARM = 20, 3
EMPTY = ("--version",)
"""What a `voxnix` is told that has nothing to do."""


class Site:
    """A state repo, and a clone that pushes into it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.path, self.clone = directory / f"{name}.git", directory / name
        files = {f"state/c{number:05d}.yaml": SPEC.encode() for number in range(SPECS)}
        self.repo = StateRepo.init(self.path, {**TENANTS, **files}, WHO)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{role}_NAME": WHO.name, f"GIT_{role}_EMAIL": WHO.email}
        subprocess.run(("git", "clone", "--quiet", str(self.path), str(self.clone)), env=self.env, check=True)

    def push(self, number: int) -> float:
        """Change one file, commit, push; seconds that the push took."""
        git = ("git", "-C", str(self.clone))
        (self.clone / f"state/c{number:05d}.yaml").write_text(f"{SPEC}description: change {number}\n")
        subprocess.run((*git, "commit", "--quiet", "--all", "--message", "change"), env=self.env, check=True)
        return taken((*git, "push", "--quiet", "-o", "no-wait"), env=self.env).wall


def row(directory: Path) -> Row:
    """Pushes with and without the gate, and starts of an empty `voxnix`, by turns."""
    bare, gated = Site(directory, "bare"), Site(directory, "gated")
    create(directory / "gate-box")
    options = ("--host", f"sim:{directory / 'gate-box'}")
    install(gated.path, options)
    install(bare.path, options)
    for name in HOOKS:
        (bare.path / "hooks" / name).unlink()
    with subprocess.Popen((*VOXNIX, *options, "--state", str(gated.path), "door"), stdout=subprocess.DEVNULL) as door:
        try:
            wait_for((gated.path / DOOR).exists, 10, "the gate does not open")
            voxnix = (str(Path(sys.executable).with_name("voxnix")), *EMPTY)
            measured = [(gated.push(n), bare.push(n), taken(voxnix).wall) for n in range(WARM + ROUNDS)][WARM:]
        finally:
            door.send_signal(signal.SIGTERM)
            door.wait(10)
    assert gated.repo.head() != bare.repo.head()
    for site in (bare, gated):
        shutil.rmtree(site.clone)
    pushes, plain, empty = (Spread.of(one[index] for one in measured) for index in range(3))
    allowed = 2 * plain.median + 2 * empty.median
    beside = f"2 × {plain.median * 1e3:.0f} ms without hooks + 2 × {empty.median * 1e3:.0f} ms of an empty voxnix"
    name = f"git push with its verdict, {SPECS:,} specs"
    ratio = pushes.median / allowed
    return Row(name, pushes.shown(1e3, "ms"), beside, ratio, ratio, 1.0, "≤ 1 ×")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        print(row(Path(place)), f"{time.monotonic() - began:.0f} s")
