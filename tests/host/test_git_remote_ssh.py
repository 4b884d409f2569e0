"""A state repo on a forge that is reached by SSH: the real sshd, git and ssh-keygen, a deploy key, a host key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.appliance import Appliance
from tests.host.fleet import Fleet
from tests.host.machine import Machine

pytestmark = [pytest.mark.host, pytest.mark.xdist_group("forge")]

FORGE = "/srv/forge/state.git"
KEYS = "/var/lib/voxnix-keys"
AS_GIT = "setpriv --reuid=git --regid=git --clear-groups"
CONFIG = """
repository = "ssh://git@localhost/srv/forge/state.git"
[remote]
key = "{keys}/deploy"
known_hosts = "{keys}/known_hosts"
sign_with = "{keys}/signing"
poll = {poll}
"""
HANG = """
import socket
with socket.create_server(("127.0.0.1", 2222)) as server:
    print("ready", flush=True)
    while True:
        kept = server.accept()[0]
        globals().setdefault("all_of_them", []).append(kept)
"""


class Forge:
    """A forge on the very host that follows it: the account `git`, with one deploy key."""

    def __init__(self, box: Appliance) -> None:
        self.box, self.host = box, box.host
        self.config = ""

    def open(self) -> None:
        """Make the account, its repository, all keys, and the appliance's settings."""
        host = self.host
        host.sh("useradd --system --shell /usr/bin/git-shell --home-dir /srv/forge --create-home git")
        host.sh(f"mkdir -m 700 {KEYS} && mkdir -p /srv/forge/.ssh && systemctl start ssh")
        for name in ("deploy", "signing", "stranger"):
            host.sh(f"ssh-keygen -q -t ed25519 -N '' -C {name} -f {KEYS}/{name}")
        self.admit("deploy")
        host.sh(f"sed 's/^/localhost /' /etc/ssh/ssh_host_ed25519_key.pub | cut -d' ' -f1-3 >{KEYS}/known_hosts")
        signing = host.do("cat", f"{KEYS}/signing.pub").strip()
        self.box.commit(
            **{
                "tenants/alice": {"name": "Alice", "role": "admin", "signing_keys": [signing]},
                "policy": {"identity": "required"},
                "dev": {"owner": "alice"},
            }
        )
        host.sh(f"git clone -q --bare /srv/state.git {FORGE} && chown -R git: /srv/forge")
        host.sh(f"git -C /srv/work remote set-url origin {FORGE} && git config --global safe.directory '*'")
        self.config = host.do("cat", "/etc/voxnix/config.toml")
        self.settle()

    def settle(self, poll: int = 3600, **more: str) -> None:
        """The settings, with some of them as given."""
        text = CONFIG.format(keys=KEYS, poll=poll)
        for name, value in more.items():
            lines = [f'{name} = "{value}"' if line.startswith(f"{name} =") else line for line in text.splitlines()]
            text = "\n".join(line for line in lines if value or not line.startswith(f"{name} ="))
        kept = "\n".join(line for line in self.config.splitlines() if not line.startswith("state"))
        head, bracket, tables = kept.partition("\n[")
        first, _, remote = text.partition("[remote]")
        self.host.do("tee", "/etc/voxnix/config.toml", stdin=f"{head}\n{first}\n{bracket}{tables}\n[remote]{remote}\n")

    def admit(self, *names: str, options: str = "restrict") -> None:
        """Whose deploy keys open the account."""
        lines = [f"{options} {self.host.do('cat', f'{KEYS}/{name}.pub').strip()}" for name in names]
        self.host.do("tee", "/srv/forge/.ssh/authorized_keys", stdin="\n".join([*lines, ""]))

    def head(self) -> str:
        return self.host.sh(f"{AS_GIT} git -C {FORGE} rev-parse main").strip()

    def push(self, content: str, *, sign: bool = True, words: str = "") -> str:
        """An admin commits in a clone of their own, and pushes."""
        signing = f"-c gpg.format=ssh -c user.signingKey={KEYS}/signing" if sign else ""
        self.host.do("tee", "/srv/work/state/dev.yaml", stdin=content)
        self.host.sh(
            f"cd /srv/work && git add -A && git {signing} commit -q {'-S' if sign else ''} -m change &&"
            f" git push -q {words} origin HEAD:main && chown -R git: {FORGE}"
        )
        return self.head()

    def back_to(self, revision: str) -> None:
        """The clone, and the branch, as they were."""
        self.host.sh(f"cd /srv/work && git reset -q --hard {revision} && git push -qf origin HEAD:main")
        self.host.sh(f"chown -R git: {FORGE}")

    def refused(self, *words: str) -> str:
        """What a command that asks the forge has to say, when it cannot."""
        found = self.host.call("voxnix", "history")
        assert found.code == 1, found
        for word in words:
            assert word in found.err, found.err
        return str(found.err)

    def doctor(self) -> dict[str, Any]:
        """The doctor's findings about the state repo."""
        checks = json.loads(self.host.call("voxnix", "doctor", "--json").out)["checks"]
        return {check["what"]: check for check in checks if check["what"].startswith("state repo")}


