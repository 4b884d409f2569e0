"""Run every tool on the stage while each start of a process, each connection and each write to a file is an error.

A process of its own, for an audit hook cannot be taken away: `python -m tests.agent.reach`.
"""

from __future__ import annotations

import asyncio
import os
import sys

from pydantic_ai import ModelResponse
from pydantic_ai.messages import TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

import agent.main
import agent.news
import agent.talk
import agent.terminal
from agent.assistant import Assistant
from agent.conversation import Conversation
from agent.desk import Desk
from agent.library import library
from agent.person import Heard
from agent.staged import BOB, NOW, StagedAppliance, StagedOutbox
from agent.tools import LOOKS, PROPOSALS
from controller.settings import share

ARGS = {
    "create_container": {"name": "lab", "modules": ["git"]},
    "change_container": {"name": "old-box", "add_modules": ["fish"]},
    "schedule_container": {"name": "dev", "start": "0 8 * * *"},
    "expire_container": {"name": "dev", "at": "2030-01-01T00:00:00Z"},
    "restore_container": {"name": "gone"},
    "start_container": {"name": "web"},
    "stop_container": {"name": "old-box"},
}
NOTHING_THERE = ("undo_change", "approve_held", "restore_container")
"""Tools for which the stage has nothing: no history, no hold."""
FORBIDDEN = (
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
)
NETWORK = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.getaddrinfo",
    "http.client.connect",
    "urllib.Request",
)
reached: list[str] = []
watching = False


def hook(event: str, args: tuple) -> None:
    """Note what must not happen."""
    if not watching:
        return
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if event in FORBIDDEN or event in NETWORK or writes:
        reached.append(f"{event} {args[:1]}")


async def main() -> None:
    """Every tool, once."""
    global watching  # noqa: PLW0603
    modules = library(share("nix"))
    called = []
    for tool in sorted(LOOKS | PROPOSALS):
        named = {"name": "dev"} if tool not in ("list_containers", "storage_use", "host_health", "list_modules") else {}
        call = ToolCallPart(tool, ARGS.get(tool, named))
        turns = iter([ModelResponse(parts=[call]), *[ModelResponse(parts=[TextPart("done")])] * 3])

        async def answer(messages, info, turns=turns):
            return next(turns)

        appliance = StagedAppliance()
        outbox = StagedOutbox(appliance, modules)
        desk = Desk(BOB, Heard("c", "m", "please"), appliance, outbox, modules.modules, now=lambda: NOW)
        model = FunctionModel(answer)
        watching = True
        reply = await Assistant().hear(desk, Conversation(), model)
        if reply.calls:
            reply = await Assistant().answer(desk, reply.conversation, model, reply.calls, True)
        watching = False
        called.append(tool)
        parts = [part for message in reply.conversation.messages for part in message.parts]
        outcomes = {part.outcome for part in parts if isinstance(part, ToolReturnPart)}
        assert outcomes == {"failed" if tool in NOTHING_THERE else "success"}, (tool, parts)
        outbox.close()
    loaded = [
        name for name in sys.modules if name.startswith(("controller.host", "controller.converge", "controller.loop"))
    ]
    print(len(called), "tools; reached:", reached, "; loaded:", loaded, flush=True)
    os._exit(1 if reached or loaded else 0)


if __name__ == "__main__":
    assert agent.main
    sys.addaudithook(hook)
    asyncio.run(main())
