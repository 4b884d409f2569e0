"""A test host as an appliance: a state repo on it, voxnix as a service, and people who commit.

Everything goes through the command line and git, as it does for people; nothing of the product is imported.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from tests.host.machine import Machine

REPO = "/srv/state.git"
WORK = "/srv/work"
TENANTS = {
    "alice": {"name": "Alice", "role": "admin"},
    "bob": {"name": "Bob", "role": "member"},
}
PATIENCE = 60.0
"""Seconds that convergence may take before a test gives up."""


class Appliance:
    """voxnix on a host that has a pool."""

    def __init__(self, host: Machine) -> None:
        self.host = host
        files = {f"tenants/{name}": content for name, content in TENANTS.items()}
        host.sh(
            f"git init -q --bare -b main {REPO} && git clone -q {REPO} {WORK} 2>/dev/null && cd {WORK} &&"
            " git config user.name Alice && git config user.email alice@example.org && git checkout -q -b main"
        )
        self.commit(**files)

    def commit(self, message: str = "", **specs: Mapping[str, Any] | None) -> str:
        """Write specs (None removes one), commit and push; the commit. Underscores in names stand for `/`."""
        for name, content in specs.items():
            path = f"{WORK}/state/{name}.yaml"
            if content is None:
                self.host.do("rm", path)
            else:
                self.host.sh(f"mkdir -p {path.rpartition('/')[0]}")
                self.host.do("tee", path, stdin=yaml.safe_dump(dict(content)))
        subject = message or f"change {', '.join(specs)}"
        self.host.do("git", "-C", WORK, "add", "-A")
        self.host.do("git", "-C", WORK, "commit", "-q", "--allow-empty", "-m", subject)
        self.host.do("git", "-C", WORK, "push", "-q", "origin", "main")
        return self.host.do("git", "-C", WORK, "rev-parse", "HEAD").strip()

    def voxnix(self, *words: str, code: int = 0, stdin: str | None = None) -> str:
        """Run a `voxnix` command; what it printed."""
        result = self.host.call("voxnix", *words, stdin=stdin)
        assert result.code == code, f"voxnix {' '.join(words)}: exit code {result.code}\n{result.out}\n{result.err}"
        return result.out

    def run(self) -> None:
        """Start the controller as a service, now and at every boot, and wait until it answers."""
        self.host.do("systemctl", "enable", "--now", "--quiet", "voxnix.service")
        self.until(lambda: bool(self.status()), "the controller to answer")

    def status(self) -> dict[str, Any]:
        """The published status; empty while no controller answers."""
        result = self.host.call("voxnix", "status", "--json")
        found: dict[str, Any] = json.loads(result.out) if result.out.startswith("{") else {}
        return found if "revision" in found else {}

    def container(self, name: str) -> dict[str, Any]:
        """One container's status; empty if there is none."""
        return next((each for each in self.status().get("containers", ()) if each["name"] == name), {})

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One condition of a container; empty if there is none."""
        return next((each for each in self.container(name).get("conditions", ()) if each["type"] == kind), {})

    def converged(self, revision: str) -> dict[str, Any]:
        """Wait until nothing more is to be done for this revision; the status then."""
        settled = {"ready", "frozen", "held", "paused"}

        def done() -> bool:
            status = self.status()
            phases = {each["phase"] for each in status.get("containers", ())}
            return status.get("revision") == revision and phases <= settled

        self.until(done, f"convergence to {revision[:10]}")
        return self.status()

    def until(self, so: Callable[[], bool], expected: str, patience: float = PATIENCE) -> None:
        """Wait until something is so; fails with the controller's last words when it takes too long."""
        ended = time.monotonic() + patience
        while not so():
            if time.monotonic() > ended:
                log = self.host.call("journalctl", "-u", "voxnix", "-n", "30", "--no-pager", "-o", "cat").out
                raise AssertionError(f"expected {expected} within {patience:.0f} s\n{self.status()}\n{log}")
            time.sleep(0.05)
