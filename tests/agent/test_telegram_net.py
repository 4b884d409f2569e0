"""The bot's ways to the net: a process of its own, the webhook, tokens that are refused, and no token in any line."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys

import pytest
from aiohttp import ClientSession

from agent.config import AgentConfig
from agent.person import Button
from agent.telegram.pace import Pace
from agent.telegram.serve import application
from agent.telegram.surface import TelegramSurface
from controller.errors import BadInput, Transient
from tests.agent.bench import ALICE, BOB, TENANTS, bot
from tests.agent.botapi import TOKEN, BotApi
from tests.agent.conftest import DEV
from tests.agent.office import office


@pytest.fixture
async def at_work(place):
    async with office(place, {**TENANTS, "dev": DEV}) as found:
        await found.until("dev", "ready")
        yield found


@pytest.fixture
async def api():
    found = BotApi(chat_every=0.0)
    found.url = await found.start()
    yield found
    await found.stop()


async def nothing():
    return ()


@pytest.fixture
async def surface(api):
    """The surface alone, in front of the server."""
    api.chats |= {BOB: {}, ALICE: {}}
    app = application(TOKEN, api.url)
    await app.initialize()
    found = TelegramSurface(app.bot, nothing, pace=Pace(0.0, 0.0, 0.0), patience=0.5, first_wait=0.02, typing=0.02)
    yield found
    await found.close()
    await app.shutdown()


async def begin(office, api, place, *words: str, token: str = TOKEN) -> asyncio.subprocess.Process:
    """`voxnix-agent` as people start it."""
    secret = place / "token"
    secret.write_text(token)
    secret.chmod(0o600)
    settings = place / "agent.toml"
    settings.write_text(f'token_file = "{secret}"\ntelegram_api = "{api.url}"\ngroups = [-5]\n')
    options = ["--state", str(office.box.repo_path), "--host", f"sim:{office.box.sim}", "--agent-config", str(settings)]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from agent.main import main; main()",
        "--verbose",
        *options,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_as_a_process_with_an_enrolment_before(at_work, api, place):
    """The code leads to the line that an admin commits; then that chat is heard. No token is in what is printed."""
    process = await begin(at_work, api, place, "telegram")
    enrolling = await begin(at_work, api, place, "enrol", "bob")
    assert enrolling.stdout is not None
    while "/enrol " not in (line := (await enrolling.stdout.readline()).decode()):
        assert line
    await api.say(4711, line.strip())
    await api.shows(4711, "The code was right: this is chat 4711.")
    out, _ = await enrolling.communicate()
    assert "telegram: [4711]" in out.decode()
    assert at_work.commits(Requested_by="bob") == []
    at_work.box.commit({"state/tenants/bob.yaml": "name: Bob\ntelegram: [4711]\n"})
    while not api.texts(4711)[1:]:
        await api.say(4711, "/list")
        await asyncio.sleep(0.3)
    await api.shows(4711, "dev is running")
    await api.lose_connection()
    api.down = False
    await api.say(4711, "/storage")
    await api.shows(4711, "workspace")
    process.send_signal(signal.SIGTERM)
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    told = out.decode()
    assert "listening as @voxnix_bot" in told
    assert TOKEN not in told
    assert TOKEN.partition(":")[2] not in told


async def test_a_token_that_is_refused_ends_it_and_is_not_shown(at_work, api, place):
    wrong = TOKEN[:-1] + "x"
    process = await begin(at_work, api, place, "telegram", token=wrong)
    out, _ = await process.communicate()
    assert process.returncode == 1
    assert "Telegram refuses the bot's token" in out.decode()
    assert "Traceback" not in out.decode()
    assert wrong.partition(":")[2] not in out.decode()


async def test_a_token_that_is_taken_back_ends_it(at_work):
    async with bot(at_work, check_every=0.05) as here:
        here.api.token = "1:other"
        with pytest.raises(BadInput, match="refuses the bot's token"):
            await here.running
        here.running = asyncio.create_task(nothing())


async def test_as_a_webhook(at_work):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = AgentConfig(webhook="https://bot.example.org/hook/a.b", listen=f"127.0.0.1:{port}")
    async with bot(at_work, config=config) as here:
        api = here.api
        target = api.webhook_target = f"http://127.0.0.1:{port}/hook/a.b"
        assert api.webhook is not None
        assert len(api.webhook["secret_token"]) >= 32
        assert api.webhook["allowed_updates"] == ["message", "callback_query"]
        body = {"update_id": 5, "message": api.message(BOB, "/stop dev")}
        async with ClientSession() as session:
            for secret in ({}, {"X-Telegram-Bot-Api-Secret-Token": "guess"}):
                async with session.post(target, json=body, headers=secret) as answer:
                    assert answer.status == 403
        await api.say(BOB, "/list", times=2)
        await api.shows(BOB, "dev is running")
        assert at_work.commits(Requested_by="bob") == []
        assert len(api.texts(BOB)) == 1


async def test_a_second_poller_is_lived_with(at_work):
    async with bot(at_work) as here:
        await here.api.until(lambda: any(one.get("timeout") for one in here.api.called("getUpdates")))
        async with ClientSession() as session, session.post(f"{here.url}/bot{TOKEN}/getUpdates") as answer:
            assert (await answer.json())["ok"]
        await here.api.until(lambda: any(code == 409 for _, code, _ in here.api.errors))
        await here.api.say(BOB, "/list")
        await here.api.shows(BOB, "dev is running")


async def test_edits(surface, api):
    text = "\n".join(f"line {n} " + "x" * 90 for n in range(60))
    message = await surface.ask(str(BOB), text, [Button("Yes", "yabc"), Button("No", "nabc")])
    first, second = api.chats[BOB].values()
    assert message == f"{first.id},{second.id}"
    assert (len(first.buttons), len(second.buttons)) == (0, 2)
    await surface.edit(str(BOB), message, "This is over.")
    assert first.text.startswith("line 0")
    assert (second.text, second.buttons) == ("This is over.", [])
    calls = len(api.calls)
    await surface.edit(str(BOB), message, "This is over.")
    assert len(api.calls) == calls, "what changes nothing is not sent"
    await surface.edit(str(BOB), str(second.id), text)
    assert second.text.startswith("line 0")
    assert "\n[…]\n" in second.text
    await surface.edit(str(BOB), "99999", "gone")
    await surface.edit(str(BOB), "", "gone")
    surface._texts.clear()
    await surface.edit(str(BOB), str(second.id), second.text)
    assert [code for _, code, _ in api.errors] == [400, 400]


async def test_what_is_said_has_no_secret_and_is_valid(surface, api):
    await surface.send(str(BOB), f"token {TOKEN} and \ud800 and \u202e.")
    assert TOKEN not in api.texts(BOB)[0]
    assert "\u202e" not in api.texts(BOB)[0]
    await surface.send(str(BOB), "  \n ")
    assert api.texts(BOB)[1] == "…"


async def test_an_answer_that_is_lost_is_said_again_rather_than_not(surface, api):
    api.lose_answers_of.append("sendMessage")
    await surface.send(str(BOB), "hello")
    assert api.texts(BOB) == ["hello", "hello"]


async def test_a_net_that_stays_away_is_told(surface, api):
    api.down = True
    with pytest.raises(Transient, match="cannot be reached"):
        await surface.send(str(BOB), "hello")


async def test_typing_lasts_until_something_is_said(surface, api):
    await surface.busy(str(BOB))
    await surface.busy(str(ALICE))
    await api.until(lambda: api.typing.count(BOB) > 2)
    await surface.send(str(BOB), "done")
    assert str(BOB) not in surface._typing
    assert str(ALICE) in surface._typing


async def test_no_line_of_any_library_has_the_token(at_work, caplog):
    """With every library told to say all, and errors of all kinds on the way, through our filter."""
    from agent import telemetry

    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Kept(logging.DEBUG)
    handler.addFilter(telemetry.Masked())
    names = ("httpx", "httpcore", "telegram", "agent")
    for name in names:
        logging.getLogger(name).addHandler(handler)
        caplog.set_level(logging.DEBUG, name)
    try:
        async with bot(at_work) as here:
            here.api.broken += [502]
            await here.api.say(BOB, "/list")
            await here.api.shows(BOB, "dev is running")
            await here.api.lose_connection()
            here.api.down = False
            await here.api.say(BOB, "/storage")
            await here.api.shows(BOB, "workspace")
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
    told = "\n".join(lines)
    assert "getUpdates" in told, "the libraries did say something"
    assert "‹secret›" in told
    assert TOKEN not in told
    assert TOKEN.partition(":")[2] not in told
    rows = [tuple(row) for row in at_work.store.rows("SELECT * FROM preference")]
    assert TOKEN not in json.dumps(rows)
