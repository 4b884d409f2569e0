"""The controller's socket: what it answers, what it refuses, and that it ends cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.api import LOG_BYTES, Api
from controller.cli.client import Away, Client
from controller.errors import BadInput, Blocked, Transient
from controller.observed import Known, NotConfigured, Observed, Unknown
from controller.observed.facts import Document, Installed, Machine
from controller.plan.memory import Memory
from controller.plan.model import Plan
from controller.publish import Look
from controller.spec.state import Desired
from controller.store import Event, Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUMMARY = {"schema": 1, "revision": "c" * 40, "passed_at": NOW.isoformat(), "holds": []}


def status(name: str, owner: str = "alice") -> str:
    return json.dumps({"name": name, "owner": owner, "phase": "ready", "conditions": []})


class FakeController:
    """A controller that has looked once and never acts."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.poked: list[str] = []
        self.looked: list[str | None] = []
        machine = Machine("dev", installed=Installed("/nix/store/x", Document("a", "u", "dev", "alice", "d", "o")))
        observed = Observed(
            machines=Known({"dev": machine}),
            storage=Unknown("zfs does not answer"),
            tailnet=NotConfigured(),
            clock=Known(True),
            secrets=Known({"alice": frozenset({"token"})}),
        )
        self.last: Look | None = Look(Known(Desired("c" * 40, {}, {})), observed, Memory(), Plan("c" * 40), NOW)

    async def look(self, revision: str | None = None) -> Look:
        self.looked.append(revision)
        if revision == "nonsense":
            raise BadInput("there is no revision 'nonsense' in this repository")
        assert self.last is not None
        return replace(self.last, plan=Plan(revision or "f" * 40))

    def ask(self) -> None:
        self.poked.append("asked to")


@pytest.fixture
def controller(tmp_path):
    with Store.open(tmp_path / "data/store.db", create=True) as store:
        events = [Event(NOW, "Start", f"number {n}", container="dev" if n % 2 else "web") for n in range(6)]
        store.publish({"dev": status("dev"), "web": status("web", "bob")}, summary=json.dumps(SUMMARY), events=events)
        yield FakeController(store)


async def journal(name: str, lines: int) -> str:
    return "".join(f"{name} line {n} \x1b[31m\n" for n in range(lines + 5))


@asynccontextmanager
async def serving(controller, path, logs=journal, pokers=()):
    api = Api(controller, path, logs=logs, pokers=pokers)
    await api.start()
    try:
        yield Client(path, timeout=5.0)
    finally:
        await api.stop()


@pytest.fixture
async def client(controller, tmp_path):
    async with serving(controller, tmp_path / "run/api.sock") as found:
        yield found


async def until(so):
    """Wait until something is so, for at most five seconds."""
    async with asyncio.timeout(5):
        while not so():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.01)


async def ask(client, path, **query):
    return await asyncio.to_thread(client.get, path, **query)


async def test_status_has_the_summary_and_every_container(client):
    found = await ask(client, "/v1/status")
    assert found["revision"] == "c" * 40
    assert found["controller"] == os.getpid()
    assert [one["name"] for one in found["containers"]] == ["dev", "web"]


async def test_status_of_one_container(client):
    found = await ask(client, "/v1/status", name="web")
    assert [one["name"] for one in found["containers"]] == ["web"]


async def test_status_of_an_unknown_container_is_an_error_in_json(client):
    with pytest.raises(BadInput, match="no container 'nope'"):
        await ask(client, "/v1/status", name="nope")


async def test_status_before_the_first_pass_is_an_empty_document(tmp_path):
    with Store.open(tmp_path / "store.db", create=True) as store:
        async with serving(FakeController(store), tmp_path / "api.sock") as client:
            assert (await ask(client, "/v1/status"))["containers"] == []


