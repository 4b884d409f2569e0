"""Shorter words for commands of a host, whatever kind of host it is."""

from __future__ import annotations

import shlex

from controller.host.run import Result


class Commands:
    """What a host that has `call` can do besides. `PATIENCE` is the default of seconds a command may take."""

    PATIENCE = 300.0

    def call(self, *argv: str, stdin: str | None = None, timeout: float = PATIENCE) -> Result:
        """Run a command of the host to its end, whatever its exit code."""
        raise NotImplementedError

    def do(self, *argv: str, stdin: str | None = None, timeout: float = PATIENCE) -> str:
        """Run a command that must succeed; what it printed."""
        result = self.call(*argv, stdin=stdin, timeout=timeout)
        assert result.code == 0, f"{shlex.join(argv)}: exit code {result.code}\n{result.out}\n{result.err}"
        return result.out

    def sh(self, script: str, timeout: float = PATIENCE) -> str:
        """Run a shell script that must succeed; what it printed."""
        return self.do("sh", "-ec", script, timeout=timeout)

    def inside(self, container: str, script: str, timeout: float = PATIENCE) -> Result:
        """Run a shell script as root in a container."""
        enter = ("systemd-run", "-M", container, "--wait", "--pipe", "--collect", "-q", "sh", "-c", script)
        return self.call(*enter, timeout=timeout)
