"""What the controller tells others: status, plan, observed facts, events and logs, as JSON over a Unix socket.

Read-only, but for one thing: root and the state repo's owner may ask for a pass. It decides nothing, and shows no
secret. Whoever may open the socket (mode 0660; its group is in the settings) may read everything but the logs of
tenants they do not name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from controller import report
from controller.errors import BadInput, VoxnixError
from controller.looks import observed, planned
from controller.sockets import listen, peer_uid

if TYPE_CHECKING:
    from controller.publish import Look
    from controller.store import Event, Store

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
LOG_LINES, LOG_BYTES = 1000, 256 * 2**10
EVENTS_AT_ONCE = 10_000
BEAT = 15.0
"""Seconds after which a silent event stream sends an empty line, so that a lost reader is noticed."""
POLL = 0.2
"""Seconds between two looks for new events, while somebody reads the stream."""

Logs = Callable[[str, int], Awaitable[str]]
"""The last lines of a container's journal: name and number of lines to text."""


class Reconciler(Protocol):
    """What the API reads: the controller, as `controller.loop.Controller` is."""

    store: Store
    last: Look | None

    async def look(self, revision: str | None = None) -> Look:
        """Look and plan, changing nothing."""
        ...

    def ask(self) -> None:
        """Ask for a pass soon, and for a look at the state repo."""
        ...


class NotHere(BadInput):
    """There is nothing of that name, or it is not the asker's: the two are not told apart. HTTP 404."""


class NotYours(BadInput):
    """The asker may not do this. HTTP 403."""


class Api:
    """The controller's socket. `start` makes it, `stop` ends all streams and removes it.

    `group` is the group of the socket, the controller's own if empty; `pokers` are users who may ask for a pass besides
    root and our own: the state repo's owner, whose hooks do.
    """

    def __init__(
        self, controller: Reconciler, path: Path, *, logs: Logs, group: str = "", pokers: Collection[int] = ()
    ) -> None:
        self._controller = controller
        self._path = path
        self._logs = logs
        self._group = group
        self._pokers = frozenset({0, os.geteuid(), *pokers})
        self._stopping = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Answer from now on. Raises `Blocked` where the socket cannot be had."""
        app = web.Application(middlewares=[_told])
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/observed", self._observed)
        app.router.add_get("/v1/plan", self._plan)
        app.router.add_get("/v1/events", self._events)
        app.router.add_get("/v1/events/stream", self._stream)
        app.router.add_get("/v1/logs/{name}", self._journal)
        app.router.add_post("/v1/poke", self._poke)
        bound = listen(self._path, group=self._group)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, bound).start()

    async def stop(self) -> None:
        """End all streams, answer what is under way, remove the socket."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._path.unlink()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        """The status document; with `name`, of that container only."""
        store = self._controller.store
        summary = json.loads(store.summary() or "{}")
        name = request.query.get("name")
        if name is None:
            return _json(report.document(summary, map(json.loads, store.statuses().values()), controller=os.getpid()))
        row = store.status(name)
        if row is None:
            raise NotHere(f"there is no container {_shown(name)}")
        return _json(report.document(summary, [json.loads(row)], controller=os.getpid()))

    async def _observed(self, _: web.Request) -> web.Response:
        """What the last pass saw."""
        last = self._controller.last
        if last is None:
            raise NotHere("no pass has ended yet", hint="ask again in a moment")
        return _json({"passed_at": last.now.isoformat(), **observed(last.observed)})

    async def _plan(self, request: web.Request) -> web.Response:
        """The plan of the last pass; with `fresh` or `revision`, of a look made now."""
        revision = request.query.get("revision")
        last = self._controller.last
        if last is None or revision is not None or "fresh" in request.query:
            last = await self._controller.look(revision)
        return _json(planned(last))

    async def _events(self, request: web.Request) -> web.Response:
        """At most `limit` events of container `name`, oldest first: those after `after`, or else the newest."""
        limit = _number(request, "limit", 100, EVENTS_AT_ONCE)
        after = _number(request, "after", 0) if "after" in request.query else None
        found = self._controller.store.events(after=after, container=request.query.get("name"), limit=limit)
        return _json({"events": [_event(event) for event in found]})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Events as they happen, one JSON value a line; an empty line now and then. Begins after `after`, or now."""
        store = self._controller.store
        after = _number(request, "after", store.last_event())
        name = request.query.get("name")
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        loop = asyncio.get_running_loop()
        spoke = loop.time()
        with contextlib.suppress(ConnectionError):
            while not self._stopping.is_set():
                found = store.events(after=after, container=name, limit=EVENTS_AT_ONCE)
                if found:
                    after = found[-1].id
                    lines = "".join(json.dumps(_event(event), separators=(",", ":")) + "\n" for event in found)
                    await answer.write(lines.encode())
                    spoke = loop.time()
                elif loop.time() - spoke > BEAT:
                    await answer.write(b"\n")
                    spoke = loop.time()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), POLL)
            await answer.write_eof()
        return answer

    async def _journal(self, request: web.Request) -> web.Response:
        """The end of a container's journal; with `tenant`, only if it is theirs."""
        name, tenant = request.match_info["name"], request.query.get("tenant")
        lines = _number(request, "lines", 50, LOG_LINES, low=1)
        row = self._controller.store.status(name) if NAME.fullmatch(name) else None
        if row is None or (tenant is not None and json.loads(row)["owner"] != tenant):
            raise NotHere(f"there is no container {_shown(name)}" + (f" of {_shown(tenant)}" if tenant else ""))
        return _json({"name": name, "text": _tail(await self._logs(name, lines), lines)})

    async def _poke(self, request: web.Request) -> web.Response:
        """Ask for a pass: only for root, the controller's own user, and the state repo's owner."""
        if _peer(request) not in self._pokers:
            raise NotYours("only root and the state repo's owner may ask for a pass")
        self._controller.ask()
        return _json({"poked": True})


