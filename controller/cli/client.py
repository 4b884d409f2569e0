"""Ask the running controller, over its Unix socket. Standard library only; it reads, and may ask for a pass."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from controller.errors import BadInput, Transient
from controller.sockets import connect


class Away(Transient):
    """No controller answers at this socket."""


class Client:
    """One controller's API. Every question is a connection of its own."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self.path = path
        self.timeout = timeout

    def get(self, path: str, **query: object) -> Any:
        """The JSON that `GET path` answers. Raises `Away`, or `BadInput` with the controller's own words."""
        return self._ask("GET", path, query)

    def poke(self) -> bool:
        """Ask for a pass now; whether there was a controller to ask, and it let us."""
        try:
            self._ask("POST", "/v1/poke", {})
        except (Away, BadInput):
            return False
        return True

    def lines(self, path: str, timeout: float | None = None, **query: object) -> Iterator[Any]:
        """The values of an endless answer, one a line, until it ends; None for each sign of life between them.

        `timeout` bounds the wait for each line, in seconds; when it is over, `TimeoutError` is raised.
        """
        connection = self._connect(timeout)
        try:
            answer = self._send(connection, "GET", path, query)
            while line := answer.readline():
                yield json.loads(line) if line.strip() else None
        finally:
            connection.close()

    def _ask(self, method: str, path: str, query: dict[str, object]) -> Any:
        connection = self._connect(self.timeout)
        try:
            return json.loads(self._send(connection, method, path, query).read() or b"null")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Away(f"the controller did not answer at {self.path}: {error}") from error
        finally:
            connection.close()

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, query: dict[str, object]
    ) -> http.client.HTTPResponse:
        words = urlencode({key: str(value) for key, value in query.items() if value is not None})
        try:
            connection.request(method, f"{path}?{words}" if words else path)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"the controller did not answer at {self.path}: {error}") from error
        if answer.status >= 400:
            raise _refusal(answer)
        return answer

    def _connect(self, timeout: float | None) -> http.client.HTTPConnection:
        try:
            return _Connection(connect(self.path, timeout), timeout)
        except PermissionError as error:
            hint = "run it as root, or as a member of the socket's group"
            raise Away(f"the socket {self.path} may not be opened by this user", hint=hint) from error
        except OSError as error:
            raise Away(f"no controller answers at {self.path}") from error


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that is connected already."""

    def __init__(self, connected: socket.socket, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self.sock = connected


def _refusal(answer: http.client.HTTPResponse) -> BadInput:
    """What the controller says against a question, in its own words."""
    try:
        told = json.loads(answer.read())
        return BadInput(str(told["error"]), hint=str(told.get("hint", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return BadInput(f"the controller answered {answer.status} {answer.reason}")
