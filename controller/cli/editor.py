"""What editors need beside state files: JSON Schemas in the work tree, and a first line in each file that names one.

The schemas lie in `schema/` beside `state/`, so that a relative path finds them in every clone; the controller does not
read them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from controller.errors import BadInput

FOLDER = "schema"


def schema_files(modules: Collection[str]) -> dict[str, bytes]:
    """The JSON Schemas of all kinds of state files, by path in the state repo."""
    from controller.spec.schema import schemas

    found = schemas(modules).items()
    return {f"{FOLDER}/{kind}.json": (json.dumps(value, indent=2) + "\n").encode() for kind, value in found}


def with_schema(path: str, content: str) -> str:
    """A state file that begins with the line by which editors find its schema; other files as they are."""
    from controller.spec.fields import FileKind
    from controller.spec.parse import classify

    kind, _, misplaced = classify(path)
    if kind is FileKind.OTHER or misplaced is not None or content.startswith("# yaml-language-server:"):
        return content
    up = "../" * (len(PurePosixPath(path).parts) - 1)
    return f"# yaml-language-server: $schema={up}{FOLDER}/{kind}.json\n{content}"


def write_schemas(tree: Path, modules: Collection[str]) -> Mapping[str, bool]:
    """Bring `schema/` of a work tree up to date; each file's path, and whether it was changed."""
    if not (tree / "state").is_dir():
        raise BadInput(f"{tree} holds no `state` folder", hint="name the work tree of a state repo")
    changed = {}
    (tree / FOLDER).mkdir(exist_ok=True)
    for path, data in schema_files(modules).items():
        place = tree / path
        changed[path] = not place.is_file() or place.read_bytes() != data
        if changed[path]:
            place.write_bytes(data)
    return changed
