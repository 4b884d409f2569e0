"""Git's complaints in words for people: what it called wrong, and, where another machine was asked, what to do. Pure.

What another machine says is the word of strangers: it is cut off, and loses what would do something to a terminal.
"""

from __future__ import annotations

import re

from controller.git.access import Access
from controller.git.address import Address

REFUSAL_LIMIT = 16 * 2**10
"""Characters kept of what a remote says when it refuses a push."""
WORDS = 600
_WRONG = ("fatal: ", "error: ")
_TOOK = re.compile(r" after \d+ (ms|milliseconds)\b")
"""How long it took, which differs each time while nothing is new."""
_ASKED = re.compile(r"unable to read askpass response")
_LAST = re.compile(r"fatal: (Could not read from remote repository\.|the remote end hung up .*)")
_FAR = re.compile(
    r"ssh: .*|ERROR: .*|.*: Permission denied \(.*|Host key verification failed\.|No \S+ host key is known for .*"
    r"|.*REMOTE HOST IDENTIFICATION HAS CHANGED.*|Connection (closed|reset|timed out).*|Load key .*"
    r"|kex_exchange_identification: .*|remote: .*"
)
_READ_ONLY = re.compile(r"read[- ]only|not allowed to push|write access|\b403\b", re.IGNORECASE)
_ADVICE = (
    (
        r"IDENTIFICATION HAS CHANGED|Host key verification failed|host key is known for",
        "the server's host key is not the one in {known_hosts}: compare what `ssh-keyscan {host}` prints with what the"
        " forge publishes, and put it there only if they agree",
    ),
    (r"Permission denied \(", "is the public half of {key} a deploy key of this repository? ssh-keygen -y -f {key}"),
    (r"server certificate|SSL certificate|unable to get local issuer|SSL: ", "`ca` in [remote] names who vouches"),
    (
        r"Authentication failed|could not read (Username|Password)|returned error: (401|403)|HTTP Basic: Access denied",
        "does the token in {token} still count, is `user` ({user}) its name, and may it read and write here?",
    ),
    (
        r"repository .* not found|returned error: 404|does not appear to be a git repo",
        "is the address right, and may this key or token see it?",
    ),
    (r"Could not resolve|Couldn't|refused|timed out|unreachable|No route", "is the network up, and the forge?"),
    (r"died of signal 25|File too large", "a state repo has some MiB at most: is this one?"),
    (r"returned error: 30\d|redirect", "name the address that it redirects to: credentials go nowhere else"),
)


def refusal(err: bytes) -> str:
    """What a remote said of a push that it refused; nothing where it did not refuse one."""
    lines = _lines(err)
    if not any("[remote rejected]" in line for line in lines):
        return ""
    said = [line.removeprefix("remote: ") for line in lines if line.startswith("remote: ")]
    why = [line.strip() for line in lines if "[remote rejected]" in line]
    return "\n".join(said or why)[:REFUSAL_LIMIT]


def words(err: bytes, *, far: bool = False) -> str:
    """Git's own words: what it calls an error, or else the last thing it said; with `far`, what SSH says too."""
    lines = [line for line in _lines(err) if line]
    wrong = [
        line
        for line in lines
        if (line.startswith(_WRONG) and not _ASKED.search(line)) or (far and _FAR.fullmatch(line))
    ]
    told = [line for line in dict.fromkeys(wrong) if not _LAST.fullmatch(line)] or wrong
    text = _TOOK.sub("", "; ".join(told[:3] or lines[-1:])) or "failed without a word"
    return text if len(text) <= WORDS else text[:WORDS] + " …"


def advice(said: str, to: Address, access: Access) -> str:
    """What to do about what was said by or of another machine; empty where that is not known."""
    host = f"-p {to.port[1:]} {to.host}" if to.port else to.host
    known = {"host": host, "key": access.key or "the key", "known_hosts": access.known_hosts or "known_hosts"}
    known |= {"token": access.token or "the token file (none is set)", "user": access.user}
    for pattern, hint in _ADVICE:
        if re.search(pattern, said):
            return hint.format(**known)
    return ""


def denied(said: str) -> bool:
    """Whether these words say that one may read there and not write."""
    return bool(_READ_ONLY.search(said))


def _lines(err: bytes) -> list[str]:
    """The lines, each progress report on one of its own, without what is no character to be seen."""
    text = err.decode("utf-8", "replace").replace("\r", "\n").replace("\t", " ")
    return ["".join(c for c in line if c.isprintable()).rstrip() for line in text.split("\n")]
