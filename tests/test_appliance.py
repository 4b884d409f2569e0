"""The whole of it on the simulated host: commits in, containers, datasets and tailnet nodes out."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.host.sim import foreign
from controller.plan import Adoption
from controller.plan.model import Reason
from controller.settings import share
from controller.store import Store
from tests.box import Box

DEV = "owner: alice\nmodules: [git, fish, tailscale, workspace]\n"


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


async def test_a_commit_becomes_a_running_container(box):
    box.commit({"dev": DEV})
    settled = await box.apply()
    assert settled.converged, settled.plan
    look = await box.look()
    assert look.plan.empty
    assert not look.plan.waits
    machine = look.observed.machines.value["dev"]
    assert machine.state == "running"
    assert machine.addresses
    assert len(look.observed.tailnet.value) == 1
    nodes = await node_names(box)
    assert nodes == {"dev"}


async def node_names(box):
    look = await box.look()
    return {device.hostname for device in look.observed.tailnet.value.values()}


async def ready(box, **specs):
    """Commit specs and converge, with nothing left to do."""
    box.commit(specs)
    settled = await box.apply()
    assert settled.converged, settled.plan
    return settled


async def test_editing_a_spec_changes_the_system_and_keeps_files(box):
    await ready(box, dev=DEV)
    file = box.data("alice", "dev", "workspace", "notes.txt")
    file.write_text("precious")
    before = await box.machines()
    await ready(box, dev=DEV.replace("fish", "fish, zsh"))
    after = await box.machines()
    assert before["dev"].installed.system_path != after["dev"].installed.system_path
    assert after["dev"].state == "running"
    assert file.read_text() == "precious"


async def test_quota_power_and_limits_change_without_a_rebuild(box):
    await ready(box, dev=DEV)
    before = await box.machines()
    await ready(box, dev=DEV + "workspace: {quota: 1G}\nresources: {memory: 1G}\n")
    after = await box.machines()
    assert before["dev"].installed == after["dev"].installed
    assert after["dev"].unit.memory_max == 2**30
    look = await box.look()
    assert look.observed.storage.value.datasets["tank/users/alice/containers/dev/workspace"].refquota == 2**30
    await ready(box, dev=DEV + "power: stopped\n")
    assert (await box.machines())["dev"].state == "stopped"


async def test_removal_keeps_data_in_trash_and_the_spec_brings_it_back(box):
    await ready(box, dev=DEV, web="owner: bob\nmodules: [workspace]\n", api="owner: bob\n")
    box.data("alice", "dev", "workspace", "notes.txt").write_text("precious")
    box.data("alice", "dev", "home", "plan.txt").write_text("home")
    await ready(box, dev=None)
    assert "dev" not in {name for name, m in (await box.machines()).items() if m.state != "absent"}
    assert await node_names(box) == set()
    assert not box.data("alice", "dev", "home").exists()
    await ready(box, dev=DEV)
    assert box.data("alice", "dev", "workspace", "notes.txt").read_text() == "precious"
    assert box.data("alice", "dev", "home", "plan.txt").read_text() == "home"
    assert await node_names(box) == {"dev"}


async def test_a_machine_stopped_behind_our_back_is_started_again(box):
    await ready(box, dev=DEV)
    await box.outside("systemctl", "stop", "container@dev.service")
    look = await box.look()
    [lane] = look.plan.lanes
    assert [str(step.cause) for step in lane.steps][-1] == "drift down"
    settled = await box.apply()
    assert (await box.machines())["dev"].state == "running", settled


async def test_an_invalid_file_harms_nothing(box):
    await ready(box, dev=DEV)
    box.commit({"dev": "owner: alice\nmodulse: [git]\n"})
    settled = await box.apply()
    assert not settled.converged
    assert settled.plan.empty
    assert "modules" in settled.plan.waits[0].message
    assert (await box.machines())["dev"].state == "running"


async def test_a_rename_keeps_data_and_node(box):
    await ready(box, dev=DEV)
    box.data("alice", "dev", "workspace", "notes.txt").write_text("precious")
    look = await box.look()
    [node] = look.observed.tailnet.value
    await ready(box, dev=None, lab=DEV + "renamed_from: dev\n")
    assert box.data("alice", "lab", "workspace", "notes.txt").read_text() == "precious"
    look = await box.look()
    assert set(look.observed.tailnet.value) == {node}
    assert look.observed.tailnet.value[node].hostname == "lab"
    assert look.observed.machines.value["lab"].state == "running"
    assert look.plan.empty


async def test_an_owner_change_is_held_until_an_admin_approves(box):
    await ready(box, dev=DEV)
    box.data("alice", "dev", "workspace", "notes.txt").write_text("precious")
    box.commit({"dev": DEV.replace("alice", "bob")})
    settled = await box.apply()
    [hold] = settled.plan.holds
    assert box.data("alice", "dev", "workspace", "notes.txt").exists()
    box.commit({}, "approve", Voxnix_Approve=hold.id)
    settled = await box.apply()
    assert settled.converged, settled.plan
    assert box.data("bob", "dev", "workspace", "notes.txt").read_text() == "precious"


async def test_data_goes_back_to_a_snapshot_after_approval_and_the_present_is_kept(box):
    await ready(box, dev=DEV)
    note = box.data("alice", "dev", "workspace", "notes.txt")
    note.write_text("old")
    await ready(box, dev=DEV.replace("fish", "fish, zsh"))
    note.write_text("new")
    look = await box.look()
    dataset = look.observed.storage.value.datasets["tank/users/alice/containers/dev"]
    [snapshot] = dataset.snapshots
    box.commit({}, "back", Voxnix_Rollback_Data=f"{dataset.marks['uid']} {snapshot}")
    settled = await box.apply()
    [hold] = settled.plan.holds
    assert note.read_text() == "new"
    box.commit({}, "approve", Voxnix_Approve=hold.id)
    settled = await box.apply()
    assert settled.converged, settled.plan
    assert note.read_text() == "old"
    look = await box.look()
    assert any(name.startswith("tank/trash/") for name in look.observed.storage.value.datasets)


async def test_trash_goes_when_its_time_is_up_and_not_before(box):
    await ready(box, dev=DEV, web="owner: bob\n", api="owner: bob\n")
    await ready(box, dev=None)
    box.clock.pass_(timedelta(days=29))
    await box.apply()
    assert await trash(box)
    box.clock.pass_(timedelta(days=2))
    await box.apply()
    assert not await trash(box)


async def trash(box):
    look = await box.look()
    return [name for name in look.observed.storage.value.datasets if name.startswith("tank/trash/")]


async def test_a_purge_is_held_and_then_final(box):
    await ready(box, dev=DEV, web="owner: bob\n", api="owner: bob\n")
    await ready(box, dev=None)
    [piece] = [name for name in await trash(box) if name.count("/") == 2]
    box.commit({}, "purge", Voxnix_Purge=piece.rsplit("/", 1)[1])
    settled = await box.apply()
    [hold] = settled.plan.holds
    assert await trash(box)
    box.commit({}, "approve", Voxnix_Approve=hold.id)
    settled = await box.apply()
    assert settled.converged, settled.plan
    assert not await trash(box)


async def test_many_removals_wait_for_an_admin(box):
    await ready(box, **{f"c{n}": "owner: bob\n" for n in range(6)})
    box.commit({f"c{n}": None for n in range(4)})
    settled = await box.apply()
    [hold] = settled.plan.holds
    assert len(hold.lanes) == 4
    box.commit({}, "approve", Voxnix_Approve=hold.id)
    settled = await box.apply()
    assert settled.converged, settled.plan
    running = {name for name, m in (await box.machines()).items() if m.state == "running"}
    assert running == {"c4", "c5"}


async def test_a_tailnet_that_is_away_makes_a_debt_that_is_paid_later(box):
    await ready(box, dev=DEV, web="owner: bob\n", api="owner: bob\n")
    box.host.configure(tailnet_up=False)
    box.commit({"dev": None})
    await box.apply()
    look = await box.look()
    assert look.memory.debts
    assert "dev" not in {name for name, m in (await box.machines()).items() if m.state == "running"}
    box.host.configure(tailnet_up=True)
    settled = await box.apply()
    assert settled.converged, settled.plan
    assert await node_names(box) == set()
    assert not (await box.look()).memory.debts


async def test_a_vanished_dataset_is_missed_not_made_anew(box):
    await ready(box, dev=DEV)
    await box.outside("systemctl", "stop", "container@dev.service")
    await box.outside("zfs", "destroy", "-r", "tank/users/alice/containers/dev")
    settled = await box.apply()
    [hold] = settled.plan.holds
    assert "missing" in hold.reason
    assert settled.plan.empty


async def test_a_lost_store_is_rebuilt_and_destruction_waits(box):
    await ready(box, dev=DEV, web="owner: bob\n", api="owner: bob\n")
    for file in box.settings.data.glob("store.db*"):
        file.unlink()
    await ready(box, extra="owner: bob\n")
    box.commit({"dev": None})
    settled = await box.apply()
    [hold] = settled.plan.holds
    assert "store was lost" in hold.reason
    box.commit({}, "approve", Voxnix_Approve=hold.id)
    settled = await box.apply()
    assert settled.converged, settled.plan
    assert await trash(box)


async def test_a_restart_decision_runs_once(box):
    await ready(box, dev=DEV)
    look = await box.look()
    uid = look.observed.storage.value.datasets["tank/users/alice/containers/dev"].marks["uid"]
    box.host.configure(log_commands=True)
    box.commit({}, "restart", Voxnix_Restart=uid)
    assert (await box.apply()).converged
    assert (await box.apply()).converged
    starts = [c for c in box.host.record() if c["argv"][:2] == ["systemctl", "start"]]
    assert len(starts) == 1


async def test_what_admission_warns_of_is_an_event_once(box):
    await ready(box, dev=DEV)
    box.commit({"web": "owner: bob\n"}, "Voxnix-Restart: u1 is what I would like")
    for _ in range(2):
        await box.apply()
    with Store.open(box.settings.store) as store:
        warned = [event.message for event in store.events(limit=1000) if event.kind == "warning"]
    assert len(warned) == 1
    assert "`Voxnix-Restart` does not count here" in warned[0]


async def test_rewritten_history_is_refused_until_root_accepts_it(box):
    first = box.commit({"dev": DEV})
    assert (await box.apply()).converged
    box.commit({"web": "owner: bob\n"})
    assert (await box.apply()).converged
    (box.repo_path / "refs/heads/main").write_text(first + "\n")
    await box.apply()
    assert (await box.machines())["web"].state == "running"
    with Store.open(box.settings.store, create=True) as store:
        assert "rewritten" in store.summary()
        store.accept_rewrite(first, "root", "on purpose", box.clock.wall)
    assert (await box.apply()).converged
    assert [name for name in await trash(box) if "/web-" in name]


async def test_a_foreign_container_is_left_alone_and_can_be_adopted(box):
    foreign(box.host, "old")
    await box.outside("systemctl", "start", "container@old.service")
    box.commit({"old": "owner: bob\n"})
    settled = await box.apply()
    assert settled.plan.empty
    assert not settled.converged
    path = (await box.machines())["old"].installed.system_path
    with Store.open(box.settings.store, create=True) as store:
        store.adopt(Adoption("old", path, "root", box.clock.wall))
    settled = await box.apply()
    assert settled.converged, settled.plan
    assert (await box.machines())["old"].installed.document.name == "old"


async def test_expiry_removes_and_schedule_stops(box):
    await ready(
        box,
        dev=DEV + "expires: 2026-03-05T00:00:00Z\n",
        web="owner: bob\nschedule: {start: '0 8 * * *', stop: '0 20 * * *'}\n",
        api="owner: bob\n",
    )
    box.clock.pass_(timedelta(hours=10))
    await box.apply()
    assert (await box.machines())["web"].state == "stopped"
    box.clock.pass_(timedelta(days=5))
    await box.apply()
    await box.apply()
    assert await trash(box)


async def test_a_changed_library_rolls_out_one_at_a_time(box, tmp_path):
    library = tmp_path / "nix"
    shutil.copytree(share("nix"), library)
    box.settings = replace(box.settings, library=str(library))
    await ready(box, dev=DEV, web="owner: bob\n", api="owner: bob\n")
    (library / "modules" / "git.nix").write_text("# changed\n{ }\n")
    look = await box.look()
    assert [lane.after for lane in look.plan.lanes] == [None, "api", "dev"]
    settled = await box.apply()
    assert settled.converged, settled.plan


async def test_a_host_that_reboots_often_starts_its_containers_at_once(box):
    await ready(box, dev=DEV)
    for boot in range(2, 7):
        box.host.reboot()
        box.clock.boot = f"boot-{boot}"
        box.clock.pass_(timedelta(seconds=1))
        settled = await box.apply()
        assert settled.converged, settled.plan
    box.host.reboot()
    settled = await box.apply()
    assert [wait.reason for wait in settled.plan.waits] == [Reason.BACKING_OFF], "the same boot: it went down by itself"


async def test_a_reboot_is_recovered_from(box):
    await ready(box, dev=DEV, web="owner: bob\nsecrets: []\n")
    box.data("alice", "dev", "workspace", "notes.txt").write_text("precious")
    box.host.reboot()
    box.clock.boot = "boot-2"
    settled = await box.apply()
    assert settled.converged, settled.plan
    assert {m.state for m in (await box.machines()).values()} == {"running"}
    assert box.data("alice", "dev", "workspace", "notes.txt").read_text() == "precious"
