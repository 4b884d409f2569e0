"""What people write, what goes wrong, and what others made: the stuff that random appliances are made of."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from controller.host.sim import Fault, foreign
from tests.box import Box
from tests.chaos.virtual import run

NAMES = ("dev", "web", "api", "lab", "job")
OWNERS = ("alice", "bob")
MODULES = ("git", "tailscale", "workspace")
BOB = ("name: Bob\n", "name: Bob\nlimits: {storage: 50G}\n", "nmae: Bob\n", "name: Bob\ntailnet_tags: ['tag:lab']\n")
ALIEN = "tank/users/alice/containers/theirs"
PLACES = ("home", "root", "var-lib", "workspace")


@st.composite
def specs(draw: Any) -> dict[str, Any]:
    """One container's spec, without its name."""
    modules = draw(st.sets(st.sampled_from(MODULES)))
    spec: dict[str, Any] = {"owner": draw(st.sampled_from(OWNERS)), "modules": sorted(modules)}
    if "workspace" in modules:
        quota, restore = draw(st.sampled_from(("1G", "2G"))), draw(st.sampled_from(("latest", "latest", "never")))
        spec["workspace"] = {"quota": quota, "restore": restore}
    extras: dict[str, st.SearchStrategy[Any]] = {
        "power": st.sampled_from(("running", "stopped")),
        "resources": st.sampled_from(({"memory": "1G"}, {"cpus": 0.5, "tasks": 99})),
        "schedule": st.sampled_from(({"start": "0 8 * * *", "stop": "0 20 * * *"}, {"stop": "0 0 * * *"})),
        "expires": st.sampled_from(("2026-03-03T00:00:00Z", "2026-04-20T00:00:00Z")),
        "paused": st.just(True),
        "env": st.sampled_from(({"A": "1"}, {"A": "2"})),
    }
    for key in draw(st.sets(st.sampled_from(sorted(extras)), max_size=2)):
        spec[key] = draw(extras[key])
    return spec


DRIFT = ("stop", "kill", "crash", "destroy", "half", "unmount")
MODES = ("fail", "hang", "garble", "die-before", "die-during", "die-after")
CHANGES = (
    *("zfs create", "zfs set", "zfs rename", "zfs snapshot", "zfs (un)?mount", "zfs (clone|promote|inherit)"),
    *("systemctl (start|stop)", "extra-container", "nix-build", "http (POST|DELETE)", "tailscale (up|logout|status)"),
)
faults = st.one_of(
    st.builds(Fault, nth=st.integers(1, 60), mode=st.sampled_from(MODES)),
    st.builds(
        Fault,
        match=st.sampled_from(CHANGES),
        nth=st.integers(1, 3),
        mode=st.sampled_from(MODES),
        times=st.sampled_from((1, 1, 3)),
        step=st.integers(1, 2),
    ),
)
NOW = st.one_of(st.just(False), st.just(True), faults)
"""Whether the controller looks at once, and what it then meets with."""


@cache
def template() -> Path:
    """An appliance with a foreign machine, foreign datasets and foreign devices; copied for each example."""
    shared = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="voxnix-state-", dir=shared if os.access(shared, os.W_OK) else None))
    box = Box(place / "template")
    box.commit({"dev": "owner: bob\n"})
    run(box.apply())
    foreign(box.host, "alien", files={"/home/ann/notes.txt": "theirs"})
    for name in ("tank/other", ALIEN, "tank/trash/theirs"):
        run(box.outside("zfs", "create", "-p", name))
    box.host.root.joinpath(ALIEN, "file.txt").write_text("theirs")
    with box.host.state.write() as db:
        for number, tag in ((901, "tag:other"), (902, "tag:vox")):
            db.execute(
                "INSERT INTO devices VALUES (?, ?, ?, ?, ?, ?, '', '', 0, 0, NULL, 0, '')",
                (f"n{number}FOREIGN", number, f"other{number}", "dev", json.dumps([tag]), f"mkey:{number}"),
            )
    box.host.close()
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place
