"""A container whose root is an enemy: the host, its files and its neighbours are unharmed, and it can be removed.

What only a kernel with control groups can refuse (memory, endless forks) is for `tests/vm`.
"""

from __future__ import annotations

import stat
import time

import pytest

from tests.host.appliance import Appliance

pytestmark = pytest.mark.host

DATA = "/tank/users/alice/containers/evil"
TREE = "/var/lib/nixos-containers/evil"
PLANT = """
for place in /workspace /home /root /var/lib; do
    cp /usr/bin/dash $place/suid && chmod 6755 $place/suid
    mknod $place/disk b 8 0; mknod $place/mem c 1 1
    ln -s /etc/shadow $place/shadow; ln -s / $place/host; mkfifo $place/fifo
    ln -s ../../../../../../../../etc/shadow $place/dotdot
done
mkdir -p /home/dev/.ssh; ln -sf /etc/shadow /home/dev/.ssh/authorized_keys
"""
UNDERMINE = """
# the mounts hide the places in the root tree that they lie on: take them away, and leave links to the host there
for place in /workspace /home /root /var/lib; do umount -l $place && rmdir $place && ln -s /etc $place; done
rm -rf /etc/machine-id; ln -s /etc/made-by-a-container /etc/machine-id
rm -rf /var/log/journal; ln -s /etc /var/log/journal
mv /etc /etc-was; ln -s /tank/users /etc
"""


FLOOD = "while :; do yes $(seq -s _ 500) | head -n 200000; done"


def spec(**fields: object) -> dict[str, object]:
    return {"owner": "alice", "modules": ["git", "workspace"], "workspace": {"quota": "40M"}, **fields}


def fingerprint(box: Appliance) -> str:
    """All that the host's own files are: names, modes, owners, and what the small ones hold."""
    skip = "-path /etc/nixos-containers -o -path /etc/systemd-mutable"
    return box.host.sh(
        f"find / /etc /root /tank/users -xdev -maxdepth 2 \\( {skip} \\) -prune -o"
        " -printf '%p %M %u %g %y %l\\n' | grep -vE '^/(proc|sys|run|tmp|dev|outside|var|nix)' | sort -u;"
        " find /etc -type f -not -name '*-' -not -path '/etc/nixos-containers/*' -exec sha256sum {} + | sort"
    )


def test_what_it_plants_in_its_data_reaches_nothing_of_the_host(box: Appliance) -> None:
    box.commit(evil=spec(), good=spec())
    box.voxnix("apply")
    before = fingerprint(box)
    planted = box.host.inside("evil", PLANT)
    assert planted.code == 0, planted.err
    box.commit(evil=spec(modules=["fish", "workspace"], workspace={"quota": "60M"}), good=spec())
    box.voxnix("apply")
    box.commit(evil=spec(modules=["fish"], power="stopped"), good=spec())
    box.voxnix("apply")
    for suid in (f"{DATA}/home/suid", f"{DATA}/workspace/suid"):
        mode = int(box.host.do("stat", "-c", "%f", suid), 16)
        assert mode & stat.S_ISUID, "the test has planted it"
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c")
        denied = box.host.call(*nobody, f"exec {suid} -p -c id")
        assert denied.code != 0
        assert "Permission denied" in denied.err
    box.commit(evil=None, good=spec())
    box.voxnix("apply")
    assert [piece["name"] for piece in box.status()["trash"]] == ["evil"]
    box.commit(evil=spec(), good=spec())
    box.voxnix("apply")
    assert box.host.inside("evil", "readlink /workspace/shadow").out == "/etc/shadow\n"
    box.commit(evil=spec(paused=False, power="stopped"), good=spec())
    box.voxnix("apply")
    assert fingerprint(box) == before
    assert box.container("good")["phase"] == "ready"


def test_what_it_makes_of_its_root_tree_reaches_nothing_of_the_host(box: Appliance) -> None:
    box.commit(evil=spec(), good=spec())
    box.voxnix("apply")
    box.host.inside("evil", "echo kept > /workspace/note; sync")
    before = fingerprint(box)
    undermined = box.host.inside("evil", UNDERMINE)
    assert undermined.code == 0, undermined.err
    assert box.host.call("readlink", f"{TREE}/etc").out == "/tank/users\n", "the test has undermined it"
    box.host.call("machinectl", "kill", "evil", "--kill-whom=leader", "--signal=SIGKILL")
    box.until(lambda: box.host.inside("evil", "true").code == 0, "evil to be up again")
    box.voxnix("apply")
    assert box.host.inside("evil", "cat /workspace/note").out == "kept\n"
    assert fingerprint(box) == before
    box.host.inside("evil", UNDERMINE)
    box.commit(evil=None, good=spec())
    box.voxnix("apply")
    assert box.host.call("test", "-e", TREE).code != 0
    assert fingerprint(box) == before
    assert box.host.inside("good", "true").code == 0


def test_one_that_refuses_to_stop_is_removed_all_the_same(box: Appliance) -> None:
    box.commit(evil=spec(modules=["never-stops", "workspace"]), good=spec())
    box.voxnix("apply")
    box.host.inside("evil", "echo kept > /workspace/note; sync")
    box.commit(evil=None, good=spec())
    box.voxnix("apply")
    assert box.host.do("machinectl", "list", "--output=json").count("machine") == 1
    assert [piece["name"] for piece in box.status()["trash"]] == ["evil"]
    box.commit(evil=spec(), good=spec())
    box.voxnix("apply")
    assert box.host.inside("evil", "cat /workspace/note").out == "kept\n"


def test_one_that_floods_the_journal_delays_nobody(box: Appliance) -> None:
    box.commit(evil=spec(), good=spec())
    box.voxnix("apply")
    box.run()
    assert box.host.inside("evil", f"systemd-run -q --no-block sh -c '{FLOOD}'").code == 0
    time.sleep(3)
    printed = box.voxnix("logs", "evil", "-n", "1000")
    assert len(printed) < 4 * 2**20
    box.host.do("machinectl", "terminate", "good")
    box.until(lambda: box.host.inside("good", "true").code == 0, "good to be healed beside a flood", 30)
    used = sum(int(line.split()[0]) for line in box.host.do("du", "-sb", "/var/log/journal").splitlines())
    assert used < 128 * 2**20, "the host's journal keeps to its limit"
    revision = box.commit(evil=None, good=spec())
    box.until(lambda: box.status().get("revision") == revision and not box.container("evil"), "evil to be removed", 120)


def test_one_that_takes_the_names_of_others_gets_nothing_of_theirs(box: Appliance) -> None:
    box.commit(evil=spec(), good=spec())
    box.voxnix("apply")
    theirs = box.host.do("cat", "/var/lib/nixos-containers/good/etc/machine-id").strip()
    box.host.inside(
        "evil", f"rm -f /etc/machine-id; echo {theirs} > /etc/machine-id; echo good > /etc/hostname; hostname good"
    )
    document = "/etc/voxnix/container.json"
    box.host.inside("evil", f'rm -rf /etc/voxnix; mkdir -p /etc/voxnix; echo \'{{"name":"good"}}\' > {document}')
    box.host.call("machinectl", "reboot", "evil")
    box.until(lambda: box.host.inside("evil", "true").code == 0, "evil to be up again")
    box.voxnix("apply")
    assert {each["name"]: each["phase"] for each in box.status()["containers"]} == {"evil": "ready", "good": "ready"}
    box.commit(evil=None, good=spec())
    box.voxnix("apply")
    assert box.host.inside("good", "true").code == 0
