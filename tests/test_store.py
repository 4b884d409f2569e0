import os
import sqlite3
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from controller.errors import Blocked, Transient
from controller.plan.clock import Instant
from controller.plan.memory import Adoption, Backoff, Debt, Entry, Memory, Suspension
from controller.spec.state import Decision, DecisionKind
from controller.store import (
    Accepted,
    Event,
    Removal,
    Row,
    Store,
    StoreUnreadable,
    controller_lock,
)
from controller.store.lock import controller_pid
from controller.store.schema import MIGRATIONS
from controller.store.store import EVENTS_KEPT

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "store.db"


@pytest.fixture
def store(path):
    with Store.open(path, create=True) as store:
        yield store
    while readers:
        readers.pop().close()


readers = []


def again(store):
    """What another process would read."""
    readers.append(Store.open(store.path, readonly=True))
    return readers[-1]


class TestOpen:
    def test_absent_is_told_and_makes_nothing(self, path):
        assert Store.open(path) is None
        assert not path.parent.exists()

    def test_a_new_store_is_private_and_empty(self, path):
        with Store.open(path, create=True) as store:
            assert store.created
            assert store.memory() == Memory()
            assert store.revision is None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert sorted(os.listdir(path.parent)) == ["store.db"]
        with Store.open(path, create=True) as store:
            assert not store.created

    @pytest.mark.parametrize("content", [b"", b"rubbish" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
    @pytest.mark.parametrize("create", [True, False])
    @pytest.mark.parametrize("readonly", [True, False])
    def test_a_file_that_is_no_store_is_a_stop_and_stays(self, path, content, create, readonly):
        path.parent.mkdir()
        path.write_bytes(content)
        with pytest.raises(StoreUnreadable, match="cannot be read"):
            Store.open(path, create=create, readonly=readonly)
        assert path.read_bytes() == content

    def test_somebody_elses_database_is_a_stop(self, path):
        path.parent.mkdir()
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE things (a)")
        other.execute("PRAGMA user_version = 1")
        other.close()
        with pytest.raises(StoreUnreadable, match="not a voxnix store"):
            Store.open(path, create=True)

    @pytest.mark.parametrize("change", ["DROP TABLE debts", "ALTER TABLE inventory ADD COLUMN x"])
    def test_other_tables_are_a_stop(self, store, path, change):
        store.write(change)
        store.close()
        with pytest.raises(StoreUnreadable, match="tables"):
            Store.open(path, create=True)

    def test_a_newer_store_is_a_stop(self, store, path):
        store.query(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        store.close()
        for create in (True, False):
            with pytest.raises(StoreUnreadable, match="newer voxnix"):
                Store.open(path, create=create)

    def test_damaged_pages_are_a_stop(self, path):
        with Store.open(path, create=True) as store:
            store.publish({f"c{number}": "x" * 500 for number in range(200)})
        data = bytearray(path.read_bytes())
        data[len(data) // 2 :] = b"\x5a" * (len(data) - len(data) // 2)
        path.write_bytes(data)
        with pytest.raises(StoreUnreadable):
            Store.open(path, create=True)

    def test_a_truncated_file_is_a_stop(self, path):
        with Store.open(path, create=True) as store:
            store.publish({f"c{number}": "x" * 500 for number in range(200)})
        path.write_bytes(path.read_bytes()[: 3 * 4096])
        with pytest.raises(StoreUnreadable):
            Store.open(path, create=True)

    def test_a_directory_or_dangling_link_is_a_stop(self, path):
        path.mkdir(parents=True)
        with pytest.raises(StoreUnreadable):
            Store.open(path, create=True)
        path.rmdir()
        path.symlink_to("nowhere")
        with pytest.raises(StoreUnreadable):
            Store.open(path)

    def test_two_makers_at_once_make_one(self, path):
        stores = []
        threads = [threading.Thread(target=lambda: stores.append(Store.open(path, create=True))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(stores) == 8
        stores[0].put("x", 1)
        assert {store.get("x") for store in stores} == {1}
        for store in stores:
            store.close()

    def test_a_busy_store_is_transient(self, store, path):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store.query("PRAGMA busy_timeout = 10")
        with pytest.raises(Transient, match="busy"):
            store.put("x", 1)
        other.execute("ROLLBACK")
        other.close()
        store.put("x", 1)

    def test_readers_import_nothing_heavy(self, store):
        code = (
            "import sys; from controller.store import Store; from pathlib import Path;"
            f"Store.open(Path({str(store.path)!r}), readonly=True).statuses();"
            "print([name for name in ('pydantic', 'yaml', 'git', 'asyncio', 'controller.plan') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestMemory:
    def test_everything_comes_back_as_it_was(self, store):
        entry = Entry("u1", "dev", "alice", "d1", "n1", "running", NOW)
        backoff = Backoff(3, NOW, "no", "r1", "start", "try", True, "x")
        debt, adoption = Debt("u1", "dev", "n1", NOW), Adoption("web", "/nix/store/x", "root", NOW)
        suspension = Suspension("root", NOW, "moving house")
        store.put_entry(entry)
        store.failed("container/dev", backoff)
        store.note_debt(debt)
        store.adopt(adoption)
        store.suspend(suspension)
        store.destroying("u2", NOW)
        store.rebuilt = "2026-11-23"
        expected = Memory(
            inventory={"u1": entry},
            backoff={"container/dev": backoff},
            debts={"n1": debt},
            destroys={"u2": NOW},
            adopted={"web": adoption},
            suspended=suspension,
            rebuilt="2026-11-23",
        )
        assert store.memory() == again(store).memory() == expected
        assert not store.memory(clock_steady=False).clock_steady

    def test_everything_can_be_forgotten(self, store):
        store.put_entry(Entry("u1", "dev", "alice"))
        store.failed("l", Backoff(1, NOW, "no", "r"))
        store.note_debt(Debt("u1", "dev", "n1", NOW))
        store.adopt(Adoption("web", "/nix", "root", NOW))
        store.suspend(Suspension("root", NOW, "x"))
        store.drop_entry("u1")
        store.succeeded("l")
        store.forget_debt("n1")
        store.adopted("web")
        store.resume()
        assert store.memory() == Memory()

    def test_a_debt_and_a_removal_keep_their_first_date(self, store):
        later = NOW + timedelta(hours=1)
        store.put_entry(Entry("u1", "dev", "alice"))
        for at in (NOW, later):
            store.note_debt(Debt("u1", "dev", "n1", at))
            store.destroying("u1", at)
        memory = store.memory()
        assert memory.debts["n1"].since == memory.destroys["u1"] == memory.inventory["u1"].removing == NOW

    def test_old_removals_are_forgotten(self, store):
        store.destroying("u1", NOW - timedelta(days=2))
        store.destroying("u2", NOW)
        assert set(store.memory().destroys) == {"u2"}

    def test_is_read_once_until_somebody_writes(self, store):
        first = store.memory()
        store.publish({"dev": "{}"}, summary="{}")
        assert store.memory() is first
        with Store.open(store.path) as other:
            other.suspend(Suspension("root", NOW, "x"))
        assert store.memory().suspended is not None

    def test_a_failed_group_leaves_nothing(self, store):
        def fail():
            with store.transaction():
                store.put_entry(Entry("u1", "dev", "alice"))
                assert store.memory().inventory
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert store.memory() == Memory()

    def test_instants(self, store):
        assert store.last_pass is None
        store.passed(Instant(NOW, 12.5, "boot", 3.5))
        assert store.last_pass == again(store).last_pass == Instant(NOW, 12.5, "boot", 3.5)

    def test_another_boot_ends_pauses_but_not_failures(self, store):
        store.passed(Instant(NOW, 12.5, "one"))
        store.failed("down", Backoff(3, NOW, "", "r"))
        store.failed("broken", Backoff(3, NOW, "no", "r"))
        store.passed(Instant(NOW, 13.5, "one"))
        assert set(store.memory().backoff) == {"down", "broken"}
        store.passed(Instant(NOW, 1.5, "two"))
        assert set(store.memory().backoff) == set(again(store).memory().backoff) == {"broken"}

    def test_an_instant_without_zone_is_refused(self, store):
        with pytest.raises(ValueError, match="time zone"):
            store.destroying("u1", NOW.replace(tzinfo=None))

    def test_appliance(self, store):
        assert store.appliance is None
        store.appliance = "a1"
        assert again(store).appliance == "a1"


def decision(sha, at=NOW, kind=DecisionKind.RESTART):
    return Decision(kind, "u1", sha, at, by="alice", admin=False, detail="x", delegate=True)


class TestRevision:
    def test_is_accepted_as_a_whole(self, store):
        row = Row("100644", "o1", "r0", NOW, delegate=True)
        store.accept(
            Accepted(
                "r1",
                tree={"state/dev.yaml": row},
                removed={"old": Removal("r0", paused=True)},
                moves={"dev": "a"},
                last_good={"dev": "{}"},
                tenants={"alice": "{}"},
                decisions=(decision("r1"),),
            )
        )
        for reader in (store, again(store)):
            assert reader.revision == "r1"
            assert reader.tree() == {"state/dev.yaml": row}
            assert reader.removed() == {"old": Removal("r0", paused=True)}
            assert (reader.moves(), reader.last_good(), reader.tenants()) == (
                {"dev": "a"},
                {"dev": "{}"},
                {"alice": "{}"},
            )
            assert reader.decisions() == (decision("r1"),)

    def test_changes_add_to_what_is_known_unless_whole(self, store):
        row = Row("100644", "o1", "r0", NOW)
        store.accept(Accepted("r1", tree={"a": row, "b": row}, moves={"x": "h", "y": "h"}))
        store.accept(Accepted("r2", tree={"a": None}, moves={"y": None}))
        assert (set(store.tree()), store.moves()) == ({"b"}, {"x": "h"})
        store.accept(Accepted("r3", tree={"c": row}, whole=True))
        assert (set(store.tree()), store.moves(), store.revision) == ({"c"}, {}, "r3")

    def test_decisions_run_once_in_order(self, store):
        store.accept(Accepted("r1", decisions=(decision("b"), decision("a"))))
        assert [found.commit for found in store.decisions()] == ["b", "a"]
        store.decided("b")
        assert [found.commit for found in store.decisions()] == ["a"]
        assert store.memory().decided == {"b"}
        store.accept(Accepted("r2", decisions=(decision("b"), decision("c"))))
        assert [found.commit for found in store.decisions()] == ["a", "c"]
        store.forget_decisions(NOW + timedelta(days=61))
        assert store.decisions() == ()
        assert store.memory().decided == set()

    def test_rewrites(self, store):
        assert store.rewrites() == ()
        store.accept_rewrite("r1", "root", "cleaned up", NOW)
        store.accept_rewrite("r2", "root", "again", NOW + timedelta(hours=1))
        assert again(store).rewrites() == ("r2", "r1")

    def test_results_belong_to_their_reader(self, store):
        store.put_results("v1", {("o1", "a"): "1", ("o2", "b"): "2"})
        assert store.results("v1") == {("o1", "a"): "1", ("o2", "b"): "2"}
        assert store.results("v2") == {}
        store.put_results("v2", {("o1", "a"): "3"})
        assert store.results("v1") == {}
        assert store.results("v2") == {("o1", "a"): "3"}

    def test_results_are_bounded(self, store):
        store.put_results("v", {(str(number), "a"): "" for number in range(1500)})
        assert store.trim_results([("7", "a")]) == 1499
        assert store.results("v") == {("7", "a"): ""}
        assert store.trim_results([]) == 0


class TestPublished:
    def test_only_changed_rows_are_written(self, store):
        store.publish({"a": "1", "b": "1"}, summary="s")
        other = again(store)
        before = other.seen()
        store.publish({"a": "1", "b": "1"}, summary="s")
        assert other.statuses() == {"a": "1", "b": "1"}
        store.publish({"a": "2", "b": "1"}, gone=["c"], summary="t")
        assert other.seen() != before
        assert (other.statuses(), other.status("a"), other.summary()) == ({"a": "2", "b": "1"}, "2", "t")
        store.publish({"a": "2"}, gone=["b"])
        assert (other.statuses(), other.status("b")) == ({"a": "2"}, None)

    def test_another_writer_is_noticed(self, store):
        store.publish({"a": "1"})
        with Store.open(store.path) as other:
            other.publish({"a": "2"})
        store.publish({"a": "1"})
        assert store.statuses() == {"a": "1"}

    def test_a_group_that_failed_is_published_again(self, store):
        def fail():
            with store.transaction():
                store.publish({"a": "1"})
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        store.publish({"a": "1"})
        assert store.statuses() == {"a": "1"}

    def test_events_are_numbered_filtered_and_bounded(self, store):
        assert (store.events(), store.last_event()) == ((), 0)
        store.record([Event(NOW, "start", f"m{number}", container=f"c{number % 2}") for number in range(10)])
        assert [event.message for event in store.events(limit=3)] == ["m7", "m8", "m9"]
        assert [event.id for event in store.events(after=8)] == [9, 10]
        assert [event.id for event in store.events(after=2, limit=2)] == [3, 4]
        assert [event.message for event in again(store).events(container="c1", limit=2)] == ["m7", "m9"]
        store.record([Event(NOW, "x", "y", "error", "c", "r", "why")] * EVENTS_KEPT)
        assert store.events(limit=1)[0] == Event(NOW, "x", "y", "error", "c", "r", "why", id=EVENTS_KEPT + 10)
        assert len(store.events(limit=10**6)) == EVENTS_KEPT
        assert store.last_event() == EVENTS_KEPT + 10

    def test_notes(self, store):
        assert store.get("x") is None
        store.put("x", {"a": [1]})
        assert again(store).get("x") == {"a": [1]}


class TestLock:
    def test_a_second_controller_is_refused_by_name(self, tmp_path):
        with controller_lock(tmp_path):
            assert controller_pid(tmp_path) == os.getpid()
            with pytest.raises(Blocked, match=f"process {os.getpid()}"), controller_lock(tmp_path):
                pass
        assert controller_pid(tmp_path) is None
        with controller_lock(tmp_path):
            pass

    def test_a_killed_holder_holds_nothing(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from controller.store import controller_lock\n"
            "with controller_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Blocked, match=f"process {holder.pid}"), controller_lock(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with controller_lock(tmp_path):
            pass
        holder.stdin.close()
        holder.stdout.close()


def test_what_was_written_survives_a_kill(path):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from controller.store import Store; from controller.plan.memory import Entry\n"
        "s = Store.open(Path(sys.argv[1]), create=True)\n"
        "for n in range(50): s.put_entry(Entry(f'u{n}', 'dev', 'alice'))\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with Store.open(path, create=True) as store:
        assert len(store.memory().inventory) == 50
