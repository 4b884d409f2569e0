"""What the README and the demo tell, on a real host."""

from __future__ import annotations

import pytest

from tests.host.machine import Machine

pytestmark = pytest.mark.host


def test_the_whole_tour_of_the_demo_is_as_told(host: Machine) -> None:
    told = host.sh("PYTHONPATH=/opt/voxnix/app:/opt/voxnix/site python3 /usr/local/lib/testhost/tour.py 2>&1")
    assert "dev runs again, because the file says so" in told
    assert "container and files are back" in told
    print(told)
