"""The gate as a process that stays: hooks ask it over a socket, and are answered from what it knows already.

The socket is in the state repo, where only its owner and root get to it. One request and one answer a connection, each
a line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from controller.errors import BadInput, VoxnixError
from controller.gate.gate import Gate
from controller.gate.push import DOOR, LONGEST, heard
from controller.gate.telling import failure, told
from controller.git.leftovers import sweep
from controller.git.process import Git
from controller.sockets import listen, peer_uid

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a hook may take to ask."""
AT_ONCE = 16


class Door:
    """Answers the hooks of the state repo at `gate.path`, until `stop`."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._path = gate.path / DOOR
        self._listening: socket.socket | None = None
        self._closed = threading.Event()

    def open(self) -> None:
        """Clear up what killed pushes left, and be there for hooks. Raises `Blocked` where another one is."""
        sweep(Git(self._gate.path))
        self._listening = listen(self._path, mode=0o600, folder=0o700)
        self._listening.settimeout(0.5)

    def serve(self) -> None:
        """Answer until `stop` is called."""
        assert self._listening is not None
        with ThreadPoolExecutor(AT_ONCE, "door") as pool:
            while not self._closed.is_set():
                try:
                    connection, _ = self._listening.accept()
                except TimeoutError:
                    continue
                pool.submit(self._attend, connection)

    def stop(self) -> None:
        """Let `serve` return, once what is under way is answered."""
        self._closed.set()

    def close(self) -> None:
        """Be gone for hooks."""
        if self._listening is not None:
            self._listening.close()
            self._path.unlink(missing_ok=True)

    def _attend(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(PATIENCE)
            try:
                if peer_uid(connection) not in (0, os.geteuid()):
                    return
                with connection.makefile("rb") as lines:
                    answer = self._answer(lines.readline(LONGEST))
                connection.sendall(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
            except OSError as error:
                log.info("a hook went away: %s", error)
            except Exception:
                log.exception("a hook was not answered")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(line)
            if not isinstance(asked, dict):
                raise BadInput("this is no request")
            if "names" in asked:
                old, new = asked["names"]
                return {"names": self._gate.names(str(old), str(new))}
            answer = self._gate.admit(heard(asked))
        except VoxnixError as error:
            return {"taken": False, "lines": failure(error)}
        except (ValueError, TypeError, RecursionError) as error:
            return {"taken": False, "lines": failure(BadInput(f"this is no request: {error}"))}
        return {"taken": not answer.refusals, "lines": told(answer)}
