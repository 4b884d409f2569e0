"""Whose a key is, and the lines that sshd is told."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import BadInput
from controller.receive import Keys, authorized_keys, fingerprint, read_keys
from controller.settings import Settings, load
from controller.spec.model import Tenant
from tests.keygen import Key, string
from tests.pushers import AGENT, ALICE, BOB, BOB_SIGNS

SERVE = ("voxnix", "serve")


def tenant(name, *, pushes=(), signs=()):
    return Tenant(
        id=name, name=name, ssh_keys=tuple(k.public for k in pushes), signing_keys=tuple(k.public for k in signs)
    )


def people(*tenants):
    return {found.id: found for found in tenants}


def test_a_fingerprint_is_as_openssh_writes_it():
    assert fingerprint(ALICE.public) == "SHA256:WeXpogacdCqvmaxuNZFUpT1Te6ZU/j7aPAocB0T2i8o"
    assert fingerprint(ALICE.public.rpartition(" ")[0]) == ALICE.fingerprint


@pytest.mark.parametrize(
    "key",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3M= x",
        "ssh-rsa " + ALICE.public.split(" ")[1],
        "ssh-ed25519-cert-v01@openssh.com "
        + base64.b64encode(string(b"ssh-ed25519-cert-v01@openssh.com") * 3).decode(),
        'command="sh" ' + ALICE.public,
        "cert-authority " + ALICE.public,
        ALICE.public.replace(" ", "  "),
        "\n" + ALICE.public,
    ],
)
def test_what_is_no_key(key):
    with pytest.raises(ValueError, match="no SSH public key"):
        fingerprint(key)


def test_keys_count_for_what_they_are_listed_for():
    keys = Keys(people(tenant("bob", pushes=[BOB], signs=[BOB_SIGNS])), [AGENT.public])
    assert {key: owner.tenant for key, owner in keys.pushing.items()} == {
        BOB.fingerprint: "bob",
        AGENT.fingerprint: None,
    }
    assert {key: owner.tenant for key, owner in keys.signing.items()} == {
        BOB_SIGNS.fingerprint: "bob",
        AGENT.fingerprint: None,
    }


@pytest.mark.parametrize(
    ("tenants", "delegates"),
    [
        ([tenant("alice", pushes=[BOB]), tenant("bob", pushes=[BOB])], []),
        ([tenant("alice", signs=[BOB]), tenant("bob", pushes=[BOB])], []),
        ([tenant("bob", pushes=[BOB])], [BOB.public]),
        ([tenant("bob", signs=[BOB])], [BOB.public]),
    ],
)
def test_a_key_of_several_is_nobodys(tenants, delegates):
    keys = Keys(people(*tenants), delegates)
    assert keys.pushing == keys.signing == {}
    assert len(keys.shared[BOB.fingerprint]) == 2


def test_the_same_key_for_both_uses_of_one_tenant_is_theirs():
    keys = Keys(people(tenant("bob", pushes=[BOB], signs=[BOB])))
    assert keys.pushing.keys() == keys.signing.keys() == {BOB.fingerprint}


def test_lines_say_who_may_do_what():
    keys = Keys(people(tenant("bob", pushes=[BOB], signs=[BOB_SIGNS])), [AGENT.public])
    key = " ".join(BOB.public.split(" ")[:2])
    lines = list(authorized_keys(keys, SERVE))
    assert f'restrict,pty,command="voxnix serve --key {BOB.fingerprint}" {key} bob' in lines
    assert any(line.endswith(" delegate") for line in lines)
    assert list(authorized_keys(keys, SERVE, only=BOB.fingerprint)) == [line for line in lines if line.endswith(" bob")]
    assert list(authorized_keys(keys, SERVE, only=Key("nobody").fingerprint)) == []


def test_nothing_of_a_comment_gets_into_a_line():
    evil = f'{" ".join(BOB.public.split(" ")[:2])} x",command="sh" ssh-ed25519 AAAA\tcert-authority'
    bob = Tenant(id="bob", name="Bob", ssh_keys=(evil,))
    [line] = authorized_keys(Keys(people(bob)), SERVE)
    bare = " ".join(BOB.public.split(" ")[:2])
    assert line == f'restrict,pty,command="voxnix serve --key {BOB.fingerprint}" {bare} bob'


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
def test_a_line_has_one_command_whatever_it_is(words):
    keys = Keys(people(tenant("bob", pushes=[BOB])))
    try:
        [line] = authorized_keys(keys, words)
    except BadInput:
        return
    match = re.fullmatch(r'restrict,pty,command="((?:[^"\\]|\\")*)" (\S+ \S+ \S+)', line)
    assert match
    assert match[1].replace('\\"', '"').endswith(f" --key {BOB.fingerprint}")


def test_keys_of_a_file_are_read_without_comments():
    assert read_keys(f"# agent\n\n  {AGENT.public}\n", "x") == (" ".join(AGENT.public.split(" ")[:2]),)
    with pytest.raises(BadInput, match=r"agent.pub:2: this is no SSH public key"):
        read_keys(f"{AGENT.public}\nnonsense\n", "agent.pub")


class TestSettings:
    def test_the_agents_keys_are_a_list_a_text_or_a_file(self, tmp_path):
        file, config = tmp_path / "agent.pub", tmp_path / "config.toml"
        file.write_text(AGENT.public)
        expected = (" ".join(AGENT.public.split(" ")[:2]),)
        for value in (f"[{AGENT.public!r}]", repr(AGENT.public), repr(str(file))):
            config.write_text(f"delegate_keys = {value}\n")
            assert load({"config": str(config)}, {}).delegates == expected
        assert Settings().delegates == ()

    @pytest.mark.parametrize("value", ["/nowhere/agent.pub", "ssh-ed25519 nonsense"])
    def test_what_is_no_key_is_told(self, value):
        with pytest.raises(BadInput, match=r"delegate_keys|/nowhere/agent.pub"):
            assert Settings(delegate_keys=value).delegates
