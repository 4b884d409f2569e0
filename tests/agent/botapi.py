"""A Bot API server on loopback that checks what Telegram checks, and people who use it.

Limits, error texts and the rules of updates are those of core.telegram.org/bots/api and of the server's answers there.
What Telegram would pass over (an unknown method or parameter) is an error here, so that no slip stays unseen.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
ME = {"id": 123456789, "is_bot": True, "first_name": "voxnix", "username": "voxnix_bot"}
ENTITIES = {"mention", "hashtag", "bot_command", "url", "bold", "italic", "code", "pre", "text_link", "blockquote"}
ACTIONS = {"typing", "upload_photo", "upload_document"}
KINDS = ("message", "callback_query", "edited_message")

Json = dict[str, Any]


class Wrong(Exception):
    """A call that is answered with an error."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.description, self.parameters = code, description, parameters


def bad(description: str) -> Wrong:
    return Wrong(400, f"Bad Request: {description}")


def units(text: str) -> int:
    """UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


# Parameters by method: the type of each, `!` before what is needed.
METHODS: Mapping[str, Mapping[str, str]] = {
    "getMe": {},
    "getUpdates": {"offset": "int", "limit": "int", "timeout": "int", "allowed_updates": "json"},
    "sendMessage": {
        "chat_id": "!int", "text": "!str", "entities": "json", "reply_markup": "json", "link_preview_options": "json",
    },
    "editMessageText": {
        "chat_id": "!int", "message_id": "!int", "text": "!str", "entities": "json", "reply_markup": "json",
        "link_preview_options": "json",
    },
    "deleteMessage": {"chat_id": "!int", "message_id": "!int"},
    "answerCallbackQuery": {"callback_query_id": "!str", "text": "str", "show_alert": "bool"},
    "sendChatAction": {"chat_id": "!int", "action": "!str"},
    "setMyCommands": {"commands": "!json"},
    "setWebhook": {
        "url": "!str", "secret_token": "str", "allowed_updates": "json", "max_connections": "int",
        "drop_pending_updates": "bool",
    },
    "deleteWebhook": {"drop_pending_updates": "bool"},
}  # fmt: skip


def typed(kind: str, value: str) -> Any:
    """A parameter's value, as it is sent in a form. Raises `ValueError`."""
    if kind == "int":
        return int(value)
    if kind == "json":
        return json.loads(value)
    if kind == "bool":
        return {"true": True, "false": False, "True": True, "False": False}[value]
    return value


@dataclass
class Shown:
    """A message of the bot in a chat."""

    id: int
    text: str
    entities: list[Json]
    buttons: list[Json]
    preview: Json | None
    texts: list[str] = field(default_factory=list)
    offered: list[Json] = field(default_factory=list)
    """The buttons that it came with: an old client still has them."""

    def code(self) -> list[str]:
        """What is marked as code."""
        raw = self.text.encode("utf-16-le")
        spans = [(one["offset"] * 2, one["length"] * 2) for one in self.entities if one["type"] == "code"]
        return [raw[at : at + length].decode("utf-16-le") for at, length in spans]


