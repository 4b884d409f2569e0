"""`plan`, `apply`, `run` and the commands around them, on the simulated host: exit codes and what is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from controller.cli.client import Away, Client
from controller.host.sim import SimHost, foreign
from tests.cli import DEV, Shell

DEV_FILE = {"state/dev.yaml": DEV}


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    return Shell(tmp_path, capsys, monkeypatch).begin()


def host(shell):
    return SimHost(shell.sim)


def test_plan_changes_nothing_and_says_by_its_exit_code_what_there_is(shell):
    shell.commit(DEV_FILE)
    before = host(shell).commands
    said = shell.run("plan")
    assert said.code == 2
    assert "+ dev (alice)  new container" in said.out
    assert "create storage alice/dev" in said.out
    assert "1 new at" in said.out
    assert not [one for one in host(shell).record()[before:] if one["mutating"]]
    assert shell.run("apply").code == 0
    said = shell.run("plan")
    assert (said.code, said.out.split(" at ")[0]) == (0, "Nothing to do")


def test_plan_of_a_revision(shell):
    empty = shell.repo.head()
    shell.commit(DEV_FILE)
    assert shell.run("plan", "--revision", empty).code in (0, 2)
    assert "dev" not in shell.run("plan", "--revision", empty).out
    assert "dev" in shell.run("plan", "--revision", "main").out
    assert shell.run("plan", "--revision", "nope").code == 1


def test_plan_as_json_has_every_step_with_reason_and_cause(shell):
    shell.commit(DEV_FILE)
    said = shell.run("--json", "plan")
    assert said.code == 2
    steps = [step for lane in said.json["lanes"] for step in lane["steps"]]
    assert all(step["reason"] and step["cause"] for step in steps)
    assert "document" not in str(steps)


def test_plan_tells_what_a_change_does(shell):
    shell.commit(DEV_FILE)
    shell.good("apply")
    shell.commit({"state/dev.yaml": DEV.replace("git,", "git, python,")})
    assert "~ dev (alice)  restart: " in shell.run("plan").out
    shell.good("apply")
    shell.commit({"state/dev.yaml": None})
    told = shell.run("plan").out
    assert "- dev (alice)  removed; its data stays in the trash until " in told
    assert "1 removed at" in told


def test_plan_shows_mistakes_and_what_is_frozen(shell):
    shell.commit(DEV_FILE)
    shell.good("apply")
    shell.commit({"state/dev.yaml": DEV + "powr: stopped\n"})
    said = shell.run("plan")
    assert said.code == 0
    assert "there is no key `powr`" in said.out
    assert "did you mean `power`?" in said.out
    assert "Nothing to do (1 waiting)" in said.out


def test_apply_tells_each_step_and_ends_converged(shell):
    shell.commit(DEV_FILE)
    said = shell.run("apply")
    assert said.code == 0
    assert "✓ dev  build its system" in said.out
    assert said.out.endswith("Converged. voxnix status shows it.\n")
    assert "dev   alice  ready" in shell.good("status").out
    again = shell.run("--json", "apply")
    assert (again.code, again.json["converged"]) == (0, True)


def test_apply_says_what_failed_and_that_it_is_not_done(shell):
    shell.commit(DEV_FILE)
    host(shell).configure(boots={"dev": "crash"})
    said = shell.run("apply")
    assert said.code == 3
    assert "✗ dev  start" in said.out
    assert "Not converged yet. 1 step failed." in said.out
    assert "Not done now" in said.out
    assert "degraded" in shell.good("status").out


def test_apply_holds_and_approve_lets_go(shell):
    shell.commit({**DEV_FILE, "state/web.yaml": "owner: bob\n"})
    shell.good("apply")
    shell.commit({"state/dev.yaml": None, "state/web.yaml": None})
    said = shell.run("apply")
    assert said.code == 3
    assert "Waits for your word" in said.out
    holds = shell.good("--json", "status").json["holds"]
    assert {name for hold in holds for name in hold["names"]} == {"dev", "web"}
    for hold in holds:
        shell.good("approve", hold["id"][:6], "--yes")
    assert shell.run("apply").code == 0
    assert {piece["name"] for piece in shell.good("--json", "trash", "list").json} == {"dev", "web"}


def test_trash_comes_back_with_its_spec(shell):
    shell.commit(DEV_FILE)
    shell.good("apply")
    shell.commit({"state/dev.yaml": None})
    shell.good("apply")
    shell.good("trash", "restore", "dev")
    assert shell.run("apply").code == 0
    assert "dev   alice  ready" in shell.good("status").out


def test_a_purge_waits_for_one_more_word(shell):
    shell.commit({**DEV_FILE, "state/web.yaml": "owner: bob\n"})
    shell.good("apply")
    shell.commit({"state/dev.yaml": None})
    shell.good("apply")
    shell.good("trash", "purge", "dev", "--yes")
    assert shell.run("apply").code == 3
    hold = shell.good("--json", "status").json["holds"][0]
    shell.good("approve", hold["id"], "--yes")
    assert shell.repo.show(shell.repo.head()).subject.startswith("approve purge of")
    assert shell.run("apply").code == 0
    assert shell.good("--json", "trash", "list").json == []


def test_apply_only_at_the_revision_that_was_planned(shell):
    planned = shell.commit(DEV_FILE)
    shell.commit({"state/web.yaml": "owner: bob\n"})
    said = shell.run("apply", "--revision", planned)
    assert said.code == 1
    assert "the state repo is at" in said.err
    assert shell.run("apply", "--revision", "main").code == 0


def test_suspend_stops_apply(shell):
    shell.commit(DEV_FILE)
    shell.good("suspend", "-m", "moving house")
    assert shell.run("apply").code == 3
    assert "moving house" in shell.good("status").out
    shell.good("resume")
    assert shell.run("apply").code == 0


def test_adopt_shows_what_it_means_and_takes_a_foreign_container_over(shell):
    foreign(host(shell), "old", files={"/home/ann/notes": "remember"})
    shell.commit(DEV_FILE)
    shell.good("apply")
    assert "machine old" in shell.good("status").out
    assert "is one of ours already" in shell.run("adopt", "dev", "--owner", "alice", "--yes").err
    assert "did you mean old?" in shell.run("adopt", "odl", "--owner", "alice", "--yes").err
    assert "there is no tenant" in shell.run("adopt", "old", "--owner", "nobody", "--yes").err
    said = shell.good("adopt", "old", "--owner", "bob", "--yes")
    assert "it is stopped, for as long as the copy takes" in said.out
    assert "/home (8B)" in said.out
    assert shell.run("apply").code == 0
    kept = shell.sim / "root/tank/users/bob/containers/old/home/ann/notes"
    assert kept.read_text() == "remember"
    assert "old   bob" in shell.good("status").out


def test_logs_and_enter(shell):
    shell.commit(DEV_FILE)
    shell.good("apply")
    assert "dev" in shell.good("logs", "dev").out
    assert "did you mean dev?" in shell.run("logs", "dve").err
    assert "did you mean dev?" in shell.run("enter", "dve").err
    shell.good("enter", "dev", stdin="exit\n")
    assert shell.good("enter", "dev", "hostname").out == "dev\n"
    assert shell.run("enter", "dev", "false").code == 1
    shell.commit({"state/dev.yaml": DEV + "power: stopped\n"})
    shell.good("apply")
    assert "dev is stopped" in shell.run("enter", "dev").err


def test_acts_behind_the_controllers_back(shell):
    shell.commit(DEV_FILE)
    shell.good("apply")
    assert shell.run("sim", "exec", "--", "machinectl", "terminate", "dev").code == 0
    assert shell.run("sim", "exec", "--", "machinectl", "show", "dev").code == 1
    assert shell.run("plan").code == 2
    assert "already" in shell.run("sim", "create", str(shell.sim)).err


def test_doctor_on_a_simulated_host_and_on_a_broken_one(shell):
    shell.commit(DEV_FILE)
    said = shell.good("doctor")
    assert said.out.endswith("This host is able to run voxnix.\n")
    assert "no pre-receive and no post-receive" in said.out
    shell.good("hooks")
    assert "they judge pushes by themselves" in shell.good("doctor").out
    host(shell).set_pool(health="DEGRADED")
    host(shell).configure(clock_synchronised=False)
    said = shell.run("doctor")
    assert said.code == 1
    assert "pool tank is DEGRADED" in said.out
    assert "not synchronised" in said.out
    assert "2 things to mend." in said.out
    assert shell.run("--json", "doctor").json["able"] is False


def test_doctor_where_there_is_nothing(shell, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    said = shell.run("--host", "nixos", "doctor", options=False)
    assert said.code == 1
    assert "no state repo given" in said.out
    assert "→ voxnix run" in said.out


@pytest.fixture
def daemon(shell):
    """The controller, as a process of its own."""
    shell.commit(DEV_FILE)
    argv = [sys.executable, "-m", "controller.main", "--state", str(shell.path), "--host", f"sim:{shell.sim}", "run"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=os.getcwd())
    client = Client(shell.sim / "root/run/voxnix/api.sock")
    wait(lambda: phase(client, "dev") == "ready", process)
    yield shell, process, client
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, out
    assert "Traceback" not in out


def phase(client, name):
    try:
        containers = client.get("/v1/status")["containers"]
    except Away:
        return None
    return next((status["phase"] for status in containers if status["name"] == name), None)


def wait(so, process=None, patience=20.0):
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while not so():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        pause.wait(0.05)


def test_commands_beside_a_running_controller(daemon):
    shell, process, client = daemon
    assert shell.good("--json", "status").json["live"] is True
    assert shell.good("--json", "status").json["controller"] == process.pid
    assert "looked 0 s ago" in shell.good("status").out
    assert shell.run("plan").code == 0
    assert shell.run("plan", "--revision", "HEAD").code == 0
    apply = shell.run("apply")
    assert apply.code == 1
    assert f"another controller is at work here (process {process.pid})" in apply.err
    assert "another controller" in shell.run("run").err
    assert f"runs as process {process.pid}" in shell.good("doctor").out
    assert shell.good("logs", "dev", "-n", "5").out
    said = shell.good("restart", "dev")
    assert "the controller has seen it" in said.out
    wait(lambda: "restart asked for" in shell.good("events", "dev").out)
    wait(lambda: phase(client, "dev") == "ready")
    shell.good("suspend", "-m", "lunch")
    wait(lambda: "suspended everything: lunch" in shell.good("status").out)
    shell.good("resume")
    wait(lambda: "suspended everything" not in shell.good("status").out)


def test_a_commit_is_acted_on_and_told_as_it_happens(daemon):
    shell, _process, client = daemon
    follow = [
        sys.executable,
        "-m",
        "controller.main",
        "--host",
        f"sim:{shell.sim}",
        "--json",
        "events",
        "-f",
        "-n",
        "0",
    ]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) as following:
        assert following.stdout is not None
        shell.commit({"state/web.yaml": "owner: bob\n"})
        wait(lambda: phase(client, "web") == "ready")
        shell.commit({"state/web.yaml": "owner: bob\npower: stopped\n"})
        kinds = []
        while "Stop" not in kinds:
            kinds.append(json.loads(following.stdout.readline())["kind"])
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130


def test_the_controller_ends_in_good_order_and_leaves_no_socket(daemon):
    shell, process, client = daemon
    process.send_signal(signal.SIGINT)
    wait(lambda: process.poll() is not None)
    with pytest.raises(Away):
        client.get("/v1/status")
    assert not client.path.exists()
    assert "The controller is not running" in shell.good("status").out


def test_a_commit_that_is_refused_is_not_converged(shell):
    shell.commit(DEV_FILE)
    shell.good("apply")
    before = shell.repo.head()
    shell.commit({"state/tenants/alice.yaml": None}, "Alice goes")
    said = shell.run("apply")
    assert said.code == 3
    assert "is refused" in said.out
    assert shell.run("plan").code == 1
    assert "Refused" in shell.good("status").out
    shell.repo.git.run("update-ref", "refs/heads/main", before)
    assert shell.run("apply").code == 0


def test_a_rewritten_history_waits_for_roots_word(shell):
    shell.commit(DEV_FILE)
    shell.good("apply")
    first = shell.repo.log(shell.repo.head())[-1].sha
    shell.repo.git.run("update-ref", "refs/heads/main", first)
    shell.commit({"state/dev.yaml": DEV + "description: another history\n"})
    assert shell.run("apply").code == 3
    assert "voxnix accept-rewrite SHA" in shell.good("status").out
    shell.good("accept-rewrite", "main", "--reason", "a secret was in it", "--yes")
    assert shell.run("apply").code == 0


def test_watch_shows_each_change(daemon):
    shell, _process, client = daemon
    argv = [sys.executable, "-m", "controller.main", "--host", f"sim:{shell.sim}", "status", "--watch"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()) as watching:
        assert watching.stdout is not None
        assert "looked" in watching.stdout.readline()
        shell.commit({"state/web.yaml": "owner: bob\n"})
        wait(lambda: phase(client, "web") == "ready")
        while "web" not in watching.stdout.readline():
            pass
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130


def test_ctrl_c_ends_apply_in_good_order_and_the_next_one_goes_on(shell):
    shell.commit(DEV_FILE)
    host(shell).configure(latencies={"nix-build": 30.0})
    argv = [sys.executable, "-m", "controller.main", "--state", str(shell.path), "--host", f"sim:{shell.sim}", "apply"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.getcwd()) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "`voxnix apply` goes on where this ended" in err
    assert "Traceback" not in out + err
    host(shell).configure(latencies={})
    assert shell.run("apply").code == 0
