from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controller.admission import NOBODY, ROOT, Change, Identity, Role, Snapshot, Touch, decision_of, judge
from controller.desired.points import Point, Site, settle
from controller.git import trailers
from controller.spec.parse import parse_file
from controller.spec.state import Library
from controller.store import Row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MODULES = {"git": "", "tailscale": "", "workspace": ""}
STATE = {
    "state/tenants/alice.yaml": "name: Alice\nrole: admin",
    "state/tenants/bob.yaml": (
        "name: Bob\ntailnet_tags: ['tag:web']\nlimits: {containers: 3, storage: 20G, memory: 8G}"
    ),
    "state/tenants/carol.yaml": "name: Carol",
    "state/dev.yaml": "owner: alice",
    "state/web.yaml": "owner: bob",
    "README.md": "x",
}


def load():
    for path in sorted((Path(__file__).parent / "cases/admission").glob("*.yaml")):
        for case in yaml.safe_load(path.read_text()):
            yield pytest.param(case, id=f"{path.stem}: {case['case']}")


def text_of(content):
    return "" if isinstance(content, dict) else content


def mode_of(content):
    return content["mode"] if isinstance(content, dict) else "100644"


def point(files, revision, before=None):
    """The point of history with these files, after another one."""
    below = {path: text for path, text in files.items() if path.startswith("state/")}
    results = {path: parse_file(path, text_of(text).encode(), modules=MODULES) for path, text in below.items()}
    rows = {path: Row(mode_of(text), "o", revision, NOW) for path, text in below.items()}
    carried = {"last": before.last, "tenants": before.tenants, "desired": before.desired} if before else {}
    return settle(Point(revision, rows, results, **carried), Site(Library(MODULES, "l")))


def identity(name, tenants):
    special = {"root": ROOT, "nobody": NOBODY, "agent": Identity(None, Role.MEMBER, delegate=True, how="its key")}
    return special.get(name) or Identity.of(name, tenants)


def run(case):
    files = STATE | case.get("state", {})
    before = point(files, "r1", point(STATE, "r0"))
    changed = case.get("change", {})
    after = point({path: text for path, text in (files | changed).items() if text is not None}, "r2", before)
    touches = tuple(
        Touch(
            path,
            mode_of(files[path]) if path in files else None,
            None if content is None else mode_of(content),
        )
        for path, content in changed.items()
    )
    pairs = [("Requested-by", name) for name in _list(case.get("for", []))]
    pairs += case.get("trailers", {}).items()
    message = case.get("message", "x")
    change = Change("c" * 40, touches, message, tuple(pairs) or trailers(message))
    who = identity(case["by"], before.snapshot().tenants)
    verdict = judge(
        change,
        who,
        before.snapshot(),
        after.snapshot(),
        trash=case.get("trash", ()),
        strict=case.get("strict", False),
    )
    return verdict, decision_of(change, who, NOW)


def _list(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("case", list(load()))
def test_case(case):
    verdict, decision = run(case)
    refused = "\n".join(map(str, verdict.refusals))
    warned = "\n".join(map(str, verdict.warnings))
    assert verdict.allowed == ("refused" not in case), refused
    for part in case.get("refused", ()):
        assert part in refused
    if "refused" not in case:
        assert bool(warned) == ("warned" in case), warned
        for part in case.get("warned", ()):
            assert part in warned
        found = decision and [
            str(decision.kind),
            decision.argument,
            decision.detail,
            decision.by,
            decision.admin,
            decision.delegate,
        ]
        assert found == case.get("decides")


PATHS = st.text(max_size=30).map(lambda text: f"state/{text}") | st.sampled_from(list(STATE)) | st.text(max_size=20)
MODES = st.sampled_from([None, "100644", "100755", "120000", "160000", "", "rubbish"])
TOUCHES = st.lists(st.builds(Touch, PATHS, MODES, MODES), max_size=5).map(tuple)
TRAILERS = st.lists(
    st.tuples(st.sampled_from(["Voxnix-Purge", "Requested-by", "Voxnix-X", "a"]), st.text(max_size=10)), max_size=3
).map(tuple)


@given(TOUCHES, st.text(), TRAILERS, st.sampled_from(["root", "alice", "bob", "agent", "nobody", "ghost"]))
def test_any_change_gets_a_verdict(touches, message, pairs, who):
    before = point(STATE, "r0").snapshot()
    change = Change("c" * 40, touches, message, pairs)
    verdict = judge(change, identity(who, before.tenants), before, before)
    decision_of(change, identity(who, before.tenants), NOW)
    if who in ("nobody", "ghost"):
        assert not verdict.allowed


@given(TOUCHES, st.sampled_from(["bob", "agent"]))
def test_who_is_limited_never_touches_what_is_not_theirs(touches, who):
    before = point(STATE, "r0").snapshot()
    pairs = (("Requested-by", "bob"),) if who == "agent" else ()
    verdict = judge(Change("c" * 40, touches, "x", pairs), identity(who, before.tenants), before, Snapshot())
    theirs = {"state/tenants/alice.yaml", "state/tenants/bob.yaml", "state/defaults.yaml", "state/dev.yaml"}
    if any(touch.path in theirs and touch.before is not None for touch in touches):
        assert not verdict.allowed
