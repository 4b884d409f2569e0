"""The simulated host itself: shared state, latency, reboots, quotas, what is inside, the command line."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time

import pytest

from controller.errors import BadInput, Blocked, Transient
from controller.host.sim import Bind, SimHost, create, define, foreign


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


def test_there_is_one_host_in_a_directory(tmp_path):
    create(tmp_path / "host").close()
    with pytest.raises(BadInput, match="holds a simulated host already"):
        create(tmp_path / "host")
    with pytest.raises(BadInput, match="holds no simulated host"):
        _ = SimHost(tmp_path / "elsewhere").commands


async def test_an_unknown_program_is_blocked(host):
    with pytest.raises(Blocked, match="frobnicate: no such program"):
        await host.run(["frobnicate"], timeout=1)


async def test_an_absolute_program_is_known_by_its_name(host):
    assert (await host.run(["/run/current-system/sw/bin/zfs", "version"], timeout=1)).code == 0


async def test_two_hosts_on_one_directory_see_the_same(host):
    other = SimHost(host.directory)
    await run(host, "zfs create tank/a")
    assert await run(other, "zfs list -H -o name -r tank") == "tank\ntank/a\n"
    assert other.commands == 2
    other.close()


async def test_a_host_can_be_moved(host, tmp_path):
    await installed(host)
    await run(host, "systemctl start container@dev.service")
    host.close()
    host.directory.rename(tmp_path / "moved")
    moved = SimHost(tmp_path / "moved")
    assert (moved.root / "etc/nixos-containers/dev.conf").is_file()
    assert await active(moved) == "active"
    assert "container@dev.service" in await run(moved, "systemctl show -p FragmentPath container@dev.service")
    moved.close()


async def test_latencies_run_side_by_side(host):
    host.configure(latencies={"default": 0.2})
    began = time.monotonic()
    await asyncio.gather(*(run(host, f"zfs create tank/a{number}") for number in range(10)))
    assert time.monotonic() - began < 1.0


def test_unknown_settings_are_refused(host):
    with pytest.raises(BadInput, match="bogus"):
        host.configure(bogus=1)


async def test_a_start_goes_on_when_nobody_waits(host):
    host.configure(boots={"dev": 30})
    await installed(host)
    clock = [time.time()]
    starter, other = (SimHost(host.directory, now=lambda: clock[0]) for _ in range(2))
    with pytest.raises(Transient, match="no end after"):
        await starter.run(["systemctl", "start", "container@dev.service"], timeout=0.05)
    clock[0] += 29
    assert await active(other) == "activating"
    clock[0] += 1
    assert await active(other) == "active"
    starter.close()
    other.close()


async def test_a_second_start_joins_the_first(host):
    host.configure(boots={"default": 0.1})
    await installed(host)
    await asyncio.gather(*(run(host, "systemctl start container@dev.service") for _ in range(3)))
    assert host.units()["dev"].restarts == 0


async def test_a_stop_cancels_a_start(host):
    host.configure(boots={"default": 5})
    await installed(host)
    start = asyncio.create_task(host.run(["systemctl", "start", "container@dev"], timeout=10))
    await asyncio.sleep(0.05)
    await run(host, "systemctl stop container@dev")
    assert (await start).err == "Job for container@dev.service canceled.\n"


async def test_reboot(host):
    await run(host, "zfs create tank/a")
    await run(host, "zfs unmount tank/a")
    await installed(host)
    await run(host, "systemctl start container@dev")
    (host.root / "run/voxnix").mkdir()
    host.reboot()
    assert await active(host) == "inactive"
    assert list((host.root / "run").iterdir()) == []
    assert await run(host, "zfs get -H -o value mounted tank/a") == "yes\n"


async def test_a_foreign_container_runs_with_its_files(host):
    foreign(host, "old", files={"/home/me/letter": "dear\n"})
    assert await active(host, "old") == "active"
    assert await run(host, "systemd-run -M old --wait --pipe cat /home/me/letter") == "dear\n"
    await run(host, "zfs create tank/old")
    await run(host, "cp -a --reflink=auto /var/lib/nixos-containers/old/home/. /tank/old")
    assert (host.root / "tank/old/me/letter").read_text() == "dear\n"


async def test_inside_links_do_not_lead_out(host):
    (host.root / "tank/data").mkdir()
    await installed(host, binds=[Bind("/tank/data", "/data", False), Bind("/etc", "/ro", True)])
    await run(host, "systemctl start container@dev")
    (host.root / "tank/data/out").symlink_to("/etc/passwd")
    (host.root / "tank/data/up").symlink_to("../../../../../etc/passwd")
    (host.root / "tank/data/loop").symlink_to("loop")
    prefix = "systemd-run -M dev --wait --pipe"
    assert "root:" not in (await host.run(f"{prefix} cat /data/out /data/up".split(), timeout=1)).out
    assert "symbolic links" in (await host.run(f"{prefix} cat /data/loop".split(), timeout=1)).err
    assert "Read-only" in (await host.run(f"{prefix} tee /ro/x".split(), timeout=1, stdin="x")).err
    assert await run(host, f"{prefix} ls /") == "data\netc\nhome\nro\nroot\ntmp\nvar\n"


async def test_quota_stops_a_writer_but_not_its_neighbour(host):
    await run(host, "zfs create -o refquota=1M tank/a")
    await installed(host, binds=[Bind("/tank/a", "/data", False)])
    await run(host, "systemctl start container@dev")
    prefix = "systemd-run -M dev --wait --pipe tee"
    result = await host.run([*prefix.split(), "/data/big"], timeout=1, stdin="x" * 2**20)
    assert (result.code, "Disk quota exceeded" in result.err) == (1, True)
    await run(host, f"{prefix} /data/small", stdin="x")
    await run(host, f"{prefix} /root/big", stdin="x" * 2**20)


async def test_a_pool_that_is_full(host):
    host.set_pool("tank", other=95 * 2**30)
    assert await run(host, "zpool list -H -o cap") == "95%\n"
    assert int(await run(host, "zfs get -Hp -o value available tank")) < 6 * 2**30


def test_a_host_without_a_pool(tmp_path):
    host = create(tmp_path / "host", pool=None)
    result = asyncio.run(host.run(["zpool", "list"], timeout=1))
    assert (result.code, result.out) == (0, "no pools available\n")
    host.close()


def test_the_command_line(tmp_path):
    def sim(*words, **more):
        argv = [sys.executable, "-m", "controller.host.sim", str(tmp_path / "host"), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, **more)

    assert sim("--create", "--", "zfs", "create", "tank/a").returncode == 0
    found = sim("--", "zfs", "create", "tank/a")
    assert (found.returncode, found.stderr) == (1, "cannot create 'tank/a': dataset already exists\n")
    assert sim("--create").returncode == 1
    assert sim().returncode == 2
    host = SimHost(tmp_path / "host")
    assert host.commands == 0
    foreign(host, "old")
    host.close()
    talk = sim("--", "machinectl", "shell", "root@old", input="echo hello > note\ncat note\nls\npwd\nnope\nexit\n")
    assert talk.returncode == 0
    assert "hello\n" in talk.stdout
    assert "nope: not found" in talk.stderr
    assert sim("--", "machinectl", "shell", "root@gone").returncode == 1


async def test_a_simple_command_is_quick(host):
    for number in range(20):
        await run(host, f"zfs create tank/a{number}")
    best = min([await timed(host, "zfs get -Hp -r -o name,property,value,source used,mounted tank") for _ in range(20)])
    assert best < 0.02


async def timed(host, line):
    began = time.perf_counter()
    await run(host, line)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "argv",
    [
        ["zfs"],
        ["zpool"],
        ["systemctl"],
        ["machinectl"],
        ["extra-container"],
        ["nix-build"],
        ["systemd-run"],
        ["journalctl"],
        ["timedatectl"],
        ["cp"],
    ],
)
async def test_no_words_make_no_traceback(host, argv):
    chance = random.Random(1)
    words = [
        "-x",
        "--bogus",
        "-M",
        "dev",
        "list",
        "show",
        "get",
        "create",
        "destroy",
        "tank",
        "tank/a@b",
        "=",
        "-o",
        "",
        "@",
        "-p",
        "start",
        "a=b",
        "-r",
    ]
    for length in range(5):
        for _ in range(30):
            result = await host.run([*argv, *chance.choices(words, k=length)], timeout=5)
            assert result.code in range(256)
