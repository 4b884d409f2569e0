"""The hooks of a state repo: two short files that start voxnix, and what git itself is told to refuse."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.errors import Blocked
from controller.git.process import Git
from controller.git.refs import owner_of

HOOKS = ("pre-receive", "post-receive")
MARK = "# Put here by voxnix"
PUSH_BYTES = 64 * 2**20
CONFIG = {
    "receive.fsckObjects": "true",
    "receive.fsck.badFilemode": "error",
    "receive.denyDeletes": "true",
    "receive.denyNonFastForwards": "true",
    "receive.advertisePushOptions": "true",
    "receive.maxInputSize": str(PUSH_BYTES),
    "receive.autogc": "false",
    "core.logAllRefUpdates": "true",
}
"""What git checks by itself, for pushes to the path too."""
_TEXT = """#!/bin/sh
{mark}: `voxnix hooks` brings it up to date.
program=$(command -v voxnix) || program={program}
[ -x "$program" ] || {{ echo "error: voxnix is not installed here, so {what}" >&2; exit 1; }}
exec "$program" hook {name} {options}
"""
_WHAT = {
    "pre-receive": "this push cannot be judged and is not taken",
    "post-receive": "what becomes of this push cannot be told",
}


def install(repository: Path, options: Sequence[str]) -> list[Path]:
    """Put the hooks in place, and git's own settings; the files that were written.

    `options` are handed on to voxnix. Raises `Blocked` where a hook is there that voxnix did not put there, and
    nothing is changed then.
    """
    folder = repository / "hooks"
    for name in HOOKS:
        place = folder / name
        if os.path.lexists(place) and (place.is_symlink() or MARK not in place.read_text(errors="replace")):
            raise Blocked(f"{place} is there already, and is not voxnix's", hint="move it away, and say this again")
    owner = owner_of(repository)
    git = Git(repository, owner=owner)
    for key, value in CONFIG.items():
        git.run("config", key, value)
    folder.mkdir(mode=0o755, exist_ok=True)
    written = []
    for name in HOOKS:
        draft, place = folder / f".{name}.new", folder / name
        draft.write_text(_text(name, options))
        draft.chmod(0o755)
        draft.replace(place)
        written.append(place)
    if owner is not None:
        for path in (folder, *written):
            os.chown(path, *owner, follow_symlinks=False)
    return written


def missing(repository: Path) -> list[str]:
    """The hooks that are not in place as they should be."""
    return [name for name in HOOKS if not _ours(repository / "hooks" / name)]


def _ours(place: Path) -> bool:
    try:
        return os.access(place, os.X_OK) and MARK in place.read_text(errors="replace")
    except OSError:
        return False


def _text(name: str, options: Sequence[str]) -> str:
    words = shlex.join(options)
    return _TEXT.format(mark=MARK, program=shlex.quote(_program()), what=_WHAT[name], name=name, options=words).replace(
        " \n", "\n"
    )


def _program() -> str:
    """Where voxnix is, for a hook that does not find it in its PATH."""
    beside = Path(sys.executable).with_name("voxnix")
    return str(beside) if beside.exists() else shutil.which("voxnix") or "/run/current-system/sw/bin/voxnix"
