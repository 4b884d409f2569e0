"""Containers on a real host: what a commit asks for is so, as the container's user and the host see it."""

from __future__ import annotations

import re

import pytest

from tests.host.appliance import Appliance

pytestmark = pytest.mark.host

DATA = "/tank/users/alice/containers"


TERMINAL = """
import os, pty, sys
child, terminal = pty.fork()
if not child:
    os.execvp(sys.argv[1], sys.argv[1:])
typed = b"echo it is $(hostname) as $(id -u); exit\\n"
try:
    while shown := os.read(terminal, 4096):
        sys.stdout.write(shown.decode(errors="replace"))
        if typed and (b"# " in shown or b"$ " in shown):
            typed = typed[os.write(terminal, typed):]
except OSError:
    pass
"""
"""Runs a command on a terminal, and types into the first prompt."""


def bare(**fields: object) -> dict[str, object]:
    return {"owner": "alice", **fields}


def spec(**fields: object) -> dict[str, object]:
    return {"owner": "alice", "modules": ["git", "workspace"], "workspace": {"quota": "20M"}, **fields}


def test_a_container_comes_up_with_an_address_limits_storage_and_logs(box: Appliance) -> None:
    box.commit(dev=spec(resources={"memory": "512M", "cpus": 1.5, "tasks": 300}))
    box.voxnix("apply")
    found = box.container("dev")
    assert found["phase"] == "ready"
    [address] = [each for each in found["addresses"] if "." in each]
    assert re.fullmatch(r"10\.100\.\d+\.\d+", address)
    assert address in box.host.inside("dev", "ip -br addr show eth0").out
    properties = "MemoryMax,CPUQuotaPerSecUSec,TasksMax,StatusText"
    shown = dict(
        line.split("=", 1)
        for line in box.host.do("systemctl", "show", "-p", properties, "container@dev.service").splitlines()
    )
    assert shown == {
        "MemoryMax": str(512 * 2**20),
        "CPUQuotaPerSecUSec": "1.500000s",
        "TasksMax": "300",
        "StatusText": "Container running: Ready.",
    }
    mounted = box.host.do("zfs", "get", "-H", "-o", "value", "mounted", "tank/users/alice/containers/dev/workspace")
    assert mounted == "yes\n"
    assert "Reached target multi-user.target" in box.voxnix("logs", "dev", "-n", "100")
    assert box.host.inside("dev", "systemctl is-system-running --wait").out == "running\n"


def test_the_quota_is_felt_inside(box: Appliance) -> None:
    box.commit(dev=spec())
    box.voxnix("apply")
    result = box.host.inside("dev", "dd if=/dev/zero of=/workspace/big bs=1M count=40")
    assert result.code != 0
    assert "Disk quota exceeded" in result.err
    box.host.inside("dev", "rm -f /workspace/big; echo kept > /workspace/note")
    box.commit(dev=spec(workspace={"quota": "60M"}))
    box.voxnix("apply")
    assert box.host.inside("dev", "dd if=/dev/zero of=/workspace/big bs=1M count=40").code == 0
    assert box.host.inside("dev", "cat /workspace/note").out == "kept\n"


def test_nothing_starts_on_an_unmounted_dataset(box: Appliance) -> None:
    box.commit(dev=spec())
    box.voxnix("apply")
    box.host.inside("dev", "echo mine > /workspace/note; sync")
    box.commit(dev=spec(power="stopped"))
    box.voxnix("apply")
    box.host.do("zfs", "unmount", f"{DATA[1:]}/dev/workspace")
    box.commit(dev=spec())
    box.voxnix("apply")
    assert box.host.inside("dev", "cat /workspace/note").out == "mine\n"
    box.commit(dev=spec(power="stopped"))
    box.voxnix("apply")
    box.host.do("zfs", "unmount", f"{DATA[1:]}/dev/workspace")
    box.host.sh(f"echo in the way > {DATA}/dev/workspace/stray")
    box.commit(dev=spec())
    result = box.host.call("voxnix", "apply")
    assert result.code != 0
    assert box.host.call("systemctl", "is-active", "container@dev.service").out == "inactive\n"
    assert "not empty" in result.out + result.err
    box.host.sh(f"rm {DATA}/dev/workspace/stray")


