"""What is installed: conf files, unit links and the systems behind them, read from the host's files alone.

It starts no process and changes nothing. What a store path holds never changes, so it is read once.
"""

from __future__ import annotations

import re

from controller.errors import Blocked
from controller.host.files import Files
from controller.observed import parse
from controller.observed.facts import Document, Installed

CONF = "/etc/nixos-containers"
UNITS = "/etc/systemd-mutable/system"
STORE = "/nix/store/"
DOCUMENT = "etc/voxnix/container.json"
"""Where an installed system carries its document."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_UNIT = re.compile(r"container@([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.service")


class Installations:
    """The installed systems of one host, remembered by store path."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._store_paths: dict[tuple[str, str], str] = {}
        self._systems: dict[str, Installed | None] = {}

    def all(self) -> dict[str, tuple[Installed | None, bool]]:
        """What the conf files and unit links of the host amount to, by name; see `of`."""
        confs = {n.removesuffix(".conf"): t for n, t in self._files.links(CONF).items() if n.endswith(".conf")}
        links = {m[1]: t for n, t in self._files.links(UNITS).items() if (m := _UNIT.fullmatch(n))}
        names = {name for name in confs if NAME.fullmatch(name)} | links.keys()
        if len(self._store_paths) > 8 * len(names) + 100:
            self._store_paths.clear()
            self._systems.clear()
        return {name: self._pair(name, confs.get(name), links.get(name)) for name in names}

    def of(self, name: str) -> tuple[Installed | None, bool] | None:
        """Of one container: what is installed, and whether only one of conf file and unit link is there."""
        conf = self._files.link(f"{CONF}/{name}.conf")
        link = self._files.link(f"{UNITS}/{unit_of(name)}")
        return None if conf is None and link is None else self._pair(name, conf, link)

    def _pair(self, name: str, conf: str | None, link: str | None) -> tuple[Installed | None, bool]:
        system = None if conf is None else self._system(f"{CONF}/{name}.conf", conf)
        unit = link is not None and self._leads(f"{UNITS}/{unit_of(name)}", link)
        return (system, False) if system and unit else (None, True)

    def _system(self, path: str, target: str) -> Installed | None:
        """The system that a conf file names; remembered by store path, which never changes."""
        real = self._leads(path, target)
        if real is None:
            return None
        if real in self._systems:
            return self._systems[real]
        try:
            settings = parse.conf(self._files.read_resolved(real) or "")
        except (parse.Garbled, Blocked):
            return None
        system = settings.get("SYSTEM_PATH", "")
        if not system.startswith("/") or ".." in system:
            return None
        installed = Installed(system, self._document(system))
        if real.startswith(STORE):
            self._systems[real] = installed
        return installed

    def _document(self, system: str) -> Document | None:
        try:
            text = self._files.read(f"{system}/{DOCUMENT}")
            return None if text is None else parse.document(text)
        except (parse.Garbled, Blocked):
            return None

    def _leads(self, path: str, target: str) -> str | None:
        """Where a link ends; for one into the store, remembered while what it names is still there."""
        known = self._store_paths.get((path, target))
        if known and self._files.there("/".join(known.split("/")[:4])):
            return known
        real = self._files.resolve(path)
        if real and target and real.startswith(STORE):
            self._store_paths[path, target] = real
        return real


def unit_of(name: str) -> str:
    """The systemd unit of a container. Raises ValueError for what cannot be a container's name."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no container's name")
    return f"container@{name}.service"
