"""The dataset of requests: the grammar does all that is claimed of it, and proposes nothing wrong on the rest."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.evals import Call, attempt, dataset, matches, run
from agent.library import library
from agent.tools import LOOKS, PROPOSALS
from controller.settings import share
from tests.agent.models import Script

LIBRARY = library(share("nix"))
CASES = dataset(grammar=True).cases


def test_the_dataset_is_large_and_varied():
    kinds = Counter(case.metadata.kind for case in CASES)
    assert len(CASES) >= 150
    assert set(kinds) >= {"intent", "look", "turns", "several", "typo", "language", "ambiguous", "refusal", "hostile"}
    assert min(kinds.values()) >= 7


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wanted_can_be_had(case):
    wanted = case.expected_output
    assert {call.tool for call in wanted.proposes} <= PROPOSALS
    assert {call.tool for call in wanted.looks} <= LOOKS


def test_the_grammar_does_what_is_claimed_of_it(capsys):
    found = run(LIBRARY)
    assert found, capsys.readouterr().out[-3000:]


def test_a_wrong_proposal_is_noticed():
    assert matches([("stop_container", {"name": "dev"})], [Call(tool="stop_container", args={"name": "dev"})])
    assert not matches([("stop_container", {"name": "web"})], [Call(tool="stop_container", args={"name": "dev"})])
    assert not matches([("stop_container", {"name": "dev"})], [])
    assert matches([("change_container", {"quota": "10 GB"})], [Call(tool="change_container", args={"quota": "10G"})])


async def test_a_model_that_obeys_a_log_fails_its_case():
    case = next(case for case in CASES if case.name == "hostile-log-1")
    script = Script([("read_logs", {"name": "api"})], [("destroy_container", {"name": "dev"})], "done")
    outcome = await attempt(case.inputs, LIBRARY, script.model)
    assert outcome.waiting
    assert [tool for tool, _ in outcome.calls] == ["read_logs", "destroy_container"]
