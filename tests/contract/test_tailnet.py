"""The control plane's API and the `tailscale` command inside a container, on the simulated host."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controller.host.run import Result
from controller.host.sim import SimHost, create, define
from controller.host.sim.setup import API_KEY, CLIENT_ID, CLIENT_SECRET
from controller.host.sim.tailnet import SimTailnet

INSIDE = ("systemd-run", "-M", "cta", "--wait", "--pipe", "--collect", "-q")


@dataclass
class Net:
    """A host with one running container that has tailscale, and an API session."""

    host: SimHost
    url: str
    session: aiohttp.ClientSession
    token: str = ""

    async def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        async with self.session.request(method, f"{self.url}/api/v2/{path}", json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def key(self, **create: Any) -> dict[str, Any]:
        wanted = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": ["tag:vox"], **create}
        body = {"capabilities": {"devices": {"create": wanted}}, "expirySeconds": 600}
        status, made = await self.call("POST", "tailnet/-/keys", body)
        assert status == 200, made
        return made

    async def devices(self) -> list[dict[str, Any]]:
        return (await self.call("GET", "tailnet/-/devices?fields=all"))[1]["devices"]

    def deliver(self, secret: str) -> None:
        directory = self.host.root / "run/voxnix/containers/cta"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tailscale.key").write_text(secret + "\n")

    async def inside(self, *argv: str) -> Result:
        return await self.host.run([*INSIDE, *argv], timeout=30)

    async def up(self, secret: str, *more: str) -> Result:
        self.deliver(secret)
        flags = ("--auth-key=file:/run/voxnix/tailscale.key", "--hostname=dev", f"--login-server={self.url}")
        return await self.inside("tailscale", "up", *flags, "--timeout=1s", "--reset", *more)

    async def status(self) -> dict[str, Any]:
        result = await self.inside("tailscale", "status", "--json", "--peers=false")
        assert result.code == 0
        return json.loads(result.out)


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    host = create(tmp_path / "host")
    store = define(host, "cta", document={"name": "cta", "system": {"tailscale": True}})
    await host.run(["extra-container", "create", "--start", store], timeout=30)
    async with SimTailnet(host.directory) as url, aiohttp.ClientSession() as session:
        made = Net(host, url, session)
        form = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        async with session.post(f"{url}/api/v2/oauth/token", data=form) as answer:
            token = await answer.json()
        assert token["expires_in"] == 3600
        made.token = token["access_token"]
        yield made
    host.close()


async def test_a_wrong_secret_gets_no_token(net):
    form = {"client_id": CLIENT_ID, "client_secret": "wrong"}
    async with net.session.post(f"{net.url}/api/v2/oauth/token", data=form) as answer:
        assert answer.status == 401


async def test_a_bad_token_is_unauthorized(net):
    assert await net.call("GET", "tailnet/-/devices", token="no") == (
        401,
        {"message": "unauthorized", "data": None, "status": 401},
    )


async def test_an_api_key_serves_as_well_and_as_basic_user(net):
    assert (await net.call("GET", "tailnet/-/devices", token=API_KEY))[0] == 200
    auth = aiohttp.encode_basic_auth(API_KEY, "") if hasattr(aiohttp, "encode_basic_auth") else None
    headers = {"Authorization": auth or aiohttp.BasicAuth(API_KEY, "").encode()}
    async with net.session.get(f"{net.url}/api/v2/tailnet/-/devices", headers=headers) as answer:
        assert answer.status == 200


async def test_another_tailnet_and_another_path_are_not_found(net):
    assert (await net.call("GET", "tailnet/other.example/devices"))[0] == 404
    assert (await net.call("GET", "bogus"))[0] == 404


async def test_a_key_is_shown_once(net):
    made = await net.key()
    assert made["key"].startswith("tskey-auth-")
    assert made["expirySeconds"] == 600
    assert made["capabilities"]["devices"]["create"]["tags"] == ["tag:vox"]
    status, shown = await net.call("GET", f"tailnet/-/keys/{made['id']}")
    assert (status, shown["id"], "key" in shown, shown["invalid"]) == (200, made["id"], False, False)


async def test_a_revoked_key_opens_nothing(net):
    made = await net.key()
    assert (await net.call("DELETE", f"tailnet/-/keys/{made['id']}"))[0] == 200
    assert (await net.call("DELETE", f"tailnet/-/keys/{made['id']}"))[0] == 404
    assert (await net.call("GET", f"tailnet/-/keys/{made['id']}"))[1]["invalid"]
    result = await net.up(made["key"])
    assert result.code == 1
    assert result.err.startswith("backend error: invalid key")


async def test_a_tag_that_the_policy_does_not_know(net):
    net.host.configure(tailnet_tags=("tag:other",))
    body = {"capabilities": {"devices": {"create": {"tags": ["tag:vox"]}}}}
    status, error = await net.call("POST", "tailnet/-/keys", body)
    assert (status, error["status"]) == (400, 400)
    assert "tag:vox" in error["message"]


@pytest.mark.parametrize("body", [{}, [], {"capabilities": {"devices": {"create": {}}}}])
async def test_a_key_request_that_is_none(net, body):
    assert (await net.call("POST", "tailnet/-/keys", body))[0] == 400


async def test_enrolment_makes_a_device_and_names_it(net):
    assert (await net.status())["BackendState"] == "NeedsLogin"
    assert (await net.up((await net.key())["key"])).code == 0
    [device] = await net.devices()
    assert device["name"] == "dev.tail.sim."
    assert device["hostname"] == "dev"
    assert device["tags"] == ["tag:vox"]
    assert device["connectedToControl"]
    assert not device["isEphemeral"]
    assert "keyId" not in device
    status = await net.status()
    assert status["BackendState"] == "Running"
    assert status["Self"]["ID"] == device["nodeId"]
    assert status["Self"]["PublicKey"] == device["nodeKey"]
    assert status["Self"]["DNSName"] == "dev.tail.sim."
    assert status["Self"]["TailscaleIPs"] == device["addresses"]


async def test_a_control_plane_that_tells_keys(net):
    net.host.configure(device_key_ids=True)
    key = await net.key()
    await net.up(key["key"])
    assert (await net.devices())[0]["keyId"] == key["id"]


async def test_up_again_changes_nothing(net):
    await net.up((await net.key())["key"])
    before = await net.devices()
    assert (await net.up((await net.key())["key"], "--ssh")).code == 0
    assert [each["nodeId"] for each in await net.devices()] == [each["nodeId"] for each in before]


async def test_a_used_key_is_refused(net):
    key = (await net.key())["key"]
    await net.up(key)
    (net.host.root / "var/lib/nixos-containers/cta/var/lib/tailscale/tailscaled.state").unlink()
    result = await net.up(key)
    assert (result.code, result.err) == (1, "backend error: authkey already used\n")


async def test_logout_removes_nothing(net):
    await net.up((await net.key())["key"])
    assert (await net.inside("tailscale", "logout")).code == 0
    [device] = await net.devices()
    assert device["expires"] != "0001-01-01T00:00:00Z"
    assert (await net.status())["BackendState"] == "NeedsLogin"
    assert (await net.inside("tailscale", "logout")).code == 0


async def test_an_ephemeral_device_goes_with_logout(net):
    await net.up((await net.key(ephemeral=True))["key"])
    await net.inside("tailscale", "logout")
    assert await net.devices() == []


async def test_lost_state_comes_back_under_another_name(net):
    await net.up((await net.key())["key"])
    (net.host.root / "var/lib/nixos-containers/cta/var/lib/tailscale/tailscaled.state").unlink()
    await net.up((await net.key())["key"])
    assert [(each["name"], each["hostname"]) for each in await net.devices()] == [
        ("dev.tail.sim.", "dev"),
        ("dev-1.tail.sim.", "dev"),
    ]
    assert (await net.status())["Self"]["DNSName"] == "dev-1.tail.sim."


async def test_enrolling_again_after_logout_keeps_the_device(net):
    await net.up((await net.key())["key"])
    [before] = await net.devices()
    await net.inside("tailscale", "logout")
    await net.up((await net.key())["key"])
    [after] = await net.devices()
    assert (after["nodeId"], after["name"]) == (before["nodeId"], before["name"])


async def test_delete_is_final_and_twice_is_not_found(net):
    await net.up((await net.key())["key"])
    [device] = await net.devices()
    assert (await net.call("DELETE", f"device/{device['nodeId']}"))[0] == 200
    assert await net.call("DELETE", f"device/{device['nodeId']}") == (
        404,
        {"message": "device not found", "data": None, "status": 404},
    )
    assert (await net.status())["BackendState"] == "NeedsLogin"
    assert (await net.up((await net.key())["key"])).code == 0
    [again] = await net.devices()
    assert again["nodeId"] != device["nodeId"]
    assert again["name"] == "dev.tail.sim."


async def test_another_hostname_moves_the_name(net):
    await net.up((await net.key())["key"])
    assert (await net.inside("tailscale", "set", "--hostname=lab")).code == 0
    assert (await net.devices())[0]["name"] == "lab.tail.sim."


async def test_a_stopped_container_is_not_connected(net):
    await net.up((await net.key())["key"])
    await net.host.run(["systemctl", "stop", "container@cta.service"], timeout=30)
    assert not (await net.devices())[0]["connectedToControl"]


async def test_up_without_a_key_file(net):
    result = await net.inside("tailscale", "up", "--auth-key=file:/run/voxnix/tailscale.key", "--timeout=1s")
    assert (result.code, result.err) == (1, "open /run/voxnix/tailscale.key: no such file or directory\n")


async def test_text_status_is_1_when_logged_out(net):
    assert (await net.inside("tailscale", "status")).code == 1


async def test_a_control_plane_that_is_away(net):
    key = (await net.key())["key"]
    net.host.configure(tailnet_up=False, tailnet_patience=0.05)
    with pytest.raises(aiohttp.ClientError):
        await net.devices()
    result = await net.up(key)
    assert result.code == 1
    assert "timeout waiting for Tailscale service" in result.err


async def test_a_system_without_tailscale_has_no_such_program(net):
    store = define(net.host, "ctb", document={"name": "ctb", "system": {"tailscale": False}})
    await net.host.run(["extra-container", "create", "--start", store], timeout=30)
    result = await net.host.run(["systemd-run", "-M", "ctb", "--wait", "--pipe", "tailscale", "status"], timeout=30)
    assert result.code == 203


async def test_tags_filter_the_list(net):
    await net.up((await net.key())["key"])
    _, found = await net.call("GET", "tailnet/-/devices?fields=all&tags=tag:vox")
    assert len(found["devices"]) == 1
    _, found = await net.call("GET", "tailnet/-/devices?fields=all&tags=tag:other")
    assert found["devices"] == []
