"""Fingerprints of SSH public keys, as OpenSSH writes them. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache

FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r" ([A-Za-z0-9+/]{32,16384}={0,3})"
)
"""A key in text. Certificates are none: who signed them is nobody that the state names."""


@lru_cache(maxsize=8192)
def bare(key: str) -> str:
    """A public key's type and base64 part, without its comment; raises ValueError for what is no public key."""
    match = _KEY.fullmatch(" ".join(key.split(" ")[:2]))
    if match is None:
        raise ValueError("this is no SSH public key")
    try:
        blob = base64.b64decode(match[2], validate=True)
    except binascii.Error as error:
        raise ValueError("this is no SSH public key: its base64 part is damaged") from error
    if blob[: 4 + len(match[1])] != len(match[1]).to_bytes(4, "big") + match[1].encode():
        raise ValueError(f"this is no SSH public key of the type {match[1]}")
    return f"{match[1]} {match[2]}"


@lru_cache(maxsize=8192)
def fingerprint(key: str) -> str:
    """The fingerprint of a public key in text, `SHA256:…`; raises ValueError for what is none."""
    return fingerprint_of(base64.b64decode(bare(key).split(" ")[1]))


def fingerprint_of(blob: bytes) -> str:
    """The fingerprint of a public key as OpenSSH keeps and sends it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
