"""The assistant without a model: the grammar in a model's place, behind the same tools and approvals.

It reads the person's last words, asks for one tool after the other, and ends with what the tools said. After a refusal
or a failure it goes no further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic_ai import ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.messages import TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agent.commands import menu
from agent.conversation import last_named
from agent.grammar import read
from agent.phrases import EXAMPLES, Known, Refused

HELP = "You can say, for example:\n" + "\n".join(f"· {text}" for text in EXAMPLES.values())
NAME = "grammar"


def offline(known: Callable[[str], Known]) -> FunctionModel:
    """A model that follows the grammar; `known` tells what names mean, given the container named last."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        del info
        index = _prompt(messages)
        said = _words(messages[index])
        try:
            intents = read(said, known(last_named(messages[:index])))
        except Refused as refused:
            return _says(f"{refused}")
        if any(intent.tool == "help" for intent in intents):
            return _says(f"{HELP}\n\n{menu()}")
        done = _returns(messages[index:])
        if len(done) < len(intents) and all(part.outcome == "success" for part in done):
            intent = intents[len(done)]
            return ModelResponse(parts=[ToolCallPart(intent.tool, dict(intent.args))], model_name=NAME)
        rest = len(intents) - len(done)
        left = [f"The rest of what you asked for ({rest}) was not begun."] if rest else []
        return _says("\n\n".join([*map(_shown, done), *left]))

    return FunctionModel(answer, model_name=NAME)


def _says(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)], model_name=NAME)


def _prompt(messages: Sequence[ModelMessage]) -> int:
    """Where the person's last words are."""
    found = [
        index
        for index, message in enumerate(messages)
        if isinstance(message, ModelRequest) and any(isinstance(part, UserPromptPart) for part in message.parts)
    ]
    return found[-1]


def _words(message: ModelMessage) -> str:
    """The person's own words: what is quoted comes after them, in a part of its own."""
    part = next(part for part in reversed(message.parts) if isinstance(part, UserPromptPart))
    content = part.content if isinstance(part.content, str) else next(iter(part.content), "")
    return content if isinstance(content, str) else ""


def _returns(messages: Sequence[ModelMessage]) -> list[ToolReturnPart]:
    """What the tools answered since the person's last words, in order; not what those words superseded."""
    found: list[ToolReturnPart] = []
    for message in messages:
        begins = any(isinstance(part, UserPromptPart) for part in message.parts)
        if not begins:
            found += [part for part in message.parts if isinstance(part, ToolReturnPart)]
    return found


def _shown(part: ToolReturnPart) -> str:
    meta = part.metadata
    return str(meta["shown"]) if isinstance(meta, dict) and "shown" in meta else str(part.content)
