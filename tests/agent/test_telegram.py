"""The agent on Telegram, end to end: the real application, a Bot API server that checks, the real controller."""

from __future__ import annotations

import asyncio

import pytest
from pydantic_ai import ModelResponse
from pydantic_ai.messages import TextPart
from pydantic_ai.models.function import FunctionModel

from agent.commands import MENU
from agent.telegram.words import OWN_WORDS, READ_ONLY_TEXT
from tests.agent.bench import ALICE, BOB, GROUP, STRANGER, TENANTS, bot
from tests.agent.conftest import DEV
from tests.agent.office import office


@pytest.fixture
async def at_work(place):
    async with office(place, {**TENANTS, "dev": DEV, "web": "owner: alice\n"}) as found:
        await found.until("dev", "ready")
        await found.until("web", "ready")
        yield found


@pytest.fixture
async def here(at_work):
    async with bot(at_work) as found:
        yield found
        assert found.api.errors == [], "nothing was sent that Telegram refuses"


async def off(here, name: str) -> None:
    """Wait until a container is stopped, whatever a chat shows."""
    async with asyncio.timeout(20):
        while True:
            found = await here.office.appliance.status()
            if any(one["name"] == name and one["machine"] != "running" for one in found["containers"]):
                return
            await asyncio.sleep(0.02)


async def test_a_day_with_the_bot(here):
    """Create with progress edits, pronouns, a confirmation, a double press."""
    api = here.api
    assert [one["command"] for one in api.commands] == list(MENU)
    await api.say(BOB, "create lab with git and a 10G workspace")
    made = await api.shows(BOB, "✓ lab is running")
    assert len(made.texts) > 1, "progress is shown by edits of the one message"
    assert len(set(made.texts)) == len(made.texts)
    assert len(api.texts(BOB)) == 1
    assert BOB in api.typing
    assert made.preview == {"is_disabled": True}
    assert "ssh root@lab" in made.code()
    assert "lab" in made.code()

    await api.say(BOB, "/stop lab")
    await api.shows(BOB, "✓ lab is stopped")
    await api.say(BOB, "now destroy it")
    asked = await api.shows(BOB, "Destroy lab?")
    assert [one["text"] for one in asked.buttons] == ["Confirm", "Cancel"]
    assert asked.preview == {"is_disabled": True}
    first = await api.press(BOB, asked, times=2)
    second = await api.press(BOB, asked)
    assert await api.answered(first) == ("Confirmed.", False)
    assert await api.answered(second) == ("This was answered, or is over.", True)
    assert asked.buttons == []
    assert "Confirmed by Bob." in asked.text
    await api.shows(BOB, "✓ lab is removed")
    subjects = [one.subject for one in here.office.commits(Requested_by="bob")]
    assert subjects == ["approve: destroy lab", "destroy lab", "stop lab", "create lab"]
    api.errors = [one for one in api.errors if one[0] != "answerCallbackQuery"]


async def test_who_is_heard(here):
    """Strangers get silence and admins one note; what is no text is declined; other people's words are not theirs."""
    api = here.api
    for text in ("hello", "/list", "/enrol 0123456789abcdef", "/stop dev"):
        await api.say(STRANGER, text)
    note = await api.shows(ALICE, "chat 666")
    assert "“person666”" in note.text
    assert "telegram: [666]" in note.text
    await api.say(BOB, None, voice={"file_id": "a", "file_unique_id": "b", "duration": 1})
    await api.shows(BOB, READ_ONLY_TEXT)
    origin = {"type": "hidden_user", "sender_user_name": "Mallory", "date": 1}
    await api.say(BOB, "/stop dev", forward_origin=origin)
    await api.shows(BOB, OWN_WORDS)
    await api.say(BOB, "stop dev", sender_chat={"id": GROUP, "type": "supergroup", "title": "x"})
    await api.say(BOB, "/list")
    await api.shows(BOB, "dev is running")
    assert api.texts(STRANGER) == []
    assert len(api.texts(ALICE)) == 1
    assert len(api.texts(BOB)) == 3
    assert here.office.commits(Requested_by="bob") == []

    here.office.box.commit({"state/tenants/bob.yaml": f"name: Bob\ntelegram: [{STRANGER}]\n"})
    assert here.post is not None
    while here.post.door.speaker(STRANGER) is None:
        await here.post.door.refresh()
        await asyncio.sleep(0.02)
    await api.say(STRANGER, "/list")
    await api.shows(STRANGER, "dev is running")
    await api.say(BOB, "/list")
    await api.shows(ALICE, "chat 22")
    assert len(api.texts(BOB)) == 3, "who is no tenant any more is not heard"


