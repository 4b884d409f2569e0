"""The tour itself: seven steps, each told, done, shown, and checked."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from controller.cli.demo.follow import follow
from controller.cli.demo.stage import NotAsTold, Stage, explained
from controller.cli.demo.voice import Voice
from controller.cli.text import command, heading, paint

NOTE = "remember the milk"
DISTURBING = frozenset({"Stop", "Start", "Install", "RemoveSystem", "ToTrash"})
"""Kinds of events that the user of a container would notice."""


def tour(*, shell: bool = True) -> int:
    """Give the whole tour; 0 if everything was as told."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    voice = Voice(terminal=terminal)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    began = time.monotonic()
    with Stage(slow=terminal) as stage:
        try:
            give(stage, voice)
        except Exception as error:  # noqa: BLE001 - whatever it is, the tour has failed and says where
            click.echo("", err=True)
            click.echo(f"{paint('✗', 'red', bold=True)} Not as told: expected {explained(error)}", err=True)
            click.echo(f"  The controller's log ends:\n{stage.last_words()}", err=True)
            return 1
        _farewell(stage, voice, time.monotonic() - began)
        if terminal and shell:
            stage.shell()
    return 0


def give(stage: Stage, voice: Voice) -> None:
    """All steps, on this stage. Raises `NotAsTold`."""
    for step in STEPS:
        step(stage, voice)


def _welcome(stage: Stage, voice: Voice) -> None:
    click.echo(heading("voxnix: your containers are what a git repository says they are."))
    voice.say(
        """This tour takes place in a temporary directory, on a simulated NixOS machine with ZFS and a tailnet.
        The controller, git and all that voxnix does are real; nothing of yours is touched."""
    )
    stage.build()


def _push(stage: Stage, voice: Voice) -> None:
    voice.title("A file is a container")
    voice.say(
        """Each container is described by one file in the folder state/ of a git repository. Alice would like
        a container of her own, with git, fish, a disk, and a name on the tailnet. She writes:"""
    )
    for name in ("dev", "web"):
        (stage.work / f"state/{name}.yaml").write_bytes(stage.example(f"{name}.yaml"))
    voice.file(stage.work / "state/dev.yaml", "state/dev.yaml")
    voice.say("Bob has a file of his own, state/web.yaml. To ask for both, they are committed and pushed:")
    commit(stage, voice, "Containers for Alice and Bob", "state/dev.yaml", "state/web.yaml")
    voice.say("Before anything is done, voxnix can say what it would do, and why:")
    voice.typed("voxnix plan")
    stage.voxnix("plan", code=2)


def _up(stage: Stage, voice: Voice) -> None:
    voice.title("The controller makes it so")
    voice.say(
        """The controller is a service that reads the repository, looks at the machine, and does what is missing.
        It is started now, as a process of its own, and here is what it does:"""
    )
    voice.typed("voxnix run")
    stage.start_controller()
    follow(stage, 0, lambda s: phases(s) == {"dev": "ready", "web": "ready"}, "dev and web to become ready")
    voice.typed("voxnix status")
    stage.voxnix("status")
    voice.held("both containers run, with storage and addresses of their own")
    if stage.tailnet:
        expect("dev" in stage.devices(), "dev to be on the tailnet")
        voice.held("dev is on the tailnet, enrolled with a single-use key that nobody has seen")
    voice.say("Alice goes in and leaves a note in her workspace:")
    line = f"echo {NOTE} > /workspace/note.txt"
    voice.typed(f"voxnix enter dev     # then: {line}")
    stage.inside("dev", line)
    expect(stage.inside("dev", "cat /workspace/note.txt").strip() == NOTE, "the note to be in the workspace")


def _edit(stage: Stage, voice: Voice) -> None:
    voice.title("An edit changes one container, and only that")
    voice.say("Bob needs Python too. He adds a word to his file, and pushes:")
    mark = stage.last_event()
    file = stage.work / "state/web.yaml"
    file.write_text(file.read_text().replace("[git, node,", "[git, node, python,"))
    voice.quoted([x for x in stage.git("diff", "-U0").splitlines() if x[:1] in "+-" and x[:3] not in ("+++", "---")])
    commit(stage, voice, "web: Python too", "state/web.yaml")
    restarted = done(stage, mark, "web", "Stop", "Install", "Start")
    follow(stage, mark, lambda s: restarted() and phases(s).get("web") == "ready", "web to be restarted")
    expect("python" in stage.container("web")["modules"], "web to have Python")
    expect(not disturbed(stage, mark, "dev"), "dev to be left alone")
    voice.held("web was rebuilt and restarted; dev did not notice")


def _heal(stage: Stage, voice: Voice) -> None:
    voice.title("Somebody stops a machine behind our back")
    voice.say(
        """The repository says that dev runs. Somebody on the machine thinks otherwise, and kills it.
        (The controller looks at the machine every second here; usually once a minute.)"""
    )
    mark = stage.last_event()
    voice.typed("machinectl terminate dev")
    stage.on_host("machinectl", "terminate", "dev")
    healed = done(stage, mark, "dev", "Start")
    follow(stage, mark, lambda s: healed() and phases(s).get("dev") == "ready", "dev to be started again")
    voice.held("dev runs again, because the file says so")


