"""The state repo, put together from the settings: to be followed by a controller, and to be written to by commands.

On this machine it is a bare repository; on another one, a copy of it that is fetched into and pushed from.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from controller.chronicle import Write
from controller.desired import Desires, Identities, Reading
from controller.errors import Transient
from controller.git import Author, Mirror, StateRepo
from controller.git.address import address
from controller.git.following import Followed, Rhythm
from controller.git.notes import Mend, send_notes, write_notes
from controller.git.remote import Remote
from controller.git.signing import Signer
from controller.receive import ReceiveLog
from controller.remote import access
from controller.settings import RemoteSettings, Settings


def mirror(
    settings: Settings,
    *,
    jitter: Callable[[], float] = random.random,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Mirror:
    """The controller's own copy of the state repo; a `Followed` one, where that is on another machine."""
    place = settings.data / "mirror.git"
    if address(settings.repository).local:
        return Mirror(place, settings.repository, branch=settings.branch)
    rhythm = Rhythm((settings.remote or RemoteSettings()).poll, jitter, now)
    return Followed(place, settings.repository, branch=settings.branch, access=access(settings), rhythm=rhythm)


def writer(settings: Settings, guard: Callable[[Remote, str], None]) -> Remote:
    """A state repo on another machine, to be committed to by commands; `guard` as for `Remote`."""
    sign_with = settings.remote.sign_with if settings.remote else ""
    return Remote(
        settings.data / "copy.git",
        settings.repository,
        branch=settings.branch,
        access=access(settings),
        signer=Signer(Path(sign_with)) if sign_with else None,
        guard=guard,
    )


def notebook(settings: Settings, mirror: Mirror) -> Write:
    """What writes notes into the state repo, here or on another machine."""
    path, author = mirror.local, Author("voxnix", f"voxnix@{settings.name}")
    if isinstance(mirror, Followed):
        return lambda changes: _sent(mirror, changes, author)
    assert path is not None
    return lambda changes: write_notes(StateRepo(path, branch=settings.branch), changes, author)


def _sent(mirror: Followed, changes: Mapping[str, Mend], author: Author) -> int:
    """Send notes to another machine, unless that is known to be away."""
    if mirror.trouble:
        raise Transient(mirror.trouble)
    with mirror.alone():
        return send_notes(mirror, changes, author)


def witnesses(settings: Settings, mirror: Mirror) -> Identities:
    """Who tells who brought a commit: the receive log of a state repo on this appliance, and signatures."""
    return Identities(mirror, ReceiveLog(mirror.local) if mirror.local else None, settings.delegates)


class Following(Desires):
    """Desired state from a `Followed` state repo: what was seen of it counts, and trouble with it is told beside."""

    def read(self) -> Reading:
        """As `Desires.read`."""
        reading = super().read()
        source = self._mirror
        if isinstance(source, Followed) and source.trouble and not reading.trouble:
            return replace(reading, trouble=source.trouble)
        return reading
