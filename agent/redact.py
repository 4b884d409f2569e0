"""Text from elsewhere, made fit to be read by a model and by people: secrets masked, length capped, framed. Pure.

A frame tells a model that what is in it is material. That is a help and no boundary: what the tools can do is.
"""

from __future__ import annotations

import html
import re

LIMIT = 8_000
"""Characters of one piece of foreign text that a model is shown."""
MASK = "‹secret›"

_PATTERNS = (
    r"tskey-[a-z]+-[A-Za-z0-9-]{8,}",
    r"hskey-[a-z]+-[A-Za-z0-9_-]{8,}",
    r"(?<![0-9])[0-9]{6,12}(?::|%3[Aa])[A-Za-z0-9_-]{30,}",
    r"\bsk-[A-Za-z0-9_-]{16,}",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",
    r"\bgithub_pat_[A-Za-z0-9_]{20,}",
    r"\bglpat-[A-Za-z0-9_-]{16,}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)",
    r"(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9._~+/=-]{12,}",
)
_SECRETS = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))
_NAMED = re.compile(
    r"(?i)((?:password|passwd|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|credentials?)"
    r"[\"']?\s*[=:]\s*[\"']?)([^\s\"',;]{6,})"
)
_TAG = re.compile(r"<(?=\s*/?\s*[A-Za-z!?])")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e01ef]"
)
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")


def mask(text: str) -> str:
    """The text with everything that looks like a secret of a kind that we handle taken out."""
    return _NAMED.sub(rf"\1{MASK}", _SECRETS.sub(MASK, text))


def visible(text: str) -> str:
    """The text without terminal codes and without characters that people cannot see but a model reads."""
    return _HIDDEN.sub("", _ESCAPE.sub("", text.replace("\r\n", "\n")))


def harmless(text: str, limit: int = LIMIT) -> str:
    """Foreign text for people: visible, masked, its end kept where it is too long."""
    shown = mask(visible(text))
    left = len(shown) - limit
    return shown if left <= 0 else f"[{left} characters before this left out]\n{shown[-limit:]}"


def line(text: str, limit: int = 200) -> str:
    """Foreign text on one line of at most `limit` characters."""
    shown = " ".join(mask(visible(text)).split())
    shown = "".join(c for c in shown if c.isprintable())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def framed(source: str, text: str, limit: int = LIMIT) -> str:
    """Foreign text for a model: harmless, and in a frame that says where it is from and that it cannot end itself."""
    inner = _TAG.sub("&lt;", harmless(text, limit))
    return f'<untrusted from="{html.escape(line(source, 80))}">\n{inner}\n</untrusted>'
