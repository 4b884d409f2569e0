"""systemd-run -M of the simulated host, and the few programs that its containers have.

Exit codes pass through, stdin is handed on, and what is written lands in the files of the host.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Sequence

from controller.host.sim import installed, power, units
from controller.host.sim.command import Answer, Call, Refusal, options
from controller.host.sim.tailscale import tailscale
from controller.host.sim.view import View

NO_PROGRAM = 203
"""What systemd answers when there is no such program inside (EXIT_EXEC)."""


async def systemd_run(call: Call) -> Answer:
    """The `systemd-run` command, with a machine to run in."""
    found, words = options(
        "systemd-run",
        call.args,
        "M:PGqtp:",
        ["machine=", "wait", "pipe", "collect", "quiet", "pty", "property=", "service-type=", "setenv=", "unit=",
         "uid=", "working-directory=", "version", "no-block"],
        mixed=False,
    )  # fmt: skip
    flags = dict(found)
    if "--version" in flags:
        return Answer(out="systemd 257 (257.9)\n")
    name = flags.get("-M") or flags.get("--machine")
    if name is None:
        raise Refusal("the simulated host runs commands in machines only: systemd-run -M NAME …")
    if not words:
        raise Refusal("Command line to execute required.")
    unit = units.load(call.world, [name])[name]
    if unit.active != "active":
        why = "Connection refused" if unit.registered else "Host is down"
        raise Refusal(f"Failed to connect to system scope bus via machine transport: {why}")
    program = words[0].rpartition("/")[2]
    if program == "tailscale":
        if not installed.on_tailnet(call.world, name):
            raise Refusal("", NO_PROGRAM)
        return await tailscale(call, name, words[1:])
    return execute(View(call.world, name), [program, *words[1:]], call.stdin)


def execute(view: View, argv: Sequence[str], stdin: str | None = None) -> Answer:
    """Run one of the container's programs."""
    program = _PROGRAMS.get(argv[0])
    if program is None:
        raise Refusal("", NO_PROGRAM)
    try:
        return program(view, list(argv[1:]), stdin or "")
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 5)
        return Answer(1, "", f"{argv[0]}: {argv[-1] if len(argv) > 1 else ''}: {reason}\n")


def _cat(view: View, args: list[str], stdin: str) -> Answer:
    return Answer(out="".join(stdin if arg == "-" else view.read(arg) for arg in args) if args else stdin)


def _ls(view: View, args: list[str], _stdin: str) -> Answer:
    words = [arg for arg in args if not arg.startswith("-")]
    shown = [each for each in view.names(words[0] if words else "/") if not each.startswith(".") or "-a" in args]
    return Answer(out="".join(f"{each}\n" for each in shown))


def _tee(view: View, args: list[str], stdin: str) -> Answer:
    for path in (arg for arg in args if arg != "-a"):
        view.write(path, stdin, append="-a" in args)
    return Answer(out=stdin)


def _rm(view: View, args: list[str], _stdin: str) -> Answer:
    for path in (arg for arg in args if not arg.startswith("-")):
        place = view.place(path, follow=False).path
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        elif place.exists() or place.is_symlink() or "-f" not in args:
            place.unlink()
    return Answer()


def _mkdir(view: View, args: list[str], _stdin: str) -> Answer:
    for path in (arg for arg in args if not arg.startswith("-")):
        view.place(path).path.mkdir(parents="-p" in args, exist_ok="-p" in args)
    return Answer()


def _test(view: View, args: list[str], _stdin: str) -> Answer:
    return Answer(0 if view.place(args[-1]).path.exists() else 1)


def _poweroff(view: View, _args: list[str], _stdin: str) -> Answer:
    power.begin_stop(view.world, view.name)
    return Answer()


def _sh(view: View, args: list[str], stdin: str) -> Answer:
    """`sh -c TEXT` with words, quotes, `;`, `&&`, `>`, `>>` and `exit N`."""
    if len(args) < 2 or args[0] != "-c":
        raise Refusal("sh: 0: only -c is simulated", 2)
    out = err = ""
    code = 0
    for joined, command in _split(args[1]):
        if joined and code:
            break
        if command[:1] == ["exit"]:
            return Answer(int(command[1]) if len(command) > 1 else code, out, err)
        answer = _redirected(view, command, stdin)
        out, err, code = out + answer.out, err + answer.err, answer.code
    return Answer(code, out, err)


def _split(text: str) -> list[tuple[bool, list[str]]]:
    """The commands of one line, each with whether it follows `&&`."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[tuple[bool, list[str]]] = [(False, [])]
    for word in lexer:
        if word in (";", "&&"):
            commands.append((word == "&&", []))
        else:
            commands[-1][1].append(word)
    return [each for each in commands if each[1]]


def _redirected(view: View, words: Sequence[str], stdin: str) -> Answer:
    for sign in (">>", ">"):
        if sign in words:
            at = list(words).index(sign)
            target = words[at + 1] if at + 1 < len(words) else ""
            answer = execute(view, words[:at], stdin)
            try:
                view.write(target, answer.out, append=sign == ">>")
            except OSError as error:
                return Answer(2, "", f"sh: 1: cannot create {target}: {error.strerror}\n")
            return Answer(answer.code, "", answer.err)
    try:
        return execute(view, words, stdin)
    except Refusal:
        return Answer(127, "", f"sh: 1: {words[0]}: not found\n")


_PROGRAMS: dict[str, Callable[[View, list[str], str], Answer]] = {
    "cat": _cat,
    "echo": lambda _view, args, _stdin: Answer(out=" ".join(args) + "\n"),
    "false": lambda _view, _args, _stdin: Answer(1),
    "hostname": lambda view, _args, _stdin: Answer(out=f"{view.name}\n"),
    "ls": _ls,
    "mkdir": _mkdir,
    "poweroff": _poweroff,
    "rm": _rm,
    "sh": _sh,
    "tee": _tee,
    "test": _test,
    "true": lambda _view, _args, _stdin: Answer(),
}
