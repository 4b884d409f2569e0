"""The tailnet's control plane over HTTP: Tailscale's API v2, and Headscale's v1 as a second dialect.

Lists devices, deletes one by node id, mints and revokes single-use keys; nothing else. Never retries (the next pass
does), follows no redirect, and lets no credential or key into an error, a log or a `repr`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from controller.errors import Blocked, Transient
from controller.host.files import Files
from controller.observed import parse
from controller.observed import tailnet as said
from controller.observed.facts import Device

if TYPE_CHECKING:
    import aiohttp

TIMEOUT = 10.0
"""Seconds for one request, answer included."""
_ANSWER_LIMIT = 32 * 2**20
_NODE = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Either an OAuth client or an API key."""

    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class MintedKey:
    """A single-use key: its public id, and the secret itself."""

    id: str
    secret: str = field(repr=False)


class ControlPlane(Protocol):
    """What is asked of a control plane. Everything raises `Transient` or `Blocked`."""

    async def devices(self) -> Mapping[str, Device]:
        """Every device of the tailnet, by node id."""
        ...

    async def delete(self, node_id: str) -> None:
        """Delete a device; one that is gone already is fine."""
        ...

    async def mint(self, tags: Sequence[str], description: str, lifetime: timedelta) -> MintedKey:
        """A key that lets one device in, once, under `tags`."""
        ...

    async def revoke(self, key_id: str) -> None:
        """Make a key worthless; one that is so already is fine."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


def read_credentials(files: Files, host_path: str) -> Credentials:
    """Credentials from a root-only JSON file: `{"client_id", "client_secret"}` or `{"api_key"}`.

    Raises `Blocked` where the file is not there, is open to others, or says something else.
    """
    status = files.status(host_path)
    if status is None:
        raise Blocked(f"{host_path} is not there", hint='write {"client_id": …, "client_secret": …} to it, mode 0600')
    if status.st_mode & 0o077:
        raise Blocked(f"{host_path} can be read by others", hint=f"chmod 0600 {host_path}, and renew the credentials")
    try:
        found = json.loads(files.read(host_path) or "")
    except ValueError:
        found = None
    keys = set(found) if isinstance(found, dict) else set()
    if keys not in ({"client_id", "client_secret"}, {"api_key"}) or not all(
        isinstance(value, str) and value.isascii() and value.isprintable() for value in found.values()
    ):
        raise Blocked(f"{host_path} holds neither client_id and client_secret nor api_key, as JSON texts")
    return Credentials(**found)


class _Http:
    """One server, one session, bounded requests."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, path: str, *, bearer: str = "", body: object = None, form: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and text of the answer; `Transient` where there is none, or the server is in trouble."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=False)
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        options: dict[str, Any] = {"json": body} if body is not None else {"data": form}
        try:
            async with self._session.request(
                method, self._url + path, headers=headers, allow_redirects=False, **options
            ) as answer:
                content = await answer.content.read(_ANSWER_LIMIT)
                while not answer.content.at_eof() and len(content) < _ANSWER_LIMIT:
                    content += await answer.content.read(_ANSWER_LIMIT)
        except TimeoutError as error:
            raise Transient(f"the control plane did not answer {method} {path} within {TIMEOUT:.0f} s") from error
        except aiohttp.ClientError as error:
            raise Transient(f"the control plane cannot be reached: {type(error).__name__}") from error
        if answer.status == 429 or answer.status >= 500:
            raise Transient(f"the control plane answered {method} {path} with {answer.status}")
        return answer.status, content.decode("utf-8", "replace")

    async def close(self) -> None:
        """Close the session; the next request opens another."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class TailscaleV2:
    """Tailscale's API v2, which Headscale serves from 0.30 on, with `tailnet` `-`."""

    def __init__(self, url: str, credentials: Credentials, tailnet: str = "-") -> None:
        self._http = _Http(url)
        self._credentials = credentials
        self._tailnet = f"/api/v2/tailnet/{tailnet}"
        self._token = ""
        self._token_until = 0.0
        self._token_lock = asyncio.Lock()

    async def devices(self) -> Mapping[str, Device]:
        """See `ControlPlane.devices`."""
        return said.devices(_good(*await self._send("GET", f"{self._tailnet}/devices?fields=all")))

    async def delete(self, node_id: str) -> None:
        """See `ControlPlane.delete`."""
        _good_or_gone(*await self._send("DELETE", f"/api/v2/device/{_checked(node_id)}"))

    async def mint(self, tags: Sequence[str], description: str, lifetime: timedelta) -> MintedKey:
        """See `ControlPlane.mint`."""
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": list(tags)}
        body = {
            "capabilities": {"devices": {"create": create}},
            "expirySeconds": int(lifetime.total_seconds()),
            "description": re.sub(r"[^A-Za-z0-9 -]", "-", description)[:50],
        }
        return _key(_good(*await self._send("POST", f"{self._tailnet}/keys", body)))

    async def revoke(self, key_id: str) -> None:
        """See `ControlPlane.revoke`."""
        _good_or_gone(*await self._send("DELETE", f"{self._tailnet}/keys/{_checked(key_id)}"))

    async def close(self) -> None:
        """See `ControlPlane.close`."""
        await self._http.close()

    async def _send(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Ask with our bearer token; a token that was refused is renewed once."""
        status, text = await self._http.send(method, path, bearer=await self._bearer(), body=body)
        if status == 401 and self._token:
            self._token_until = 0.0
            status, text = await self._http.send(method, path, bearer=await self._bearer(), body=body)
        return status, text

    async def _bearer(self) -> str:
        if self._credentials.api_key:
            return self._credentials.api_key
        async with self._token_lock:
            now = asyncio.get_running_loop().time()
            if now >= self._token_until:
                form = {"client_id": self._credentials.client_id, "client_secret": self._credentials.client_secret}
                answer = _json(_good(*await self._http.send("POST", "/api/v2/oauth/token", form=form)))
                token, lasts = answer.get("access_token"), answer.get("expires_in", 3600)
                if not isinstance(token, str) or not token or not isinstance(lasts, int):
                    raise Transient("the control plane answered without a token")
                self._token, self._token_until = token, now + max(0, lasts - 60)
            return self._token


class HeadscaleV1:
    """Headscale's own API v1, as released versions serve it; with an API key."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        self._http = _Http(url)
        self._bearer = credentials.api_key

    async def devices(self) -> Mapping[str, Device]:
        """See `ControlPlane.devices`."""
        return said.nodes(_good(*await self._send("GET", "/api/v1/node")))

    async def delete(self, node_id: str) -> None:
        """See `ControlPlane.delete`."""
        _good_or_gone(*await self._send("DELETE", f"/api/v1/node/{_checked(node_id)}"))

    async def mint(self, tags: Sequence[str], description: str, lifetime: timedelta) -> MintedKey:
        """See `ControlPlane.mint`; this dialect keeps no description."""
        until = (datetime.now(UTC) + lifetime).isoformat(timespec="seconds").replace("+00:00", "Z")
        body = {"reusable": False, "ephemeral": False, "expiration": until, "aclTags": list(tags)}
        return _key(_good(*await self._send("POST", "/api/v1/preauthkey", body)), inside="preAuthKey")

    async def revoke(self, key_id: str) -> None:
        """See `ControlPlane.revoke`. Expired and not deleted, for a node whose key is deleted forgets it."""
        body = {"id": _checked(key_id)}
        _good_or_gone(*await self._send("POST", "/api/v1/preauthkey/expire", body))

    async def close(self) -> None:
        """See `ControlPlane.close`."""
        await self._http.close()

    async def _send(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        return await self._http.send(method, path, bearer=self._bearer, body=body)


def _good(status: int, text: str) -> str:
    """The text of a successful answer; else `Blocked`, with the server's own words."""
    if 200 <= status < 300:
        return text
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = text
    words = f"the control plane says {status}: {parse.plain(message.strip())}"
    if status in (401, 403):
        raise Blocked(words, hint="renew the credentials, with scopes devices:core and auth_keys and our tag")
    raise Blocked(words, hint="look at the URL, and at the tags in the tailnet's policy")


def _good_or_gone(status: int, text: str) -> None:
    if status != 404:
        _good(status, text)


def _json(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Transient("the control plane's answer is not JSON") from error
    if not isinstance(data, dict):
        raise Transient("the control plane's answer is not an object")
    return data


def _key(text: str, inside: str = "") -> MintedKey:
    answer = _json(text)
    data = answer.get(inside) if inside else answer
    key_id, secret = (data.get("id"), data.get("key")) if isinstance(data, dict) else (None, None)
    if not (isinstance(key_id, str) and _NODE.fullmatch(key_id) and isinstance(secret, str)):
        raise Transient("the control plane minted no key")
    if not (secret.isascii() and secret.isprintable() and 8 <= len(secret) <= 512):
        raise Transient("the control plane minted a key of an unknown form")
    return MintedKey(key_id, secret)


def _checked(identifier: str) -> str:
    if not _NODE.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is no id of the control plane")
    return identifier
