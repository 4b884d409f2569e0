"""That no tool can reach a host driver, start a process, or connect anywhere; and that the check would notice."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import agent
from agent.tools import LOOKS, PROPOSALS, TOOLSETS

FILES = sorted(Path(agent.__file__).parent.rglob("*.py"))
NEVER = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "system",
    "popen",
    "Popen",
    "fork",
    "execv",
    "spawnv",
    "import_module",
}
IDENTITY = {
    "owner",
    "role",
    "tenant",
    "person",
    "admin",
    "requested_by",
    "user",
    "approved",
    "path",
    "file",
    "url",
    "argv",
}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *code.split(" ", 1)], capture_output=True, text=True, check=False)


def test_no_tool_starts_a_process_connects_or_writes_a_file():
    done = run("-m tests.agent.reach")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert f"{len(LOOKS | PROPOSALS)} tools" in done.stdout


def test_the_watch_would_notice():
    watch = "import sys, tests.agent.reach as r; sys.addaudithook(r.hook); r.watching = True; "
    for act in (
        "import subprocess; subprocess.run(['true'])",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
    ):
        code = f"{watch}\ntry:\n exec({act!r})\nexcept OSError: pass\nprint(len(r.reached))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert int(done.stdout) > 0, done.stderr


def test_no_module_of_the_agent_calls_what_starts_programs():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                attribute_of_re = name == "compile" and isinstance(node.func, ast.Attribute)
                assert attribute_of_re or name not in NEVER, f"{path.name}:{node.lineno} calls {name}"


def test_no_tool_takes_identity_or_a_place_as_an_argument():
    for toolset in TOOLSETS:
        for tool in toolset.tools.values():
            assert not IDENTITY & set(inspect.signature(tool.function).parameters), tool.name


def test_the_modules_are_of_the_size_that_the_house_wants():
    for path in FILES:
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, path.name
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 40, f"{path.name}:{node.name}"
