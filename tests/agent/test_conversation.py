"""What is remembered: cut at a person's words, with calls and their answers together; gone when it is over."""

from __future__ import annotations

import sqlite3

import pytest
from pydantic_ai import Conversation, ModelRequest, ModelResponse
from pydantic_ai.messages import TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.usage import RunUsage

from agent.approvals import Approvals, Stale
from agent.budget import Budget, Preferences
from agent.conversation import CHARACTERS, TURNS, Conversations, compact, last_named
from agent.person import Heard
from agent.store import Store
from controller.errors import Blocked


def turn(n: int, size: int = 1):
    return [
        ModelRequest(parts=[UserPromptPart(f"question {n}")]),
        ModelResponse(parts=[ToolCallPart("describe_container", {"name": f"c{n}"}, tool_call_id=f"id{n}")]),
        ModelRequest(parts=[ToolReturnPart("describe_container", "x" * size, tool_call_id=f"id{n}")]),
        ModelResponse(parts=[TextPart(f"answer {n}")]),
    ]


def turns(count: int, size: int = 1):
    return [message for n in range(count) for message in turn(n, size)]


def whole(messages) -> bool:
    calls = {part.tool_call_id for one in messages for part in one.parts if isinstance(part, ToolCallPart)}
    returns = {part.tool_call_id for one in messages for part in one.parts if isinstance(part, ToolReturnPart)}
    return calls == returns


@pytest.mark.parametrize("size", [1, 1000, CHARACTERS // 3, CHARACTERS * 2])
@pytest.mark.parametrize("count", [1, 3, TURNS, TURNS * 3])
def test_compaction_keeps_turns_whole(count, size):
    messages = turns(count, size)
    kept = compact(messages)
    assert whole(kept)
    assert kept[-4:] == messages[-4:]
    assert isinstance(kept[0].parts[0], UserPromptPart)
    assert len(kept) <= TURNS * 4


def test_an_answer_that_comes_with_new_words_does_not_part_from_its_call():
    messages = [
        *turn(0)[:2],
        ModelRequest(parts=[ToolReturnPart("describe_container", "no", tool_call_id="id0"), UserPromptPart("new")]),
    ]
    assert whole(compact([*messages, ModelResponse(parts=[TextPart("ok")])]))


def test_the_container_named_last():
    assert last_named(turns(3)) == "c2"
    assert last_named([]) == ""


def test_conversations_are_by_person_and_chat_and_end():
    now = [1000.0]
    found = Conversations(Store(":memory:"), lambda: now[0], idle=60)
    found.save("bob", "c1", Conversation(messages=turns(2), usage=RunUsage(requests=7)))
    assert len(found.load("bob", "c1").messages) == 8
    assert found.load("bob", "c1").usage.requests == 0
    assert found.load("bob", "c2").messages == found.load("alice", "c1").messages == []
    now[0] += 61
    assert found.load("bob", "c1").messages == []


def test_what_cannot_be_read_begins_anew():
    store = Store(":memory:")
    store.rows("INSERT INTO conversation VALUES('bob', 'c1', '{}x', 0)")
    assert Conversations(store, lambda: 0.0).load("bob", "c1").messages == []


def test_budget_by_day():
    now = [0.0]
    budget = Budget(Store(":memory:"), lambda: now[0], requests=3, tokens=100)
    budget.spend("bob", RunUsage(requests=2, input_tokens=10))
    assert not budget.spent_out("bob")
    budget.spend("bob", RunUsage(requests=1))
    assert budget.spent_out("bob")
    assert not budget.spent_out("alice")
    budget.spend("alice", RunUsage(requests=1, output_tokens=100))
    assert budget.spent_out("alice")
    now[0] += 86400
    assert not budget.spent_out("bob")


def test_preferences():
    found = Preferences(Store(":memory:"))
    assert found.get("bob", "llm", "on") == "on"
    found.set("bob", "llm", "off")
    assert found.get("bob", "llm", "on") == "off"
    found.set("bob", "llm", "")
    assert found.get("bob", "llm", "on") == "on"


def test_a_token_is_random_and_says_nothing():
    approvals = Approvals(Store(":memory:"), lambda: 0.0)
    heard = Heard("c1", "m1", "destroy dev")
    questions = [approvals.open("bob", heard, {"id": {"shown": "x", "digest": "d"}}) for _ in range(2)]
    tokens = [button.token for question in questions for button in question.buttons]
    assert len(set(tokens)) == 4
    assert all(len(token.encode()) <= 64 for token in tokens)
    assert not any("dev" in token or "bob" in token for token in tokens)
    with pytest.raises(Stale, match="not mine"):
        approvals.take("x" + tokens[2][1:], "bob", "c1")
    with pytest.raises(Stale, match="is over"):
        approvals.take(tokens[0], "bob", "c1")
    question, yes = approvals.take(tokens[3], "bob", "c1")
    assert not yes
    assert question.heard == heard


def test_a_newer_store_is_not_touched(tmp_path):
    path = tmp_path / "agent.db"
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(Blocked, match="newer"):
        Store(path)
    assert path.stat().st_mode & 0o077 == 0
