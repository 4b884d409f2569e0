"""What the settings say of a state repo on another machine, held against its address; it opens nothing.

What opens one address is never used for another: an address given on the command line comes without.
"""

from __future__ import annotations

from pathlib import Path

from controller.errors import BadInput
from controller.git.access import Access, check_place, check_user
from controller.git.address import Address, address
from controller.settings import RemoteSettings, Settings

SHORTEST, LONGEST = 5.0, 86_400.0
"""Seconds that may be between two looks at a branch on another machine."""
_FOREIGN = {"ssh": ("token", "ca"), "https": ("key", "known_hosts")}
"""Settings that say nothing about the protocol."""


def check(settings: Settings, where: str) -> None:
    """Raise `BadInput`, saying what to do, for an address or credentials that cannot be. `where` is where they stand.

    Whether the files are there, and private, is looked at when they are used.
    """
    try:
        _check(address(settings.state or ""), settings.remote)
    except BadInput as error:
        raise BadInput(f"{where}: {error.what}", hint=error.hint) from error


def _check(to: Address, remote: RemoteSettings | None) -> None:
    if to.local:
        if remote is not None:
            what = f"[remote] says how to get into a repository on another machine, and {to.text} is on this one"
            raise BadInput(what, hint="take [remote] away, or name an address such as git@forge.example.org:state.git")
        return
    given = remote or RemoteSettings()
    for name in _FOREIGN[to.protocol]:
        if getattr(given, name):
            usable = "key and known_hosts" if to.protocol == "ssh" else "token, user and ca"
            what = f"remote.{name} is of no use for {to.text}, which is reached by {to.protocol.upper()}"
            raise BadInput(what, hint=f"take it away; for {to.protocol.upper()} there are {usable}")
    if to.protocol == "ssh" and not given.key:
        what = f"the state repo {to.text} is on another machine, and no remote.key opens it"
        hint = 'ssh-keygen -t ed25519 -N "" -f /var/lib/voxnix/deploy_key, then key = that path in [remote]'
        raise BadInput(what, hint=hint)
    if to.protocol == "ssh" and not given.known_hosts:
        port = f"-p {to.port[1:]} " if to.port else ""
        what = f"remote.known_hosts is missing, so nobody could tell {to.host} from somebody in between"
        hint = (
            f"`ssh-keyscan {port}{to.host} >/var/lib/voxnix/known_hosts`, compare it with what the forge publishes,"
            " then known_hosts = that path in [remote]"
        )
        raise BadInput(what, hint=hint)
    for name in ("key", "known_hosts", "token", "ca", "sign_with"):
        if getattr(given, name):
            check_place(getattr(given, name), f"remote.{name}")
    check_user(given.user, "remote.user")
    if not SHORTEST <= given.poll <= LONGEST:
        raise BadInput(f"remote.poll {given.poll:g} is not between {SHORTEST:g} and {LONGEST:g} seconds")


def access(settings: Settings) -> Access:
    """The files that open the state repo."""
    given = settings.remote or RemoteSettings()
    return Access(
        key=_place(given.key),
        known_hosts=_place(given.known_hosts),
        token=_place(given.token),
        user=given.user,
        ca=_place(given.ca),
    )


def _place(text: str) -> Path | None:
    return Path(text) if text else None