def _mistake(stage: Stage, voice: Voice) -> None:
    voice.title("A mistake is explained, and harms nothing")
    voice.say("Alice edits in a hurry: two words are wrong in her file. She pushes it all the same:")
    mark = stage.last_event()
    file = stage.work / "state/dev.yaml"
    right = file.read_text()
    file.write_text(right.replace("- fish", "- fihs").replace("quota: 20G", "quota: 20"))
    commit(stage, voice, "dev: in a hurry", "state/dev.yaml", refused=True)
    expect("fihs" not in stage.git("show", "origin/main:state/dev.yaml"), "the branch to be where it was")
    voice.held("nothing of it was taken; the push itself says what is wrong, where, and what to write instead")
    voice.say("`voxnix validate` says the same before a push. She gives dev more memory, this time with care:")
    file.write_text(right.rstrip("\n") + "\nresources: {memory: 3G}\n")
    stage.git("add", "state/dev.yaml")
    voice.typed('git commit --amend -a -m "dev: more memory" && git push')
    stage.git("commit", "--quiet", "--amend", "-m", "dev: more memory")
    voice.heard(stage.push())
    changed = done(stage, mark, "dev", "SetResources")
    follow(stage, mark, lambda s: changed() and phases(s).get("dev") == "ready", "the memory of dev to be changed")
    expect(not disturbed(stage, mark, "dev"), "dev not to be restarted")
    voice.held("dev has more memory, and was never interrupted")


def _delete(stage: Stage, voice: Voice) -> None:
    voice.title("No file, no container; but nothing is lost")
    voice.say("Alice deletes her file:")
    mark = stage.last_event()
    voice.typed("git rm state/dev.yaml")
    stage.git("rm", "--quiet", "state/dev.yaml")
    commit(stage, voice, "dev is not needed any more")
    follow(stage, mark, lambda s: "dev" not in phases(s) and bool(s["trash"]), "dev to be removed")
    voice.typed("voxnix status")
    stage.voxnix("status")
    if stage.tailnet:
        stage.until(lambda: "dev" not in stage.devices(), "dev to be gone from the tailnet")
        expect(stage.logged("dev  log out of the tailnet"), "dev to be logged out of the tailnet")
        voice.held("dev was logged out of the tailnet, and its device is gone")
    expect(
        [piece["name"] for piece in (stage.status() or {})["trash"]] == ["dev"], "the data of dev to be in the trash"
    )
    voice.held("its data is in the trash, where it stays for thirty days")


def _undo(stage: Stage, voice: Voice) -> None:
    voice.title("Undo")
    voice.say("That was a mistake. Every change is a commit, so it can be taken back, with a commit:")
    mark = stage.last_event()
    voice.typed('voxnix undo --reason "I do need it"')
    stage.voxnix("undo", "--reason", "I do need it")
    follow(stage, mark, lambda s: phases(s).get("dev") == "ready", "dev to come back")
    stage.git("pull", "--quiet", "--ff-only")
    expect((stage.work / "state/dev.yaml").exists(), "state/dev.yaml to be back in the repository")
    voice.typed("voxnix enter dev     # then: cat /workspace/note.txt")
    found = stage.inside("dev", "cat /workspace/note.txt").strip()
    click.echo(found)
    expect(found == NOTE, f"the note to be back, and to say {NOTE!r}; it says {found!r}")
    if stage.tailnet:
        stage.until(lambda: "dev" in stage.devices(), "dev to be on the tailnet again")
    voice.held("container and files are back; and git tells who did what, when, and why:")
    voice.typed("voxnix history")
    stage.voxnix("history")


STEPS: tuple[Callable[[Stage, Voice], None], ...] = (_welcome, _push, _up, _edit, _heal, _mistake, _delete, _undo)


def _farewell(stage: Stage, voice: Voice, seconds: float) -> None:
    click.echo("")
    click.echo(f"{paint('✓', 'green', bold=True)} Everything was as told, in {seconds:.0f} s.")
    if not voice.terminal:
        return
    voice.say("The controller still runs, and the next prompt is in Alice's work tree. Things to try:")
    tries = (
        ("voxnix status --watch", "what is going on"),
        ("$EDITOR state/dev.yaml; git commit -a; git push", "change something"),
        ("voxnix new lab --modules git,python -o state/", "a container of your own"),
        ("voxnix sim exec -- machinectl terminate web", "break something"),
        ("voxnix events --follow", "what happens"),
        ("voxnix enter dev", "look inside"),
        ("voxnix --help", "everything else"),
        ("exit", "end the demo; nothing is left behind"),
    )
    width = max(len(line) for line, _ in tries)
    for line, about in tries:
        click.echo(f"  {command(line.ljust(width))}  {about}")
    click.echo("")


def commit(stage: Stage, voice: Voice, message: str, *files: str, refused: bool = False) -> None:
    """Commit files of the work tree and push, as a person would; what the push says is shown."""
    if files:
        stage.git("add", *files)
        voice.typed(f'git add {" ".join(files)} && git commit -m "{message}" && git push')
    else:
        voice.typed(f'git commit -m "{message}" && git push')
    stage.git("commit", "--quiet", "-m", message)
    voice.heard(stage.push(refused=refused))


def phases(status: Mapping[str, Any]) -> dict[str, str]:
    """Each container's phase."""
    return {found["name"]: found["phase"] for found in status["containers"]}


def done(stage: Stage, mark: int, name: str, *kinds: str) -> Callable[[], bool]:
    """Whether these kinds of things have happened to a container since `mark`."""
    return lambda: set(kinds) <= {event["kind"] for event in stage.events(mark, name)}


def disturbed(stage: Stage, mark: int, name: str) -> bool:
    """Whether anything happened to a container since `mark` that its user would notice."""
    return any(event["kind"] in DISTURBING for event in stage.events(mark, name))


def expect(so: bool, what: str) -> None:
    """Raise `NotAsTold` unless it is so."""
    if not so:
        raise NotAsTold(what)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)
