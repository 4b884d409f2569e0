"""What the agent's owner has settled once: the model, the agent's key, where its memory is. Read from a TOML file.

Secrets are in no file of this: the model's key comes from a credential or the environment.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from controller.errors import BadInput
from controller.settings import Settings

CONFIG = Path("/etc/voxnix/agent.toml")
DATA = Path("/var/lib/voxnix-agent")
_LISTS: Mapping[str, type] = {"fallback": str, "groups": int}


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """`model` and `fallback` as pydantic-ai names them, or `compatible:NAME` at `url`; without, the grammar alone.

    `key` is the agent's private SSH key: it signs and pushes with that. `known_hosts` says which server it believes,
    `state` where the state repo is as the agent reaches it, if not as the controller does. `requests` and `tokens` are
    a person's share of a day.
    `content` puts what is said into traces.

    For Telegram: `token_file` has the bot's token; `groups` are the chats of many in which it may be spoken to;
    `webhook` is the public https address at which Telegram reaches `listen` (a port of this machine, `HOST:PORT`, or
    the path of a socket), without which it is asked for what is new; `telegram_api` is another Bot API server.
    `quiet` are hours in which news waits, for those who have not said otherwise.
    """

    model: str = ""
    fallback: tuple[str, ...] = ()
    url: str = ""
    key: str = ""
    known_hosts: str = ""
    state: str = ""
    data: str = ""
    requests: int = 300
    tokens: int = 1_000_000
    content: bool = False
    token_file: str = ""
    groups: tuple[int, ...] = ()
    webhook: str = ""
    listen: str = "127.0.0.1:8443"
    telegram_api: str = "https://api.telegram.org"
    quiet: str = ""

    def folder(self, settings: Settings) -> Path:
        """Where the agent keeps its clone and its memory."""
        return Path(self.data) if self.data else settings.sim / "agent" if settings.simulated else DATA


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> AgentConfig:
    """The file at `path`, by default the usual one, where it is there; `VOXNIX_AGENT_MODEL` over its model."""
    given = path or CONFIG
    values: dict[str, Any] = {}
    if path is not None or given.exists():
        try:
            values = tomllib.loads(given.read_text())
        except OSError as error:
            raise BadInput(f"{given}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{given}: not valid TOML: {error}") from error
    if model := (environment or {}).get("VOXNIX_AGENT_MODEL"):
        values["model"] = model
    return _built(values, given)


def _built(values: dict[str, Any], path: Path) -> AgentConfig:
    known = {field.name: field for field in fields(AgentConfig)}
    for key, value in values.items():
        if key not in known:
            raise BadInput(f"{path}: unknown key {key}", hint=f"known keys: {', '.join(sorted(known))}")
        wanted = list if key in _LISTS else type(known[key].default)
        if type(value) is not wanted:
            raise BadInput(f"{path}: {key} must be a {wanted.__name__}")
        if isinstance(value, list) and {type(one) for one in value} - {_LISTS[key]}:
            raise BadInput(f"{path}: {key} must be a list of {_LISTS[key].__name__}")
    if values.get("quiet") and not re.fullmatch(r"([01]?[0-9]|2[0-4])-([01]?[0-9]|2[0-4])", values["quiet"]):
        raise BadInput(f"{path}: quiet must be hours in UTC", hint='quiet = "22-7"')
    if values.get("webhook") and not values["webhook"].startswith("https://"):
        raise BadInput(f"{path}: webhook must be an https address", hint='webhook = "https://bot.example.org/voxnix"')
    tuples = {key: tuple(values[key]) for key in _LISTS if key in values}
    return AgentConfig(**{**values, **tuples})
