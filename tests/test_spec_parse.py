"""Reading state files: the cases in `cases/spec`, and what must hold for any bytes.

A case has `text` (or `hex`, its bytes), perhaps a `path`, and either the `values` that are read or all `problems`
as "LINE:COLUMN part | part", where every part is somewhere in the problem as it is told.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.errors import InvalidFiles
from controller.spec.document import MAX_BYTES, read_document
from controller.spec.parse import MAX_PROBLEMS, parse_file
from controller.spec.result import FORMAT, FileResult

CASES = Path(__file__).parent / "cases" / "spec"
# fmt: off
MODULES = [
    "base", "direnv", "docker", "fish", "git", "go", "helix", "neovim", "nix-tools", "node", "postgres",
    "python", "rust", "tailscale", "tmux", "workspace", "zsh",
]
# fmt: on
LOADERS = [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)]


def cases():
    return [
        pytest.param(case, id=f"{name}: {case['about']}")
        for name in ("syntax", "scalars", "fields", "files")
        for case in yaml.safe_load((CASES / f"{name}.yaml").read_text())
    ]


def data_of(case) -> bytes:
    return bytes.fromhex(case["hex"]) if "hex" in case else case["text"].encode()


def read(text: str | bytes, path: str = "state/dev.yaml") -> FileResult:
    return parse_file(path, text.encode() if isinstance(text, str) else text, modules=MODULES)


@pytest.mark.parametrize("case", cases())
def test_case(case):
    result = read(data_of(case), case.get("path", "state/dev.yaml"))
    told = [str(problem) for problem in result.problems]
    expected = case.get("problems", [])
    assert len(told) == len(expected), told
    for problem, wish in zip(result.problems, expected, strict=True):
        place, _, parts = wish.partition(" ")
        assert f"{problem.line}:{problem.column}" == place, told
        for part in parts.split(" | "):
            assert part in str(problem), told
    if not expected:
        assert dict(result.values) == case["values"]


@pytest.mark.parametrize("case", cases())
def test_both_parsers_agree_on_every_case(case):
    assert _verdict(data_of(case), LOADERS[0]) == _verdict(data_of(case), LOADERS[1])


@pytest.mark.parametrize("case", cases())
def test_every_result_survives_being_kept(case):
    result = read(data_of(case), case.get("path", "state/dev.yaml"))
    assert FileResult.from_json(result.to_json()) == result


def test_a_result_of_another_version_is_refused():
    with pytest.raises(ValueError, match="version"):
        FileResult.from_json(read("owner: alice\n").to_json().replace(f"[{FORMAT},", "[0,", 1))


def test_marks_say_where_values_stand():
    result = read("owner: alice\nmodules:\n  - git\n  - fish\nworkspace: {quota: 5G}\nenv:\n  EDITOR: vi\n")
    places = {name: (mark.line, mark.column) for name, mark in result.marks.items()}
    assert places == {
        "owner": (1, 8),
        "modules": (3, 3),
        "modules.0": (3, 5),
        "modules.1": (4, 5),
        "workspace": (5, 12),
        "workspace.quota": (5, 20),
        "env": (7, 3),
        "env.EDITOR": (7, 11),
    }
    assert result.marks["modules.1"].text == "  - fish"


def test_a_problem_points_at_the_nearest_field_that_the_file_has():
    result = read("owner: alice\nworkspace: {quota: 5G}\n")
    assert result.problem("workspace.restore", "x").where == "state/dev.yaml:2:12"
    assert result.problem("resources.memory", "x").where == "state/dev.yaml"


def test_a_file_that_is_too_large_is_not_read():
    result = read(b"#" * (MAX_BYTES + 1))
    assert "at most 64 KiB" in str(result.problems[0])


def test_mistakes_are_counted_out():
    result = read("".join(f"x{n}: 1\n" for n in range(500)))
    assert len(result.problems) == MAX_PROBLEMS + 1
    assert "more than these 50" in result.problems[-1].message


HOSTILE = {
    "brackets": "[" * MAX_BYTES,
    "braces": "{" * MAX_BYTES,
    "dashes": "- " * (MAX_BYTES // 2),
    "keys": "".join(f"k{n}: v\n" for n in range(7000)),
    "duplicates": "a: 1\n" * 13_000,
    "colons": ":" * MAX_BYTES,
    "anchors": "&a " * 21_000,
    "aliases": "owner: &a alice\nenv: [" + "*a," * 20_000 + "]",
    "misspelled": "modules:\n" + "".join(f"- gitt{n}\n" for n in range(3900)),
    "digits": "owner: " + "1" * 65_000,
    "cron": "schedule: {start: '" + "1," * 32_000 + " * * * *'}",
    "escapes": 'owner: "' + "\\x41" * 16_000 + '"',
}


@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_files_cost_little(text):
    begin = time.process_time()
    result = read(text[:MAX_BYTES])
    assert time.process_time() - begin < 2
    assert result.problems
    assert len(result.problems) <= MAX_PROBLEMS + 1


def _verdict(data: bytes, loader):
    try:
        document = read_document("state/x.yaml", data, loader=loader)
    except InvalidFiles as error:
        return error.problems
    return document.root, document.problems


WORDS = "owner modules env git no 5G 1:30 é 😀 \u00a0 : [ ] { } , - ' \" # & * ! | > ? % @ ` ~ = << &x *x !!str |- >+"
BREAKS = (" ", "  ", "\n", "\n  ", "\n- ", "- ", ": ", ", ", " #", "\r\n", "\t", "\n---\n", "...")
ESCAPES = ("\\", "\\x41", '"\\e": ', '"\\e"')
TOKENS = st.sampled_from((*WORDS.split(" "), *BREAKS, *ESCAPES))


@given(st.binary(max_size=200) | st.lists(TOKENS, max_size=20).map(lambda parts: "".join(parts).encode()))
@example(b'"\\ud800"')
@example(b"%TAG ! x\n---\na")
@example(b'a: "\\UFFFFFFFF"')
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_a_result_and_both_parsers_the_same(data):
    assert _verdict(data, LOADERS[0]) == _verdict(data, LOADERS[1])
    for path in ("state/dev.yaml", "state/tenants/bob.yaml", "state/defaults.yaml"):
        result = read(data, path)
        assert FileResult.from_json(result.to_json()) == result
        for problem in result.problems:
            assert problem.render().replace("\n", "").isprintable()


@given(st.text(max_size=60), st.binary(max_size=20))
@settings(deadline=None)
def test_any_path_gives_a_result(path, data):
    for prefix in ("", "state/", "state/tenants/"):
        read(data, prefix + path)
        for problem in read(data, f"{prefix}{path}.yaml").problems:
            assert problem.render().replace("\n", "").isprintable()
