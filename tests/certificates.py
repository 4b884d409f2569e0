"""Certificates for servers of tests, made of keys that a name alone makes. No program is needed, and none is secret."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from tests.keygen import Key

ED25519 = bytes.fromhex("300506032b6570")
"""The algorithm, as certificates name it."""
COMMON_NAME, BASIC_CONSTRAINTS, ALTERNATIVE_NAME = bytes((85, 4, 3)), bytes((85, 29, 19)), bytes((85, 29, 17))
LOOPBACK = bytes((127, 0, 0, 1))


def der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + body


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def name(text: str) -> bytes:
    return sequence(der(0x31, sequence(der(6, COMMON_NAME), der(0x0C, text.encode()))))


def extension(oid: bytes, value: bytes) -> bytes:
    return sequence(der(6, oid), der(1, b"\xff"), der(4, value))


def pem(kind: str, data: bytes) -> str:
    return f"-----BEGIN {kind}-----\n{base64.encodebytes(data).decode()}-----END {kind}-----\n"


def certificate(subject: str, by: str, *, authority: bool = False) -> str:
    """The certificate of `subject`, for 127.0.0.1, signed by the authority `by`, which may be itself. It never ends."""
    constraints = sequence(der(1, b"\xff")) if authority else sequence()
    extensions = extension(BASIC_CONSTRAINTS, constraints)
    if not authority:
        extensions += extension(ALTERNATIVE_NAME, sequence(der(0x87, LOOPBACK), der(0x82, b"localhost")))
    serial = b"\1" + hashlib.sha256(f"{subject} by {by}".encode()).digest()[:8]
    body = sequence(
        der(0xA0, der(2, b"\2")),
        der(2, serial),
        ED25519,
        name(by),
        sequence(der(0x17, b"200101000000Z"), der(0x18, b"99991231235959Z")),
        name(subject),
        sequence(ED25519, der(3, b"\0", Key(subject).point)),
        der(0xA3, sequence(extensions)),
    )
    return pem("CERTIFICATE", sequence(body, ED25519, der(3, b"\0", Key(by).sign(body))))


def private_key(subject: str) -> str:
    """The private key that goes with the certificate of `subject`."""
    seed = hashlib.sha256(subject.encode()).digest()
    return pem("PRIVATE KEY", sequence(der(2, b"\0"), ED25519, der(4, der(4, seed))))


def write(folder: Path, subject: str, by: str) -> tuple[Path, Path, Path]:
    """A server's certificate and key, and its authority's certificate, as files."""
    folder.mkdir(exist_ok=True)
    texts = {"server.pem": certificate(subject, by), "ca.pem": certificate(by, by, authority=True)}
    for file, text in {**texts, "server.key": private_key(subject)}.items():
        (folder / file).write_text(text)
        (folder / file).chmod(0o600)
    return folder / "server.pem", folder / "server.key", folder / "ca.pem"
