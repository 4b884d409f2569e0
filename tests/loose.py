"""Git objects made by hand, byte by byte: also such as git itself would never write. No process is started."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHO = "Somebody <x@example.org> 1790000000 +0000"
FILE, LINK, FOLDER, MODULE = "100644", "120000", "40000", "160000"
Content = Any
"""What a case says of a file; see `tests/cases/pushes/README.md`."""
Files = Mapping[bytes, tuple[str, str]]
"""Mode and object id by path."""


@dataclass(frozen=True)
class Loose:
    """The loose objects of the repository at `path`."""

    path: Path

    def write(self, kind: str, data: bytes) -> str:
        """Any object, whatever its bytes say; its id."""
        whole = f"{kind} {len(data)}\0".encode() + data
        sha = hashlib.sha1(whole).hexdigest()
        place = self.path / "objects" / sha[:2] / sha[2:]
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(zlib.compress(whole, 1 if len(data) < 2**20 else 0))
        return sha

    def read(self, sha: str) -> bytes:
        """What an object made here says."""
        return zlib.decompress((self.path / "objects" / sha[:2] / sha[2:]).read_bytes()).partition(b"\0")[2]

    def blob(self, data: bytes) -> str:
        return self.write("blob", data)

    def entries(self, entries: Iterable[tuple[str, bytes, str]]) -> str:
        """A tree of these entries (mode, name, id) in this very order."""
        return self.write(
            "tree", b"".join(m.encode() + b" " + name + b"\0" + bytes.fromhex(o) for m, name, o in entries)
        )

    def tree(self, files: Files) -> str:
        """A tree with its folders, as git would order it."""
        folders: dict[bytes, dict[bytes, tuple[str, str]]] = {}
        found: list[tuple[str, bytes, str]] = []
        for path, (mode, oid) in files.items():
            head, slash, rest = path.partition(b"/")
            if slash:
                folders.setdefault(head, {})[rest] = (mode, oid)
            else:
                found.append((mode, head, oid))
        found += [(FOLDER, name, self.tree(inner)) for name, inner in folders.items()]
        return self.entries(sorted(found, key=lambda one: one[1] + (b"/" if one[0] == FOLDER else b"")))

    def commit(
        self, tree: str, parents: Sequence[str], message: bytes = b"change\n", *, head: Sequence[str] = ()
    ) -> str:
        """A commit; `head` are more lines of its header."""
        return self.write("commit", raw_commit(tree, parents, message, head=head))


def raw_commit(tree: str, parents: Sequence[str], message: bytes = b"change\n", *, head: Sequence[str] = ()) -> bytes:
    """A commit's bytes."""
    lines = [f"tree {tree}", *(f"parent {one}" for one in parents), f"author {WHO}", f"committer {WHO}", *head]
    return "\n".join(lines).encode() + b"\n\n" + message


def put(loose: Loose, files: dict[bytes, tuple[str, str]], path: str, content: Content) -> None:
    """One file of a case; a path that begins with `hex:` is given in bytes."""
    name = bytes.fromhex(path[4:]) if path.startswith("hex:") else path.encode()
    if content is None:
        del files[name]
        return
    given = content if isinstance(content, Mapping) else {"text": content}
    mode = str(given.get("mode", FILE))
    if "module" in given:
        files[name] = ("160000", str(given["module"]))
        return
    data = bytes.fromhex(given["hex"]) if "hex" in given else str(given.get("text", "")).encode()
    files[name] = (mode, loose.blob(data * int(given.get("times", 1))))


def message_of(case: Mapping[str, Any]) -> str:
    """A commit's message, with its trailers."""
    trailers = [f"Requested-by: {name}" for name in listed(case.get("for", []))] + listed(case.get("decides", []))
    return case.get("message", "change") + "\n" + ("\n" + "\n".join(trailers) + "\n" if trailers else "")


def merged(
    ours: Mapping[bytes, tuple[str, str]],
    base: Mapping[bytes, tuple[str, str]],
    theirs: Mapping[bytes, tuple[str, str]],
) -> dict[bytes, tuple[str, str]]:
    """`ours`, with what `theirs` changed since `base`."""
    found = {path: entry for path, entry in ours.items() if path not in base or path in theirs}
    return found | {path: entry for path, entry in theirs.items() if base.get(path) != entry}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
