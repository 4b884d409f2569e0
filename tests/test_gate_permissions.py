"""Who may push what: every role by every change, asked of the gate by a real push, and of the controller.

The controller is asked about the same commit on a branch that was moved past the hooks, with the receive log telling
that the same key brought it. `frozen` are roles whose mistakes the gate refuses; the controller lets these in, to no
effect.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.desired import Desires, Identities, Reading
from controller.git import Mirror
from controller.receive import Arrival, ReceiveLog
from controller.store import Store
from controller.wiring import modules
from tests import keygen
from tests.pushers import Pushers
from tests.pushing import MAIN, PEOPLE, Ground

pytestmark = pytest.mark.push

TABLE = yaml.safe_load((Path(__file__).parent / "cases/permissions.yaml").read_text())
CONTAINERS = {"alice": "dev", "bob": "web"}


@dataclass
class Courts:
    """The gate in front of a state repo, and a controller that follows it from where cases begin."""

    ground: Ground
    directory: Path

    def __post_init__(self) -> None:
        self.directory.mkdir()
        assert self._read().known is not None

    def controller(self, sha: str, by: str) -> Reading:
        """What the controller makes of a commit that came past the hooks, noted as brought by somebody."""
        people, key = Pushers(self.ground.path), PEOPLE[by]
        (people.path / "objects/info/alternates").write_text(f"{self.ground.clone.path}/objects\n")
        now = datetime.now(UTC)
        arrival = Arrival((sha,), now, key.fingerprint) if key else Arrival((sha,), now, by="root", via="path")
        assert ReceiveLog(self.ground.path).append(arrival)
        (people.path / MAIN).write_text(f"{sha}\n")
        kept = self.directory.with_name("kept")
        shutil.copytree(self.directory, kept)
        try:
            return self._read()
        finally:
            shutil.rmtree(self.directory)
            kept.rename(self.directory)
            self.ground.restore()

    def _read(self) -> Reading:
        settings = self.ground.settings
        mirror = Mirror(self.directory / "mirror.git", str(self.ground.path))
        witnesses = Identities(mirror, ReceiveLog(self.ground.path), settings.delegates)
        with Store.open(self.directory / "store.db", create=True) as store:
            library = modules(settings)
            return Desires(mirror, store, library, "box", witnesses=witnesses, trash=lambda: self.ground.trash).read()


@pytest.fixture(scope="module")
def courts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("courts")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VOXNIX_STATE", "VOXNIX_HOST", "VOXNIX_CONFIG", "VOXNIX_KEY", "SUDO_USER"):
            patch.delenv(name, raising=False)
        patch.setenv("PATH", f"{keygen.install(directory / 'programs')}:{os.environ['PATH']}")
        with Ground(directory).open() as ground:
            yield Courts(ground, directory / "controller")


def spoken(value: Any, role: Mapping[str, Any]) -> Any:
    """A part of a case, as one role means it."""
    words = {"MINE": CONTAINERS[role["me"]], "THEIRS": CONTAINERS[role["them"]], "ME": role["me"], "THEM": role["them"]}
    text = re.sub(r"\b(MINE|THEIRS|THEM|ME)\b", lambda found: words[found[0]], json.dumps(value))
    return json.loads(text)


@pytest.mark.parametrize("role", TABLE["roles"])
@pytest.mark.parametrize("change", TABLE["changes"], ids=[change["change"] for change in TABLE["changes"]])
def test_permission(courts, role, change):
    ground, who = courts.ground, TABLE["roles"][role]
    case = spoken(change, who) | {"for": who.get("for", [])}
    sha = ground.make(case)["tip"]
    done = ground.push(who["by"], [f"{sha}:{MAIN}"])
    changed = ground.changed()
    ground.restore()
    reading = courts.controller(sha, who["by"])
    assert done.taken == (role in change["allowed"]), done.told
    frozen = role in change.get("frozen", ())
    assert (reading.refused is None) == (done.taken or frozen), (reading.refused, done.told)
    accepted = reading.known is not None and reading.known.revision == sha
    assert accepted == (done.taken or frozen)
    if not done.taken:
        assert changed == []
        words = who.get("refused") or case.get("instead", {}).get(role) or case["refused"]
        assert words in done.told
        assert frozen or words in "; ".join(map(str, reading.refused.problems))
