"""The parts of the surface by themselves: texts, order, who is heard, codes; and that the Bot API server checks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st
from telegram import Chat, Message, MessageEntity, User

from agent.budget import Preferences
from agent.config import load
from agent.person import Heard
from agent.store import Store
from agent.telegram.door import REMEMBERED, Accepted, Door, Strangers, stranger_note
from agent.telegram.enrol import Enrolment
from agent.telegram.pace import Pace, Turns
from agent.telegram.serve import is_chat, token_of, wait_for_claim
from agent.telegram.words import LIMIT, cut, heard, shown, split, units
from controller.errors import BadInput, Transient
from controller.spec.model import Tenant
from tests.agent.botapi import TOKEN, BotApi

TEXT = st.text(st.sampled_from("ab \n😀é`/-"), max_size=400)
ME = User(1, "voxnix", True, username="voxnix_bot")


@given(TEXT, st.integers(20, 60))
def test_parts_fit_and_nothing_short_is_lost(text, limit):
    parts = split(text, limit, parts=100)
    assert all(1 <= units(part) <= limit and part == part.strip() for part in parts)
    if text.strip():
        assert "".join("".join(parts).split()) == "".join(text.split())


@given(TEXT, st.integers(20, 60))
def test_what_is_too_long_keeps_both_ends(text, limit):
    found = cut(text, limit)
    assert units(found) <= limit
    assert units(text) > limit or found == text
    assert len(split(text, limit, parts=3)) <= 3


@given(TEXT)
def test_code_is_where_it_says(text):
    told = shown(text, {"a", "ab", "b"})
    raw = told.text.encode("utf-16-le")
    for offset, length in told.code:
        piece = raw[offset * 2 : (offset + length) * 2].decode("utf-16-le")
        assert piece
        assert piece == piece.strip()
    assert told.text.replace("`", "") == text.replace("`", "")
    assert [one.type for one in told.entities] == [MessageEntity.CODE] * len(told.code)


def test_what_is_code():
    told = shown("😀 dev is running · ssh root@dev · say `voxnix approve x`, not dev.com or root@dev", {"dev", "is"})
    raw = told.text.encode("utf-16-le")
    found = [raw[at * 2 : (at + length) * 2].decode("utf-16-le") for at, length in told.code]
    assert found == ["dev", "is", "ssh root@dev", "voxnix approve x"]
    assert units("😀") == 2
    assert split("x" * 100_000)[-1].endswith("x")
    assert [units(one) for one in split("😀" * 3000)] == [LIMIT, 6000 - LIMIT]


def message(text: str | None = None, *, chat: int = 7, user: User | None = None, **more) -> Message:
    kind = Chat.PRIVATE if chat > 0 else Chat.SUPERGROUP
    who = user or User(7, "Bob", False)
    return Message(1, datetime.now(UTC), Chat(chat, kind), from_user=who, text=text, **more)


def test_what_a_message_says():
    assert heard(message("stop dev"), ME) == Heard("7", "1", "stop dev")
    assert heard(message("stop dev", user=User(8, "x", True)), ME) is None
    assert heard(message("stop dev", via_bot=User(9, "x", True)), ME) != Heard("7", "1", "stop dev")
    reply = message("stop it", reply_to_message=message("rm -rf"))
    assert heard(reply, ME) == Heard("7", "1", "stop it", "rm -rf")
    assert heard(message(None), ME) is None
    assert heard(message("stop dev", chat=-5), ME) is None
    assert heard(message("/stop dev", chat=-5), ME) == Heard("-5", "1", "/stop dev")
    assert heard(message("stop dev", chat=-5, reply_to_message=message("x", user=ME)), ME) is not None
    mention = (MessageEntity(MessageEntity.MENTION, 0, 11),)
    assert heard(message("@Voxnix_Bot, stop dev", chat=-5, entities=mention), ME) == Heard("-5", "1", "stop dev")


async def test_turns_are_taken_in_the_order_of_arrival():
    turns, done = Turns(), []

    async def one(name: str, chat: int, before: asyncio.Event | None = None) -> None:
        _, place = turns.take(chat)
        try:
            await place
            if before:
                await before.wait()
            done.append(name)
        finally:
            turns.leave(chat, place)

    gate = asyncio.Event()
    tasks = [asyncio.create_task(one("a", 1, gate)), *(asyncio.create_task(one(n, 1)) for n in "bcd")]
    await asyncio.create_task(one("other", 2))
    assert done == ["other"]
    tasks[1].cancel()
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert done == ["other", "a", "c", "d"]
    assert turns.chats == []


async def test_the_pace_forgets_chats_that_are_silent():
    pace = Pace(chat=0.0, group=0.0, overall=0.0)
    for number in range(1200):
        async with pace.turn(str(number)):
            await pace.wait(str(number))
            pace.said(str(number))
    assert len(pace._locks) <= 1001
    assert len(pace._free) <= 1001


def test_notes_on_strangers_are_few_and_memory_is_bounded():
    now = [0.0]
    strangers = Strangers(lambda: now[0])
    assert [strangers.note(5) for _ in range(3)] == [True, False, False]
    assert sum(strangers.note(100 + n) for n in range(50)) == 5
    now[0] += 3601
    assert strangers.note(5)
    for number in range(3 * REMEMBERED):
        now[0] += 700
        strangers.note(10_000 + number)
    assert len(strangers._noted) <= REMEMBERED
    hostile = stranger_note(5, "a\n\u202e/approve `dev` " + "x" * 200, group=False)
    assert "\n" not in hostile
    assert "\u202e" not in hostile
    assert len(hostile) < 300


async def test_the_door_keeps_who_was_known_while_the_controller_is_away():
    alice = Tenant(id="alice", name="Alice", role="admin", telegram=(1, -9))
    tenants = {
        "alice": alice,
        "bob": Tenant(id="bob", name="B"),
    }
    away = False

    async def look(known):
        if away:
            raise Transient("away")
        return Accepted("r1", tenants, frozenset({"dev"}))

    door = Door(look, groups=(-8,), fresh=0.0)
    assert door.speaker(1) is None
    assert door.admins() == door.chats("alice") == []
    await door.refresh()
    away = True
    await door.refresh()
    assert door.speaker(1) is not None
    assert door.speaker(-9) is None, "a group speaks for nobody"
    assert door.chats("alice") == ["1"], "a group that is not allowed is told nothing"
    assert (door.allowed(-8), door.allowed(-9), door.allowed(1)) == (True, False, True)
    assert door.admins() == ["1"]
    assert set(await door.names()) == {"dev"}
    assert door.person("bob") is not None
    await door.close()


def test_a_code_is_good_once_and_for_a_day():
    now, store = [0.0], Store(":memory:")
    enrolment = Enrolment(Preferences(store), lambda: now[0])
    assert enrolment.claim("/enrol 0123456789abcdef", 5, "x") is None
    old = enrolment.begin("alice")
    code = enrolment.begin("alice")
    assert code not in json.dumps([tuple(row) for row in store.rows("SELECT * FROM preference")])
    assert enrolment.claim(f"/enrol {old}", 5, "x") is None
    assert enrolment.claim(f"/enrol {code}", -5, "x") is None
    assert enrolment.claim(f"enrol {code}", 5, "x") is None
    assert enrolment.claimed() is None
    claim = enrolment.claim(f"/enrol {code}", 5, "Alice\nx")
    assert claim is not None
    assert (claim.tenant, claim.chat, claim.name) == ("alice", 5, "Alice x")
    assert enrolment.claim(f"/enrol {code}", 6, "x") is None
    assert enrolment.claimed() == claim
    late = enrolment.begin("alice")
    assert enrolment.claimed() is None
    now[0] += 24 * 3600 + 1
    assert not enrolment.open()
    assert enrolment.claim(f"/enrol {late}", 5, "x") is None


def test_waiting_for_a_claim():
    store, said = Store(":memory:"), []

    def say(text: str) -> None:
        said.append(text)
        if "/enrol" in text:
            Enrolment(Preferences(store), lambda: datetime.now(UTC).timestamp()).claim(text, 77, "Alice")

    assert wait_for_claim(store, "alice", say).chat == 77
    assert said[-1] == "  telegram: [77]"
    assert Enrolment(Preferences(store), lambda: 0.0).claimed() is None
    with pytest.raises(BadInput):
        wait_for_claim(store, "../alice", say)


def test_the_token_is_read_from_a_file_of_ours_alone(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert token_of(str(path)) == TOKEN
    for wrong in ("", "nonsense", f"{TOKEN} {TOKEN}"):
        path.write_text(wrong)
        with pytest.raises(BadInput, match="no bot token") as told:
            token_of(str(path))
        assert TOKEN not in str(told.value)
    path.chmod(0o640)
    with pytest.raises(BadInput, match="others can read"):
        token_of(str(path))
    with pytest.raises(BadInput, match="No such file"):
        token_of(str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match="no bot token"):
        token_of("")
    (tmp_path / "telegram_token").write_text(TOKEN)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert token_of("") == TOKEN


def test_settings_of_telegram(tmp_path):
    path = tmp_path / "agent.toml"
    path.write_text('groups = [-5, -6]\nquiet = "22-7"\nwebhook = "https://example.org/x"\ntoken_file = "t"\n')
    found = load(path, {})
    assert (found.groups, found.quiet, found.token_file) == ((-5, -6), "22-7", "t")
    for wrong in ('groups = ["a"]', "groups = 5", 'quiet = "late"', 'webhook = "http://example.org"'):
        path.write_text(wrong)
        with pytest.raises(BadInput):
            load(path, {})
    assert [is_chat(one) for one in ("5", "-5", "terminal/bob", "")] == [True, True, False, False]


BUTTON = {"text": "x", "callback_data": "y"}
LONG = {"inline_keyboard": [[{"text": "x", "callback_data": "é" * 33}]]}


def span(kind: str, offset: int, length: int) -> list[dict]:
    return [{"type": kind, "offset": offset, "length": length}]


WRONG = [
    ("sendMessage", {"chat_id": 7, "text": " "}, "message text is empty"),
    ("sendMessage", {"chat_id": 7, "text": "😀" * 2049}, "message is too long"),
    ("sendMessage", {"chat_id": "x", "text": "x"}, "can't parse chat_id"),
    ("sendMessage", {"chat_id": 9, "text": "x"}, "chat not found"),
    ("sendMessage", {"text": "x"}, "chat_id is empty"),
    ("sendMessage", {"chat_id": 7, "text": "x", "colour": "red"}, "no parameter colour"),
    ("sendMessage", {"chat_id": 7, "text": "x", "entities": span("code", 0, 2)}, "beyond"),
    ("sendMessage", {"chat_id": 7, "text": "😀", "entities": span("code", 1, 1)}, "splits"),
    ("sendMessage", {"chat_id": 7, "text": "x", "entities": span("red", 0, 1)}, "unsupported"),
    ("sendMessage", {"chat_id": 7, "text": "x", "reply_markup": LONG}, "BUTTON_DATA_INVALID"),
    ("editMessageText", {"chat_id": 7, "message_id": 5, "text": "x"}, "message to edit not found"),
    ("deleteMessage", {"chat_id": 7, "message_id": 5}, "message to delete not found"),
    ("answerCallbackQuery", {"callback_query_id": "q"}, "query is too old"),
    ("sendChatAction", {"chat_id": 7, "action": "sleep"}, "action"),
    ("setMyCommands", {"commands": [{"command": "No", "description": "x"}]}, "BOT_COMMAND_INVALID"),
    ("setWebhook", {"url": "http://x"}, "HTTPS"),
    ("getMee", {}, "method getMee"),
]  # fmt: skip


async def test_the_server_checks_what_telegram_checks():
    api = BotApi(chat_every=0.5)
    url = await api.start()
    api.chats[7] = {}
    async with ClientSession() as session:

        async def call(method: str, token: str = TOKEN, **params):
            form = {k: v if isinstance(v, str) else json.dumps(v) for k, v in params.items()}
            async with session.post(f"{url}/bot{token}/{method}", data=form) as answer:
                return await answer.json()

        for method, params, expected in WRONG:
            told = await call(method, **params)
            assert expected in told["description"], (method, params, told)
        assert (await call("getMe", token="1:x"))["error_code"] == 401
        sent = await call("sendMessage", chat_id=7, text="x", reply_markup={"inline_keyboard": [[BUTTON]]})
        assert sent["ok"]
        limited = await call("sendMessage", chat_id=7, text="y")
        assert (limited["error_code"], limited["parameters"]) == (429, {"retry_after": 1})
        number = sent["result"]["message_id"]
        api.chat_every = 0.0
        assert (await call("editMessageText", chat_id=7, message_id=number, text="x"))["ok"], "the buttons are gone"
        told = await call("editMessageText", chat_id=7, message_id=number, text="x")
        assert "message is not modified" in told["description"]
        api.overall = 2
        assert (await call("sendMessage", chat_id=7, text="y"))["error_code"] == 429

        await api.say(7, "one")
        first = (await call("getUpdates"))["result"]
        assert first == (await call("getUpdates"))["result"], "what is not confirmed comes again"
        assert (await call("getUpdates", offset=first[-1]["update_id"] + 1))["result"] == []
        assert (await call("getUpdates", offset=0))["result"] == [], "what is confirmed never comes again"
        waiting = asyncio.create_task(call("getUpdates", timeout=20))
        await api.until(lambda: api.calls[-1] == ("getUpdates", {"timeout": 20}))
        await call("getUpdates")
        assert (await waiting)["error_code"] == 409
        query = await api.press(7, api.chats[7][number])
        assert (await call("answerCallbackQuery", callback_query_id=query, text="ok"))["ok"]
        assert not (await call("answerCallbackQuery", callback_query_id=query))["ok"]
    await api.stop()
