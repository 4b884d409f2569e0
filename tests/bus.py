"""A message bus for tests: as much of one, on a Unix socket, as somebody who listens for signals sees."""

from __future__ import annotations

import asyncio
import io
import struct
from pathlib import Path
from typing import Any

from dbus_fast import Message
from dbus_fast._private.unmarshaller import Unmarshaller

from controller.host.signals import BUS, MACHINED, SYSTEMD


def sent(message: Message) -> bytes:
    """A message as a bus hands it on, with its sender, which is the bus's to say: the library writes none."""
    data = bytes(message._marshall(False))
    fields = 16 + struct.unpack_from("<I", data, 12)[0]
    start = (fields + 7) // 8 * 8
    sender = (message.sender or BUS).encode()
    field = b"\x07\x01s\0" + struct.pack("<I", len(sender)) + sender + b"\0"
    head = data[:12] + struct.pack("<I", start - 16 + len(field)) + data[16:fields].ljust(start - 16, b"\0") + field
    return head.ljust((len(head) + 7) // 8 * 8, b"\0") + data[start:]


class Bus:
    """Answers on a Unix socket as a message bus with systemd on it does, as far as a listener asks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.systemd = True
        self.rules: list[str] = []
        self.called: list[str] = []
        self._server: asyncio.Server | None = None
        self._open: list[asyncio.StreamWriter] = []
        self._serving: list[asyncio.Task[Any]] = []

    @property
    def address(self) -> str:
        return f"unix:path={self.path}"

    async def up(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def down(self) -> None:
        """End as a bus does that is restarted: all connections are closed, and there is no socket."""
        assert self._server
        self._server.close()
        self.path.unlink()
        for writer in self._open:
            writer.close()
        await asyncio.gather(*self._serving)
        self._open, self._serving = [], []

    def say(self, message: Message) -> None:
        for writer in self._open:
            writer.write(sent(message))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.append(task)
        await reader.readexactly(1)
        while (line := await reader.readline()) and line != b"BEGIN\r\n":
            writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n" if line.startswith(b"AUTH") else b"DATA\r\n")
        self._open.append(writer)
        while asked := await self._received(reader):
            writer.write(sent(self._answer(asked)))

    async def _received(self, reader: asyncio.StreamReader) -> Message | None:
        try:
            head = await reader.readexactly(16)
            body, _, fields = struct.unpack_from("<III", head, 4)
            rest = await reader.readexactly((fields + 7) // 8 * 8 + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return Unmarshaller(io.BytesIO(head + rest)).unmarshall()

    def _answer(self, asked: Message) -> Message:
        self.called.append(f"{asked.member} {' '.join(map(str, asked.body))}".strip())
        match asked.member:
            case "AddMatch":
                self.rules.append(asked.body[0])
                said: str | None = None
            case "GetNameOwner" if asked.body[0] == MACHINED or not self.systemd:
                return Message.new_error(_numbered(asked), f"{BUS}.Error.NameHasNoOwner", "no such name")
            case "GetNameOwner":
                said = ":1.0"
            case "Subscribe" if "Subscribe" in self.called[:-1]:
                return Message.new_error(_numbered(asked), f"{SYSTEMD}.AlreadySubscribed", "already")
            case "Hello":
                said = ":1.7"
            case _:
                said = None
        reply = Message.new_method_return(_numbered(asked), "s" if said else "", [said] if said else [])
        reply.serial = 1
        return reply


def _numbered(asked: Message) -> Message:
    asked.sender = ":1.7"
    return asked
