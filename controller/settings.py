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
T = TypeVar("T", "Settings", "TailnetSettings")


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
    resync: float = 60.0
    """Seconds between looks at the host when nothing else asks for one."""
    tailnet: TailnetSettings | None = None

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
    settings = replace(
        settings,
        state=given.get("state") or env.get("VOXNIX_STATE") or settings.state,
        host=given.get("host") or env.get("VOXNIX_HOST") or settings.host,
    )
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
    tailnet = values.pop("tailnet", None)
    keys = values.get("delegate_keys")
    if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
        values["delegate_keys"] = "\n".join(keys)
    settings = _built(Settings, values, path, "")
    if tailnet is None:
        return settings
    if not isinstance(tailnet, dict):
        raise BadInput(f"{path}: [tailnet] must be a table")
    return replace(settings, tailnet=_built(TailnetSettings, tailnet, path, "tailnet."))


def _built(kind: type[T], values: Mapping[str, Any], path: Path, prefix: str) -> T:
    known = {field.name: field for field in fields(kind) if prefix or field.name != "tailnet"}
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
    tailnet = settings.tailnet
    if tailnet and not re.fullmatch(r"tag:[A-Za-z][A-Za-z0-9-]*", tailnet.tag):
        raise BadInput(f"tailnet.tag {tailnet.tag!r} is not a tag", hint='for example "tag:vox"')
    if tailnet and tailnet.dialect not in ("tailscale", "headscale"):
        raise BadInput(f"tailnet.dialect {tailnet.dialect!r} is neither `tailscale` nor `headscale`")
    return settings if settings.name else replace(settings, name=socket.gethostname().split(".")[0].lower())
