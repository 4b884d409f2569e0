"""Container systems: the module library, building a system from its document, installing and removing it.

Building and installing are apart, so that each fails by itself. What is installed is read from the installed files
afterwards: the installer prints a name before anything is in place, and removing what is not there succeeds.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from controller.errors import Blocked, Transient
from controller.host.files import Files
from controller.host.installed import CONF, UNITS, unit_of
from controller.host.machines import Machines
from controller.host.run import Result, Runner
from controller.host.secrets import Deliveries
from controller.observed import parse
from controller.plan.actions import Build, ClearFailed, Install, RemoveSystem
from controller.spec.state import Library

DATA = "/var/lib/voxnix"
TREES = "/var/lib/nixos-containers"

_STORE_PATH = re.compile(r"/nix/store/[0-9A-Za-z][0-9A-Za-z+._?=-]*")
_MODULE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_PASSING = (
    "builder for",
    "cannot build",
    "dependencies of derivation",
    "unable to download",
    "resolve host",
    "timed out",
    "onnection",
    "No space left",
    "daemon-socket",
    "store lock",
    "interrupted by",
    "out of memory",
    "substituter",
)
"""Words by which a failed build tells that it may go better next time; an evaluation error has none of them."""


class Systems:
    """Builds, installs and removes the systems of containers; `library` is the directory of `container.nix`."""

    def __init__(self, run: Runner, files: Files, machines: Machines, deliveries: Deliveries, library: str) -> None:
        self._run = run
        self._files = files
        self._machines = machines
        self._deliveries = deliveries
        self._library = library

    async def build(self, action: Build) -> None:
        """Build a system; its store path is kept from garbage collection by the out-link `builds/NAME`."""
        unit_of(action.name)
        file, link = f"{DATA}/documents/{action.name}.json", f"{DATA}/builds/{action.name}"
        self._files.make_private(f"{DATA}/documents")
        self._files.make_private(f"{DATA}/builds")
        self._files.write(file, action.document.encode())
        argv = ("nix-build", f"{self._library}/container.nix", "--argstr", "document", file, "--out-link", link)
        result = await self._run.run(argv, timeout=3600)
        if result.code != 0:
            raise _build_failure(action.name, result)
        printed = result.out.strip().rpartition("\n")[2]
        if not _STORE_PATH.fullmatch(printed) or self._files.resolve(link) != printed:
            raise Transient(f"nix-build of {action.name} did not leave what it says: {parse.plain(printed)}")

    async def install(self, action: Install) -> None:
        """Install what `build` made, and see that conf file and unit link carry `digest`."""
        built = self._files.resolve(f"{DATA}/builds/{action.name}")
        if built is None or not _STORE_PATH.fullmatch(built):
            raise Transient(f"the system of {action.name} is not built any more")
        result = await self._run.run(("extra-container", "create", built), timeout=120)
        installed = self._machines.installed(action.name)
        if installed is None:
            raise Transient(f"{action.name} was not installed: {_last_words(result)}")
        if installed.document is None or installed.document.digest != action.digest:
            raise Transient(f"another system of {action.name} than the one wanted is installed")

    async def remove(self, action: RemoveSystem) -> None:
        """Remove what `install` and running left, data apart; the container must have been stopped before.

        The conf file and the unit link go last: as long as they are there, a removal that was cut short is seen.
        """
        name = action.name
        machine = await self._machines.look(name)
        if machine.up:
            raise Transient(f"{name} is still up ({machine.unit.active}), so its system is not removed")
        self._deliveries.remove(name)
        self._files.remove(f"{DATA}/documents/{name}.json")
        self._files.remove(f"{DATA}/builds/{name}")
        if self._left(name):
            result = await self._run.run(("extra-container", "destroy", name), timeout=120)
            if left := self._left(name):
                raise Transient(f"{', '.join(left)} of {name} stayed: {_last_words(result)}")
        if (await self._machines.look(name)).unit.fragment.startswith(UNITS):
            await self._run.run(("systemctl", "daemon-reload"), timeout=60)
        await self._machines.clear_failed(ClearFailed(name))

    def _left(self, name: str) -> list[str]:
        """What of a container's system the host still has."""
        places = (f"{CONF}/{name}.conf", f"{UNITS}/{unit_of(name)}", f"{TREES}/{name}")
        return [place for place in places if self._files.there(place)]


def library(directory: Path, nixpkgs: str = "") -> Library:
    """The module library in a directory: each module with its first comment line, and a digest of it all.

    The digest covers every file of the directory, the lock file beside it that pins nixpkgs, if there is one, and
    `nixpkgs`, which names the revision where there is no such file (see `channel`).
    """
    modules: dict[str, str] = {}
    for path in sorted((directory / "modules").glob("*.nix")):
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        if _MODULE.fullmatch(path.stem):
            modules[path.stem] = first.removeprefix("#").strip() if first.startswith("#") else ""
    covered = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
    lock = directory.parent / "flake.lock"
    if lock.is_file():
        covered["../flake.lock"] = lock
    digest = hashlib.sha256(b"" if "../flake.lock" in covered else nixpkgs.encode())
    for name, path in sorted(covered.items()):
        content = path.read_bytes()
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return Library(modules, digest.hexdigest()[:32])


def channel(files: Files) -> str:
    """The store path of root's nixpkgs channel, which tells its revision; empty where there is none."""
    return files.resolve("/nix/var/nix/profiles/per-user/root/channels/nixpkgs") or ""


def _build_failure(name: str, result: Result) -> Blocked | Transient:
    words = f"building {name} failed: {_last_words(result)}"
    if "error:" in result.err and not any(word in result.err for word in _PASSING):
        return Blocked(words, hint="correct the spec or the module library")
    return Transient(words)


def _last_words(result: Result, lines: int = 5) -> str:
    """The last lines that a command said, made harmless."""
    said = [parse.plain(line) for line in (result.err.strip() or result.out.strip()).split("\n") if line.strip()]
    return "\n".join(said[-lines:]) or f"exit code {result.code}, without a word"