async def test_observed_tells_each_source_and_names_of_secrets_only(client):
    found = await ask(client, "/v1/observed")
    assert found["machines"]["value"]["dev"]["state"] == "stopped"
    assert found["machines"]["value"]["dev"]["installed"]["system_path"] == "/nix/store/x"
    assert found["storage"] == {"state": "unknown", "why": "zfs does not answer", "value": None}
    assert found["tailnet"] == {"state": "not configured", "value": None}
    assert found["secrets"]["value"] == {"alice": ["token"]}


async def test_observed_before_the_first_pass(controller, tmp_path):
    controller.last = None
    async with serving(controller, tmp_path / "api.sock") as client:
        with pytest.raises(BadInput, match="no pass has ended"):
            await ask(client, "/v1/observed")


async def test_plan_is_that_of_the_last_pass_unless_a_fresh_one_is_asked_for(client, controller):
    assert (await ask(client, "/v1/plan"))["revision"] == "c" * 40
    assert controller.looked == []
    assert (await ask(client, "/v1/plan", fresh=1))["revision"] == "f" * 40
    assert (await ask(client, "/v1/plan", revision="main"))["revision"] == "main"
    assert controller.looked == [None, "main"]


async def test_a_plan_for_nonsense_is_told_in_the_words_of_the_error(client):
    with pytest.raises(BadInput, match="no revision 'nonsense'"):
        await ask(client, "/v1/plan", revision="nonsense")


async def test_events_are_bounded_and_can_be_narrowed(client):
    assert [e["id"] for e in (await ask(client, "/v1/events"))["events"]] == [1, 2, 3, 4, 5, 6]
    assert [e["id"] for e in (await ask(client, "/v1/events", after=4))["events"]] == [5, 6]
    assert [e["id"] for e in (await ask(client, "/v1/events", name="dev", limit=2))["events"]] == [4, 6]
    assert (await ask(client, "/v1/events", limit=0))["events"] == []


@pytest.mark.parametrize("value", ["-1", "x", "1e3", "٣", "9" * 30, ""])
async def test_a_number_that_is_none_is_refused(client, value):
    with pytest.raises(BadInput, match="whole number"):
        await ask(client, "/v1/events", after=value)


async def test_the_stream_tells_events_as_they_happen_and_ends_with_the_controller(controller, tmp_path):
    seen = []

    def follow(client):
        seen.extend(client.lines("/v1/events/stream", timeout=5.0, after=5))

    async with serving(controller, tmp_path / "api.sock") as client:
        following = asyncio.create_task(asyncio.to_thread(follow, client))
        await until(lambda: len(seen) == 1)
        controller.store.record([Event(NOW, "Stop", "it stops", container="web")])
        await until(lambda: len(seen) == 2)
    await asyncio.wait_for(following, 5)
    assert [event["id"] for event in seen] == [6, 7]
    assert seen[1]["message"] == "it stops"


async def test_the_stream_begins_now_and_can_be_narrowed(controller, tmp_path):
    seen = []

    def follow(client):
        seen.extend(client.lines("/v1/events/stream", timeout=5.0, name="dev"))

    async with serving(controller, tmp_path / "api.sock") as client:
        following = asyncio.create_task(asyncio.to_thread(follow, client))
        await asyncio.sleep(0.3)
        controller.store.record([Event(NOW, "Stop", "other", container="web")])
        controller.store.record([Event(NOW, "Stop", "mine", container="dev")])
        await until(lambda: len(seen) == 1)
    await asyncio.wait_for(following, 5)
    assert [event["message"] for event in seen] == ["mine"]


async def test_a_reader_that_goes_away_leaves_the_api_well(controller, tmp_path):
    async with serving(controller, tmp_path / "api.sock") as client:
        await asyncio.to_thread(lambda: next(client.lines("/v1/events/stream", timeout=5.0, after=1)))
        controller.store.record([Event(NOW, "Stop", "nobody listens")])
        assert (await ask(client, "/v1/events"))["events"]


