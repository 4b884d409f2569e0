"""The module library as the agent knows it: names and one-line descriptions, read from the files that come with it."""

from __future__ import annotations

import re
from pathlib import Path

from controller.errors import Blocked
from controller.spec.state import Library

_MODULE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def library(folder: Path) -> Library:
    """The modules in a folder, each with the comment in its first line. The digest is not the agent's business."""
    modules: dict[str, str] = {}
    try:
        for path in sorted((folder / "modules").glob("*.nix")):
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            if _MODULE.fullmatch(path.stem):
                modules[path.stem] = first.removeprefix("#").strip() if first.startswith("#") else ""
    except OSError as error:
        raise Blocked(f"the module library {folder} cannot be read: {error.strerror}") from error
    return Library(modules, "")