@pytest.fixture(scope="module")
def forge(fleet: Fleet) -> Iterator[Forge]:
    machine: Machine = fleet.make("forge")
    found = Forge(Appliance(machine.boot().make_pool()))
    found.open()
    yield found
    machine.remove()


@pytest.fixture(autouse=True)
def as_it_was(forge: Forge) -> Iterator[None]:
    """Settings and keys are back as they were after each test."""
    yield
    forge.settle()
    forge.admit("deploy")
    forge.host.sh(f"rm -rf /var/lib/voxnix/copy.git; chmod 600 {KEYS}/deploy")


def test_the_doctor_finds_all_well(forge: Forge) -> None:
    found = forge.doctor()
    assert {check["state"] for check in found.values()} == {"fine"}, found
    assert found["state repo identity"]["found"] == "commands sign as alice"


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("key", f"{KEYS}/stranger", ("Permission denied (publickey", "a deploy key of this repository")),
        ("key", f"{KEYS}/none", ("there is no deploy key at",)),
        ("key", f"{KEYS}/public", ("is no private key",)),
        ("known_hosts", f"{KEYS}/wrong", ("host key", "compare what `ssh-keyscan localhost` prints")),
        ("known_hosts", f"{KEYS}/empty", ("No ED25519 host key is known", "compare what `ssh-keyscan localhost`")),
        ("known_hosts", "", ("remote.known_hosts is missing", "ssh-keyscan localhost")),
        ("key", "", ("no remote.key opens it", "ssh-keygen")),
    ],
)
def test_what_is_wrong_with_the_keys_is_told(forge: Forge, setting: str, value: str, words: tuple[str, ...]) -> None:
    forge.host.sh(f"cut -d' ' -f1-2 {KEYS}/stranger.pub | sed 's/^/localhost /' >{KEYS}/wrong; touch {KEYS}/empty")
    forge.host.sh(f"install -m 600 {KEYS}/deploy.pub {KEYS}/public")
    forge.settle(**{setting: value})
    forge.refused(*words)


def test_a_key_that_others_can_read_is_not_used(forge: Forge) -> None:
    forge.host.sh(f"chmod 644 {KEYS}/deploy")
    forge.refused("can be read by others (mode 0644)", f"chmod 600 {KEYS}/deploy")
    assert forge.doctor()["state repo access"]["state"] == "fails"


def test_a_key_with_a_passphrase_is_told(forge: Forge) -> None:
    forge.host.sh(f"ssh-keygen -q -t ed25519 -N secret -f {KEYS}/locked")
    forge.settle(key=f"{KEYS}/locked")
    forge.refused("has a passphrase", "ssh-keygen -p")


def test_no_agent_and_no_settings_of_the_user_count(forge: Forge) -> None:
    forge.admit("stranger")
    forge.host.sh(
        f"mkdir -p /root/.ssh && cp {KEYS}/stranger /root/.ssh/id_ed25519 &&"
        f" printf 'Host *\\n IdentityFile {KEYS}/stranger\\n StrictHostKeyChecking no\\n' >/root/.ssh/config"
    )
    found = forge.host.sh(
        f"eval $(ssh-agent) >/dev/null; ssh-add -q {KEYS}/stranger; voxnix history 2>&1 || true; kill $SSH_AGENT_PID"
    )
    forge.host.sh("rm -r /root/.ssh")
    assert "Permission denied (publickey" in found


