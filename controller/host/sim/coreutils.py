"""The one plain program that the controller runs on the host: `cp -a --reflink=auto SRC/. DST`, for adoption."""

from __future__ import annotations

from controller.host.sim.command import Answer, Call, Refusal, options
from controller.host.sim.zfs_data import copy_tree


async def cp(call: Call) -> Answer:
    """Copy the content of one directory into another, with times, modes and links."""
    found, words = options("cp", call.args, "aRrT", ["reflink=", "archive", "recursive"])
    if len(words) != 2:
        raise Refusal("cp: missing destination file operand" if words else "cp: missing file operand")
    source, target = call.world.path(words[0]), call.world.path(words[1])
    if not source.exists():
        raise Refusal(f"cp: cannot stat '{words[0]}': No such file or directory")
    if not {option for option, _ in found} & {"-a", "-R", "-r", "--archive", "--recursive"}:
        raise Refusal(f"cp: -r not specified; omitting directory '{words[0]}'")
    if not words[0].endswith("/.") and target.is_dir() and ("-T", "") not in found:
        target = target / source.name
    if not target.parent.is_dir():
        raise Refusal(f"cp: cannot create directory '{words[1]}': No such file or directory")
    copy_tree(source, target)
    return Answer()
