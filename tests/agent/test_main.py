"""The commands as people run them: a process of its own, in front of a controller at work."""

from __future__ import annotations

import asyncio
import sys

import pytest
from pydantic_ai.models.fallback import FallbackModel

from agent.config import load
from agent.library import library
from agent.main import person_of
from agent.models import model_of
from controller.errors import BadInput
from controller.settings import share
from controller.spec.model import Tenant
from controller.wiring import modules


async def run(office, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """`voxnix-agent` on an office."""
    options = ["--state", str(office.box.repo_path), "--host", f"sim:{office.box.sim}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from agent.main import main; main()",
        *options,
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_chat(at_work):
    code, out, err = await run(at_work, "chat", "--as", "bob", stdin="create lab with git\ndestroy it\nyes\nlist\n")
    assert code == 0, err
    assert "You are Bob. I listen by the grammar" in out
    assert "✓ lab is running · ssh root@lab" in out
    assert "✓ lab is removed" in out
    assert "Traceback" not in err
    code, out, _ = await run(at_work, "chat", "--as", "bob", stdin="undo the last change of dev\n")
    assert "Undo the creation of dev?" in out
    assert await at_work.phase("dev") == "ready", "the end of input is no yes"


async def test_who_nobody_knows_is_not_heard(at_work):
    code, _, err = await run(at_work, "chat", "--as", "mallory", stdin="list\n")
    assert code == 1
    assert "there is no tenant 'mallory'" in err
    at_work.box.commit({"state/tenants/mallory.yaml": "name: Mallory\nnonsense: 1\n"})
    code, _, err = await run(at_work, "chat", "--as", "mallory", stdin="list\n")
    assert code == 1


async def test_without_a_controller_it_says_so(place):
    from tests.agent.office import Office
    from tests.box import Box

    office = Office(Box(place), library(share("nix")))
    code, _, err = await run(office, "chat", stdin="list\n")
    assert code == 1
    assert "no controller answers" in err
    assert "Traceback" not in err


def test_the_only_admin_is_who_talks_unless_told():
    tenants = {"alice": Tenant(id="alice", name="Alice", role="admin"), "bob": Tenant(id="bob", name="Bob")}
    assert person_of(tenants, "").id == "alice"
    assert person_of(tenants, "bob").role == "member"
    with pytest.raises(BadInput, match="say who talks"):
        person_of({**tenants, "carol": Tenant(id="carol", name="Carol", role="admin")}, "")


def test_the_library_is_the_controllers():
    from controller.settings import Settings

    assert library(share("nix")).modules == modules(Settings(host="nixos")).modules


def test_settings(tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text('model = "openai:gpt-5"\nfallback = ["anthropic:x"]\nrequests = 5\n')
    found = load(path, {})
    assert (found.model, found.fallback, found.requests) == ("openai:gpt-5", ("anthropic:x",), 5)
    assert load(path, {"VOXNIX_AGENT_MODEL": "test"}).model == "test"
    for wrong in ("nonsense = 1", "model = 5", "requests = true", "x", 'fallback = "a"'):
        path.write_text(wrong)
        with pytest.raises(BadInput):
            load(path, {})


def test_models(monkeypatch):
    for key in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(key, "x")
    assert model_of([""]) is None
    assert model_of(["test"]).model_name == "test"
    found = model_of(["anthropic:claude-x", "openai:gpt-x", "compatible:qwen"], url="http://127.0.0.1:1/v1")
    assert isinstance(found, FallbackModel)
    assert [one.model_name for one in found.models] == ["claude-x", "gpt-x", "qwen"]
    for wrong in ("nobody:knows", "compatible:x"):
        with pytest.raises(BadInput):
            model_of([wrong])
