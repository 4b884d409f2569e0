"""People who push with their own keys, by the real sshd, git and ssh-keygen; and whoever goes behind their backs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.appliance import REPO, Appliance
from tests.host.fleet import Fleet
from tests.host.machine import Machine
from tests.keygen import Key, signed_commit

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("office")]

HOME = "/root/people"
OWNER = "setpriv --reuid=voxnix-git --regid=voxnix-git --clear-groups"
SSHD = """
Match User voxnix-git
    AuthorizedKeysCommand /usr/local/bin/voxnix keys %f
    AuthorizedKeysCommandUser root
    AuthorizedKeysFile none
    PasswordAuthentication no
"""
PYTHON = "PYTHONPATH=/opt/voxnix/app:/opt/voxnix/site python3"
VERIFY = """
import base64, json, sys
from controller.git.signatures import signature_of, verify
for raw, key in json.load(sys.stdin):
    signed = signature_of(base64.b64decode(raw))
    print(json.dumps(None if signed is None else verify(signed, key)))
"""


class Office:
    """The appliance as it is meant to be: the repository belongs to `voxnix-git`, people come over SSH."""

    def __init__(self, box: Appliance) -> None:
        self.box, self.host = box, box.host

    def open(self) -> None:
        """Make users, keys, sshd's settings and the policy, and start the controller."""
        host = self.host
        host.sh("useradd --system --shell /bin/sh --home-dir /nonexistent --no-create-home voxnix-git")
        host.do("tee", "/etc/ssh/sshd_config.d/voxnix.conf", stdin=SSHD)
        host.sh("systemctl restart ssh")
        for name, kind in {"alice": "ed25519", "bob": "ecdsa", "agent": "ed25519", "mallory": "rsa"}.items():
            host.sh(f"mkdir -p {HOME} && ssh-keygen -q -N '' -t {kind} -f {HOME}/{name} -C '{name}@example'")
        more = 'delegate_keys = "/etc/voxnix/agent.pub"\nsocket_group = "voxnix-git"\npush_wait = 20\n'
        host.sh(f"printf %s {shlex.quote(more)} >>/etc/voxnix/config.toml")
        host.sh(f"install -m 644 {HOME}/agent.pub /etc/voxnix/agent.pub")
        self.box.commit(
            **{
                "tenants/alice": self.tenant("Alice", "alice", role="admin"),
                "tenants/bob": self.tenant("Bob", "bob"),
                "policy": {"identity": "required"},
                "web": {"owner": "bob", "power": "stopped"},
                "dev": {"owner": "alice", "power": "stopped"},
            }
        )
        host.sh(f"voxnix --state {REPO} hooks && chown -R voxnix-git: {REPO}")
        host.sh("systemctl start voxnix-door.service")
        self.box.run()
        self.box.until(lambda: self.box.status().get("revision") == self.head(), "the first revision to be accepted")

    def public(self, name: str) -> str:
        return self.host.do("cat", f"{HOME}/{name}.pub").strip()

    def tenant(self, name: str, key: str, **more: str) -> dict[str, Any]:
        return {"name": name, "ssh_keys": [self.public(key)], "signing_keys": [self.public(key)], **more}

    def head(self) -> str:
        return self.host.sh(f"{OWNER} git -C {REPO} rev-parse main").strip()

    def ssh(self, who: str, *words: str, options: str = "") -> Any:
        """Ask the appliance, as `who`."""
        return self.host.call("sh", "-c", f"{self.command(who)} {options} voxnix-git@localhost {shlex.join(words)}")

    def command(self, who: str) -> str:
        return f"ssh -i {HOME}/{who} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no"

    def push(self, who: str, spec: str, content: str, *, message: str = "change", sign: bool = False) -> Any:
        """Clone over SSH, change one file, commit, push."""
        work = f"/root/work-{who}"
        signing = f"-c gpg.format=ssh -c user.signingKey={HOME}/{who}.pub" if sign else ""
        return self.host.call(
            "sh",
            "-ec",
            f"export GIT_SSH_COMMAND={shlex.quote(self.command(who))}; rm -rf {work};"
            f" git clone -q voxnix-git@localhost:state.git {work}; cd {work};"
            f" git config user.name Somebody; git config user.email x@example.org;"
            f" printf {shlex.quote(content)} >state/{spec}.yaml; git add -A;"
            f" git {signing} commit -q {'-S' if sign else ''} -m {shlex.quote(message)}; git push -q origin HEAD:main",
        )

    def smuggle(self, work: str) -> str:
        """Move the branch to the head of a clone, as the repository's owner, past sshd and the hook."""
        sha = self.host.do("git", "-C", work, "rev-parse", "HEAD").strip()
        self.host.sh(
            f"git -C {work} bundle create -q /tmp/bundle HEAD ^origin/main && chmod 644 /tmp/bundle &&"
            f" {OWNER} sh -c '"
            f"cd {REPO} && git fetch -q /tmp/bundle HEAD && git update-ref refs/heads/main {sha}'"
        )
        return sha

    def followed(self) -> None:
        """The controller goes on to what the branch says."""
        self.box.until(lambda: self.box.status().get("revision") == self.head(), "the head to be accepted")
        assert self.box.status()["refused"] == ""

    def refused(self) -> str:
        """What the controller has against the branch."""
        head = self.head()
        self.box.until(lambda: head[:10] in self.box.status().get("refused", ""), "the head to be refused")
        return str(self.box.status()["refused"])

    def put_back(self) -> None:
        """The branch as it was last accepted."""
        revision = self.box.status()["revision"]
        self.host.sh(f"{OWNER} git -C {REPO} update-ref refs/heads/main {revision}")
        self.box.until(lambda: self.box.status()["refused"] == "", "nothing to be refused")


