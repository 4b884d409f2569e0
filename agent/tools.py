"""All tools that a model, or the offline grammar, may use: they look, or they propose. None of them acts."""

from __future__ import annotations

from agent.looking import look
from agent.proposing import propose

TOOLSETS = (look, propose)
LOOKS = frozenset(look.tools)
PROPOSALS = frozenset(propose.tools)
"""Names of tools by what they do: `look` at something, or `propose` a change."""
