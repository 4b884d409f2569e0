"""`voxnix doctor`: is this host able to run us? Each check says what it found, and what to do about it.

It looks and changes nothing, and copes with a machine that has none of what it looks for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from controller.cli import text
from controller.cli.client import Away
from controller.cli.finding import Finding, State
from controller.cli.session import Session, pass_session
from controller.errors import VoxnixError

BRIDGE = "br-vox"
UNITS = "/etc/systemd-mutable/system"
TIMEOUT = 15.0
"""Seconds that one command may take."""
SPACE = 2**30
"""Bytes that must be free for the controller's own files."""
FULL = 0.9


MARKS = {State.FINE: ("✓", "green"), State.NOTE: ("·", "yellow"), State.FAILS: ("✗", "red")}


@click.command()
@pass_session
def doctor(session: Session) -> int:
    """Is this host able to run us, and if not, what to do. Exit code 1 if anything is missing."""
    findings = [*_here(session), *asyncio.run(_there(session))]
    failing = [finding for finding in findings if finding.state is State.FAILS]
    lines = []
    for finding in findings:
        mark, colour = MARKS[finding.state]
        lines.append(f"{text.paint(mark, colour)} {text.heading(finding.what)}  {text.clean(finding.found)}")
        if finding.remedy:
            lines.append(f"    → {text.clean(finding.remedy)}")
    told = f"{text.plural(len(failing), 'thing')} to mend." if failing else "This host is able to run voxnix."
    lines += ["", text.paint(told, "red" if failing else "green", bold=True)]
    session.answer({"able": not failing, "checks": [asdict(finding) for finding in findings]}, lines)
    return 1 if failing else 0


def _here(session: Session) -> Iterator[Finding]:
    """What can be told without a host command."""
    yield Finding("python", State.FINE, sys.version.split()[0])
    yield _program("git", "install git: it holds the desired state")
    yield _guarded("configuration", lambda: _configuration(session), "correct it: see docs/ for the keys")
    yield from _state_repo(session)
    yield _guarded("module library", lambda: _library(session), "set `library` to the folder with container.nix")
    yield _guarded("store", lambda: _store(session), "run it as root; a damaged store is never repaired by itself")
    yield _guarded("disk", lambda: _space(session), "free some space")
    yield _guarded("controller", lambda: _controller(session), "voxnix run")


async def _there(session: Session) -> list[Finding]:
    """What the host says; all questions side by side."""
    try:
        simulated = session.settings.simulated
        runner = session.runner
    except VoxnixError as error:
        return [Finding("host", State.FAILS, error.what, error.hint)]

    async def ask(*argv: str) -> tuple[int, str]:
        try:
            result = await runner.run(argv, timeout=TIMEOUT)
        except VoxnixError as error:
            return -1, error.what
        return result.code, result.out if result.code == 0 else result.said

    checks: Sequence[Awaitable[Finding]] = [
        _command(
            ask, "systemd", ("systemctl", "is-active", "container@doctor.service"), "this needs a host with systemd"
        ),
        _command(ask, "machinectl", ("machinectl", "list", "--output=json"), "install systemd-container"),
        _command(ask, "extra-container", ("extra-container", "list"), "programs.extra-container.enable = true;"),
        _pool(ask, session.settings.pool),
        _fullness(ask, session.settings.pool),
        _clock(ask),
    ]
    found = [Finding("host", State.FINE, session.settings.host), *await asyncio.gather(*checks)]
    if not simulated:
        found += [*_nixos(), await _unit_path(ask)]
    return [*found, await _tailnet(session)]


Ask = Callable[..., Awaitable[tuple[int, str]]]
"""Run a host command: exit code (-1: it could not be run) and what it said."""


async def _command(ask: Ask, what: str, argv: Sequence[str], remedy: str) -> Finding:
    """Whether a tool is there; `is-active` says `inactive` by exit codes 3 and 4, which is an answer too."""
    code, said = await ask(*argv)
    if code == 0 or (argv[1] == "is-active" and code in (3, 4)):
        return Finding(what, State.FINE, "answers")
    return Finding(what, State.FAILS, _first(said), remedy)


