"""nix-build of the simulated host, and what it leaves in the store.

A store path is named by a hash of what went in, so the same document gives the same path; it appears whole, by one
rename. Nothing is evaluated: a document is read, its modules are looked up, and files are written.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.host.sim.command import Answer, Call, Refusal, World
from controller.host.sim.installed import Bind
from controller.host.sim.zfs_data import Disk

STORE = "/nix/store"
_ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"
UNIT = """[Unit]
Description=Container '{name}'

[Service]
Type=notify
Slice=machine.slice
EnvironmentFile=-/etc/nixos-containers/%i.conf
ExecStart=/nix/store/{hash}-container-start
Restart=on-failure
RestartForceExitStatus=133
KillMode=mixed
KillSignal=TERM
"""


async def nix_build(call: Call) -> Answer:
    """The `nix-build` command: `nix-build FILE --argstr document JSON-FILE --out-link LINK`."""
    words = list(call.args)
    if "--version" in words:
        return Answer(out="nix-build (Nix) 2.31.2\n")
    strings: dict[str, str] = {}
    link: str | None = "result"
    files: list[str] = []
    while words:
        word = words.pop(0)
        if word in ("--argstr", "--arg", "--option"):
            key, value = _take(words, word), _take(words, word)
            strings[key] = value
        elif word in ("--out-link", "-o"):
            link = _take(words, word)
        elif word == "--no-out-link":
            link = None
        elif word in ("-A", "--attr", "-I", "-j", "--max-jobs", "--cores", "--timeout"):
            _take(words, word)
        elif word in ("--no-build-output", "-Q", "--show-trace", "--keep-going", "-k", "--fallback", "--quiet"):
            pass
        elif word.startswith("-"):
            raise Refusal(f"error: unrecognised flag '{word}'\nTry 'nix-build --help' for more information.")
        else:
            files.append(word)
    if len(files) != 1:
        raise Refusal(f"error: getting status of '{files[1] if files else '/default.nix'}': No such file or directory")
    return _build(call, files[0], strings.get("document"), link)


def _take(words: list[str], flag: str) -> str:
    if not words:
        raise Refusal(f"error: flag '{flag}' requires more arguments")
    return words.pop(0)


def _build(call: Call, expression: str, document: str | None, link: str | None) -> Answer:
    source = _find(call.world, expression)
    if document is None:
        raise Refusal(
            "error:\n       … while evaluating the file '" + expression + "'\n"
            "       error: cannot evaluate a function that has an argument without a value ('document')"
        )
    values = _read(call.world, document)
    _check_modules(call.world, source, expression, values)
    name = str(values["name"])
    path = define(call.world, name, _document_binds(values), values)
    call.checkpoint()
    if link:
        _link(call.world, link, path)
    log = f"building '{STORE}/{_hash(path)}-voxnix-{name}.drv'...\n"
    return Answer(out=f"{path}\n", err=log)


def _find(world: World, path: str) -> Path:
    """A file of the library: the host's own, or one of the machine that plays the host."""
    for candidate in (world.path(path), Path(path)):
        if candidate.is_dir() and (candidate / "default.nix").is_file():
            return candidate / "default.nix"
        if candidate.is_file():
            return candidate
    raise Refusal(f"error: getting status of '{path}': No such file or directory")


def _read(world: World, path: str) -> dict[str, Any]:
    try:
        text = world.path(path).read_text()
    except OSError as error:
        raise Refusal(f"error: opening file '{path}': {os.strerror(error.errno or 2)}") from error
    except UnicodeDecodeError as error:
        raise Refusal(f"error: [json.exception.parse_error.101] parse error: {error.reason}") from error
    try:
        values = json.loads(text)
    except ValueError as error:
        raise Refusal(
            "error:\n       … while calling the 'fromJSON' builtin\n"
            f"       error: [json.exception.parse_error.101] parse error: {error}"
        ) from error
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise Refusal("error: attribute 'name' missing")
    return values


def _check_modules(world: World, source: Path, expression: str, values: Mapping[str, Any]) -> None:
    """Refuse a module that the library does not have."""
    folder = source.parent / "modules"
    known = world.state.settings().modules
    if known is None and folder.is_dir():
        known = tuple(sorted(each.stem for each in folder.iterdir() if each.suffix == ".nix" or each.is_dir()))
    for module in values.get("system", {}).get("modules", ()):
        if known is not None and module not in known:
            raise Refusal(
                "error:\n       … while calling the 'throw' builtin\n"
                f"         at {expression}:1:1:\n\n"
                f"       error: voxnix: no module named '{module}'; there are {', '.join(known)}"
            )


def _document_binds(values: Mapping[str, Any]) -> tuple[Bind, ...]:
    return tuple(
        Bind(str(each["host"]), str(each["guest"]), bool(each.get("readOnly", False)))
        for each in values.get("binds", ())
    )


def define(world: World, name: str, binds: Sequence[Bind] = (), document: Mapping[str, Any] | None = None) -> str:
    """Put a definition of one container into the store, as `extra-container create` takes it; its store path.

    Without a document it is a container that somebody else made.
    """
    text = "" if document is None else json.dumps(document, sort_keys=True, ensure_ascii=False)
    system_hash = _hash(f"system {name} {text}")
    system = f"{STORE}/{system_hash}-nixos-system-{name}-26.05"
    flags = " ".join(f"--bind{'-ro' if each.read_only else ''}={each.host}:{each.guest}" for each in binds)
    conf = (
        f"SYSTEM_PATH={system}\nPRIVATE_NETWORK=1\nHOST_BRIDGE=br-vox\nLOCAL_ADDRESS=\nAUTO_START=\n"
        f'EXTRA_NSPAWN_FLAGS="{flags}"\n'
    )
    unit = UNIT.format(name=name, hash=_hash(f"start {flags}"))
    files = {"init": "#!/bin/sh\n", "etc/hostname": f"{name}\n"}
    if document is not None:
        files["etc/voxnix/container.json"] = text
    _put(world, system, files)
    path = f"{STORE}/{_hash(conf + unit)}-voxnix-{name}"
    services = f"etc/systemd/system/container@{name}.service"
    _put(world, path, {services: unit, f"etc/nixos-containers/{name}.conf": conf})
    return path


def _hash(text: str) -> str:
    """32 characters of Nix's alphabet that name `text`."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:20], "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(0, 160, 5))


def _put(world: World, store_path: str, files: Mapping[str, str]) -> None:
    """Write a store path, all of it or nothing; one that exists is left alone."""
    goal = world.path(store_path)
    if goal.exists():
        return
    draft = Disk(world).unmounted.parent / f"draft-{secrets.token_hex(8)}"
    for name, text in files.items():
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    goal.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.rename(goal)
    except OSError:
        if not goal.exists():
            raise


def _link(world: World, link: str, target: str) -> None:
    place = world.path(link)
    if not place.parent.is_dir():
        raise Refusal(f"error: creating symlink '{link}': No such file or directory")
    relative_link(place, world.path(target))


def relative_link(place: Path, target: Path) -> None:
    """A symbolic link that stays true when the whole tree is moved; an old one is replaced at once."""
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    draft.symlink_to(os.path.relpath(target, place.parent))
    draft.rename(place)
