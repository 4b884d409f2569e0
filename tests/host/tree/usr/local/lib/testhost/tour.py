"""The tour of `voxnix demo`, given on this host instead of a simulated one. Exit code 1 when a step is not as told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from controller.cli.client import Client
from controller.cli.demo.stage import NotAsTold, Stage
from controller.cli.demo.tour import give
from controller.cli.demo.voice import Voice

CONFIG = Path("/etc/voxnix/config.toml")


class HostStage(Stage):
    """This host, which has a pool and no tailnet."""

    def __init__(self) -> None:
        super().__init__()
        self.tailnet = False
        self.client = Client(Path("/run/voxnix/api.sock"))

    @property
    def options(self) -> list[str]:
        """The options that lead `voxnix` to this stage."""
        return ["--state", str(self.repo), "--config", str(self.config)]

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables, and who types here."""
        hosts = {"VOXNIX_HOST": "nixos"}
        return {**super().environment, **hosts}

    def python_path(self) -> str:
        """As in the command `voxnix` of this host."""
        return os.environ["PYTHONPATH"]

    def make_host(self) -> None:
        """The host is there; its settings, but for the state repo."""
        self.config.write_text(CONFIG.read_text() + "resync = 30\n")

    def example(self, name: str) -> bytes:
        """A file of the example state, without what needs a tailnet."""
        text = super().example(name).decode()
        return text.replace("  - tailscale\n", "").encode()

    def on_host(self, *argv: str) -> str:
        """Run a command of this host, as somebody else would."""
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise NotAsTold(f"`{argv}` to work; it said: {done.stderr}")
        return done.stdout


def main() -> int:
    """Give the tour."""
    with HostStage() as stage:
        try:
            give(stage, Voice(terminal=False))
        except NotAsTold as error:
            print(f"Not as told: expected {error}\n{stage.last_words()}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
