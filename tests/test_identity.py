"""Which appliance a host belongs to, by the marks on its pool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.errors import Blocked
from controller.identity import appliance_of
from controller.observed import Dataset, Known, NotConfigured, Observed, Unknown
from controller.observed.facts import StorageFacts
from controller.plan.model import Policy

POLICY = Policy(appliance="")


def host(**appliances: str) -> Observed:
    """A host with these datasets, by name with `__` for `/`, and the appliance that each is marked with."""
    names = {name.replace("__", "/"): mark for name, mark in appliances.items()}
    datasets = {name: Dataset(name, marks={"appliance": mark} if mark else {}) for name, mark in names.items()}
    storage = Known(StorageFacts(0, 1, True, datasets))
    return Observed(Known({}), storage, NotConfigured(), Known(True), Known({}))


def test_a_pool_without_marks_is_nobodys() -> None:
    assert appliance_of(host(), POLICY) is None
    assert appliance_of(host(tank__users__alice__containers__dev="", tank__other="a1"), POLICY) is None


def test_live_containers_and_trash_tell() -> None:
    assert appliance_of(host(tank__users__alice__containers__dev="a1", tank__users__bob="b2"), POLICY) == "a1"
    assert appliance_of(host(tank__trash__dev="a1"), POLICY) == "a1"


def test_marks_of_several_appliances_are_for_a_person_to_sort_out() -> None:
    with pytest.raises(Blocked, match="several appliances: a1, b2"):
        appliance_of(host(tank__trash__dev="b2", tank__users__alice__containers__dev="a1"), POLICY)


@pytest.mark.parametrize("source", ["storage", "machines"])
def test_what_cannot_be_looked_at_is_not_taken_for_new(source: str) -> None:
    with pytest.raises(Blocked, match="cannot be looked at"):
        appliance_of(replace(host(), **{source: Unknown("no answer")}), POLICY)
