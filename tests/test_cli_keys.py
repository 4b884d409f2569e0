"""`voxnix keys`: what sshd is told."""

from __future__ import annotations

import pytest

from controller.store import Accepted, Row
from tests.cli import Shell
from tests.keygen import Key
from tests.pushers import AGENT, ALICE, BOB, STRANGER, TENANTS, tenant
from tests.test_store import NOW


@pytest.fixture
def shell(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SSH_ORIGINAL_COMMAND", raising=False)
    found = Shell(tmp_path, capsys, monkeypatch)
    return found.begin({**TENANTS, "state/web.yaml": "owner: bob\n", "state/dev.yaml": "owner: alice\n"})


def line(shell, key, name):
    words = f"voxnix --state {shell.path} --host sim:{shell.sim} serve --key {key.fingerprint}"
    return f'restrict,pty,command="{words}" {" ".join(key.public.split(" ")[:2])} {name}'


class TestKeys:
    def test_every_key_that_pushes_has_a_line(self, shell):
        assert shell.good("keys").out.splitlines() == [line(shell, ALICE, "alice"), line(shell, BOB, "bob")]

    def test_as_sshd_asks_for_one(self, shell):
        assert shell.good("keys", BOB.fingerprint).out.splitlines() == [line(shell, BOB, "bob")]
        assert shell.good("keys", STRANGER.fingerprint).out == ""
        assert "is no fingerprint" in shell.run("keys", "SHA256:x").err

    def test_the_accepted_revision_decides_not_what_the_branch_says(self, shell):
        accept(shell)
        shell.commit({"state/tenants/bob.yaml": tenant("Bob", STRANGER, Key("x"), role="admin")})
        assert shell.good("keys").out.splitlines() == [line(shell, ALICE, "alice"), line(shell, BOB, "bob")]

    def test_who_was_removed_has_no_line_though_the_store_remembers_them(self, shell):
        accept(shell, leave_out="state/tenants/bob.yaml")
        assert shell.good("keys").out.splitlines() == [line(shell, ALICE, "alice")]

    def test_a_key_of_two_is_left_out_and_told(self, shell):
        shell.commit({"state/tenants/carol.yaml": tenant("Carol", Key("carol"), BOB)})
        said = shell.good("keys")
        assert BOB.fingerprint not in said.out
        assert f"{BOB.fingerprint} is left out: it is of tenant bob and of tenant carol" in said.err

    def test_the_agents_keys_are_among_them(self, shell):
        config = shell.directory / "config.toml"
        config.write_text(f"delegate_keys = [{AGENT.public!r}]\n")
        said = shell.good("--config", str(config), "keys", "--command", "/opt/voxnix")
        [found] = [line for line in said.out.splitlines() if line.endswith(" delegate")]
        assert found.startswith(f'restrict,pty,command="/opt/voxnix --config {config} --state ')

    def test_as_values(self, shell):
        told = shell.good("--json", "keys").json
        assert told["revision"] == shell.repo.head()
        assert [(key["tenant"], key["fingerprint"]) for key in told["keys"]] == [
            ("alice", ALICE.fingerprint),
            ("bob", BOB.fingerprint),
        ]


def accept(shell, *, leave_out=""):
    """A store as a controller leaves it that has accepted the present head."""
    from controller.cli.keys import tenants_at

    head = shell.repo.head()
    tree = shell.repo.tree(head)
    rows = {path: Row(blob.mode, blob.oid, head, NOW) for path, blob in tree.items() if path != leave_out}
    tenants = {name: found.model_dump_json() for name, found in tenants_at(shell.repo, head).items()}
    with shell.store as store:
        store.accept(Accepted(head, tree=rows, tenants=tenants, whole=True))
