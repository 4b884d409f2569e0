"""Rows about a cold start: `voxnix status`, answered by the daemon or from the store, beside an import of pydantic."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.clocks import IMPORT, Spread, Taken, taken
from tests.bench.daemon import VOXNIX, Appliance
from tests.bench.table import Row, compared

ROUNDS, WARM = 10, 2
GOAL = 3.0


def times(appliance: Appliance) -> list[tuple[Taken, Taken]]:
    """Both commands, by turns: what an import took, and what `voxnix status` took."""
    argv = (*VOXNIX, *appliance.options, "status")
    return [(taken(IMPORT), taken(argv)) for _ in range(WARM + ROUNDS)][WARM:]


def rows(name: str, measured: Sequence[tuple[Taken, Taken]]) -> list[Row]:
    """Wall and CPU time of what `times` measured."""
    found = []
    for kind in ("wall", "cpu"):
        peer = Spread.of(getattr(one, kind) for one, _ in measured)
        ours = Spread.of(getattr(one, kind) for _, one in measured)
        words = f"{name}: {'CPU' if kind == 'cpu' else 'wall'}"
        beside = f"{peer.shown(1e3, 'ms')} of import pydantic"
        found.append(compared(words, ours.shown(1e3, "ms"), beside, ours.median / peer.median, GOAL))
    return found
