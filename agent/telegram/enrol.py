"""A one-time code by which a person shows which chat is theirs, while nobody can be heard yet.

It changes no tenant: the agent's key may not, and a code in a chat is nobody's signature. It only finds out the chat's
id; who has the right commits that. The agent keeps a digest of the code, never the code.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from agent.budget import Preferences
from agent.redact import line

LIFE = 24 * 3600.0
"""Seconds that a code is good for."""
_CODE, _CLAIM = "enrol", "enrolled"
_SAID = re.compile(r"/enrol(?:@\w+)?\s+([A-Za-z0-9_-]{10,64})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """A chat in which the code of a tenant was said, and what its account calls itself."""

    tenant: str
    chat: int
    name: str


class Enrolment:
    """The one code that is out, and the one claim that was made with it. `now` is in seconds since 1970."""

    def __init__(self, preferences: Preferences, now: Callable[[], float]) -> None:
        self._preferences = preferences
        self._now = now

    def begin(self, tenant: str) -> str:
        """A new code; one that was out before is worth nothing from now on."""
        code = secrets.token_urlsafe(16)
        row = {"tenant": tenant, "digest": _digest(code), "until": self._now() + LIFE}
        self._preferences.set("", _CLAIM, "")
        self._preferences.set("", _CODE, json.dumps(row))
        return code

    def claim(self, text: str, chat: int, name: str) -> Claim | None:
        """What a message claims, used up by that; None for anything but the right code in time."""
        said = _SAID.fullmatch(text.strip())
        kept = self._preferences.get("", _CODE)
        if said is None or not kept or chat <= 0:
            return None
        row = json.loads(kept)
        if not hmac.compare_digest(row["digest"], _digest(said[1])) or row["until"] < self._now():
            return None
        found = Claim(row["tenant"], chat, line(name, 60))
        self._preferences.set("", _CODE, "")
        self._preferences.set("", _CLAIM, json.dumps([found.tenant, found.chat, found.name]))
        return found

    def claimed(self) -> Claim | None:
        """The claim that was made with the newest code."""
        kept = self._preferences.get("", _CLAIM)
        return Claim(*json.loads(kept)) if kept else None

    def open(self) -> bool:
        """Whether a code is out and still good."""
        kept = self._preferences.get("", _CODE)
        return bool(kept) and json.loads(kept)["until"] >= self._now()

    def end(self) -> None:
        """No code is out, and no claim is kept."""
        self._preferences.set("", _CODE, "")
        self._preferences.set("", _CLAIM, "")


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


CLAIMED = (
    "The code was right: this is chat {chat}. I may change no tenants myself. Whoever printed the code is shown this"
    " chat now; once it stands in the tenant's file, I hear you here."
)
