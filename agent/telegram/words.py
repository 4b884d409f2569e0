"""Text for Telegram and from it: lengths in UTF-16 units, splitting, code spans, and what a message says. Pure.

Limits are the Bot API's (core.telegram.org/bots/api): 4096 units of text after entities, 100 entities.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from telegram import Message, MessageEntity, User
from telegram.constants import ChatType

from agent.person import Heard

LIMIT = 4096
"""UTF-16 units of one message."""
ENTITIES = 100
PARTS = 5
"""Messages that one answer may become; what is longer is cut in its middle."""
QUOTED = 2_000
"""Characters of a quoted text that are taken along."""
CUT = "\n[…]\n"
READ_ONLY_TEXT = "I read text only: no voice, pictures, files or places. Say it in words, or /help."
OWN_WORDS = "That was written by somebody else, so I do nothing about it. Say what you want in your own words."
_CODE = re.compile(
    r"`(?P<ticked>[^`\n]{1,200})`|(?P<ssh>\bssh [a-z][\w-]*@[\w.-]*\w)|(?P<word>(?<![\w@./-])[a-z][\w-]*)"
)
_FOLLOWS = re.compile(r"@|\.\w|/\w")


def units(text: str) -> int:
    """The length of a text as Telegram counts it."""
    return len(text) + sum(ord(character) > 0xFFFF for character in text)


def head(text: str, limit: int) -> str:
    """As much of the beginning of a text as fits, no character cut in two."""
    if units(text) <= limit:
        return text
    kept = text[:limit]
    while units(kept) > limit:
        kept = kept[: len(kept) - max(1, (units(kept) - limit) // 2)]
    return kept


def tail(text: str, limit: int) -> str:
    """As much of the end of a text as fits."""
    return head(text[::-1], limit)[::-1]


def cut(text: str, limit: int = LIMIT) -> str:
    """A text that fits: its beginning and its end, for the end says how it stands."""
    if units(text) <= limit:
        return text
    half = (limit - len(CUT)) // 2
    return f"{head(text, half).rstrip()}{CUT}{tail(text, half).lstrip()}"


def split(text: str, limit: int = LIMIT, parts: int = PARTS) -> list[str]:
    """A text in messages that fit, parted at line ends where that can be; never none, and none of them empty."""
    rest = cut(text.strip(), limit * parts * 3 // 4)
    found: list[str] = []
    while units(rest) > limit and len(found) < parts - 1:
        piece = head(rest, limit)
        end = piece.rfind("\n")
        piece = piece[: end if end > limit // 4 else len(piece)]
        rest = rest[len(piece) :].strip("\n")
        if piece.strip():
            found.append(piece.strip())
    found.append(cut(rest.strip(), limit))
    return [one for one in found if one] or ["…"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A message's text, and where in it is code: offset and length, in UTF-16 units."""

    text: str
    code: tuple[tuple[int, int], ...] = ()

    @property
    def entities(self) -> list[MessageEntity]:
        """The code spans as Telegram takes them."""
        return [MessageEntity(MessageEntity.CODE, offset, length) for offset, length in self.code]


def shown(text: str, names: Collection[str] = ()) -> Shown:
    """A text with containers' names, commands in ticks (these taken away) and ssh lines as code."""
    out: list[str] = []
    code: list[tuple[int, int]] = []
    done = offset = 0
    for match in _CODE.finditer(text):
        inner = match["ticked"] or match["ssh"] or match["word"]
        plain_word = match["word"] is not None and (inner not in names or _FOLLOWS.match(text, match.end()) is not None)
        if plain_word or inner != inner.strip() or len(code) == ENTITIES:
            continue
        before = text[done : match.start()]
        offset += units(before)
        code.append((offset, units(inner)))
        offset += units(inner)
        out += [before, inner]
        done = match.end()
    return Shown("".join([*out, text[done:]]), tuple(code))


def heard(message: Message, me: User) -> Heard | str | None:
    """What a message says: words to deal with, a polite answer to what is none, or None for what is not for us.

    Only what a person typed counts as theirs. What they forward, or send through another bot, are others' words.
    """
    sender = message.from_user
    if sender is None or sender.is_bot or message.sender_chat is not None:
        return None
    private = message.chat.type == ChatType.PRIVATE
    if message.text is None:
        return READ_ONLY_TEXT if private and message.effective_attachment is not None else None
    text = message.text if private else _addressed(message, message.text, me)
    if text is None:
        return None
    if message.forward_origin is not None or message.via_bot is not None:
        return OWN_WORDS
    return Heard(str(message.chat.id), str(message.message_id), text.strip(), _quoted(message))


def _addressed(message: Message, text: str, me: User) -> str | None:
    """In a group: the text without our name, if it is meant for us."""
    if text.startswith("/"):
        bot = text.split(maxsplit=1)[0].partition("@")[2]
        return text if not bot or bot.lower() == (me.username or "").lower() else None
    name = f"@{me.username}"
    mentions = message.parse_entities([MessageEntity.MENTION]).values()
    if any(one.lower() == name.lower() for one in mentions):
        return re.sub(re.escape(name) + r"\b[,:]?", "", text, flags=re.IGNORECASE)
    original = message.reply_to_message
    return text if original is not None and original.from_user == me else None


def _quoted(message: Message) -> str:
    """The text that a message answers to: what was marked of it, or all."""
    if message.quote is not None:
        return message.quote.text[:QUOTED]
    original = message.reply_to_message or message.external_reply
    return (getattr(original, "text", None) or getattr(original, "caption", None) or "")[:QUOTED]