async def test_in_a_group(here):
    """Who writes speaks, not the group; only what is meant for the bot; and only who asked may press."""
    api = here.api
    await api.say(BOB, "stop dev", chat=GROUP)
    await api.say(BOB, "/stop@other_bot dev", chat=GROUP)
    await api.say(STRANGER, "/list", chat=GROUP)
    await api.say(STRANGER, "@voxnix_bot stop dev", chat=GROUP)
    await api.say(BOB, "@voxnix_bot destroy dev", chat=GROUP)
    asked = await api.shows(GROUP, "Destroy dev?")
    assert len(api.texts(GROUP)) == 1
    stranger = await api.press(STRANGER, asked, chat=GROUP)
    wrong = await api.press(ALICE, asked, chat=GROUP)
    assert await api.answered(wrong) == ("Only the person who asked can answer this.", True)
    assert stranger not in api.answers
    assert asked.buttons
    right = await api.press(BOB, asked, 1, chat=GROUP)
    assert await api.answered(right) == ("Cancelled.", False)
    await api.shows(GROUP, "said no")
    await api.say(BOB, "/list@voxnix_bot", chat=GROUP)
    await api.shows(GROUP, "dev is running")
    other = GROUP - 1
    await api.say(BOB, "/list", chat=other)
    await api.shows(ALICE, f"chat {other}")
    assert api.texts(other) == []
    assert here.office.commits(Requested_by="bob") == []


async def test_restarts_in_the_middle(here):
    """A press after a restart counts once; what was committed and not told is told; a message that comes again is not
    dealt with again."""
    api = here.api
    said = await api.say(BOB, "destroy dev")
    asked = await api.shows(BOB, "Destroy dev?")
    await here.restart()
    first = await api.press(BOB, asked, times=2)
    assert (await api.answered(first))[0] == "Confirmed."
    await api.shows(BOB, "✓ dev is removed")
    await here.restart()
    second = await api.press(BOB, asked)
    assert await api.answered(second) == ("This was answered, or is over.", True)
    await api.push({"update_id": 9000, "message": said})

    api.gates["sendMessage"] = asyncio.Event()
    again = await api.say(ALICE, "stop web")
    await off(here, "web")
    await here.stop()
    here.office.reopen()
    api.gates.pop("sendMessage").set()
    await here.start()
    await api.shows(ALICE, "✓ web is stopped")
    await api.push({"update_id": 9001, "message": again})
    await api.say(ALICE, "/list")
    await api.shows(ALICE, "web is stopped")
    assert len(here.office.commits(Requested_by="alice")) == 1
    assert len([one for one in here.office.commits(Requested_by="bob") if one.subject == "destroy dev"]) == 1
    api.errors = [one for one in api.errors if one[0] != "answerCallbackQuery"]


