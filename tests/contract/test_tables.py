"""The tables in `tests/cases/contract/`: commands, and what they answer.

A case is a list of steps. `run` is a command line, `{top}` and `{pool}` in it stand for the scratch dataset and the
pool, `{NAME}` for what an earlier step kept. `code` (0 unless told), `out` and `err` are regular expressions that
the whole text must match (not checked where absent, but a step that succeeds says nothing on stderr unless `err`).
`eventually` repeats the step until it is so. Other steps: `define` (a container, with `binds`, and how it `behaves`;
its store path is kept as `{store}`), `write` (a `text`, or `random` bytes), `mkdir`, `unlink`, `gone` and `there` (host
paths), `configure` (what the host is).
A case with `only` needs what that kind of host alone can be told or has.
"""

from __future__ import annotations

import base64
import random
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.host.run import Result
from tests.contract.hosts import Host, until
from tests.contract.parity import Parity

CASES = Path(__file__).parent.parent / "cases/contract"


def cases() -> list[Any]:
    found = []
    for path in sorted(CASES.glob("*.yaml")):
        for case in yaml.safe_load(path.read_text()):
            found.append(pytest.param(case, id=f"{path.stem}-{case['name'].replace(' ', '-')}"))
    return found


@pytest.mark.parametrize("case", cases())
async def test_table(host: Host, case: dict[str, Any], parity: Parity) -> None:
    if case.get("only") == "sim" and not host.simulated:
        pytest.skip("needs what only a simulated host can be told")
    known = {"pool": host.pool, "top": f"{host.pool}/contract"}
    for step in case["steps"]:
        await play(host, {"run": step} if isinstance(step, str) else step, known, parity)


async def play(host: Host, step: dict[str, Any], known: dict[str, str], parity: Parity) -> None:
    """One step of a case."""

    def filled(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), text)

    if "configure" in step:
        await host.configure(step["configure"])
    elif "define" in step:
        binds = [filled(bind) for bind in step.get("binds", ())]
        known["store"] = await host.define(step["define"], binds, step.get("behaves", ""))
    elif "write" in step:
        await host.write(filled(step["write"]), _content(step))
    elif "mkdir" in step:
        await host.mkdir(filled(step["mkdir"]))
    elif "unlink" in step:
        await host.unlink(filled(step["unlink"]))
    elif "gone" in step:
        assert not await host.there(filled(step["gone"])), step
    elif "there" in step:
        assert await host.there(filled(step["there"])), step
    else:
        argv = shlex.split(filled(step["run"]))
        if step.get("eventually"):
            result = await until(host, argv, lambda found: not differs(found, step, filled))
        else:
            result = await host.runner.run(argv, timeout=120, stdin=step.get("stdin"))
        wrong = differs(result, step, filled)
        parity.saw(argv, agrees=not wrong)
        assert not wrong, f"{wrong}\n{' '.join(argv)}\nrc {result.code}\n{result.out}\n{result.err}"


def _content(step: dict[str, Any]) -> str:
    """What is to be written: a text, or so many bytes that do not compress."""
    if "random" not in step:
        return str(step.get("text", ""))
    return base64.b64encode(random.Random(0).randbytes(step["random"] * 3 // 4)).decode()


def differs(result: Result, step: dict[str, Any], filled: Any) -> str:
    """What about a result is not as the step says; '' if it is."""
    if not re.fullmatch(str(step.get("code", 0)), str(result.code)):
        return f"exit code {result.code}, not {step.get('code', 0)}"
    for key, text in (("out", result.out), ("err", result.err)):
        if key in step and not re.fullmatch(filled(step[key]), text, re.DOTALL):
            return f"std{key} is not {step[key]!r}"
    if result.code == 0 and "err" not in step and result.err and not step["run"].startswith("nix-build"):
        return "something on stderr"
    return ""
