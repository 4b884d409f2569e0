"""Who speaks from which chat."""

from __future__ import annotations

from agent.people import chats, person, speakers
from controller.spec.model import Tenant

TENANTS = {
    "alice": Tenant(id="alice", name="Alice", role="admin", telegram=(1, 2, 9)),
    "bob": Tenant(id="bob", name="Bob", telegram=(3, 9)),
}


def test_a_chat_speaks_for_one_tenant_or_for_nobody():
    found = speakers(TENANTS)
    assert {chat: one.id for chat, one in found.items()} == {1: "alice", 2: "alice", 3: "bob"}
    assert found[1].admin
    assert not found[3].admin
    assert chats(TENANTS, "alice") == ["1", "2"]
    assert person(TENANTS, "mallory") is None
    assert person(TENANTS, "bob").name == "Bob"