async def test_a_slow_model_in_one_chat_delays_no_other(at_work):
    released = asyncio.Event()

    async def slow(messages, info):
        await released.wait()
        return ModelResponse(parts=[TextPart("at last, slowly")])

    async with bot(at_work, model=FunctionModel(slow)) as here:
        api = here.api
        assert here.post is not None
        here.post.answer_within = 0.1
        await api.say(ALICE, "/destroy web")
        asked = await api.shows(ALICE, "Destroy web?")
        await api.say(ALICE, "tell me a story")
        await api.until(lambda: api.typing.count(ALICE) > 1)
        pressed = await api.press(ALICE, asked)
        for _ in range(25):
            await api.say(ALICE, "and another")
        await api.say(BOB, "/stop dev")
        await api.shows(BOB, "✓ dev is stopped")
        await api.say(BOB, "/start dev")
        await api.shows(BOB, "✓ dev is running")
        assert (await api.answered(pressed))[0].startswith("Noted.")
        assert "at last, slowly" not in api.texts(ALICE)
        released.set()
        await api.shows(ALICE, "passed over what you said since")
        assert api.texts(ALICE).count("at last, slowly") == 19
        assert here.office.commits(Requested_by="alice") == [], "the question was over before the press"


async def test_messages_of_a_chat_keep_their_order_and_come_once(here):
    for text in ("stop dev", "start dev", "stop dev", "start dev"):
        await here.api.say(BOB, text, times=2)
    await here.api.until(lambda: len(here.api.texts(BOB)) == 4 and all("✓" in one for one in here.api.texts(BOB)))
    subjects = [one.subject for one in here.office.commits(Requested_by="bob")]
    assert subjects == ["start dev", "stop dev", "start dev", "stop dev"]


async def test_the_network_goes_away_and_comes_back(here):
    """Nothing is lost or doubled: neither what is said, nor what is answered; limits are waited for."""
    api = here.api
    api.broken += [502, 502]
    await api.say(BOB, "stop dev")
    await api.shows(BOB, "✓ dev is stopped")
    api.gates["sendMessage"] = asyncio.Event()
    await api.say(BOB, "start dev")
    await here.office.until("dev", "ready")
    await api.lose_connection()
    api.gates.pop("sendMessage").set()
    await api.say(ALICE, "stop web")
    api.down = False
    await api.shows(BOB, "✓ dev is running")
    await api.shows(ALICE, "✓ web is stopped")
    assert len(api.texts(BOB)) == 2
    assert len(here.office.commits(Requested_by="bob")) == 2
    assert len(here.office.commits(Requested_by="alice")) == 1


async def test_limits_are_waited_for_in_that_chat_alone(here):
    api = here.api
    assert here.post is not None
    here.post.surface._pace.chat = 0.0
    for _ in range(3):
        await api.say(BOB, "/help")
    await api.until(lambda: any(code == 429 for _, code, _ in api.errors))
    await api.say(ALICE, "/quiet off")
    await api.shows(ALICE, "news at any time")
    assert len(api.texts(BOB)) < 3
    await api.until(lambda: len(api.texts(BOB)) == 3)
    api.errors.clear()


async def test_long_answers_and_forgetting(here):
    api = here.api
    lines = [f"line {n} 😀 of a long log, with `ticks` and /stop dev" for n in range(150)]
    here.office.journals["dev"] = "\n".join(lines)
    await api.say(BOB, "/logs dev 150")
    last = await api.shows(BOB, "line 149 ")
    assert len(api.texts(BOB)) == 2
    shown = "\n".join(api.texts(BOB))
    assert all(f"line {n} 😀" in shown for n in range(40, 150))
    assert "ticks" in last.code()
    await api.say(BOB, "show dev")
    await api.shows(BOB, "modules: git")
    await api.say(BOB, "/forget")
    await api.shows(BOB, "Commits stay")
    await api.say(BOB, "stop it")
    await api.shows(BOB, "which container")


async def test_who_blocked_the_bot_holds_nobody_up(here):
    api = here.api
    api.blocked.add(BOB)
    await api.say(BOB, "stop dev")
    await off(here, "dev")
    await api.say(ALICE, "/list")
    await api.shows(ALICE, "dev is stopped")
    api.errors = [one for one in api.errors if one[1] != 403]
