"""Files become desired state: the cases in `cases/spec/resolve.yaml`, the laws of merging, and the cost of nothing new.

A case has the files of its revision (`now`), perhaps of earlier ones (`before`, each a whole tree), and what comes
out. Tenants alice (who may use tag:dev) and bob are always there unless the case is `bare`. What it does not
mention must not be: no other container frozen, no other problem.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.observed import Unknown
from controller.spec.parse import parse_file
from controller.spec.resolve import LastGood, merge, resolve
from controller.spec.state import Library

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "spec" / "resolve.yaml").read_text())
LIBRARY = Library({name: name for name in ("git", "fish", "node", "tailscale", "workspace")}, "lib1")
TENANTS = {
    "state/tenants/alice.yaml": "name: Alice\nrole: admin\ntailnet_tags: [tag:dev]\n",
    "state/tenants/bob.yaml": "name: Bob\n",
}


def parse(tree):
    return {path: parse_file(path, text.encode(), modules=LIBRARY.modules) for path, text in tree.items()}


def desire(tree, *, revision="r", last=None, tenants=None, library=LIBRARY, **more):
    changed = dict.fromkeys(tree, revision)
    return resolve(
        parse(tree),
        revision=revision,
        changed=changed,
        last=last or {},
        last_tenants=tenants or {},
        library=library,
        **more,
    )


def remember(desired, last):
    """What the controller keeps of a revision: the last valid specs, for removed names, too."""
    good = {
        name: LastGood(wanted.spec, wanted.revision, wanted.digest, wanted.own)
        for name, wanted in desired.containers.items()
        if not wanted.frozen
    }
    return last | good


def play(case):
    """Resolve the earlier revisions of a case, then its own; the result."""
    last, tenants = {}, {}
    common = {} if case.get("bare") else TENANTS
    for number, tree in enumerate(case.get("before", [])):
        desired = desire(common | tree, revision=f"r{number}", last=last, tenants=tenants)
        last, tenants = remember(desired, last), dict(desired.tenants)
    library = Library({name: name for name in case.get("library", LIBRARY.modules)}, "lib1")
    return desire(common | case["now"], revision="now", last=last, tenants=tenants, library=library)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["about"]) for case in CASES])
def test_case(case):
    desired = play(case)
    if "unknown" in case:
        assert isinstance(desired, Unknown)
        assert case["unknown"] in desired.why
        return
    frozen = {name: wanted.frozen for name, wanted in desired.containers.items() if wanted.frozen}
    assert frozen.keys() == case.get("frozen", {}).keys(), desired.problems
    for name, wish in case.get("frozen", {}).items():
        told = "\n".join(map(str, frozen[name]))
        assert all(part in told for part in wish.split(" | ")), told
    for name, fields in case.get("specs", {}).items():
        spec = desired.containers[name].spec
        assert (spec is None) == (fields is None)
        shown = spec.model_dump(mode="json") if spec else {}
        assert {key: shown[key] for key in fields or {}} == (fields or {})
    for name, revision in case.get("revisions", {}).items():
        assert desired.containers[name].revision == revision
    told = [str(problem) for problem in desired.problems]
    freezing = {str(problem) for problems in frozen.values() for problem in problems}
    assert freezing <= set(told)
    others = [text for text in told if text not in freezing]
    wishes = case.get("problems", [])
    assert len(others) == len(wishes) or not wishes, others
    for text, wish in zip(others, wishes, strict=False):
        assert all(part in text for part in wish.split(" | ")), text
    assert desired.hosts == set(case.get("hosts", desired.hosts))
    assert desired.frozen_tenants == set(case.get("frozen_tenants", desired.frozen_tenants))
    assert desired.tenants.keys() == set(case.get("tenants", desired.tenants))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["about"]) for case in CASES if "unknown" not in case])
def test_the_order_of_files_does_not_matter(case):
    turned = dict(reversed(case["now"].items()))
    one, two = play(case), play(case | {"now": turned})
    assert one == two


def test_what_git_tells_is_passed_on():
    desired = desire(
        TENANTS | {"state/dev.yaml": "owner: alice\nhost: nuc\n"}, removed={"web": "c1"}, moves={"dev": "attic"}
    )
    assert desired.removed == {"web": "c1"}
    assert desired.containers["dev"].moved_from == "attic"
    assert desired.containers["dev"].revision == "r"
    assert desired.revision == "r"


def test_a_frozen_container_has_the_digests_of_its_last_valid_spec():
    tree = TENANTS | {"state/dev.yaml": "owner: alice\nmodules: [git]\n"}
    before = desire(tree, revision="r0")
    broken = TENANTS | {"state/dev.yaml": "owner: alice\nmodules: [gut]\n"}
    after = desire(broken, revision="r1", last=remember(before, {}), library=Library(LIBRARY.modules, "lib2"))
    old, new = before.containers["dev"], after.containers["dev"]
    assert new.frozen
    assert (new.spec, new.revision, new.digest, new.own) == (old.spec, "r0", old.digest, old.own)


def test_another_library_changes_the_system_but_not_what_the_file_asks_for():
    tree = TENANTS | {"state/dev.yaml": "owner: alice\n"}
    old = desire(tree).containers["dev"]
    new = desire(tree, library=Library(LIBRARY.modules, "lib2")).containers["dev"]
    assert old.digest != new.digest
    assert old.own == new.own


def test_new_defaults_change_the_system_but_not_what_the_file_asks_for():
    tree = TENANTS | {"state/dev.yaml": "owner: alice\n"}
    old = desire(tree).containers["dev"]
    new = desire(tree | {"state/defaults.yaml": "modules: [git]\n"}).containers["dev"]
    assert old.digest != new.digest
    assert old.own == new.own


def test_a_memo_changes_nothing_but_the_cost():
    files = parse(TENANTS | {"state/dev.yaml": "owner: alice\n", "state/web.yaml": "owner: bob\npower: on\n"})
    changed = dict.fromkeys(files, "r")
    memo = {}
    fixed = {"revision": "r", "changed": changed, "last": {}, "last_tenants": {}, "library": LIBRARY}
    plain = resolve(files, **fixed)
    assert resolve(files, **fixed, memo=memo) == plain
    assert resolve(files, **fixed, memo=memo) == plain
    files |= parse({"state/defaults.yaml": "power: stopped\n"})
    del files["state/web.yaml"]
    again = resolve(files, **fixed, memo=memo)
    assert again.containers["dev"].spec.power == "stopped"
    assert memo.keys() == {"state/dev.yaml"}


def test_nothing_new_costs_little():
    text = b"owner: alice\nmodules: [git, tailscale, workspace]\nworkspace: {quota: 1G}\n"
    files = parse(TENANTS)
    for number in range(5_000):
        path = f"state/c{number}.yaml"
        files[path] = parse_file(path, text, modules=LIBRARY.modules) if number == 0 else _twin(files, path, number)
    memo = {}
    fixed = {"revision": "r", "changed": {}, "last": {}, "last_tenants": {}, "library": LIBRARY, "memo": memo}
    first = resolve(files, **fixed)
    assert len(first.containers) == 5_000
    begin = time.process_time()
    assert resolve(files, **fixed) == first
    assert time.process_time() - begin < 0.5


def _twin(files, path, number):
    return replace(files["state/c0.yaml"], path=path, stem=f"c{number}")


TEXTS = st.sampled_from(
    [
        "owner: alice\n",
        "owner: bob\npower: stopped\n",
        "owner: nobody\n",
        "ownr: alice\n",
        "owner: alice\nmodules: [tailscale]\n",
        "owner: bob\nmodules: [tailscale]\n",
        "owner: bob\nmodules: [tailscale]\ntailnet: {hostname: a}\n",
        "owner: alice\nmodules: [tailscale]\ntailnet: {hostname: b}\n",
        "owner: alice\nmodules: [tailscale]\ntailnet: {hostname: x, tags: [tag:dev]}\n",
        "owner: alice\nrenamed_from: a\n",
        "owner: bob\nrenamed_from: b\n",
        "owner: alice\nhost: nuc\n",
        "owner: alice\nhost: attic\nmodules: [tailscale]\ntailnet: {hostname: a}\n",
    ]
)
FILES = st.dictionaries(st.sampled_from([f"state/{name}.yaml" for name in ("a", "b", "c", "x", "defaults")]), TEXTS)


@given(st.lists(FILES, min_size=1, max_size=4))
@settings(deadline=None)
def test_laws_of_any_history(trees):
    last, tenants = {}, {}
    for number, tree in enumerate(trees):
        desired = desire(TENANTS | tree, revision=f"r{number}", last=last, tenants=tenants)
        turned = dict(reversed((TENANTS | tree).items()))
        assert desired == desire(turned, revision=f"r{number}", last=last, tenants=tenants)
        claims = []
        for name, wanted in desired.containers.items():
            good = last.get(name)
            if wanted.frozen:
                assert wanted.spec == (good.spec if good else None)
            else:
                assert wanted.spec.owner in desired.tenants
                assert wanted.spec.name == name
            if wanted.spec and wanted.spec.on_tailnet:
                claims.append((wanted.spec.host, wanted.spec.hostname))
        last, tenants = remember(desired, last), dict(desired.tenants)
        last = {name: good for name, good in last.items() if f"state/{name}.yaml" in tree}
        assert len(claims) == len(set(claims))


VALUES = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(VALUES)
def test_merging_with_nothing_changes_nothing(value):
    assert merge({}, value) == value
    assert merge(value, {}) == value
    assert merge(value, value) == value


@given(VALUES, VALUES)
def test_own_values_win_and_nothing_is_lost(defaults, own):
    merged = merge(defaults, own)
    assert merged.keys() == defaults.keys() | own.keys()
    assert merge(defaults, merged) == merged
    assert merge(merged, own) == merged
    for key in own.keys() - defaults.keys():
        assert merged[key] == own[key]
    for key in defaults.keys() - own.keys():
        assert merged[key] == defaults[key]
