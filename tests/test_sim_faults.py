"""What a simulated host does wrong when it is told to, and what survives a kill at any instant."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from controller.errors import Transient
from controller.host.sim import Fault, SimHost, create, define
from controller.host.sim.zfs_data import Disk


class Died(BaseException):
    """Stands in for SIGKILL within the test's own process."""


def dies() -> None:
    raise Died


@pytest.fixture
def host(tmp_path):
    made = create(tmp_path / "host")
    yield made
    made.close()


async def run(host, line, code=0, stdin=None):
    result = await host.run(line.split(), timeout=10, stdin=stdin)
    assert result.code == code, result
    return result.out


async def installed(host, name="dev", **more):
    await run(host, f"extra-container create {define(host, name, **more)}")


async def active(host, name="dev"):
    return (await host.run(["systemctl", "is-active", f"container@{name}.service"], timeout=10)).out.strip()


async def test_latency_by_verb_by_program_and_by_default(host):
    host.configure(latencies={"zfs create": 0.2, "zfs": 0.1, "default": 0.05})
    for line, least in (("zfs create tank/a", 0.2), ("zfs list", 0.1), ("machinectl list", 0.05)):
        began = time.monotonic()
        await run(host, line)
        assert least <= time.monotonic() - began < least + 0.5


async def test_failures_are_ordered_by_number(host):
    rule = host.faults.add(Fault("zfs create", nth=2, code=9, stderr="no\n"))
    await run(host, "zfs create tank/a")
    await run(host, "machinectl list")
    result = await host.run(["zfs", "create", "tank/b"], timeout=1)
    assert (result.code, result.out, result.err) == (9, "", "no\n")
    await run(host, "zfs create tank/b")
    assert host.faults.struck(rule) == 1


async def test_a_fault_that_lasts_until_it_is_cleared(host):
    host.faults.add(Fault(times=None))
    for _ in range(3):
        await run(host, "machinectl list", code=1)
    host.faults.clear()
    await run(host, "machinectl list")


async def test_a_hang_ends_with_the_time_or_the_caller(host):
    host.faults.add(Fault("zfs", mode="hang", times=None))
    with pytest.raises(Transient, match="zfs create tank/a: no end after 0 s"):
        await host.run(["zfs", "create", "tank/a"], timeout=0.05)
    task = asyncio.create_task(host.run(["zfs", "create", "tank/a"], timeout=60))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    host.faults.clear()
    assert await run(host, "zfs list -H -o name -r tank") == "tank\n"


async def test_garbled_output_of_work_that_was_done(host):
    host.faults.add(Fault("zfs list", mode="garble", times=None))
    whole = "tank\n"
    seen = {(await host.run(["zfs", "list", "-H", "-o", "name"], timeout=1)).out for _ in range(20)}
    assert len(seen - {whole}) > 3


async def test_a_second_writer_in_between(host):
    host.faults.add(Fault("zfs create", mode="meanwhile", argv=("zfs", "create", "tank/a")))
    assert "dataset already exists" in (await host.run(["zfs", "create", "tank/a"], timeout=1)).err


@pytest.mark.parametrize(
    ("mode", "made", "mounted"), [("die-before", False, False), ("die-during", True, False), ("die-after", True, True)]
)
async def test_death_before_during_and_after(tmp_path, mode, made, mounted):
    host = create(tmp_path / "host")
    mortal = SimHost(host.directory, die=dies)
    host.faults.add(Fault("zfs create", mode=mode))
    with pytest.raises(Died):
        await mortal.run(["zfs", "create", "tank/a"], timeout=1)
    found = (await host.run(["zfs", "get", "-Hp", "-o", "value", "mounted", "tank/a"], timeout=1)).out
    assert found == ("yes\n" if mounted else "no\n" if made else "")
    mortal.close()
    host.close()


async def test_death_with_one_link_made(host):
    mortal = SimHost(host.directory, die=dies)
    host.faults.add(Fault("extra-container create", mode="die-during"))
    with pytest.raises(Died):
        await mortal.run(["extra-container", "create", define(host, "dev")], timeout=1)
    assert (host.root / "etc/systemd-mutable/system/container@dev.service").exists()
    assert not (host.root / "etc/nixos-containers/dev.conf").exists()
    mortal.close()


