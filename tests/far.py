"""An appliance whose state repo is on a forge of the tests' own, reached by HTTPS with a token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from controller.git import Author, StateRepo
from controller.git.access import Access
from controller.git.remote import Remote
from controller.settings import RemoteSettings
from tests.box import Box
from tests.forge import TOKEN, Forge

ALICE = Author("Alice", "alice@example.org")
FILES = {
    "state/tenants/alice.yaml": "name: Alice\nrole: admin\n",
    "state/tenants/bob.yaml": "name: Bob\n",
}


class Far:
    """A forge with one state repo below `directory`, and the files that open it."""

    def __init__(self, directory: Path, forge: Forge) -> None:
        self.directory = directory
        self.forge = forge
        self.token = directory / "token"
        self.set_token(TOKEN)
        self.access = Access(token=self.token, ca=forge.ca)

    @property
    def there(self) -> StateRepo:
        """The state repo, where the forge has it."""
        return StateRepo(self.forge.root / "state.git")

    def set_token(self, text: str, mode: int = 0o600) -> None:
        """What is in the token file, and who may read it."""
        self.token.write_text(f"{text}\n")
        self.token.chmod(mode)

    def commit(self, changes: Mapping[str, str | None], message: str = "change") -> str:
        """Somebody commits over there."""
        files = {path: None if text is None else text.encode() for path, text in changes.items()}
        return self.there.commit(files, message, ALICE)

    def remote(self, name: str = "copy.git", **options: object) -> Remote:
        """A copy to write with."""
        return Remote(self.directory / name, self.forge.url(), access=self.access, **options)  # type: ignore[arg-type]

    def settings(self, **more: object) -> RemoteSettings:
        """[remote] of an appliance that follows it."""
        return RemoteSettings(token=str(self.token), ca=str(self.forge.ca), **more)  # type: ignore[arg-type]

    def box(self, **more: object) -> Box:
        """An appliance that follows it."""
        box = Box(self.directory / "appliance")
        box.settings = replace(box.settings, state=self.forge.url(), remote=self.settings(**more))
        return box


@contextmanager
def far(directory: Path, files: Mapping[str, str] = FILES) -> Iterator[Far]:
    """A forge that is up, with these files in its state repo."""
    root = directory / "repos"
    root.mkdir()
    StateRepo.init(root / "state.git", {path: text.encode() for path, text in files.items()}, ALICE)
    with Forge(root, directory / "tls") as forge:
        yield Far(directory, forge)