def test_a_key_that_may_only_read_is_told(forge: Forge) -> None:
    said = "ERROR: The key you are authenticating with has been marked as read only."
    wrapper = f"""#!/bin/sh
case $SSH_ORIGINAL_COMMAND in git-receive-pack*) echo '{said}' >&2; exit 1;; esac
exec git-shell -c "$SSH_ORIGINAL_COMMAND"
"""
    forge.host.do("tee", "/srv/forge/read-only", stdin=wrapper)
    forge.host.sh("chmod 755 /srv/forge/read-only; usermod -s /bin/sh git")
    forge.admit("deploy", options='restrict,command="/srv/forge/read-only"')
    found = forge.doctor()
    assert found["state repo"]["state"] == "fine"
    assert found["state repo push"]["state"] == "fails"
    assert "marked as read only" in found["state repo push"]["found"]
    assert "the right to write" in found["state repo push"]["remedy"]


def test_a_server_that_says_nothing_is_left_in_time(forge: Forge) -> None:
    forge.host.do("tee", "/root/hang.py", stdin=HANG)
    forge.host.sh("systemd-run --quiet --unit=hang python3 /root/hang.py")
    forge.box.until(lambda: "ready" in forge.host.call("journalctl", "-u", "hang", "-o", "cat").out, "it to listen")
    forge.settle()
    forge.host.sh("sed -i 's,localhost/srv,localhost:2222/srv,' /etc/voxnix/config.toml")
    forge.refused("timed out", "is the network up")
    assert forge.host.call("pgrep", "-x", "ssh").out == ""
    forge.host.sh("systemctl stop hang")


def test_an_appliance_follows_and_commits_and_outlives_its_forge(forge: Forge) -> None:
    box, host = forge.box, forge.host
    forge.settle(poll=5)
    box.run()
    first = forge.head()
    box.until(lambda: box.status().get("revision") == first, "the first revision")
    second = forge.push("owner: alice\npower: stopped\n")
    box.until(lambda: box.status().get("revision") == second, "a push to be seen by polling")
    box.voxnix("undo", "-m", "not yet")
    third = forge.head()
    assert third != second
    assert "Good" in host.sh(f"cd /srv/work && git fetch -q && {signers()} verify-commit {third} 2>&1")
    box.until(lambda: box.status().get("revision") == third, "a commit of a command")
    box.until(
        lambda: host.call("sh", "-c", f"{AS_GIT} git -C {FORGE} notes --ref=voxnix list").out.count("\n") >= 2,
        "notes to be pushed",
    )
    host.sh("cd /srv/work && git pull -q --ff-only origin main")
    bad = forge.push("owner: alice\nmodules: []\n", sign=False)
    box.until(lambda: bad[:10] in box.status().get("refused", ""), "a commit without a signature to be refused")
    assert "it bears no signature" in box.status()["refused"]
    host.sh("systemctl stop ssh.socket ssh.service")
    box.until(lambda: "could not be fetched" in box.status().get("fetch", ""), "the forge to be missed")
    assert "the revision accepted last stands" in box.status()["fetch"]
    assert bad[:10] in box.status()["refused"]
    assert box.status()["revision"] == third
    host.do("systemctl", "stop", "container@dev.service")
    box.until(lambda: box.container("dev").get("machine") == "running", "healing meanwhile")
    host.sh("systemctl start ssh")
    forge.back_to(third)
    host.call("voxnix", "restart", "dev")
    box.until(lambda: box.status().get("fetch") == "", "the forge to be seen again")
    box.until(lambda: box.status()["refused"] == "", "nothing to be refused")
    assert host.call("pgrep", "-x", "ssh", "-c").out.strip() in ("0", "1")


def signers() -> str:
    """Git with the file of allowed signers that has the signing key."""
    allowed = f"sed 's/^/* /' {KEYS}/signing.pub >/root/allowed"
    return f"{allowed} && git -c gpg.ssh.allowedSignersFile=/root/allowed"
