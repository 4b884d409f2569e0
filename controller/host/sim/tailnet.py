"""The tailnet's HTTP API over loopback: Tailscale v2, as far as voxnix uses it, with its errors.

State is shared with the simulated host's directory, requests are counted and recorded among its commands as
`http METHOD PATH`, and its faults apply: `fail` answers status `code` (or 500) with `stderr` as the message.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from controller.host.sim import control, units
from controller.host.sim.command import Answer, iso
from controller.host.sim.host import SimHost
from controller.host.sim.passage import Interrupt
from controller.host.sim.setup import API_KEY, CLIENT_ID, CLIENT_SECRET

TOKEN_SECONDS = 3600


class SimTailnet:
    """One control plane. Use it as `async with SimTailnet(directory) as url:`; `host` may bring its own clock."""

    def __init__(self, directory: Path | str, *, port: int = 0, host: SimHost | None = None) -> None:
        self._host = host or SimHost(directory)
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> str:
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(
            [
                web.post("/api/v2/oauth/token", self._token),
                web.get("/api/v2/tailnet/{tailnet}/devices", self._devices),
                web.get("/api/v2/device/{node}", self._device),
                web.delete("/api/v2/device/{node}", self._delete),
                web.post("/api/v2/tailnet/{tailnet}/keys", self._make_key),
                web.get("/api/v2/tailnet/{tailnet}/keys/{key}", self._key),
                web.delete("/api/v2/tailnet/{tailnet}/keys/{key}", self._revoke),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        listening = socket.create_server(("127.0.0.1", self._port))
        await web.SockSite(self._runner, listening).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let a request pass through latency and faults; an API that is down closes the connection."""

        async def effect(_interrupt: Interrupt) -> Answer:
            response = await self._respond(request, handler)
            return Answer(response.status, response.text or "")

        if not self._host.settings.tailnet_up:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        answer = await self._host.request(request.method, request.path, effect)
        if answer.err:
            return _error(answer.code if answer.code >= 400 else 500, answer.err.strip())
        return web.Response(status=answer.code, text=answer.out, content_type="application/json")

    async def _respond(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.Response:
        """Check who asks, and answer errors as the API does."""
        try:
            self._check(request)
            found = await handler(request)
        except web.HTTPNotFound:
            return _error(404, "not found")
        except web.HTTPException as error:
            return _error(error.status, error.text or error.reason)
        assert isinstance(found, web.Response)
        return found

    def _check(self, request: web.Request) -> None:
        """Refuse whoever brings no valid token, and any tailnet but the token's own."""
        if request.path == "/api/v2/oauth/token":
            return
        header = request.headers.get("Authorization", "")
        kind, _, given = header.partition(" ")
        if kind == "Basic":
            from aiohttp import BasicAuth

            try:
                given = BasicAuth.decode(header).login
            except ValueError:
                given = ""
        row = self._host.state.row(
            "SELECT 1 FROM tokens WHERE token = ? AND expires > ?", given, self._host.world.now()
        )
        if given != API_KEY and row is None:
            raise web.HTTPUnauthorized(text="unauthorized")
        if request.match_info.get("tailnet", "-") not in ("-", self._host.settings.tailnet_domain):
            raise web.HTTPNotFound(text="not found")

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != CLIENT_SECRET:
            return _error(401, "API token invalid")
        token = f"tskey-api-{secrets.token_urlsafe(18)}"
        with self._host.state.write() as db:
            db.execute("INSERT INTO tokens VALUES (?, ?)", (token, self._host.world.now() + TOKEN_SECONDS))
        scope = "auth_keys devices:core"
        return web.json_response(
            {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "scope": scope}
        )

    async def _devices(self, request: web.Request) -> web.Response:
        tag = request.query.getall("tags", [])
        up = {unit.name for unit in units.load_all(self._host.world).values() if unit.active == "active"}
        full = request.query.get("fields") == "all"
        rows = self._host.state.rows("SELECT * FROM devices ORDER BY number")
        shown = [self._shown(row, up, full) for row in rows]
        return web.json_response({"devices": [each for each in shown if not tag or set(tag) & set(each["tags"])]})

    async def _device(self, request: web.Request) -> web.Response:
        row = self._host.state.row("SELECT * FROM devices WHERE node_id = ?", request.match_info["node"])
        if row is None:
            return _error(404, "device not found")
        up = {unit.name for unit in units.load_all(self._host.world).values() if unit.active == "active"}
        return web.json_response(self._shown(row, up, True))

    def _shown(self, row: Any, up: set[str], full: bool) -> dict[str, Any]:
        settings = self._host.settings
        online = row["container"] in up and row["expires"] is None
        values: dict[str, Any] = {
            "id": str(row["number"]),
            "nodeId": row["node_id"],
            "name": f"{row['label']}.{settings.tailnet_domain}.",
            "hostname": row["hostname"],
            "addresses": control.addresses(row["number"]),
            "user": "tagged-devices",
            "os": "linux",
            "clientVersion": "1.102.5",
            "created": iso(row["created"]),
            "lastSeen": iso(self._host.world.now() if online else row["last_seen"]),
            "connectedToControl": online,
            "expires": iso(row["expires"]) if row["expires"] is not None else "0001-01-01T00:00:00Z",
            "keyExpiryDisabled": True,
            "authorized": True,
            "isExternal": False,
            "updateAvailable": False,
            "machineKey": row["machine_key"],
            "nodeKey": row["node_key"],
            "tags": list(control.tags_of(row)),
        }
        if full:
            values |= {"isEphemeral": bool(row["ephemeral"]), "enabledRoutes": [], "advertisedRoutes": []}
        if settings.device_key_ids:
            values["keyId"] = row["key_id"]
        return values

    async def _delete(self, request: web.Request) -> web.Response:
        node = request.match_info["node"]
        if not control.delete(self._host.world, node):
            row = self._host.state.row("SELECT node_id FROM devices WHERE number = ?", node)
            if row is None or not control.delete(self._host.world, row["node_id"]):
                return _error(404, "device not found")
        return web.Response(status=200)

    async def _make_key(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.text())
            create = body["capabilities"]["devices"]["create"]
            seconds = float(body.get("expirySeconds") or 90 * 86400)
            tags = tuple(create.get("tags", ()))
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "invalid request body")
        if not tags:
            return _error(400, "tags are required for keys that an OAuth client makes")
        known = self._host.settings.tailnet_tags
        for tag in tags:
            if known is not None and tag not in known:
                return _error(400, f"requested tags [{tag}] are invalid or not permitted")
        wanted = control.KeyRequest(
            tags,
            bool(create.get("reusable")),
            bool(create.get("ephemeral")),
            bool(create.get("preauthorized")),
            seconds,
            str(body.get("description", "")),
        )
        key_id, secret = control.make_key(self._host.world, wanted)
        return web.json_response(self._key_shown(key_id) | {"key": secret})

    def _key_shown(self, key_id: str) -> dict[str, Any]:
        row = self._host.state.row("SELECT * FROM auth_keys WHERE id = ?", key_id)
        assert row is not None
        tags = list(control.tags_of(row))
        gone = row["revoked"] is not None or row["expires"] <= self._host.world.now()
        create = {name: bool(row[name]) for name in ("reusable", "ephemeral", "preauthorized")} | {"tags": tags}
        shown: dict[str, Any] = {
            "id": row["id"],
            "keyType": "auth",
            "expirySeconds": int(row["expires"] - row["created"]),
            "created": iso(row["created"]),
            "expires": iso(row["expires"]),
            "capabilities": {"devices": {"create": create}},
            "description": row["description"],
            "invalid": gone or bool(row["used"] and not row["reusable"]),
            "tags": tags,
        }
        return shown | ({"revoked": iso(row["revoked"])} if row["revoked"] is not None else {})

    async def _key(self, request: web.Request) -> web.Response:
        key_id = request.match_info["key"]
        if self._host.state.row("SELECT 1 FROM auth_keys WHERE id = ?", key_id) is None:
            return _error(404, "key not found")
        return web.json_response(self._key_shown(key_id))

    async def _revoke(self, request: web.Request) -> web.Response:
        if not control.revoke_key(self._host.world, request.match_info["key"]):
            return _error(404, "key not found")
        return web.json_response({})


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"message": message, "data": None, "status": status}, status=status)


async def serve(directory: Path, port: int) -> None:
    """Serve until cancelled, printing where."""
    async with SimTailnet(directory, port=port) as url:
        print(url, flush=True)
        await asyncio.Event().wait()
