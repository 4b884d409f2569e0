"""What an appliance's owner has settled once: where things are, which pool, which tailnet.

Read from options, then the environment (`VOXNIX_*`), then a TOML file, then defaults. It reads files, and changes
nothing. Secrets are never in it: it names the files that hold them.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from controller.errors import BadInput

CONFIG = Path("/etc/voxnix/config.toml")
SIM = "sim:"
T = TypeVar("T", "Settings", "TailnetSettings", "RemoteSettings")
TABLES = ("tailnet", "remote")


@dataclass(frozen=True, slots=True)
class TailnetSettings:
    """How to reach the control plane. `credentials` is a root-only JSON file with an OAuth client or an API key.

    `dialect` is `tailscale` (API v2, which Headscale also speaks from 0.30) or `headscale` (its API v1). `tag` is this
    appliance's own tag; `login_server` the URL for `tailscale up`, empty for Tailscale's own.
    """

    tag: str
    url: str = "https://api.tailscale.com"
    credentials: str = "/var/lib/voxnix/tailnet.json"
    dialect: str = "tailscale"
    tailnet: str = "-"
    login_server: str = ""


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """How to get into a state repo on another machine: files that hold what opens it.

    For SSH `key`, a deploy key, and `known_hosts`; for HTTPS `token`, with `user` as the name that goes with it, and
    `ca`, where no well-known authority vouches for the server. `sign_with` is an SSH key that signs the commits of
    voxnix' own commands; `poll` the seconds between two looks at the branch.
    """

    key: str = ""
    known_hosts: str = ""
    token: str = ""
    user: str = "git"
    ca: str = ""
    sign_with: str = ""
    poll: float = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a command needs to know of its surroundings.

    `host` is `nixos` or `sim:DIR`; `root` is where the host's file system begins; `data` keeps the controller's store,
    mirror and secrets. `name` is this host's name on a fleet.
    """

    state: str | None = None
    host: str = "nixos"
    branch: str = "main"
    pool: str = "tank"
    name: str = ""
    library: str = ""
    trash_days: int = 30
    delegate_keys: str = ""
    """The agent's public keys, one a line, or a file of them: who comes with one is a delegate, not a person."""
    push_wait: float = 5.0
    """Seconds that a push shows what becomes of it; 0: not at all."""
    resync: float = 60.0
    """Seconds between looks at the host when nothing else asks for one."""
    socket_group: str = ""
    """The group whose members may open the controller's socket, such as `voxnix-git`; empty: root alone."""
    tailnet: TailnetSettings | None = None
    remote: RemoteSettings | None = None
    """What opens the state repo, where that is on another machine; None where it is here."""

    @property
    def simulated(self) -> bool:
        """Whether the host is a simulated one."""
        return self.host.startswith(SIM)

    @property
    def sim(self) -> Path:
        """The directory of the simulated host."""
        return Path(self.host.removeprefix(SIM)).absolute()

    @property
    def root(self) -> Path:
        """Where the host's file system begins."""
        return self.sim / "root" if self.simulated else Path("/")

    @property
    def data(self) -> Path:
        """The controller's own directory, 0700."""
        return self.root / "var/lib/voxnix"

    @property
    def run(self) -> Path:
        """Run-time files, gone after a reboot."""
        return self.root / "run/voxnix"

    @property
    def socket(self) -> Path:
        """Where the controller answers readers."""
        return self.run / "api.sock"

    @property
    def store(self) -> Path:
        """The controller's store."""
        return self.data / "store.db"

    @property
    def delegates(self) -> tuple[str, ...]:
        """The agent's public keys. Raises `BadInput` for what is none."""
        from controller.receive import read_keys

        if not self.delegate_keys or " " in self.delegate_keys:
            return read_keys(self.delegate_keys, "delegate_keys")
        try:
            return read_keys(Path(self.delegate_keys).read_text(), self.delegate_keys)
        except (OSError, UnicodeDecodeError) as error:
            hint = "`delegate_keys` in the settings names a file of public keys, or has them itself"
            raise BadInput(f"{self.delegate_keys} cannot be read: {error}", hint=hint) from error

    @property
    def modules(self) -> Path:
        """The Nix module library in use."""
        return Path(self.library) if self.library else share("nix")

    @property
    def repository(self) -> str:
        """The state repo, which the command at hand cannot do without."""
        if not self.state:
            raise BadInput("no state repo given", hint="use --state REPO, or set VOXNIX_STATE")
        return self.state


