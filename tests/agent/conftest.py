"""An office to work in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.agent.office import office

DEV = "owner: bob\nmodules: [git, workspace, tailscale]\n"
FILES = {"dev": DEV, "web": "# the site\nowner: alice\n"}


HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All of these are `make test-agent`'s: they take long."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.agent)


@pytest.fixture
def place():
    """A short path: sockets have no room for long ones."""
    with tempfile.TemporaryDirectory(prefix="vx-") as name:
        yield Path(name)


@pytest.fixture
async def at_work(place):
    """bob has `dev`, alice (an admin) has `web`; both are ready."""
    async with office(place, FILES) as found:
        await found.until("dev", "ready")
        await found.until("web", "ready")
        yield found
