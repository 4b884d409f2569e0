"""Scripted models: each answers with what its script says next, whatever it is told. No network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_ai import ModelMessage, ModelResponse
from pydantic_ai.messages import TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

Turn = str | Sequence[tuple[str, Any]] | Callable[[list[ModelMessage]], ModelResponse] | Exception


class Script:
    """A model's answers in order: a text ends a run, a list of calls asks for tools. The last is repeated.

    `seen` has what the model was told each time, as one text.
    """

    def __init__(self, *turns: Turn) -> None:
        self.turns = list(turns)
        self.seen: list[str] = []

    @property
    def model(self) -> FunctionModel:
        """The model."""
        return FunctionModel(self._answer, model_name="script")

    async def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        instructions = "\n".join(getattr(message, "instructions", None) or "" for message in messages[-1:])
        parts = [str(getattr(part, "content", "")) for message in messages for part in message.parts]
        self.seen.append("\n".join([instructions, *parts]))
        turn = self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]
        if isinstance(turn, Exception):
            raise turn
        if isinstance(turn, str):
            return ModelResponse(parts=[TextPart(turn)])
        if callable(turn):
            return turn(messages)
        return ModelResponse(parts=[ToolCallPart(name, args) for name, args in turn])
