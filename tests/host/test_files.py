"""Single files from snapshots, and data that goes back, on real ZFS with containers that run meanwhile."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest

from tests.host.appliance import REPO, Appliance

pytestmark = pytest.mark.host

DATA = "tank/users/alice/containers/dev"
SPEC = {"owner": "alice", "modules": ["git", "workspace"], "workspace": {"quota": "60M"}}
LABEL = "voxnix-20260301T120000Z-daily"


def inside(box: Appliance, script: str) -> str:
    result = box.host.inside("dev", script)
    assert result.code == 0, result
    return result.out


@pytest.fixture
def dev(box: Appliance) -> Appliance:
    """A running container with a snapshot, whose user has since lost a file and planted traps."""
    box.run()
    box.converged(box.commit(dev=SPEC))
    inside(
        box, "cd /workspace && echo then >notes && ln -s /etc/shadow shadow && mkfifo pipe && mkdir -p d && echo x >d/f"
    )
    inside(box, "mknod /workspace/disk b 7 0 || touch /workspace/disk; echo 'umask 077' >/home/profile; sync")
    box.host.do("zfs", "snapshot", "-r", f"{DATA}@{LABEL}")
    forged = f"/workspace/.zfs/snapshot/{LABEL}"
    inside(box, f"rm /workspace/notes && mkdir -p {forged} && echo forged >{forged}/notes")
    return box


def clones(box: Appliance) -> list[str]:
    said = box.host.call("zfs", "list", "-H", "-o", "name", "-r", "tank/looking").out.split()
    return [name for name in said if name != "tank/looking"]


def settled(box: Appliance) -> dict[str, Any]:
    """The status once nothing is left to do at the head but what is held."""
    head = box.host.do("git", "-C", REPO, "rev-parse", "main").strip()

    def done() -> bool:
        plan = json.loads(box.host.call("voxnix", "plan", "--json").out)
        return box.status().get("revision") == head and not plan["lanes"] and not plan["waits"]

    box.until(done, f"nothing left to do at {head[:10]}")
    return box.status()


def test_a_lost_file_comes_back_from_a_snapshot_while_its_container_runs(dev: Appliance) -> None:
    listed = dev.voxnix("files", "dev", "--at", LABEL, "/workspace")
    assert "notes" in listed
    assert "shadow" in listed
    assert dev.voxnix("files", "dev", "--at", LABEL, "/workspace/notes") == "then\n"
    assert dev.voxnix("files", "dev", "--at", LABEL, "/home/profile") == "umask 077\n"
    dev.voxnix("files", "dev", "--at", LABEL, "--to", f"/{DATA}/workspace/back", "/workspace/notes", "/workspace/d/f")
    assert inside(dev, "cat /workspace/back/notes /workspace/back/f") == "then\nx\n"
    for trap in ("shadow", "pipe", "disk/x", "shadow/x"):
        dev.voxnix("files", "dev", "--at", LABEL, f"/workspace/{trap}", code=1)
    assert clones(dev) == []
    assert "looking" not in dev.host.do("cat", "/proc/self/mounts")
    assert dev.host.sh("ls -A /run/voxnix/looking") == ""


def test_a_reader_that_is_killed_leaves_what_the_next_one_removes(dev: Appliance) -> None:
    inside(dev, "dd if=/dev/zero of=/workspace/big bs=1M count=8 2>/dev/null; sync")
    later = LABEL.replace("daily", "system")
    dev.host.do("zfs", "snapshot", "-r", f"{DATA}@{later}")
    words = dev.host.within(["voxnix", "files", "dev", "--at", later, "/workspace/big"])
    with subprocess.Popen(words, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.read(1) == b"\0"
        assert len(clones(dev)) == 1
        assert dev.voxnix("files", "dev", "--at", LABEL, "/workspace/notes") == "then\n"
        assert len(clones(dev)) == 1
        dev.host.sh("kill -9 $(pgrep -f '[f]iles dev --at .*big')")
        reader.send_signal(signal.SIGKILL)
        reader.stdout.read()
    dev.until(lambda: dev.host.call("pgrep", "-f", "files dev --at .*big").code == 1, "the killed reader to be gone")
    assert len(clones(dev)) == 1
    assert dev.status()["foreign"] == []
    assert dev.voxnix("files", "dev", "--at", LABEL, "/workspace/notes") == "then\n"
    assert clones(dev) == []


def test_data_goes_back_with_its_spec_once_approved(box: Appliance) -> None:
    box.run()
    box.converged(box.commit(dev=SPEC))
    inside(box, "echo good >/workspace/notes; sync")
    box.converged(box.commit(dev={**SPEC, "modules": ["git", "fish", "workspace"]}))
    inside(box, "echo spoiled >/workspace/notes; sync")
    said = box.voxnix("rollback", "dev", "--data", "-m", "fish ate it")
    assert "It is held" in said
    assert len(settled(box)["holds"]) == 1
    assert inside(box, "cat /workspace/notes") == "spoiled\n"
    box.voxnix("approve", "dev", "--yes")
    assert settled(box)["holds"] == []
    assert inside(box, "cat /workspace/notes") == "good\n"
    (piece,) = box.status()["trash"]
    assert box.voxnix("files", piece["id"], "--at", "latest", "/workspace/notes") == "spoiled\n"
