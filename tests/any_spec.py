"""A hypothesis strategy for any valid spec, and the digests that its system has in drawn worlds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st

from controller.spec.model import ContainerSpec, Resources, Schedule, TailnetSpec, Workspace
from tests.world import GIB, NOW

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]
OWNERS = ("alice", "bob")


def short(*parts: object) -> str:
    """A digest, short enough to read in a failure."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def digests(spec: ContainerSpec, library: str) -> tuple[str, str]:
    """System digest, and digest of what the spec itself asks for."""
    own = short(spec.name, spec.owner, spec.modules, sorted(spec.env.items()))
    return short(own, library), own


@st.composite
def specs(draw: Draw, name: str, *, calm: bool = False) -> ContainerSpec:
    """Any valid spec; a `calm` one has no pause, expiry, schedule or other host."""
    rare = (lambda value, other: other) if calm else (lambda value, other: draw(seldom(value, other)))
    schedule = Schedule(start="0 8 * * *", stop=draw(st.sampled_from((None, "0 10 * * *", "0 20 * * *"))))
    expires = NOW + timedelta(hours=draw(st.sampled_from((-30, -1, 5))))
    return ContainerSpec(
        name=name,
        owner=draw(st.sampled_from(OWNERS)),
        modules=tuple(draw(st.lists(st.sampled_from(("git", "tailscale", "workspace")), unique=True).map(sorted))),
        power=draw(st.sampled_from(("running", "running", "stopped"))),
        workspace=Workspace(
            quota=draw(st.sampled_from((1, 5))) * GIB, restore=draw(st.sampled_from(("latest", "never")))
        ),
        tailnet=TailnetSpec(hostname=rare("host-" + name, None), ssh=rare(False, True), tags=rare(("tag:lab",), ())),
        resources=Resources(memory=draw(st.sampled_from((1, 2))) * GIB),
        secrets=rare(("token",), ()),
        schedule=rare(schedule, None),
        expires=rare(expires, None),
        paused=rare(True, False),
        host=rare("there", draw(st.sampled_from((None, "here")))),
        renamed_from=None,
    )


def seldom(value: T, other: T) -> st.SearchStrategy[T]:
    """`value` in one case of eight."""
    return st.sampled_from((other,) * 7 + (value,))
