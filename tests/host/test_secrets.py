"""A planted secret is nowhere but where it belongs; and the search would have found it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.appliance import REPO, Appliance

pytestmark = pytest.mark.host

SECRET = "pl4nted-s3cret-0f-al1ce"
CANARY = "c4nary-th4t-is-3verywhere"
OWN = {
    "/var/lib/voxnix/secrets/alice/token",
    "/run/voxnix/containers/dev/secrets/token",
}


class Watch:
    """Looks at the arguments and environments of all of the host's processes, over and over."""

    def __init__(self, box: Appliance, *needles: str) -> None:
        self._processes = box.host.root.parent.parent
        self._namespace = (self._processes / str(box.host.pid) / "ns/pid").readlink()
        self._needles = [needle.encode() for needle in needles]
        self.found: set[str] = set()
        self.looked = 0
        self._ended = threading.Event()

    def _look(self) -> None:
        while not self._ended.is_set():
            self.looked += 1
            for process in self._processes.iterdir():
                if not process.name.isdigit():
                    continue
                with contextlib.suppress(OSError):
                    self._look_at(process)

    def _look_at(self, process: Path) -> None:
        ours = (process / "ns/pid").readlink() == self._namespace
        for part in ("cmdline", "environ") if ours else ():
            text = (process / part).read_bytes()
            self.found |= {f"{needle.decode()} in {part}" for needle in self._needles if needle in text}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()


def places(box: Appliance, needle: str) -> set[str]:
    """Where a text is to be found on the host: files by path, and what has to be asked for by name."""
    host = box.host
    searched = host.call("grep", "-rlaF", "--devices=skip", "--exclude-dir=proc", "--exclude-dir=sys",
                         "--exclude-dir=outside", "--exclude-dir=zfs-kstat", "-e", needle, "/")  # fmt: skip
    found = {path for path in searched.out.splitlines() if not path.startswith(("/proc/", "/sys/"))}
    asked = {
        "git": f"git -C {REPO} cat-file --batch-all-objects --batch --buffer; git -C {REPO} for-each-ref",
        "status": "voxnix status --json; voxnix status",
        "events": "voxnix events --json",
        "plan": "voxnix plan --json",
        "history": "voxnix history --json",
        "logs": "voxnix logs dev -n 1000",
        "journal": "journalctl --no-pager -o export",
        "observed": 'curl -s --unix-socket /run/voxnix/api.sock http://x/v1/observed || python3 -c "'
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/voxnix/api.sock');"
        "s.sendall(b'GET /v1/observed HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n');"
        "exec('while d := s.recv(65536): print(d)')\"",
    }
    for name, command in asked.items():
        if needle in host.call("sh", "-c", command).out:
            found.add(name)
    return found


def test_a_secret_is_nowhere_but_its_own_files(box: Appliance) -> None:
    spec = {"owner": "alice", "modules": ["git", "workspace"], "workspace": {"quota": "40M"}, "secrets": ["token"]}
    watch = Watch(box, SECRET, CANARY)
    with watch.watching():
        box.voxnix("secret", "set", "alice/token", stdin=SECRET)
        box.run()
        box.converged(box.commit(dev=spec))
        box.converged(box.commit(dev={**spec, "modules": ["fish", "workspace"]}))
        box.commit(dev={**spec, "secrets": ["token", "missing"]})
        box.until(lambda: "missing" in str(box.status()), "the missing secret to be told")
        box.converged(box.commit(dev={**spec, "modules": ["git", "workspace"]}))
        assert box.host.inside("dev", "cat /run/voxnix/secrets/token").out == SECRET
        plant(box, spec)
    assert watch.looked > 20
    assert places(box, SECRET) == OWN
    assert not {found for found in watch.found if SECRET in found}
    canary = places(box, CANARY)
    assert {"git", "status", "history", "journal", "logs", "plan", "/tank/canary", "/root/canary"} <= canary
    assert any(path.startswith("/nix/store/") for path in canary)
    assert any(path.startswith("/var/lib/voxnix/store.db") for path in canary)
    assert f"{CANARY} in cmdline" in watch.found
    assert f"{CANARY} in environ" in watch.found


def plant(box: Appliance, spec: dict[str, object]) -> None:
    """Put the canary wherever the search shall look."""
    box.converged(box.commit(CANARY, dev={**spec, "description": CANARY, "env": {"CANARY": CANARY}}))
    box.host.sh(f"echo {CANARY} | tee /root/canary > /tank/canary")
    box.host.sh(f"env CANARY={CANARY} sleep 0.5; sh -c 'sleep 0.5' {CANARY}; echo {CANARY} | systemd-cat")
    box.host.inside("dev", f"echo {CANARY} | systemd-cat; journalctl --sync")
    box.commit(dev={**spec, "description": CANARY, "env": {"CANARY": CANARY}, "secrets": ["token", CANARY]})
