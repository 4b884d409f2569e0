"""A host that costs nothing: recorded answers printed by `cat`, run by the real runner, and a tailnet that repeats.

What a pass costs on it is our own work, with real processes and pipes, and no simulator in between.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.host.run import Processes, Result
from tests.bench.seed import recording


class Replay:
    """Answers each recorded command with a process that prints the recording."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes = Processes()

    async def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        """See `Runner.run`. A command that was not recorded fails, and the benchmark with it."""
        file = recording(self._folder, argv)
        if not file.exists():
            raise RuntimeError(f"this command was never recorded: {' '.join(argv)[:200]}")
        return await self._processes.run(("cat", str(file)), timeout=timeout, stdin=stdin)

    def interact(self, argv: Sequence[str]) -> int:
        """See `Runner.interact`."""
        raise NotImplementedError


async def floor(files: Sequence[Path]) -> None:
    """The least that a pass can cost: the same files, printed by the same program, thrown away."""
    await asyncio.gather(*(_printed(file) for file in files))


async def _printed(file: Path) -> None:
    process = await asyncio.create_subprocess_exec("cat", str(file), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    while await process.stdout.read(2**18):
        pass
    await process.wait()


async def tailnet(body: str) -> None:
    """Serve a list of devices, and tokens to whoever asks, until stdin ends; the first line printed is the address."""
    from aiohttp import web

    async def token(_: web.Request) -> web.Response:
        return web.json_response({"access_token": "tskey-api-bench", "token_type": "Bearer", "expires_in": 3600})

    async def listed(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.add_routes([web.post("/api/v2/oauth/token", token), web.get("/api/v2/tailnet/-/devices", listed)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