@web.middleware
async def _told(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    """Every failure as JSON: `{"error", "hint"}`."""
    try:
        return await handler(request)
    except VoxnixError as error:
        status = 404 if isinstance(error, NotHere) else 403 if isinstance(error, NotYours) else 400
        if not isinstance(error, BadInput):
            status = 503
        return _json({"error": error.what, "hint": error.hint}, status)
    except web.HTTPException as error:
        return _json({"error": f"{error.reason}: {request.method} {_shown(request.path)}", "hint": ""}, error.status)
    except Exception:
        log.exception("%s %s failed in a way it never should", request.method, request.path)
        return _json({"error": "internal error", "hint": "this is a defect of voxnix; its log has more"}, 500)


def _json(value: object, status: int = 200) -> web.Response:
    text = json.dumps(value, separators=(",", ":"))
    return web.Response(text=text + "\n", status=status, content_type="application/json")


def _event(event: Event) -> dict[str, Any]:
    return {**asdict(event), "at": event.at.isoformat()}


def _number(request: web.Request, key: str, default: int, high: int = 2**53, *, low: int = 0) -> int:
    text = request.query.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise BadInput(f"{key} must be a whole number, not {_shown(text)}")
    return max(low, min(int(text), high))


def _peer(request: web.Request) -> int:
    """The user id of the process at the other end, as the kernel knows it; -1 where it does not say."""
    transport = request.transport
    found = transport.get_extra_info("socket") if transport is not None else None
    if found is None:
        return -1
    return peer_uid(found)


def _tail(text: str, lines: int) -> str:
    """The last lines, within the bounds of one answer."""
    data = "\n".join(text.splitlines()[-lines:]).encode()[-LOG_BYTES:]
    return data.decode("utf-8", "ignore")


def _shown(text: str) -> str:
    """A word from outside, short and harmless, for a message."""
    return ascii(text[:64])
