"""A peer of `ssh-keygen -Y` for tests: keys and signatures without OpenSSH, the same every time.

Ed25519 after RFC 8032, in whole numbers; slow, and no secret is safe with it. `tests/host/test_push.py` holds it
against the real program. `install` puts it first in the PATH under the real one's name.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    first = (a[1] - a[0]) * (b[1] - b[0]) % P
    second = (a[1] + a[0]) * (b[1] + b[0]) % P
    third, fourth = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = second - first, fourth - third, fourth + third, second + first
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(scalar: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def pressed(point: Point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | ((x & 1) << 255)).to_bytes(32, "little")


def unpressed(data: bytes) -> Point | None:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P)
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - squared) % P or y >= P:
        return None
    x = P - x if x & 1 != sign else x
    return (x, y, 1, x * y % P)


BASE = unpressed((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
assert BASE is not None


def digest(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@dataclass(frozen=True)
class Key:
    """A key that a name alone makes."""

    name: str

    @cached_property
    def _halves(self) -> tuple[int, bytes]:
        found = hashlib.sha512(hashlib.sha256(self.name.encode()).digest()).digest()
        scalar = int.from_bytes(found[:32], "little") & ((1 << 254) - 8) | (1 << 254)
        return scalar, found[32:]

    @cached_property
    def point(self) -> bytes:
        return pressed(times(self._halves[0], BASE))

    @property
    def blob(self) -> bytes:
        return string(b"ssh-ed25519") + string(self.point)

    @property
    def public(self) -> str:
        """As files have it, with a comment."""
        return f"ssh-ed25519 {base64.b64encode(self.blob).decode()} {self.name}@example"

    @property
    def fingerprint(self) -> str:
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def private(self) -> str:
        """The private key as a file of OpenSSH's, with the name as its comment."""
        seed = hashlib.sha256(self.name.encode()).digest()
        secret = b"\0" * 8 + self.blob + string(seed + self.point) + string(self.name.encode())
        secret += bytes(range(1, 1 + -len(secret) % 8))
        head = b"openssh-key-v1\0" + string(b"none") + string(b"none") + string(b"")
        text = base64.encodebytes(head + (1).to_bytes(4, "big") + string(self.blob) + string(secret)).decode()
        return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}-----END OPENSSH PRIVATE KEY-----\n"

    @staticmethod
    def of(private: str) -> Key:
        """The key that is in such a file."""
        data = base64.b64decode("".join(private.splitlines()[1:-1]))
        *_, secret = fields(data[15:], skip={3: 4})
        return Key(fields(secret[8:])[3].decode())

    def sign(self, message: bytes) -> bytes:
        scalar, prefix = self._halves
        nonce = digest(prefix, message)
        point = pressed(times(nonce, BASE))
        return point + ((nonce + digest(point, self.point, message) * scalar) % L).to_bytes(32, "little")

    def armor(self, message: bytes, namespace: str = "git") -> bytes:
        """As `ssh-keygen -Y sign -n NAMESPACE` writes it."""
        head = string(namespace.encode()) + string(b"") + string(b"sha512")
        signature = string(b"ssh-ed25519") + string(self.sign(_signed(message, namespace.encode())))
        blob = b"SSHSIG" + (1).to_bytes(4, "big") + string(self.blob) + head + string(signature)
        text = base64.b64encode(blob).decode()
        lines = [text[at : at + 70] for at in range(0, len(text), 70)]
        return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""]).encode()


def _signed(message: bytes, namespace: bytes) -> bytes:
    """What is signed for a message."""
    hashed = hashlib.sha512(message).digest()
    return b"SSHSIG" + string(namespace) + string(b"") + string(b"sha512") + string(hashed)


def fields(data: bytes, skip: Mapping[int, int] = MappingProxyType({})) -> list[bytes]:
    """The strings of an SSH structure; `skip` has bytes to leave out before the string of that number."""
    found: list[bytes] = []
    while len(data) > 4:
        data = data[skip.get(len(found), 0) :]
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def good(message: bytes, armor: bytes, namespace: str, allowed: str) -> bool:
    """Whether an armored signature is one of `message`, for the namespace, by the key of a line of allowed signers."""
    match = re.fullmatch(rf'signer namespaces="{namespace}" ssh-ed25519 (\S+)\n', allowed)
    key, name, _, _, signature = fields(base64.b64decode(b"".join(armor.splitlines()[1:-1]))[10:])
    if match is None or base64.b64decode(match[1]) != key or name != namespace.encode():
        return False
    public, found = key[-32:], signature[-64:]
    r, a, s = unpressed(found[:32]), unpressed(public), int.from_bytes(found[32:], "little")
    if r is None or a is None or s >= L:
        return False
    challenge = digest(found[:32], public, _signed(message, name))
    return pressed(times(s, BASE)) == pressed(add(r, times(challenge, a)))


def signed_commit(raw: bytes, key: Key) -> bytes:
    """A raw commit with the signature of `key`, as `git commit -S` would have made it."""
    head, _, body = raw.partition(b"\n\n")
    lines = key.armor(raw).decode().rstrip("\n").split("\n")
    return head + b"\ngpgsig " + "\n ".join(lines).encode() + b"\n\n" + body


def install(folder: Path) -> Path:
    """The program in `folder`, under the name of the real one; returns `folder`, for the PATH."""
    folder.mkdir(exist_ok=True)
    program = folder / "ssh-keygen"
    root = Path(__file__).parent.parent
    program.write_text(
        f"#!{sys.executable} -S\nimport sys\nsys.path.insert(0, {str(root)!r})\n"
        f"from tests.keygen import main\nwith open({str(folder / 'calls')!r}, 'a') as log:\n"
        "    log.write(' '.join(sys.argv[1:]) + '\\n')\nsys.exit(main(sys.argv[1:], sys.stdin.buffer.read()))\n"
    )
    program.chmod(0o755)
    return folder


def calls(folder: Path) -> list[str]:
    """The commands that the program in `folder` was given."""
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


def main(words: Sequence[str], message: bytes) -> int:
    """`ssh-keygen -Y verify -f ALLOWED -I signer -n NAMESPACE -s SIGNATURE`, `-Y sign -q -n NAMESPACE -f KEY`, `-y`."""
    if words[:2] == ["-y", "-f"]:
        print(Key.of(Path(words[2]).read_text()).public)
        return 0
    if words[:3] == ["-Y", "sign", "-q"]:
        sys.stdout.buffer.write(Key.of(Path(words[6]).read_text()).armor(message, words[4]))
        return 0
    assert words[:3] == ["-Y", "verify", "-f"]
    allowed, namespace, signature = words[3], words[7], words[9]
    if good(message, Path(signature).read_bytes(), namespace, Path(allowed).read_text()):
        print(f'Good "{namespace}" signature for signer with ED25519 key')
        return 0
    print("Signature verification failed: incorrect signature", file=sys.stderr)
    print("Could not verify signature.")
    return 255