def share(name: str) -> Path:
    """A folder that comes with voxnix (`nix`, `state`): beside the package in a checkout, inside it once installed."""
    package = Path(__file__).parent
    installed = package / "share" / name
    return installed if installed.exists() else package.parent / name


def load(options: Mapping[str, str | None], environment: Mapping[str, str] | None = None) -> Settings:
    """Options over environment over file over defaults. Raises `BadInput` for what makes no sense."""
    env = os.environ if environment is None else environment
    given = {key: value for key, value in options.items() if value is not None}
    path = given.pop("config", None) or env.get("VOXNIX_CONFIG")
    settings = _from_file(Path(path) if path else CONFIG, required=bool(path))
    named = settings.state
    state = given.get("state") or env.get("VOXNIX_STATE") or named
    settings = replace(
        settings,
        state=state,
        remote=settings.remote if state == named else None,
        host=given.get("host") or env.get("VOXNIX_HOST") or settings.host,
    )
    if settings.remote or ":" in (settings.state or ""):
        from controller.remote import check

        check(settings, str(path or CONFIG) if state == named else "--state or VOXNIX_STATE")
    return _checked(settings)


def _from_file(path: Path, *, required: bool) -> Settings:
    if not path.exists() and not required:
        return Settings()
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", hint="is the path right?") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not valid TOML: {error}") from error
    if "repository" in values:
        if "state" in values:
            raise BadInput(f"{path}: `repository` and `state` are two words for one thing", hint="keep one of them")
        values["state"] = values.pop("repository")
    tables = {name: values.pop(name, None) for name in TABLES}
    keys = values.get("delegate_keys")
    if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
        values["delegate_keys"] = "\n".join(keys)
    settings = _built(Settings, values, path, "")
    for name, table in tables.items():
        if table is not None and not isinstance(table, dict):
            raise BadInput(f"{path}: [{name}] must be a table")
    tailnet, remote = tables["tailnet"], tables["remote"]
    if remote is not None and not settings.state:
        what = f"{path}: [remote] says how to get into a repository, and nothing says into which"
        raise BadInput(what, hint='for example repository = "git@forge.example.org:home/state.git", above [remote]')
    return replace(
        settings,
        tailnet=_built(TailnetSettings, tailnet, path, "tailnet.") if tailnet is not None else None,
        remote=_built(RemoteSettings, remote, path, "remote.") if remote is not None else None,
    )


def _built(kind: type[T], values: Mapping[str, Any], path: Path, prefix: str) -> T:
    known = {field.name: field for field in fields(kind) if prefix or field.name not in TABLES}
    for key, value in values.items():
        if key not in known:
            raise BadInput(f"{path}: unknown key {prefix}{key}", hint=f"known keys: {', '.join(sorted(known))}")
        default = known[key].default
        wants = float if isinstance(default, float) else int if isinstance(default, int) else str
        if not isinstance(value, wants) and not (wants is float and isinstance(value, int)):
            raise BadInput(f"{path}: {prefix}{key} must be a {'number' if wants is not str else 'string'}")
    try:
        return kind(**values)
    except TypeError as error:
        raise BadInput(f"{path}: [tailnet] needs a tag", hint='tag = "tag:vox"') from error


def _checked(settings: Settings) -> Settings:
    if settings.host != "nixos" and not (settings.simulated and settings.host != SIM):
        raise BadInput(f"--host {settings.host}: neither `nixos` nor `sim:DIR`", hint="for example --host sim:/tmp/box")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", settings.pool):
        raise BadInput(f"pool {settings.pool!r} is not a ZFS pool's name")
    if settings.trash_days < 1:
        raise BadInput("trash_days must be at least 1")
    if not re.fullmatch(r"(?:[A-Za-z_][A-Za-z0-9_.-]{0,31})?", settings.socket_group):
        raise BadInput(f"socket_group {settings.socket_group!r} is not the name of a group")
    tailnet = settings.tailnet
    if tailnet and not re.fullmatch(r"tag:[A-Za-z][A-Za-z0-9-]*", tailnet.tag):
        raise BadInput(f"tailnet.tag {tailnet.tag!r} is not a tag", hint='for example "tag:vox"')
    if tailnet and tailnet.dialect not in ("tailscale", "headscale"):
        raise BadInput(f"tailnet.dialect {tailnet.dialect!r} is neither `tailscale` nor `headscale`")
    return settings if settings.name else replace(settings, name=socket.gethostname().split(".")[0].lower())
