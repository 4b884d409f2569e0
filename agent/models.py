"""Which model, by the names that pydantic-ai has for them, with others to fall back on. It asks none of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.fallback import FallbackModel

from controller.errors import BadInput

COMPATIBLE = "compatible:"
"""Before the name of a model behind an address that speaks OpenAI's chat API, as llama.cpp, vLLM or Ollama do."""


def model_of(names: Sequence[str], *, url: str = "", key: str = "") -> Model | None:
    """The first model, falling back on the others in order; None for no names: then there is no model.

    `url` and `key` are for names that begin with `compatible:`. Raises `BadInput` for a name that cannot be.
    """
    models = [_one(name, url, key) for name in names if name]
    if not models:
        return None
    return models[0] if len(models) == 1 else FallbackModel(models[0], *models[1:])


def _one(name: str, url: str, key: str) -> Model:
    try:
        if not name.startswith(COMPATIBLE):
            return infer_model(name)
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        if not url:
            raise BadInput(f"{name} needs an address", hint='url = "http://127.0.0.1:8080/v1"')
        return OpenAIChatModel(name.removeprefix(COMPATIBLE), provider=OpenAIProvider(base_url=url, api_key=key or "-"))
    except (UserError, ImportError, ValueError) as error:
        raise BadInput(f"the model {name} cannot be used: {error}", hint="see docs/agent.md") from error


def credential(name: str) -> str:
    """A secret that systemd hands over (`LoadCredential=`), or an environment variable has; empty without either."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, name) if folder else None
    if path is not None and path.is_file():
        return path.read_text().strip()
    return os.environ.get(f"VOXNIX_AGENT_{name.upper()}", "")
