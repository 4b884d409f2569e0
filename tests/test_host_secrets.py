"""Secrets: whose they are, who may use them, how they reach a container, and that no value shows anywhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from controller.errors import BadInput, Waiting
from controller.host.files import Files
from controller.host.secrets import RUNTIME, STORE, Deliveries, SecretStore
from controller.plan.actions import Deliver


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def store(files: Files) -> SecretStore:
    return SecretStore(files)


@pytest.fixture
def deliveries(files: Files, store: SecretStore) -> Deliveries:
    return Deliveries(files, store)


def test_names_are_own_ones_and_those_shared(store: SecretStore) -> None:
    store.put("alice", "token", b"a")
    store.put("alice", "db", b"b", shared_with=["bob", "alice"])
    store.put("bob", "token", b"c")
    assert store.names() == {"alice": {"token", "db"}, "bob": {"token", "alice/db"}}


def test_a_secret_that_is_not_shared_any_more_is_not_found(store: SecretStore) -> None:
    store.put("alice", "db", b"b", shared_with=["bob"])
    assert store.find("bob", "alice/db") == f"{STORE}/alice/db"
    assert store.find("eve", "alice/db") is None
    store.put("alice", "db", b"b")
    assert store.find("bob", "alice/db") is None
    assert store.find("alice", "alice/db") == store.find("alice", "db") == f"{STORE}/alice/db"


def test_a_stored_secret_is_private(store: SecretStore, files: Files) -> None:
    store.put("alice", "token", b"value")
    path = files.path(f"{STORE}/alice/token")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("tenant", "name", "value"),
    [
        ("../etc", "x", b"v"),
        ("alice", "../x", b"v"),
        ("alice", "x.shared", b"v"),
        ("alice", "X", b"v"),
        ("alice", "x", b""),
        ("alice", "x", b"v" * 70_000),
    ],
)
def test_what_cannot_be_stored_is_refused_without_its_value(
    store: SecretStore, tenant: str, name: str, value: bytes
) -> None:
    with pytest.raises(BadInput) as caught:
        store.put(tenant, name, value)
    assert "vv" not in str(caught.value)


def test_a_dropped_secret_is_gone_with_its_list(store: SecretStore, files: Files) -> None:
    store.put("alice", "db", b"b", shared_with=["bob"])
    assert store.drop("alice", "db")
    assert not store.drop("alice", "db")
    assert store.names() == {}
    assert os.listdir(files.path(f"{STORE}/alice")) == []


def test_delivery_and_what_is_seen_of_it(store: SecretStore, deliveries: Deliveries, files: Files) -> None:
    store.put("alice", "token", b"one")
    store.put("bob", "token", b"two", shared_with=["alice"])
    deliveries.deliver(Deliver("dev", "alice", ("token", "bob/token")))
    base = files.path(f"{RUNTIME}/dev")
    assert (base / "secrets/token").read_bytes() == b"one"
    assert (base / "shared/bob/token").read_bytes() == b"two"
    assert stat.S_IMODE((base / "secrets/token").stat().st_mode) == 0o400
    assert stat.S_IMODE(base.stat().st_mode) == 0o700
    assert deliveries.observe({"dev": "alice"}) == {"dev": {"token": "current", "bob/token": "current"}}


def test_a_changed_or_dropped_secret_makes_what_was_delivered_stale(store: SecretStore, deliveries: Deliveries) -> None:
    store.put("alice", "a", b"one")
    store.put("alice", "b", b"one")
    deliveries.deliver(Deliver("dev", "alice", ("a", "b")))
    store.put("alice", "a", b"two")
    store.drop("alice", "b")
    assert deliveries.observe({"dev": "alice"}) == {"dev": {"a": "stale", "b": "stale"}}


def test_a_delivery_takes_away_what_is_not_asked_for_any_more(
    store: SecretStore, deliveries: Deliveries, files: Files
) -> None:
    store.put("alice", "a", b"one")
    deliveries.deliver(Deliver("dev", "alice", ("a",)))
    (files.path(f"{RUNTIME}/dev/secrets") / ".a.new").write_text("half")
    deliveries.deliver(Deliver("dev", "alice", ()))
    assert deliveries.observe({"dev": "alice"}) == {"dev": {}}
    assert os.listdir(files.path(f"{RUNTIME}/dev/secrets")) == []


def test_a_missing_secret_is_waited_for_and_nothing_is_changed(store: SecretStore, deliveries: Deliveries) -> None:
    store.put("alice", "a", b"one")
    with pytest.raises(Waiting, match=r"voxnix secret set alice/b"):
        deliveries.deliver(Deliver("dev", "alice", ("a", "b")))
    with pytest.raises(Waiting, match=r"voxnix secret set bob/c --share alice"):
        deliveries.deliver(Deliver("dev", "alice", ("bob/c",)))
    assert deliveries.observe({}) == {}


def test_files_of_a_removed_container_are_gone(store: SecretStore, deliveries: Deliveries, files: Files) -> None:
    store.put("alice", "a", b"one")
    deliveries.deliver(Deliver("dev", "alice", ("a",)))
    deliveries.remove("dev")
    deliveries.remove("dev")
    assert not files.there(f"{RUNTIME}/dev")