@pytest.fixture(scope="module")
def office(fleet: Fleet) -> Iterator[Office]:
    machine: Machine = fleet.make("office")
    found = Office(Appliance(machine.boot().make_pool()))
    found.open()
    yield found
    machine.remove()


def test_our_ssh_keygen_agrees_with_the_real_one(office: Office) -> None:
    import base64

    alice, other = Key("alice"), Key("other")
    raw = b"tree " + b"0" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nmessage\n\nwith a body\n"
    good = signed_commit(raw, alice)
    cases = [
        (good, alice, True),
        (good.replace(b"message", b"massage"), alice, False),
        (good.replace(b"author A", b"author B"), alice, False),
        (good, other, False),
        (good.replace(alice.armor(raw).splitlines()[2], b"A" * 70), alice, False),
        (signed_commit(raw + b"\n", alice), alice, True),
        (signed_commit(raw.replace(b"\n\nmess", b"\nencoding x\n\nmess"), alice), alice, True),
    ]
    asked = [(base64.b64encode(data).decode(), " ".join(key.public.split(" ")[:2])) for data, key, _ in cases]
    told = office.host.do("sh", "-c", f"{PYTHON} -c {shlex.quote(VERIFY)}", stdin=json.dumps(asked)).splitlines()
    assert [json.loads(line) == "" for line in told] == [expected for *_, expected in cases], told


def test_a_member_pushes_what_is_theirs_and_is_named(office: Office) -> None:
    pushed = office.push("bob", "web", "owner: bob\npower: stopped\ndescription: mine\n")
    assert pushed.code == 0, pushed
    assert "~ web  changed as it runs: description added" in pushed.err
    office.followed()
    last = json.loads(office.host.do("tail", "-n", "1", f"{REPO}/voxnix/received.jsonl"))
    assert last["commits"] == [office.head()]
    assert last["key"] in office.host.do("ssh-keygen", "-lf", f"{HOME}/bob.pub")


