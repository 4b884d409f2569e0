"""nix-build as the controller calls it, on the simulated host; real builds have tests of their own."""

from __future__ import annotations

import json

import pytest

from tests.contract.hosts import Host

DOCUMENT = {"version": 1, "name": "cta", "owner": "alice", "uid": "u1", "system": {"modules": ["git"]}, "binds": []}


@pytest.fixture(autouse=True)
def library(host: Host) -> None:
    if not host.simulated:
        pytest.skip("needs a library that builds at once")
    for name in ("lib/container.nix", "lib/modules/git.nix", "lib/modules/fish.nix"):
        path = host.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{ }")
    (host.root / "documents").mkdir()


async def build(host: Host, text: str, link: str = "/documents/out"):
    (host.root / "documents/cta.json").write_text(text)
    argv = ["nix-build", "/lib/container.nix", "--argstr", "document", "/documents/cta.json", "--out-link", link]
    return await host.runner.run(argv, timeout=60)


async def test_a_document_becomes_a_store_path_and_a_link(host):
    result = await build(host, json.dumps(DOCUMENT))
    assert result.code == 0
    path = result.out.strip()
    assert path.startswith("/nix/store/")
    assert len(path.split("/")[3].split("-")[0]) == 32
    assert (host.root / "documents/out").resolve() == (host.root / path.lstrip("/")).resolve()
    conf = (host.root / path.lstrip("/") / "etc/nixos-containers/cta.conf").read_text()
    system = next(line for line in conf.splitlines() if line.startswith("SYSTEM_PATH=")).partition("=")[2]
    carried = json.loads((host.root / system.lstrip("/") / "etc/voxnix/container.json").read_text())
    assert carried == DOCUMENT


async def test_the_same_document_is_the_same_path_and_another_is_another(host):
    one = await build(host, json.dumps(DOCUMENT))
    two = await build(host, json.dumps(DOCUMENT))
    three = await build(host, json.dumps({**DOCUMENT, "digest": "new"}))
    assert one.out == two.out != three.out


async def test_an_unknown_module_is_an_evaluation_error(host):
    result = await build(host, json.dumps({**DOCUMENT, "system": {"modules": ["gti"]}}))
    assert result.code == 1
    assert result.out == ""
    assert "error: voxnix: no module named 'gti'; there are fish, git" in result.err
    assert not (host.root / "documents/out").is_symlink()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"owner": 1}', "\0"])
async def test_a_document_that_is_none_is_an_error(host, text):
    result = await build(host, text)
    assert (result.code, result.out) == (1, "")
    assert "error:" in result.err


async def test_files_that_are_not_there(host):
    missing = await host.runner.run(["nix-build", "/lib/nope.nix", "--argstr", "document", "/x"], timeout=60)
    assert (missing.code, missing.err) == (1, "error: getting status of '/lib/nope.nix': No such file or directory\n")
    missing = await host.runner.run(["nix-build", "/lib/container.nix", "--argstr", "document", "/x"], timeout=60)
    assert (missing.code, missing.err) == (1, "error: opening file '/x': No such file or directory\n")


async def test_an_unknown_flag(host):
    result = await host.runner.run(["nix-build", "--bogus"], timeout=60)
    assert (result.code, result.err.splitlines()[0]) == (1, "error: unrecognised flag '--bogus'")
