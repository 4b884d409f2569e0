"""What git's hooks start: asks the gate about a push, and afterwards shows what becomes of it.

It has to be quick to start, since somebody waits for it: where a gate stays running (`voxnix door`), nothing heavy is
loaded here.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.errors import BadInput, Blocked, VoxnixError
from controller.gate.push import DOOR, LONGEST, Push, Update, read_updates, told
from controller.gate.telling import failure, harmless
from controller.settings import Settings, load
from controller.sockets import connect

if TYPE_CHECKING:
    from controller.gate.gate import Gate

PATIENCE = 120.0
"""Seconds that a judgement may take."""
LONGEST_WAIT = 600.0
"""Seconds that a pusher may ask to be told for."""


def main(words: Sequence[str]) -> int:
    """Be the hook that the first word names; the words after it are the common options. Its exit code."""
    try:
        hook, options = _words(words)
        settings = load({**options, "state": str(_repository())})
        updates = read_updates(sys.stdin.read(LONGEST))
        if hook == "pre-receive":
            return _before(settings, updates)
        return _after(settings, updates)
    except VoxnixError as error:
        _say(failure(error))
    except UnicodeDecodeError:
        _say(["error: the name of this ref is no text"])
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except OSError as error:
        _say(harmless([f"error: {error.filename or 'voxnix'}: {error.strerror or error}"]))
    return 1


def _words(words: Sequence[str]) -> tuple[str, dict[str, str | None]]:
    """The hook's name, and the options: `--config FILE`, `--host HOST`."""
    hook, *rest = words or ("",)
    if hook not in ("pre-receive", "post-receive") or len(rest) % 2:
        raise BadInput("`voxnix hook` is for git to start", hint="`voxnix hooks REPO` puts it in place")
    pairs = dict(zip(rest[::2], rest[1::2], strict=True))
    known = {"--config": "config", "--host": "host"}
    if unknown := pairs.keys() - known.keys():
        raise BadInput(f"the hook does not know {', '.join(sorted(unknown))}", hint="`voxnix hooks REPO` mends it")
    return hook, {known[name]: value for name, value in pairs.items()}


def _repository() -> Path:
    """The repository that git runs us in."""
    return Path(os.path.realpath(os.environ.get("GIT_DIR", ".")))


def _before(settings: Settings, updates: Sequence[Update]) -> int:
    """Judge: exit code 1 refuses the push as a whole."""
    from controller.receive import pusher

    repository = Path(settings.repository)
    key, by = pusher()
    if os.geteuid() not in (0, repository.stat().st_uid):
        raise Blocked(
            f"you may write to {repository}, and are neither its owner nor root, so nobody can tell who pushes",
            hint="push over SSH with your own key",
        )
    push = Push(tuple(updates), key, by, os.environ.get("GIT_QUARANTINE_PATH", ""))
    answer = _asked(repository, told(push), "taken")
    if answer is None:
        from controller.gate import telling

        found = gate_of(settings).admit(push)
        answer = {"taken": not found.refusals, "lines": telling.told(found)}
    _say(answer["lines"])
    return 0 if answer["taken"] is True else 1


def _after(settings: Settings, updates: Sequence[Update]) -> int:
    """Let the controller know, and show for a while what becomes of it."""
    _poke(settings.socket)
    seconds = patience(settings.push_wait, os.environ)
    for update in updates if seconds else ():
        if update.ref == f"refs/heads/{settings.branch}" and update.old and update.new:
            from controller.gate.follow import Follower

            Follower(settings.socket, update.new, _names(settings, update), _say).follow(seconds)
    return 0


def patience(usual: float, environment: Mapping[str, str]) -> float:
    """Seconds to follow a push: as the settings say, or as `git push -o no-wait` and `-o wait=30` ask for."""
    count = environment.get("GIT_PUSH_OPTION_COUNT", "0")
    for number in range(min(int(count), 32) if count.isdecimal() else 0):
        option = environment.get(f"GIT_PUSH_OPTION_{number}", "")
        if option == "no-wait":
            return 0.0
        seconds = option.removeprefix("wait=")
        if seconds != option and seconds.isascii() and seconds.isdecimal() and len(seconds) < 6:
            return min(float(seconds), LONGEST_WAIT)
    return usual


def _poke(path: Path) -> None:
    """Ask the controller for a pass, if it runs and lets us: it also sees by itself that the branch has moved.

    By hand, since loading an HTTP client takes longer than the question.
    """
    with contextlib.suppress(OSError), connect(path, 1.0) as connection:
        connection.sendall(b"POST /v1/poke HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.recv(1)


def _names(settings: Settings, update: Update) -> list[str]:
    """The containers that a push concerns."""
    repository = Path(settings.repository)
    answer = _asked(repository, {"names": [update.old, update.new]}, "names")
    if answer is not None:
        return [str(name) for name in answer["names"]]
    return gate_of(settings).names(update.old, update.new)


def _asked(repository: Path, question: Mapping[str, object], key: str) -> Any:
    """What the running gate answers, with `key` in it and lines for people; None where none runs that we can ask."""
    if os.geteuid() != repository.stat().st_uid:
        return None
    try:
        with connect(repository / DOOR, PATIENCE) as connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps(question, separators=(",", ":")).encode() + b"\n")
            lines.flush()
            answer = json.loads(lines.readline())
    except (OSError, ValueError):
        return None
    sound = isinstance(answer, dict) and key in answer and isinstance(answer.setdefault("lines", []), list)
    return answer if sound else None


def gate_of(settings: Settings) -> Gate:
    """A gate of our own, for these settings."""
    from controller.cli.client import Client
    from controller.gate.gate import Gate
    from controller.wiring import modules

    def trash() -> frozenset[str]:
        try:
            return frozenset(str(piece["owner"]) for piece in Client(settings.socket).get("/v1/status")["trash"])
        except (VoxnixError, KeyError, TypeError):
            return frozenset()

    path = Path(settings.repository)
    return Gate(path, settings.branch, lambda: modules(settings), settings.name, lambda: settings.delegates, trash)


def _say(lines: Sequence[str] | Any) -> None:
    """Lines for the pusher, at once."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)
