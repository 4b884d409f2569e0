"""A forge of the tests' own: git's own HTTP service behind HTTPS on the loopback, opened by one token.

It can be away, answer rubbish, hang, and say things that no forge should.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests import certificates

TOKEN = "tok-5ecre7-0123456789abcdef"
SERVICE = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())


class Handler(BaseHTTPRequestHandler):
    """One request; `server.forge` says how it is answered."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        forge = self.server.forge
        forge.asked.append((self.command, self.path))
        body = self._body()
        if forge.instead is not None and forge.instead(self):
            return
        pair = self.headers.get("Authorization", "").removeprefix("Basic ")
        _, _, password = base64.b64decode(pair).decode().partition(":")
        if password != forge.token:
            self.say(401, b"no such token\n", **{"WWW-Authenticate": 'Basic realm="forge"'})
        elif forge.read_only and "receive-pack" in self.path:
            self.say(403, b"this token may read only\n")
        else:
            self._serve(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(parts)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.forge.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.server.forge.root / "gitconfig"),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "somebody",
        }
        done = subprocess.run(
            [SERVICE / "git-http-backend"], input=body, env=environment, capture_output=True, check=False
        )
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.say(int(fields.pop("Status", "200").split()[0]), data, **fields)

    def say(self, code: int, data: bytes, **fields: str) -> None:
        self.send_response(code)
        for key, value in fields.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """Answers each connection in a thread; a client that goes away is none of its trouble."""

    daemon_threads = True
    block_on_close = False
    forge: Forge
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError, ValueError), self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


class Forge:
    """The repositories below `root`, at `url`. `asked` has every request; `instead` may answer one, and says so."""

    def __init__(self, root: Path, tls: Path) -> None:
        self.root = root
        self.token = TOKEN
        self.read_only = False
        self.asked: list[tuple[str, str]] = []
        self.instead: Callable[[Handler], bool] | None = None
        certificate, key, self.ca = certificates.write(tls, "forge", "an authority of tests")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._server: Server | None = None
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]

    def url(self, name: str = "state.git") -> str:
        """Where a repository is."""
        return f"https://127.0.0.1:{self.port}/{name}"

    def __enter__(self) -> Forge:
        self._server = Server(("127.0.0.1", self.port), Handler)
        self._server.forge, self._server.context = self, self._context
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nothing answers for a while."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()