async def test_logs_are_bounded_in_lines(client):
    found = await ask(client, "/v1/logs/dev", lines=3)
    assert found["text"].splitlines() == [f"dev line {n} \x1b[31m" for n in (5, 6, 7)]
    assert len((await ask(client, "/v1/logs/dev", lines=100_000))["text"].splitlines()) == 1000


async def test_logs_are_bounded_in_bytes(controller, tmp_path):
    async def long(_name, _lines):
        return "ä" * (2 * LOG_BYTES)

    async with serving(controller, tmp_path / "api.sock", long) as client:
        assert len((await ask(client, "/v1/logs/dev"))["text"].encode()) <= LOG_BYTES


async def test_a_tenant_reads_the_logs_of_their_own_containers_only(client):
    assert (await ask(client, "/v1/logs/web", tenant="bob"))["name"] == "web"
    with pytest.raises(BadInput, match="no container 'dev' of 'bob'"):
        await ask(client, "/v1/logs/dev", tenant="bob")
    with pytest.raises(BadInput, match="no container 'nope' of 'bob'"):
        await ask(client, "/v1/logs/nope", tenant="bob")


async def test_a_journal_that_cannot_be_read_is_told(controller, tmp_path):
    async def broken(_name, _lines):
        raise Transient("journalctl: no end after 20 s, stopped")

    async with serving(controller, tmp_path / "api.sock", broken) as client:
        with pytest.raises(BadInput, match="no end after 20 s"):
            await ask(client, "/v1/logs/dev")


async def test_an_error_that_should_never_be_is_told_without_its_insides(controller, tmp_path, caplog):
    async def broken(_name, _lines):
        raise RuntimeError("/root/secret")

    async with serving(controller, tmp_path / "api.sock", broken) as client:
        with pytest.raises(BadInput, match="internal error"):
            await ask(client, "/v1/logs/dev")
    assert "/root/secret" in caplog.text


async def test_poke_asks_for_a_pass(client, controller):
    assert await asyncio.to_thread(client.poke)
    assert controller.poked == ["asked to"]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(("pokers", "let"), [((), False), ((65534,), True)])
async def test_poke_is_for_root_the_controllers_own_user_and_who_is_named(controller, pokers, let):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "api.sock")
        async with serving(controller, path, pokers=pokers):
            os.chmod(path, 0o666)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", STRANGER, str(path), stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
    assert out == f"c {let}\n".encode()
    assert bool(controller.poked) == let


STRANGER = """
import os, sys
from pathlib import Path
from controller.cli.client import Client
client = Client(Path(sys.argv[1]))
os.setuid(65534)
print(client.get("/v1/status")["revision"][:1], client.poke())
"""


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/status"), ("GET", "/v1/poke"), ("GET", "/"), ("PUT", "/x")])
async def test_all_else_is_refused_in_json(client, method, path):
    with pytest.raises(BadInput, match=r"Not (Allowed|Found)|Method"):
        await asyncio.to_thread(client._ask, method, path, {})


async def test_the_socket_is_for_its_group_and_gone_afterwards(controller, tmp_path):
    path = tmp_path / "run/api.sock"
    async with serving(controller, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
        assert sorted(path.parent.iterdir()) == [path]
    assert not path.exists()
    with pytest.raises(Away):
        Client(path).get("/v1/status")


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(controller, tmp_path):
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with serving(controller, path) as client:
        assert (await ask(client, "/v1/status"))["revision"]
        with pytest.raises(Blocked, match="another process answers"):
            await Api(controller, path, logs=journal).start()
        assert (await ask(client, "/v1/status"))["revision"]


async def test_the_name_of_the_socket_may_be_long(controller, tmp_path):
    path = tmp_path / ("d" * 90) / ("e" * 90) / "api.sock"
    path.parent.mkdir(parents=True)
    async with serving(controller, path) as client:
        assert (await ask(client, "/v1/status"))["revision"]
    assert not path.exists()
