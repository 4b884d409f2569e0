"""Start git: fixed arguments, our own environment, all that could make it run other programs switched off.

Never the caller's environment or configuration, never a prompt, pager or hook, never a process left behind.
Uses GitPython's command runner, imported when first needed: that takes a tenth of a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from controller.errors import Blocked, Transient

OUTPUT_LIMIT = 256 * 2**20
"""Bytes that one git command may answer; the log of 5,000 commits is about 2 MiB."""
REFUSAL_LIMIT = 16 * 2**10
"""Characters kept of what a remote says when it refuses a push."""

_NEUTRAL = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.alternateRefsCommand": "",
    "core.pager": "cat",
    "core.quotePath": "false",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.fsckObjects": "true",
    "log.showSignature": "false",
    "protocol.allow": "never",
}
_ENVIRONMENT = {
    "LC_ALL": "C",
    "HOME": "/var/empty",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
}
_PATH = "/run/current-system/sw/bin:/usr/local/bin:/usr/bin:/bin"


class GitFailed(Transient):
    """Git ended with an error; `what` carries its own words, `code` its exit code.

    `refused` has what a remote said where it would not take a push: words of strangers, for people.
    """

    def __init__(self, what: str, *, code: int, hint: str = "", refused: str = "") -> None:
        super().__init__(what, hint=hint)
        self.code = code
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Git:
    """Git on one repository.

    `protocols` are the transports that a fetch may use. `owner` is the user and group to become first, for a
    repository that belongs to somebody else; None: stay who we are. With `durable`, what is written survives a power
    cut.
    """

    directory: Path
    protocols: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None
    durable: bool = False

    def run(self, *args: str, stdin: bytes = b"", timeout: float = 60.0) -> bytes:
        """What `git ARGS` prints.

        Raises `GitFailed` on a non-zero exit, `Transient` after `timeout` seconds, `Blocked` without git.
        """
        with self._start(args, stdin) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired as error:
                raise Transient(f"git {args[0]}: no end after {timeout:.0f} s, stopped") from error
        if process.returncode:
            raise GitFailed(f"git {args[0]}: {_words(err)}", code=process.returncode, refused=_refusal(err))
        if len(out) > OUTPUT_LIMIT:
            raise Transient(f"git {args[0]} printed more than {OUTPUT_LIMIT // 2**20} MiB")
        return bytes(out)

    @contextlib.contextmanager
    def stream(self, *args: str, stdin: bytes) -> Iterator[IO[bytes]]:
        """What `git ARGS` prints, to be read as it comes; the process is killed when the block ends."""
        with self._start(args, stdin) as process:
            yield process.stdout

    @contextlib.contextmanager
    def _start(self, args: tuple[str, ...], stdin: bytes) -> Iterator[Any]:
        """Start git, `stdin` in an unlinked file so that no pipe fills up; kill and reap its group."""
        try:
            import git
        except ImportError as error:
            raise Blocked("there is no git on this host", hint="install git") from error
        extra: dict[str, Any] = {"start_new_session": True}
        if self.owner is not None:
            extra |= {"user": self.owner[0], "group": self.owner[1], "extra_groups": []}
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            runner = git.Git("/")
            started = runner.execute(self._argv(args), istream=file, as_process=True, **extra)
        process: Any = started.proc  # `started` itself ends the process when it goes out of scope
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            process.stderr.close()

    def _argv(self, args: tuple[str, ...]) -> list[str]:
        """The whole command. `env -i` keeps every `GIT_*` variable of the caller out, hooks' included."""
        settings = _NEUTRAL | {f"protocol.{name}.allow": "always" for name in self.protocols}
        settings |= {"core.fsync": "all", "core.fsyncObjectFiles": "true"} if self.durable else {}
        config = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        variables = [f"{key}={value}" for key, value in self._environment().items()]
        return ["env", "-i", *variables, "git", f"--git-dir={self.directory}", "--no-pager", *config, *args]

    def _environment(self) -> Mapping[str, str]:
        """What git may know of its surroundings; a key agent only where it has to reach another machine."""
        variables = {"PATH": path_of_programs(), **_ENVIRONMENT}
        if "ssh" in self.protocols:
            variables |= {key: os.environ[key] for key in ("HOME", "SSH_AUTH_SOCK") if key in os.environ}
        return variables


def path_of_programs() -> str:
    """Where programs are looked for: the caller's own places, or the usual ones."""
    return os.environ.get("PATH", _PATH)


def _refusal(err: bytes) -> str:
    """What a remote said of a push that it refused; nothing where it did not refuse one."""
    lines = [line.rstrip() for line in err.decode("utf-8", "replace").splitlines()]
    if not any("[remote rejected]" in line for line in lines):
        return ""
    said = [line.removeprefix("remote: ") for line in lines if line.startswith("remote: ")]
    why = [line.strip() for line in lines if "[remote rejected]" in line]
    return "\n".join(said or why)[:REFUSAL_LIMIT]


def _words(err: bytes) -> str:
    """Git's own words for a message: what it calls an error, or else the last thing it said."""
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line]
    wrong = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    text = "; ".join(wrong[:3] or lines[-1:]) or "failed without a word"
    return text if len(text) <= 600 else text[:600] + " …"