@dataclass
class BotApi:
    """The server. `chat_every` is the least number of seconds between messages in a chat, `overall` a second's most."""

    chat_every: float = 1.0
    overall: int = 30
    press_life: float = 15.0
    token: str = TOKEN

    def __post_init__(self) -> None:
        self.calls: list[tuple[str, Json]] = []
        self.errors: list[tuple[str, int, str]] = []
        self.chats: dict[int, dict[int, Shown]] = {}
        self.answers: dict[str, tuple[str, bool]] = {}
        self.commands: list[Json] = []
        self.typing: list[int] = []
        self.blocked: set[int] = set()
        self.webhook: Json | None = None
        self.webhook_target = ""
        self.down = False
        self.lose_answers_of: deque[str] = deque()
        """Methods whose next call is carried out and then not answered."""
        self.broken: deque[int] = deque()
        """HTTP errors that the next calls (of messages) meet instead of being carried out."""
        self.gates: dict[str, asyncio.Event] = {}
        """Calls of these methods wait here before they are carried out."""
        self._ids, self._updates = itertools.count(100), itertools.count(7000)
        self._pending: list[Json] = []
        self._queries: dict[str, float] = {}
        self._last: dict[int, float] = {}
        self._recent: deque[float] = deque()
        self._changed = asyncio.Condition()
        self._poll = 0
        self._delivering: set[asyncio.Task[Any]] = set()

    async def start(self) -> str:
        """The server's address."""
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """The server is gone."""
        for task in self._delivering:
            task.cancel()
        await asyncio.gather(*self._delivering, return_exceptions=True)
        self.down = True
        await self._wake()
        await self._runner.cleanup()

    # what people do

    def message(self, user: int, text: str | None, *, chat: int | None = None, **more: Any) -> Json:
        """A message as Telegram describes it."""
        where = user if chat is None else chat
        self.chats.setdefault(where, {})
        kind = "private" if where > 0 else "supergroup"
        body: Json = {
            "message_id": next(self._ids),
            "date": int(time.time()),
            "chat": {"id": where, "type": kind, **({"title": "The group"} if where < 0 else {"first_name": "P"})},
            "from": {"id": user, "is_bot": False, "first_name": f"person{user}"},
            **more,
        }
        if text is not None:
            body["text"] = text
            spans = [("bot_command", match) for match in re.finditer(r"^/\w+(?:@\w+)?", text)]
            spans += [("mention", match) for match in re.finditer(r"(?<!\w)@\w+", text)]
            found = [{"type": k, "offset": units(text[: m.start()]), "length": units(m[0])} for k, m in spans]
            body |= {"entities": found} if found else {}
        return body

    async def say(self, user: int, text: str | None, *, times: int = 1, **more: Any) -> Json:
        """Somebody says something; with `times`, Telegram delivers that more than once."""
        body = self.message(user, text, **more)
        await self.push({"update_id": next(self._updates), "message": body}, times=times)
        return body

    async def press(self, user: int, shown: Shown, which: int = 0, *, chat: int | None = None, times: int = 1) -> str:
        """Somebody presses a button; the query's id."""
        where = user if chat is None else chat
        query = f"q{next(self._updates)}"
        self._queries[query] = time.monotonic()
        body = {
            "id": query,
            "from": {"id": user, "is_bot": False, "first_name": f"person{user}"},
            "chat_instance": str(where),
            "data": shown.offered[which]["callback_data"],
            "message": {
                "message_id": shown.id,
                "date": int(time.time()),
                "chat": {"id": where, "type": "private" if where > 0 else "supergroup"},
                "from": ME,
                "text": shown.text,
            },
        }
        await self.push({"update_id": next(self._updates), "callback_query": body}, times=times)
        return query

    async def push(self, update: Json, *, times: int = 1) -> None:
        """An update is there."""
        if self.webhook:
            task = asyncio.create_task(self._deliver(update, times))
            self._delivering.add(task)
        else:
            self._pending += [update] * times
        await self._wake()

    async def _deliver(self, update: Json, times: int) -> None:
        """Post an update until that many deliveries are taken."""
        assert self.webhook
        headers = {"X-Telegram-Bot-Api-Secret-Token": self.webhook["secret_token"]}
        async with ClientSession() as session:
            for _ in range(times):
                while True:
                    async with session.post(self.webhook_target, json=update, headers=headers) as answer:
                        if answer.status == 200:
                            break
                    await asyncio.sleep(0.05)

    # what is seen

    async def until(self, condition: Callable[[], Any], within: float = 20.0) -> Any:
        """Wait until something is so; what it is."""
        async with asyncio.timeout(within), self._changed:
            while not (found := condition()):
                await self._changed.wait()
            return found

    async def shows(self, chat: int, text: str, within: float = 20.0) -> Shown:
        """Wait until a chat shows a message with this text; the newest one."""

        def look() -> Shown | None:
            return next((one for one in reversed(self.chats.get(chat, {}).values()) if text in one.text), None)

        try:
            return await self.until(look, within)
        except TimeoutError:
            seen = [one.text for one in self.chats.get(chat, {}).values()]
            raise AssertionError(f"{text!r} is not in {seen}; errors {self.errors}") from None

    async def answered(self, query: str) -> tuple[str, bool]:
        """Wait for the answer to a press: its text, and whether it is an alert."""
        return await self.until(lambda: self.answers.get(query))

    def texts(self, chat: int) -> list[str]:
        """What a chat shows of the bot, oldest first."""
        return [one.text for one in self.chats.get(chat, {}).values()]

    def called(self, method: str) -> list[Json]:
        """The calls of a method, in order."""
        return [params for name, params in self.calls if name == method]

    async def lose_connection(self) -> None:
        """The network is away: what is open breaks off, and nothing new is answered."""
        self.down = True
        await self._wake()

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # what is called

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        if self.down:
            return self._broken_off(request)
        if gate := self.gates.get(method):
            await gate.wait()
            if self.down:
                return self._broken_off(request)
        if self.broken and method in ("sendMessage", "editMessageText"):
            return web.Response(status=self.broken.popleft(), text="<html>Bad Gateway</html>")
        try:
            result = await self._called(request, method)
        except ConnectionError:
            return self._broken_off(request)
        except Wrong as wrong:
            if request.transport is None or request.transport.is_closing():
                return web.Response()
            self.errors.append((method, wrong.code, wrong.description))
            body: Json = {"ok": False, "error_code": wrong.code, "description": wrong.description}
            if wrong.parameters:
                body["parameters"] = wrong.parameters
            await self._wake()
            return web.json_response(body, status=wrong.code)
        await self._wake()
        if self.down or (self.lose_answers_of and self.lose_answers_of[0] == method):
            if not self.down:
                self.lose_answers_of.popleft()
            return self._broken_off(request)
        return web.json_response({"ok": True, "result": result})

    def _broken_off(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _called(self, request: web.Request, method: str) -> Any:
        if request.match_info["token"] != self.token:
            raise Wrong(401, "Unauthorized")
        if method not in METHODS:
            raise Wrong(404, f"Not Found: method {method}")
        params = self._params(method, dict(await request.post()))
        self.calls.append((method, params))
        handler = getattr(self, f"_{re.sub('([A-Z])', lambda m: '_' + m[1].lower(), method)}")
        return await handler(params)

    def _params(self, method: str, given: Mapping[str, Any]) -> Json:
        known = METHODS[method]
        for name in given:
            if name not in known:
                raise bad(f"there is no parameter {name} of {method}")
        found = {}
        for name, kind in known.items():
            if name not in given:
                if kind.startswith("!"):
                    raise bad(f"{name} is empty" if name != "text" else "message text is empty")
                continue
            try:
                found[name] = typed(kind.lstrip("!"), given[name])
            except (ValueError, KeyError):
                raise bad(f"can't parse {name}") from None
        return found

    async def _get_me(self, params: Json) -> Json:
        del params
        return ME

    async def _get_updates(self, params: Json) -> list[Json]:
        if self.webhook:
            raise Wrong(409, "Conflict: can't use getUpdates method while webhook is active")
        if not 0 <= params.get("timeout", 0) <= 50 or not 1 <= params.get("limit", 100) <= 100:
            raise bad("wrong timeout or limit")
        offset = params.get("offset", 0)
        if offset < 0:
            self._pending = self._pending[offset:]
        self._pending = [one for one in self._pending if one["update_id"] >= offset]
        self._poll += 1
        mine = self._poll
        allowed = params.get("allowed_updates") or list(KINDS)
        await self._wake()

        def ready() -> bool:
            return self._poll != mine or self.down or any(set(one) & set(allowed) for one in self._pending)

        if params.get("timeout"):
            try:
                await self.until(ready, params["timeout"])
            except TimeoutError:
                return []
        if self._poll != mine:
            raise Wrong(409, "Conflict: terminated by other getUpdates request")
        found = [one for one in self._pending if set(one) & set(allowed)][: params.get("limit", 100)]
        twice = {one["update_id"] for one in found if found.count(one) > 1}
        # a delivery that is repeated is one that came again although it was confirmed
        self._pending = [one for one in self._pending if one["update_id"] not in twice]
        return found

    async def _send_message(self, params: Json) -> Json:
        chat = self._chat(params["chat_id"])
        text, entities, buttons = self._content(params)
        self._paced(chat)
        number = next(self._ids)
        preview = params.get("link_preview_options")
        self.chats[chat][number] = Shown(number, text, entities, buttons, preview, [text], buttons)
        return self._described(chat, self.chats[chat][number])

    async def _edit_message_text(self, params: Json) -> Json:
        chat = self._chat(params["chat_id"])
        found = self.chats[chat].get(params["message_id"])
        if found is None:
            raise bad("message to edit not found")
        text, entities, buttons = self._content(params)
        if (text, entities, buttons) == (found.text, found.entities, found.buttons):
            raise bad(
                "message is not modified: specified new message content and reply markup are exactly the same as a"
                " current content and reply markup of the message"
            )
        self._paced(chat)
        found.text, found.entities, found.buttons = text, entities, buttons
        found.preview = params.get("link_preview_options")
        found.texts.append(text)
        return self._described(chat, found)

    async def _delete_message(self, params: Json) -> bool:
        chat = self._chat(params["chat_id"])
        if self.chats[chat].pop(params["message_id"], None) is None:
            raise bad("message to delete not found")
        return True

    async def _answer_callback_query(self, params: Json) -> bool:
        at = self._queries.pop(params["callback_query_id"], None)
        if at is None or time.monotonic() - at > self.press_life:
            raise bad("query is too old and response timeout expired or query ID is invalid")
        if len(params.get("text", "")) > 200:
            raise bad("MESSAGE_TOO_LONG")
        self.answers[params["callback_query_id"]] = (params.get("text", ""), params.get("show_alert", False))
        return True

    async def _send_chat_action(self, params: Json) -> bool:
        chat = self._chat(params["chat_id"])
        if params["action"] not in ACTIONS:
            raise bad("wrong parameter action in request")
        self.typing.append(chat)
        return True

    async def _set_my_commands(self, params: Json) -> bool:
        commands = params["commands"]
        if not 1 <= len(commands) <= 100:
            raise bad("BOT_COMMANDS_TOO_MUCH")
        for one in commands:
            if not re.fullmatch("[a-z0-9_]{1,32}", one["command"]):
                raise bad("BOT_COMMAND_INVALID")
            if not 1 <= len(one["description"]) <= 256:
                raise bad("BOT_COMMAND_DESCRIPTION_INVALID")
        self.commands = commands
        return True

    async def _set_webhook(self, params: Json) -> bool:
        if not params["url"].startswith("https://"):
            raise bad("bad webhook: An HTTPS URL must be provided for webhook")
        if not re.fullmatch("[A-Za-z0-9_-]{1,256}", params.get("secret_token", "x")):
            raise bad("secret token contains unallowed characters")
        self.webhook = params
        return True

    async def _delete_webhook(self, params: Json) -> bool:
        del params
        self.webhook = None
        return True

    def _chat(self, chat: int) -> int:
        if chat not in self.chats:
            raise bad("chat not found")
        if chat in self.blocked:
            raise Wrong(403, "Forbidden: bot was blocked by the user")
        return chat

    def _content(self, params: Json) -> tuple[str, list[Json], list[Json]]:
        text, entities = params["text"], params.get("entities") or []
        if not text.strip():
            raise bad("message text is empty")
        if units(text.strip()) > 4096:
            raise bad("message is too long")
        if len(entities) > 100:
            raise bad("too many entities")
        for one in entities:
            self._entity(text, one)
        rows = (params.get("reply_markup") or {}).get("inline_keyboard", [])
        buttons = [button for row in rows for button in row]
        for button in buttons:
            if not button.get("text"):
                raise bad("BUTTON_TEXT_INVALID")
            if not 1 <= len(button.get("callback_data", "").encode()) <= 64:
                raise bad("BUTTON_DATA_INVALID")
        return text, entities, buttons

    def _entity(self, text: str, entity: Json) -> None:
        """An entity's place, in UTF-16 units and on boundaries of characters."""
        if entity.get("type") not in ENTITIES:
            raise bad(f"can't parse entities: unsupported type {entity.get('type')}")
        begin, length = entity["offset"], entity["length"]
        raw = text.encode("utf-16-le")
        if begin < 0 or length < 1 or (begin + length) * 2 > len(raw):
            raise bad(f"entity beyond the text at {begin}, {length}")
        try:
            raw[begin * 2 : (begin + length) * 2].decode("utf-16-le")
        except UnicodeDecodeError:
            raise bad(f"entity splits a character at {begin}, {length}") from None

    def _paced(self, chat: int) -> None:
        now = time.monotonic()
        while self._recent and now - self._recent[0] > 1.0:
            self._recent.popleft()
        left = self._last.get(chat, -math.inf) + self.chat_every - now
        if left > 0 or len(self._recent) >= self.overall:
            after = max(1, math.ceil(left))
            raise Wrong(429, f"Too Many Requests: retry after {after}", retry_after=after)
        self._last[chat] = now
        self._recent.append(now)

    def _described(self, chat: int, shown: Shown) -> Json:
        return {
            "message_id": shown.id,
            "date": int(time.time()),
            "chat": {"id": chat, "type": "private" if chat > 0 else "supergroup"},
            "from": ME,
            "text": shown.text,
            "entities": shown.entities,
        }