def test_data_outlives_stop_change_and_removal(box: Appliance) -> None:
    box.commit(dev=spec())
    box.voxnix("apply")
    places = ("/workspace/a", "/home/dev/b", "/root/c", "/var/lib/d")
    box.host.inside("dev", "; ".join(f"echo {place} > {place}" for place in places))
    box.commit(dev=spec(modules=["git", "fish", "workspace"]))
    box.voxnix("apply")
    assert box.host.inside("dev", "cat " + " ".join(places)).out.split() == list(places)
    assert box.host.inside("dev", "test -x /run/current-system/sw/bin/fish").code == 0
    box.commit(dev=None)
    box.voxnix("apply")
    assert box.host.do("machinectl", "list", "--output=json") == "[]\n"
    assert (
        box.host.sh(
            "ls /etc/nixos-containers /etc/systemd-mutable/system /var/lib/nixos-containers | grep -c dev || true"
        )
        == "0\n"
    )
    [trash] = box.status()["trash"]
    assert trash["name"] == "dev"
    box.commit(dev=spec())
    box.voxnix("apply")
    assert box.host.inside("dev", "cat " + " ".join(places)).out.split() == list(places)


def test_secrets_are_read_only_files(box: Appliance) -> None:
    box.voxnix("secret", "set", "alice/token", stdin="s3cr3t-value\n")
    box.commit(dev=spec(secrets=["token"]))
    box.voxnix("apply")
    assert box.host.inside("dev", "cat /run/voxnix/secrets/token").out == "s3cr3t-value"
    assert box.host.inside("dev", "stat -c %a /run/voxnix/secrets/token").out == "400\n"
    refused = box.host.inside("dev", "echo x > /run/voxnix/secrets/token")
    assert refused.code != 0
    assert "Read-only file system" in refused.err
    assert box.host.inside("dev", "su dev -s /bin/sh -c 'cat /run/voxnix/secrets/token'").code != 0


@pytest.mark.parametrize(
    ("module", "reason", "words"),
    [
        ("never-ready", "CrashLoop", "was not ready in time"),
        ("crash-loop", "CrashLoop", "ends again and again as it starts"),
    ],
)
def test_a_start_that_fails_says_how(box: Appliance, module: str, reason: str, words: str) -> None:
    box.commit(dev=bare(modules=[module], env={"VOXNIX_TEST_TIMEOUT": "2s"}))
    result = box.host.call("voxnix", "apply")
    assert result.code != 0
    assert words in result.out + result.err
    power = box.condition("dev", "Power")
    assert power["status"] == "False", power


def test_a_build_that_fails_changes_nothing(box: Appliance) -> None:
    box.commit(dev=spec())
    box.voxnix("apply")
    before = box.host.inside("dev", "cut -d' ' -f22 /proc/1/stat").out
    for module, words in (("broken-build", "this build was made to fail"), ("broken-eval", "error:")):
        box.commit(dev=spec(modules=["git", module, "workspace"]))
        result = box.host.call("voxnix", "apply")
        assert result.code != 0
        assert words in result.out + result.err
        assert box.host.inside("dev", "cut -d' ' -f22 /proc/1/stat").out == before
    assert box.condition("dev", "System")["reason"] == "Blocked"


def test_enter_is_a_shell_in_the_container(box: Appliance) -> None:
    box.commit(dev=spec())
    box.voxnix("apply")
    shown = box.host.do("python3", "-c", TERMINAL, "voxnix", "enter", "dev", timeout=60)
    assert "it is dev as 0" in shown
    down = box.host.call("voxnix", "enter", "nope")
    assert down.code != 0
    assert "Traceback" not in down.err
