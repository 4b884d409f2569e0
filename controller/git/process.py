"""Start git: fixed arguments, our own environment, all that could make it run other programs switched off.

Never the caller's environment or configuration, never a prompt, pager or hook, never a process left behind.
Uses GitPython's command runner, imported when first needed: that takes a tenth of a second.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from controller.errors import Blocked, Transient
from controller.git.access import Access
from controller.git.address import Address
from controller.git.pipes import Cancelled, TooMuch, drain
from controller.git.trouble import advice, refusal, words

OUTPUT_LIMIT = 256 * 2**20
"""Bytes that one git command may answer; the log of 5,000 commits is about 2 MiB."""
FAR = frozenset({"fetch", "push", "ls-remote"})
"""Commands that may talk to another machine."""
FILE_LIMIT, MEMORY_LIMIT = 256 * 2**20, 2 * 2**30
"""Bytes of one file, and of address space, that a command which talks to another machine may use."""
READING_LIMIT = 2**30
"""Bytes of address space that any other command may use: a few KiB of trees can unfold to millions of paths."""

_NEUTRAL = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.alternateRefsCommand": "true",
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
}
_BOUNDED = 'ulimit -f {files}; ulimit -v {memory}; ulimit -c 0; exec "$@"'
"""How a shell starts a command within bounds; the files' is in blocks of 512 bytes, the memory's in KiB."""
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
    cut. `quarantine` is where the objects of a push are that was not taken yet, inside the repository's `objects`.
    `far` is the other machine that is fetched from and pushed to, `access` what opens it, `file_limit` the bytes that a
    file may get meanwhile; once `stop` is set, commands that talk to it end.
    """

    directory: Path
    protocols: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None
    durable: bool = False
    quarantine: Path | None = None
    far: Address | None = None
    access: Access = field(default_factory=Access)
    file_limit: int = FILE_LIMIT
    stop: threading.Event = field(default_factory=threading.Event, compare=False)

    def run(self, *args: str, stdin: bytes = b"", timeout: float = 60.0) -> bytes:
        """What `git ARGS` prints.

        Raises `GitFailed` on a non-zero exit, `Transient` after `timeout` seconds, `Blocked` without git, or where the
        files that open another machine are not as they should be.
        """
        far = self._far(args)
        if far:
            self.access.check()
        with self._start(args, stdin) as process:
            try:
                out, err = drain(process, timeout, OUTPUT_LIMIT, lambda: far is not None and self.stop.is_set())
            except TimeoutError as error:
                raise Transient(f"git {args[0]}: no end after {timeout:.0f} s, stopped") from error
            except TooMuch as error:
                raise Transient(f"git {args[0]} printed more than {OUTPUT_LIMIT // 2**20} MiB") from error
            except Cancelled as error:
                raise Transient(f"git {args[0]}: stopped") from error
        if process.returncode:
            raise self._failure(args[0], process.returncode, err, far)
        return out

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
        with contextlib.suppress(ProcessLookupError, PermissionError):
            most = MEMORY_LIMIT if args[0] in FAR else READING_LIMIT
            resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
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
        far = self._far(args)
        settings |= self.access.settings(far) if far else {}
        config = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        variables = {**self._environment(), **(self.access.variables(far) if far else {})}
        start = ["env", "-i", *(f"{key}={value}" for key, value in variables.items())]
        bounded = _BOUNDED.format(files=self.file_limit // 512, memory=MEMORY_LIMIT // 2**10)
        start += ["sh", "-c", bounded, "sh"] if far else []
        return [*start, "git", f"--git-dir={self.directory}", "--no-pager", *config, *args]

    def _far(self, args: tuple[str, ...]) -> Address | None:
        """The other machine, if this command talks to it."""
        return self.far if args[0] in FAR else None

    def _failure(self, command: str, code: int, err: bytes, far: Address | None) -> GitFailed:
        """A failure, told without a secret that another machine may have said again."""
        if far is None:
            return GitFailed(f"git {command}: {words(err)}", code=code, refused=refusal(err))
        said = self.access.hide(words(err, far=True))
        text, refused = f"git {command}: {said}", self.access.hide(refusal(err))
        return GitFailed(text, code=code, hint=advice(said, far, self.access), refused=refused)

    def _environment(self) -> Mapping[str, str]:
        """What git may know of its surroundings."""
        variables = {"PATH": path_of_programs(), **_ENVIRONMENT}
        if self.quarantine is not None:
            variables["GIT_OBJECT_DIRECTORY"] = variables["GIT_QUARANTINE_PATH"] = str(self.quarantine)
            variables["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(self.directory / "objects")
        return variables


def path_of_programs() -> str:
    """Where programs are looked for: the caller's own places, or the usual ones."""
    return os.environ.get("PATH", _PATH)
