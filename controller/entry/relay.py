"""One session: bytes carried between somebody's descriptors and a shell on a terminal, or on pipes, of its own.

The shell's side never gets hold of the caller's descriptors, and nothing is done to these but reading and writing. It
ends when the shell has ended and all that it said was delivered, or at once when the caller goes away; whatever the
shell is on the host is gone then. One thread for each direction, so that a stalled one stops nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from controller.entry.request import LONGEST, Request, Size, read_size
from controller.errors import BadInput

_CHUNK = 2**16
_DELIVERED, _LEFT = b".", b"x"
_NOT_STARTED = 127


@dataclass(frozen=True, slots=True)
class Ends:
    """The ends that stay with us: where the shell's input goes, and where what it says comes from.

    With a terminal all is one descriptor, and `errors` is -1.
    """

    input: int
    output: int
    errors: int = -1

    @property
    def terminal(self) -> bool:
        """Whether the shell is on a terminal."""
        return self.errors < 0


class Shell:
    """A shell that has been started. `carry` once, then `end`, whatever came of it."""

    def __init__(self, child: int, ends: Ends) -> None:
        self._child = child
        self._ends = ends
        self._code: int | None = None
        self._undelivered = 0
        self._heard, self._said = os.pipe()

    @classmethod
    def begin(cls, request: Request, argv: Sequence[str], environment: Mapping[str, str]) -> Shell:
        """Start a command in a session of its own, with this environment, on streams of its own.

        With a terminal, that is its controlling one, and the environment tells its kind.
        """
        if request.terminal:
            ours, theirs = os.openpty()
            resize(ours, request.size)
            child = os.fork()
            if child == 0:
                _become(argv, {**environment, "TERM": request.terminal}, lambda: os.login_tty(theirs))
            os.close(theirs)
            return cls(child, Ends(ours, ours))
        into, out_of, errors = os.pipe(), os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            _become(argv, environment, lambda: _on_pipes(into[0], out_of[1], errors[1]))
        for descriptor in (into[0], out_of[1], errors[1]):
            os.close(descriptor)
        return cls(child, Ends(into[1], out_of[0], errors[0]))

    def carry(self, connection: socket.socket, theirs: tuple[int, int, int]) -> int | None:
        """Carry bytes until the shell has ended and all was delivered; its exit code, or None if the caller went away.

        Meanwhile the connection tells changes of the terminal's size; anything else that comes from it ends this too.
        """
        outputs = [(self._ends.output, theirs[1])]
        if not self._ends.terminal:
            outputs.append((self._ends.errors, theirs[2]))
        for source, target in outputs:
            _start(self._deliver, source, target)
        _start(self._feed, theirs[0])
        self._undelivered = len(outputs)
        ended = os.pidfd_open(self._child)
        waiting = select.poll()
        for descriptor in (ended, self._heard, connection.fileno()):
            waiting.register(descriptor, select.POLLIN)
        waiting.register(theirs[1], 0)
        while self._code is None or self._undelivered:
            for descriptor, _ in waiting.poll():
                if descriptor == ended:
                    waiting.unregister(ended)
                    self._code = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
                elif descriptor == theirs[1] or not (
                    self._hear() if descriptor == self._heard else self._listen(connection)
                ):
                    return None
        return self._code if self._code >= 0 else 128 - self._code

    def end(self) -> None:
        """Kill the shell's processes on the host, unless it has ended by itself.

        Its first process is killed by its own number too: it may not have come to lead a group yet.
        """
        if self._code is not None:
            return
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(ProcessLookupError):
                kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)

    def _hear(self) -> bool:
        """Take the word of a thread: one output is delivered; False if the caller went away."""
        self._undelivered -= 1
        return os.read(self._heard, 1) == _DELIVERED

    def _listen(self, connection: socket.socket) -> bool:
        """Take one message of the caller's; False if they went away, or said what they should not."""
        try:
            data = connection.recv(LONGEST + 1)
            if not data or not self._ends.terminal:
                return False
            resize(self._ends.input, read_size(data))
        except (OSError, BadInput):
            return False
        return True

    def _deliver(self, source: int, target: int) -> None:
        """Carry what the shell says, and tell that all of it was delivered, or could not be."""
        told = _DELIVERED
        try:
            while data := _read(source):
                _write(target, data)
        except OSError:
            told = _LEFT
        os.write(self._said, told)

    def _feed(self, source: int) -> None:
        """Carry what the caller says. Its end is the end of a pipe; of a terminal, it means that they went away."""
        with contextlib.suppress(OSError):
            while data := _read(source):
                _write(self._ends.input, data)
            if self._ends.terminal:
                os.write(self._said, _LEFT)
        if not self._ends.terminal:
            os.close(self._ends.input)


def resize(terminal: int, size: Size) -> None:
    """Set the size of our own terminal; whoever is in front of it is told by the kernel."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", size.rows, size.columns, 0, 0))


def _start(task: Callable[..., None], *words: int) -> None:
    threading.Thread(target=task, args=words, daemon=True).start()


def _read(source: int) -> bytes:
    """Some bytes; none at the end, which on a terminal that nobody has any more is an error of the kernel's."""
    while True:
        try:
            return os.read(source, _CHUNK)
        except BlockingIOError:
            _wait(source, select.POLLIN)
        except OSError:
            return b""


def _write(target: int, data: bytes) -> None:
    """All of the bytes, however slowly they are taken. Raises `OSError` when nobody takes them any more."""
    while data:
        try:
            data = data[os.write(target, data) :]
        except BlockingIOError:
            _wait(target, select.POLLOUT)


def _wait(descriptor: int, what: int) -> None:
    waiting = select.poll()
    waiting.register(descriptor, what)
    waiting.poll()


def _on_pipes(into: int, out_of: int, errors: int) -> None:
    """In the child: a session of its own, on these pipes."""
    os.setsid()
    for number, descriptor in enumerate((into, out_of, errors)):
        os.dup2(descriptor, number)


def _become(argv: Sequence[str], environment: Mapping[str, str], take: Callable[[], None]) -> NoReturn:
    """In the child: take the streams, let go of everything else, and become the command."""
    try:
        take()
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606 - a list of words, and no shell
    except OSError as error:
        os.write(2, f"{argv[0]} cannot be started: {error.strerror}\r\n".encode())
    finally:
        os._exit(_NOT_STARTED)
