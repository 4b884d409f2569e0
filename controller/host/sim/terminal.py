"""What a person meets at a terminal of the simulated host: a small pretended shell, and logs that are followed."""

from __future__ import annotations

import shlex
import sys
import time

from controller.host.sim import units
from controller.host.sim.command import Answer, Call, Refusal, World
from controller.host.sim.inside import execute
from controller.host.sim.machined import FOLLOW, Query
from controller.host.sim.view import View

HELP = (
    "A pretended shell in a simulated container. It knows: cat, echo, hostname, ls, mkdir, rm, test, cd, pwd,\n"
    "`echo TEXT > FILE`, poweroff, exit. /home, /root, /var/lib and /workspace are kept; the rest is disposable.\n"
)


def interact(world: World, argv: tuple[str, ...]) -> int:
    """Run a command on the caller's own terminal; its exit code."""
    program = argv[0].rpartition("/")[2]
    try:
        if program == "machinectl" and argv[1:2] == ("shell",) and len(argv) > 2:
            return _shell(world, argv[2].rpartition("@")[2])
        if program == "journalctl":
            return _follow(Query.of(Call(world, argv)))
    except Refusal as refusal:
        sys.stderr.write(refusal.answer.err)
        return refusal.answer.code
    sys.stderr.write(f"{program}: nothing to interact with on a simulated host\n")
    return 1


def _follow(query: Query) -> int:
    after = 0
    try:
        while True:
            lines, after = query.lines(after)
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
            if not query.follow:
                return 0
            time.sleep(FOLLOW)
    except KeyboardInterrupt:
        return 130


def _shell(world: World, name: str) -> int:
    if units.load(world, [name])[name].active != "active":
        raise Refusal(f"Failed to get shell PTY: No machine '{name}' known")
    sys.stdout.write(
        f"Connected to machine {name}. Type `help` for what this pretended shell knows, `exit` to leave.\n"
    )
    view = View(world, name)
    here = "/root"
    while units.load(world, [name])[name].active == "active":
        sys.stdout.write(f"[root@{name}:{here}]# ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line or line.strip() in ("exit", "logout"):
            break
        here = _line(view, here, line.strip())
    sys.stdout.write(f"Connection to machine {name} terminated.\n")
    return 0


def _line(view: View, here: str, line: str) -> str:
    """Run one line; the directory afterwards."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        sys.stderr.write(f"sh: {error}\n")
        return here
    if not words:
        return here
    match words[0]:
        case "help":
            sys.stdout.write(HELP)
        case "pwd":
            sys.stdout.write(f"{here}\n")
        case "cd":
            goal = _absolute(here, words[1] if len(words) > 1 else "/root")
            if view.place(goal).path.is_dir():
                return goal
            sys.stderr.write(f"cd: {goal}: No such file or directory\n")
        case _:
            answer = _run(view, here, words, line)
            sys.stdout.write(answer.out)
            sys.stderr.write(answer.err)
    return here


def _run(view: View, here: str, words: list[str], line: str) -> Answer:
    if words[0] == "ls" and all(word.startswith("-") for word in words[1:]):
        line = f"{line} {shlex.quote(here)}"
    elif words[0] in ("cat", "ls", "rm", "mkdir", "test", "tee") or ">" in words:
        paths = [
            word
            if word.startswith(("-", "/", ">")) or (words[0] == "echo" and ">" not in words[at - 1])
            else _absolute(here, word)
            for at, word in enumerate(words[1:], 1)
        ]
        line = " ".join([words[0], *(word if word in (">", ">>") else shlex.quote(word) for word in paths)])
    return execute(view, ["sh", "-c", line])


def _absolute(here: str, path: str) -> str:
    return path if path.startswith("/") else f"{here.rstrip('/')}/{path}"