async def _pool(ask: Ask, pool: str) -> Finding:
    code, said = await ask("zpool", "list", "-H", "-o", "name,health")
    if code != 0:
        return Finding("zfs", State.FAILS, _first(said), 'boot.supportedFilesystems = [ "zfs" ];')
    pools = dict(line.split("\t")[:2] for line in said.splitlines() if "\t" in line)
    if pool not in pools:
        known = f"there is {', '.join(sorted(pools))}" if pools else "there is none"
        return Finding("zfs", State.FAILS, f"there is no pool {pool}; {known}", f"set `pool`, or zpool create {pool} …")
    if pools[pool] != "ONLINE":
        return Finding("zfs", State.FAILS, f"pool {pool} is {pools[pool]}", f"zpool status {pool}")
    return Finding("zfs", State.FINE, f"pool {pool} is online")


async def _fullness(ask: Ask, pool: str) -> Finding:
    code, said = await ask("zfs", "get", "-Hp", "-o", "name,property,value,source", "used,available", pool)
    values = {line.split("\t")[1]: line.split("\t")[2] for line in said.splitlines() if line.count("\t") == 3}
    if code != 0 or not {"used", "available"} <= values.keys():
        return Finding("pool space", State.FAILS, _first(said), f"is there a pool {pool}?")
    used, available = int(values["used"]), int(values["available"])
    share = used / max(1, used + available)
    found = f"{share:.0%} used, {text.size(available)} free"
    if share > FULL:
        return Finding("pool space", State.FAILS, found, "nothing new is made above 90 %: voxnix trash list")
    return Finding("pool space", State.FINE, found)


async def _clock(ask: Ask) -> Finding:
    code, said = await ask("timedatectl", "show", "-p", "NTPSynchronized")
    if code == 0 and said.strip() == "NTPSynchronized=yes":
        return Finding("clock", State.FINE, "synchronised")
    remedy = "services.timesyncd.enable = true; until then expiry, schedules and the trash's end wait"
    return Finding("clock", State.FAILS, "not synchronised" if code == 0 else _first(said), remedy)


async def _unit_path(ask: Ask) -> Finding:
    code, said = await ask("systemctl", "show", "-p", "UnitPath")
    if code == 0 and UNITS in said.partition("=")[2].split():
        return Finding("unit path", State.FINE, UNITS)
    remedy = f'boot.extraSystemdUnitPaths = [ "{UNITS}" ];'
    return Finding("unit path", State.FAILS, f"systemd does not look into {UNITS}", remedy)


def _nixos() -> Iterator[Finding]:
    """What only a real host has."""
    if os.geteuid() == 0:
        yield Finding("user", State.FINE, "root")
    else:
        yield Finding(
            "user", State.FAILS, "not root", "the controller runs as root; so does this check: sudo voxnix doctor"
        )
    yield _program("nix-build", "this needs Nix, best on NixOS")
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        yield Finding("bridge", State.FINE, BRIDGE)
    else:
        yield Finding(
            "bridge", State.FAILS, f"there is no {BRIDGE}", "the NixOS module makes br-vox: import nix/host.nix"
        )


async def _tailnet(session: Session) -> Finding:
    """Whether the control plane can be asked; an appliance may well have none."""
    from controller.wiring import control_plane

    settings = session.settings
    if settings.tailnet is None and not settings.simulated:
        return Finding("tailnet", State.NOTE, "none is configured", "set [tailnet] if containers shall be on one")
    remedy = "credentials: a JSON file, 0600, with client_id and client_secret, or api_key; is the network up?"
    try:
        file = settings.root / (settings.tailnet.credentials if settings.tailnet else "").lstrip("/")
        if settings.tailnet and file.is_file() and file.stat().st_mode & 0o077:
            return Finding("tailnet", State.FAILS, f"{file} can be read by others", f"chmod 600 {file}")
        async with asyncio.timeout(TIMEOUT), control_plane(settings, session.runner) as plane:
            assert plane is not None
            devices = await plane.devices()
    except (VoxnixError, OSError, TimeoutError) as error:
        return Finding("tailnet", State.FAILS, _first(str(error) or "no answer in time"), remedy)
    return Finding("tailnet", State.FINE, f"{text.plural(len(devices), 'device')} there")