@pytest.mark.parametrize("door", ["start", "stop"])
def test_a_member_pushes_what_is_not_theirs(office: Office, door: str) -> None:
    office.host.sh(f"systemctl {door} voxnix-door.service")
    before = office.head()
    pushed = office.push("bob", "dev", "owner: bob\npower: stopped\n")
    assert pushed.code != 0
    assert "remote: error: state/dev.yaml: `dev` belongs to alice; bob, a member, may not change it" in pushed.err
    assert office.head() == before
    office.host.sh("systemctl start voxnix-door.service")


def test_what_becomes_of_a_push_is_told_in_its_output(office: Office) -> None:
    pushed = office.push("bob", "web", "owner: bob\npower: running\n")
    assert pushed.code == 0, pushed
    assert "~ web  started: power stopped → running" in pushed.err
    assert "web: ready" in pushed.err, pushed.err
    assert office.push("alice", "web", "owner: bob\npower: stopped\n").code == 0
    office.followed()


def test_who_has_no_key_does_not_get_in(office: Office) -> None:
    pushed = office.push("mallory", "web", "owner: bob\n")
    assert pushed.code != 0
    assert "Permission denied" in pushed.err


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_what_git_signs_counts_however_it_came(office: Office, who: str) -> None:
    hook = f"{REPO}/hooks/pre-receive"
    office.host.sh(f"mv {hook} {hook}.away; ln -s /bin/true {hook}")
    content = f"owner: bob\npower: stopped\ndescription: signed by {who}\n"
    pushed = office.push(who, "web", content, sign=True)
    office.host.sh(f"mv {hook}.away {hook}")
    assert pushed.code == 0, pushed.err
    office.followed()


def test_a_branch_moved_behind_the_hook_is_not_followed(office: Office) -> None:
    work = "/root/work-behind"
    office.host.sh(
        f"export GIT_SSH_COMMAND={shlex.quote(office.command('bob'))}; rm -rf {work};"
        f" git clone -q voxnix-git@localhost:state.git {work}; cd {work}; git rm -q state/dev.yaml state/web.yaml;"
        " git -c user.name=x -c user.email=x commit -q -m gone"
    )
    office.smuggle(work)
    refused = office.refused()
    assert "it came past the receiving side" in refused
    assert "voxnix accept-rewrite" in refused
    assert {row["name"] for row in office.box.status()["containers"]} == {"web", "dev"}
    office.put_back()


def test_the_agent_says_for_whom(office: Office) -> None:
    content = "owner: bob\npower: stopped\ndescription: by the agent\n"
    silent = office.push("agent", "web", content)
    assert silent.code != 0
    assert "the delegate has to say for whom it acts" in silent.err
    assert office.push("agent", "web", content, message="change\n\nRequested-by: bob").code == 0
    office.followed()


def test_there_is_no_shell_no_terminal_and_no_way_on(office: Office) -> None:
    assert "gives no shell" in office.ssh("bob").err
    assert "cannot be asked for here" in office.ssh("bob", "id").err
    assert "web" in office.ssh("bob", "status", options="-tt").out
    forwarded = office.ssh("bob", "status", options="-o ExitOnForwardFailure=yes -R 127.0.0.1:9999:127.0.0.1:22")
    assert forwarded.code != 0
    set_by_caller = office.ssh("bob", "status", "dev", options="-o SetEnv=VOXNIX_KEY=SHA256:x")
    assert "bob has no container dev" in set_by_caller.err


def test_questions_are_about_ones_own(office: Office) -> None:
    mine = office.ssh("bob", "status")
    assert mine.code == 0, mine
    assert "web" in mine.out
    assert "dev" not in mine.out
    everything = office.ssh("alice", "status")
    assert "dev" in everything.out


def test_a_key_that_was_taken_away_does_not_get_in(office: Office) -> None:
    without = f"name: Bob\nssh_keys: []\nsigning_keys: ['{office.public('bob')}']\n"
    assert office.push("alice", "tenants/bob", without).code == 0
    office.followed()
    pushed = office.push("bob", "web", "owner: bob\n")
    assert pushed.code != 0
    assert "Permission denied" in pushed.err
