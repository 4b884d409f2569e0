"""The machine driver on the simulated host: what is seen of a container, and starting and stopping it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Blocked, Transient, VoxnixError
from controller.host.files import Files
from controller.host.installed import CONF, UNITS, unit_of
from controller.host.machines import Deadlines, Machines, enter, logs, quota
from controller.host.secrets import Deliveries, SecretStore
from controller.host.sim import Fault, SimHost, create, define, foreign
from controller.observed.facts import Document, Machine, MachineState, UnitFacts
from controller.observed.parse import Garbled
from controller.plan.actions import ClearFailed, Deliver, SetResources, Start, Stop

QUICK = Deadlines(start=1.5, stop=0.3, kill=0.3, probe=0.5, poll=0.01)
DOCUMENT = {
    "version": 1,
    "appliance": "a1",
    "uid": "u1",
    "name": "dev",
    "owner": "alice",
    "digest": "d1",
    "own": "o1",
    "system": {},
    "binds": [],
}
START = Start("dev", ())


@pytest.fixture
def host(tmp_path: Path) -> SimHost:
    return create(tmp_path / "sim")


@pytest.fixture
def secrets(host: SimHost) -> SecretStore:
    return SecretStore(Files(host.root))


@pytest.fixture
def machines(host: SimHost, secrets: SecretStore) -> Machines:
    files = Files(host.root)
    return Machines(host, files, Deliveries(files, secrets), QUICK)


async def install(host: SimHost, name: str = "dev") -> None:
    path = define(host, name, document={**DOCUMENT, "name": name})
    result = await host.behind_our_back(["extra-container", "create", path])
    assert result.code == 0


async def seen(machines: Machines, name: str = "dev") -> Machine:
    return (await machines.observe([name]))[name]


async def test_nothing_there(machines: Machines, host: SimHost) -> None:
    assert await machines.observe([]) == {}
    assert (await seen(machines)).state is MachineState.ABSENT
    host.configure(template=False)
    assert (await seen(machines)).state is MachineState.ABSENT


async def test_installed_started_stopped(machines: Machines, host: SimHost) -> None:
    await install(host)
    found = await seen(machines)
    assert found.state is MachineState.STOPPED
    assert found.installed
    assert found.installed.document == Document("a1", "u1", "dev", "alice", "d1", "o1")
    await machines.start(START)
    await machines.start(START)
    running = await seen(machines)
    assert (running.state, running.registered) == (MachineState.RUNNING, True)
    await machines.stop(Stop("dev"))
    await machines.stop(Stop("dev"))
    assert (await seen(machines)).state is MachineState.STOPPED


async def test_others_are_seen_without_being_asked_for(machines: Machines, host: SimHost) -> None:
    foreign(host, "theirs")
    await install(host, "mine")
    found = await machines.observe([])
    assert found.keys() == {"mine", "theirs"}
    assert found["theirs"].installed
    assert found["theirs"].installed.document is None


async def test_a_pass_is_two_commands_whatever_the_number(machines: Machines, host: SimHost) -> None:
    for number in range(5):
        await install(host, f"c{number}")
    for _ in range(2):
        before = host.commands
        assert len(await machines.observe(["gone", "not/a/name"])) == 6
        assert host.commands - before == 2


async def test_what_was_installed_anew_is_read_anew(machines: Machines, host: SimHost) -> None:
    await install(host)
    await machines.observe([])
    path = define(host, "dev", document={**DOCUMENT, "digest": "d2"})
    await host.behind_our_back(["extra-container", "create", path])
    found = await seen(machines)
    assert found.installed
    assert found.installed.document
    assert found.installed.document.digest == "d2"


async def test_a_store_path_that_was_collected_is_not_installed(machines: Machines, host: SimHost) -> None:
    await install(host)
    assert (await seen(machines)).state is MachineState.STOPPED
    shutil.rmtree(host.root / "nix/store")
    assert (await seen(machines)).state is MachineState.PARTIAL


@pytest.mark.parametrize("gone", [f"{CONF}/dev.conf", f"{UNITS}/container@dev.service"])
async def test_half_of_an_installation_is_partial(machines: Machines, host: SimHost, gone: str) -> None:
    await install(host)
    await machines.observe([])
    (host.root / gone.lstrip("/")).unlink()
    found = await seen(machines)
    assert (found.state, found.installed) == (MachineState.PARTIAL, None)


async def test_the_empty_conf_that_a_cut_short_removal_leaves_is_partial(machines: Machines, host: SimHost) -> None:
    await install(host)
    for gone in (f"{CONF}/dev.conf", f"{UNITS}/container@dev.service"):
        (host.root / gone.lstrip("/")).unlink()
    (host.root / CONF.lstrip("/") / "dev.conf").touch()
    assert (await seen(machines)).state is MachineState.PARTIAL


@pytest.mark.parametrize("text", ["", "{}", "[" * 50_000, '{"version": 1, "uid": 7}'])
async def test_a_document_that_is_none_makes_a_container_foreign(machines: Machines, host: SimHost, text: str) -> None:
    await install(host)
    for path in host.root.glob("nix/store/*/etc/voxnix/container.json"):
        path.write_text(text)
    found = await seen(machines)
    assert found.installed
    assert found.installed.document is None


async def test_a_machine_without_files_is_an_orphan_and_can_be_stopped(machines: Machines, host: SimHost) -> None:
    await install(host)
    await machines.start(START)
    for gone in (f"{CONF}/dev.conf", f"{UNITS}/container@dev.service"):
        (host.root / gone.lstrip("/")).unlink()
    await host.behind_our_back(["systemctl", "daemon-reload"])
    found = (await machines.observe([]))["dev"]
    assert found.state is MachineState.ORPHAN
    await machines.stop(Stop("dev"))
    assert (await seen(machines)).state is MachineState.ABSENT


async def test_what_is_not_installed_is_never_started(machines: Machines, host: SimHost) -> None:
    host.configure(log_commands=True)
    with pytest.raises(Transient, match="not installed"):
        await machines.start(START)
    assert not any(entry["mutating"] for entry in host.record())
    assert not (host.root / "var/lib/nixos-containers/dev").exists()


async def test_a_container_that_crashes_as_it_starts(machines: Machines, host: SimHost) -> None:
    await install(host)
    host.configure(boots={"dev": "crash"}, restart_seconds=0.0)
    with pytest.raises(Transient, match="ends again and again") as caught:
        await machines.start(START)
    assert "its journal ends:" in str(caught.value)
    assert (await seen(machines)).state in (MachineState.RESTARTING, MachineState.FAILED)
    host.configure(boots={})
    await machines.start(START)
    assert (await seen(machines)).state is MachineState.RUNNING


async def test_a_container_that_is_never_ready(machines: Machines, host: SimHost) -> None:
    await install(host)
    host.configure(boots={"dev": "hang"}, start_timeout=0.2, restart_seconds=0.01)
    with pytest.raises(Transient, match="was not ready in time"):
        await machines.start(START)
    assert (await seen(machines)).state is MachineState.RESTARTING
    await machines.stop(Stop("dev"))
    assert not (await seen(machines)).up


async def test_a_start_that_takes_too_long_is_transient(machines: Machines, host: SimHost) -> None:
    await install(host)
    host.faults.add(Fault(match="systemctl start", mode="hang"))
    with pytest.raises(Transient, match="no end after"):
        await machines.start(START)


async def test_a_start_that_says_it_went_well_and_did_not(machines: Machines, host: SimHost) -> None:
    await install(host)
    host.faults.add(Fault(match="systemctl start", mode="fail", code=0, stderr=""))
    with pytest.raises(Transient, match="did not start"):
        await machines.start(START)


async def test_a_container_that_does_not_stop_is_killed(machines: Machines, host: SimHost) -> None:
    await install(host)
    await machines.start(START)
    host.configure(stop_seconds=60.0)
    await machines.stop(Stop("dev"))
    assert not (await seen(machines)).up


async def test_a_container_that_takes_long_to_stop_is_asked_again(host: SimHost) -> None:
    files = Files(host.root)
    deadlines = Deadlines(stop=1.0, ask=0.05, kill=1.0, probe=1.0, poll=0.01)
    machines = Machines(host, files, Deliveries(files, SecretStore(files)), deadlines)
    await install(host)
    await machines.start(START)
    host.configure(stop_seconds=0.3)
    asked = host.faults.add(Fault(match=r"machinectl kill dev .*SIGRTMIN\+3", code=0, stderr="", times=None))
    await machines.stop(Stop("dev"))
    assert not (await seen(machines)).up
    assert host.faults.struck(asked) > 1


async def test_a_container_that_nothing_stops_is_told(machines: Machines, host: SimHost) -> None:
    await install(host)
    await machines.start(START)
    host.faults.add(Fault(match="systemctl (stop|kill)|machinectl kill", times=None))
    with pytest.raises(Transient, match="does not stop: its unit is active/running"):
        await machines.stop(Stop("dev"))


async def test_a_stop_leaves_no_failed_unit_behind(machines: Machines, host: SimHost) -> None:
    await install(host)
    host.configure(boots={"dev": "crash"}, restart_seconds=0.0)
    with pytest.raises(Transient):
        await machines.start(START)
    await machines.stop(Stop("dev"))
    await machines.clear_failed(ClearFailed("dev"))
    await machines.clear_failed(ClearFailed("dev"))
    assert (await seen(machines)).state is MachineState.STOPPED


async def test_limits_are_set_live_and_looked_at(machines: Machines, host: SimHost) -> None:
    await install(host)
    await machines.set_resources(SetResources("dev", 2 * 2**30, 1.5, 4096))
    unit = (await seen(machines)).unit
    assert (unit.memory_max, unit.cpu_quota, unit.tasks_max) == (2 * 2**30, 1.5, 4096)
    host.faults.add(Fault(match="set-property", code=0, stderr=""))
    with pytest.raises(Transient, match="not taken"):
        await machines.set_resources(SetResources("dev", 2**30, 0.333, 100))
    await machines.set_resources(SetResources("dev", 2**30, 0.333, 100))
    with pytest.raises(Transient, match="not installed"):
        await machines.set_resources(SetResources("web", 2**30, 1, 100))


async def test_delivered_secrets_are_seen_with_the_machine(
    machines: Machines, host: SimHost, secrets: SecretStore
) -> None:
    await install(host)
    assert (await seen(machines)).runtime is None
    secrets.put("alice", "token", b"one")
    await machines.deliver(Deliver("dev", "alice", ("token",)))
    assert (await seen(machines)).runtime == {"token": "current"}
    secrets.put("alice", "token", b"two")
    assert (await seen(machines)).runtime == {"token": "stale"}


@pytest.mark.parametrize("mode", ["fail", "garble", "hang"])
@pytest.mark.parametrize("command", ["machinectl list", "systemctl show"])
async def test_machines_that_cannot_be_asked_are_an_error_and_never_empty(
    machines: Machines, host: SimHost, mode: Any, command: str
) -> None:
    await install(host)
    host.faults.add(Fault(match=command, mode=mode))
    with pytest.raises(VoxnixError):
        await machines.observe([])


@pytest.mark.parametrize("word", ["Garbled", "Transient"])
def test_garbled_answers_are_retried(word: str) -> None:
    assert word in {kind.__name__ for kind in Garbled.__mro__}


async def test_last_words_are_harmless(machines: Machines, host: SimHost) -> None:
    await install(host)
    await machines.start(START)
    assert "dev" in await machines.last_words("dev")
    host.faults.add(Fault(match="journalctl", mode="hang"))
    assert await machines.last_words("dev") == ""


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "../x", "a@b", "x" * 65])
def test_a_name_that_can_be_none_reaches_no_command(name: str) -> None:
    for command in (unit_of, enter):
        with pytest.raises(ValueError, match="no container's name"):
            command(name)
    with pytest.raises(ValueError, match="no container's name"):
        logs(name, 5, inside=True)


def test_commands_for_people() -> None:
    assert enter("dev") == ("machinectl", "shell", "root@dev")
    assert logs("dev", 5)[:3] == ("journalctl", "-u", "container@dev.service")
    assert logs("dev", 5, inside=True, follow=True) == (
        *("journalctl", "-M", "dev", "-n", "5"),
        *("--no-pager", "-o", "short-iso", "-f"),
    )


@pytest.mark.parametrize(
    ("cpus", "text"), [(2, "200%"), (0.5, "50%"), (0.333, "33.3%"), (0.01, "1%"), (1024, "102400%")]
)
def test_cpus_as_a_percentage(cpus: float, text: str) -> None:
    assert quota(cpus) == text


@pytest.mark.parametrize(
    ("machine", "state"),
    [
        (Machine("x", UnitFacts(active="inactive"), registered=True), MachineState.ORPHAN),
        (Machine("x", UnitFacts(active="failed")), MachineState.TOMBSTONE),
        (Machine("x", UnitFacts(active="active"), partial=True), MachineState.RUNNING),
    ],
)
def test_what_unit_machine_and_files_amount_to(machine: Machine, state: MachineState) -> None:
    assert machine.state is state


async def test_no_program(machines: Machines, host: SimHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    host.faults.add(Fault(match="machinectl", mode="fail", code=127, stderr="machinectl: not found\n"))
    with pytest.raises((Blocked, Transient), match="not found"):
        await machines.observe([])