async def test_death_between_later_steps(host):
    await installed(host)
    mortal = SimHost(host.directory, die=dies)
    host.faults.add(Fault("extra-container destroy", mode="die-during", step=2))
    with pytest.raises(Died):
        await mortal.run(["extra-container", "destroy", "dev"], timeout=1)
    assert not (host.root / "etc/systemd-mutable/system/container@dev.service").exists()
    assert (host.root / "etc/nixos-containers/dev.conf").exists()
    mortal.close()


async def test_death_leaves_a_container_starting(host):
    host.configure(boots={"default": 30})
    await installed(host)
    clock = [time.time()]
    mortal = SimHost(host.directory, die=dies, now=lambda: clock[0])
    host.faults.add(Fault("systemctl start", mode="die-during"))
    with pytest.raises(Died):
        await mortal.run(["systemctl", "start", "container@dev"], timeout=1)
    assert await active(mortal) == "activating"
    clock[0] += 30
    assert await active(mortal) == "active"
    mortal.close()


async def test_commands_are_recorded_when_asked(host):
    await run(host, "machinectl list")
    host.configure(log_commands=True)
    await run(host, "zfs create tank/a")
    await run(host, "zfs list -H")
    await run(host, "systemd-run -M dev --wait --pipe tailscale status --json", code=1)
    await run(host, "systemd-run -M dev --wait --pipe tailscale up", code=1)
    await host.behind_our_back(["zfs", "create", "tank/b"])
    host.faults.add(Fault("machinectl", mode="hang"))
    with pytest.raises(Transient):
        await host.run(["machinectl", "list"], timeout=0.01)
    record = host.record()
    assert [each["n"] for each in record] == [2, 3, 4, 5, 6]
    assert [each["code"] for each in record] == [0, 0, 1, 1, None]
    assert [each["mutating"] for each in record] == [True, False, False, True, False]
    assert record[0]["argv"] == ["zfs", "create", "tank/a"]


WRITER = """
import asyncio, itertools, sys
from controller.host.sim import SimHost, define
async def main():
    host = SimHost(sys.argv[1])
    run = host.behind_our_back
    store = define(host, "dev")
    for n in itertools.count():
        await run(["zfs", "create", "tank/a/new"])
        await run(["zfs", "snapshot", "-r", f"tank/a@s{n}"])
        await run(["zfs", "rename", "tank/a", "tank/b"])
        await run(["zfs", "clone", f"tank/b@s{n}", "tank/c"])
        await run(["extra-container", "create", "--start", store])
        await run(["zfs", "set", "mountpoint=/elsewhere", "tank/b"])
        await run(["zfs", "promote", "tank/c"])
        await run(["zfs", "inherit", "mountpoint", "tank/b"])
        await run(["zfs", "promote", "tank/b"])
        await run(["zfs", "destroy", "-r", "tank/c"])
        await run(["zfs", "rename", "tank/b", "tank/a"])
        await run(["zfs", "mount", "-a"])
        await run(["zfs", "destroy", "-r", "tank/a/new"])
        await run(["extra-container", "destroy", "dev"])
        print(n, flush=True)
asyncio.run(main())
"""


def test_a_kill_at_any_instant_corrupts_nothing(tmp_path):
    host = create(tmp_path / "host")
    back = lambda line: asyncio.run(host.behind_our_back(line.split()))  # noqa: E731
    back("zfs create tank/a")
    back("zfs create tank/a/w")
    (host.root / "tank/a/file").write_text("precious")
    (host.root / "tank/a/w/file").write_text("child's")
    chance = random.Random(4)
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(host.directory)], stdout=subprocess.PIPE, cwd=os.getcwd()
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=chance.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        back("zfs mount -a")
        names = back("zfs list -H -o name -r tank").out.split()
        top = "tank/a" if "tank/a" in names else "tank/b"
        tree = Disk(host.world).tree()
        for dataset in tree.datasets.values():
            assert Disk(host.world).place(dataset).is_dir(), dataset.name
        for name, text in ((top, "precious"), (f"{top}/w", "child's")):
            place = Disk(host.world).place(tree.datasets[name])
            assert (place / "file").read_text() == text
        back("zfs promote tank/b")
        back("zfs destroy -r tank/c")
        back(f"zfs inherit mountpoint {top}")
        if top == "tank/b":
            back("zfs rename tank/b tank/a")
        back("zfs mount -a")
        assert (host.root / "tank/a/w/file").read_text() == "child's"
    host.close()
