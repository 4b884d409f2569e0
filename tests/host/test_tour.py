"""What the README and the demo tell, on a real host."""

from __future__ import annotations

import pytest

from tests.host.machine import Machine

pytestmark = pytest.mark.host

QUICK_START = """
export VOXNIX_STATE=/tmp/state.git
voxnix init /tmp/state.git --tenant alice --name Alice
voxnix plan || [ $? = 2 ]
voxnix apply
voxnix status
git clone -q /tmp/state.git /tmp/state
cd /tmp/state
git config user.name Alice; git config user.email alice@example.org
voxnix new web --owner alice --modules git,workspace --output state/web.yaml
voxnix validate
git add . && git commit -qm "add web" && git push -q
voxnix apply
voxnix status
"""
"""The README's, but for the choice of a simulated host."""


def test_the_whole_tour_of_the_demo_is_as_told(host: Machine) -> None:
    told = host.sh("PYTHONPATH=/opt/voxnix/app:/opt/voxnix/site python3 /usr/local/lib/testhost/tour.py 2>&1")
    assert "dev runs again, because the file says so" in told
    assert "container and files are back" in told


def test_the_quick_start_of_the_readme(host: Machine) -> None:
    told = host.sh(QUICK_START)
    shown = told.rpartition("NAME")[2]
    assert "web" in shown
    assert "ready" in shown
    assert host.inside("web", "git --version").code == 0