def _guarded(what: str, look: Callable[[], Finding], remedy: str) -> Finding:
    """A check whose failure is a finding."""
    try:
        return look()
    except VoxnixError as error:
        return Finding(what, State.FAILS, error.what, error.hint or remedy)
    except OSError as error:
        return Finding(what, State.FAILS, error.strerror or str(error), remedy)


def _configuration(session: Session) -> Finding:
    settings = session.settings
    return Finding("configuration", State.FINE, f"host {settings.host}, pool {settings.pool}, called {settings.name}")


def _state_repo(session: Session) -> Iterator[Finding]:
    def here() -> Finding:
        return Finding("state repo", State.FINE, f"{session.repo.path} at {session.head[:10]}")

    try:
        far = session.far
    except VoxnixError:
        far = False
    if far:
        from controller.cli.doctor_remote import remote_findings

        yield from remote_findings(session)
    else:
        found = _guarded("state repo", here, "voxnix init DIR makes one; then --state DIR")
        yield found
        if found.state is State.FINE:
            yield _hooks(session.here.path)


def _hooks(repository: Path) -> Finding:
    """Whether pushes to the state repo are judged before git takes them."""
    from controller.gate.hooks import missing
    from controller.gate.push import DOOR
    from controller.sockets import answered

    lacking = missing(repository)
    if lacking:
        found = f"no {' and no '.join(lacking)}: a push is judged only after git has taken it"
        return Finding("state repo hooks", State.NOTE, found, "`voxnix hooks` puts them in place")
    how = (
        "with a gate that stays running" if answered(repository / DOOR) else "by themselves (`voxnix door` is quicker)"
    )
    return Finding("state repo hooks", State.FINE, f"in place; they judge pushes {how}")


def _library(session: Session) -> Finding:
    folder, modules = session.settings.modules, session.library.modules
    if not modules or not (folder / "container.nix").is_file():
        remedy = "set `library` to the folder with container.nix and modules/"
        return Finding("module library", State.FAILS, f"{folder} holds none", remedy)
    return Finding("module library", State.FINE, f"{text.plural(len(modules), 'module')} in {folder}")


def _store(session: Session) -> Finding:
    store = session.store()
    if store is None:
        return Finding("store", State.NOTE, "there is none yet: no controller has run for this host")
    with store:
        return Finding("store", State.FINE, f"{session.settings.store} can be read")


def _space(session: Session) -> Finding:
    folder = next(place for place in (session.settings.data, *session.settings.data.parents) if place.exists())
    free = shutil.disk_usage(folder).free
    state = State.FINE if free > SPACE else State.FAILS
    return Finding("disk", state, f"{text.size(free)} free at {folder}", "" if free > SPACE else "free some space")


def _controller(session: Session) -> Finding:
    try:
        document = session.client.get("/v1/status")
    except Away as error:
        return Finding("controller", State.NOTE, error.what, error.hint or "voxnix run")
    return Finding("controller", State.FINE, f"runs as process {document.get('controller')}")


def _program(name: str, remedy: str) -> Finding:
    from controller.host.run import ENVIRONMENT

    found = shutil.which(name, path=ENVIRONMENT["PATH"]) or shutil.which(name)
    return Finding(name, State.FINE, found) if found else Finding(name, State.FAILS, "not found", remedy)


def _first(said: str) -> str:
    """The first line of what a tool said."""
    return said.strip().partition("\n")[0] or "no answer"
