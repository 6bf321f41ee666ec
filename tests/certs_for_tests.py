"""Makes certificates that nobody could have made honestly: flooded, fat, malformed. The signatures are noise.

Everything is the same in each run. Sources: RFC 9580, sections 4.2 (packets), 5.2 (signatures), 5.5 (keys), 6 (armor).
"""

from __future__ import annotations

import base64
import hashlib
import json
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_from_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNATURE, SECRET_KEY, PUBLIC_KEY, SECRET_SUBKEY, MARKER, TRUST = 2, 5, 6, 7, 10, 12  # tags
USER_ID, PUBLIC_SUBKEY, ATTRIBUTE, PADDING = 13, 14, 17, 21
CERTIFIES, CERTIFIES_ITSELF, BINDS_SUBKEY, REVOKES_KEY = 0x10, 0x13, 0x18, 0x20  # types of signatures
CREATED_S = 1_600_000_000
NOW_S = 1_700_000_000
ED25519, EDDSA, RSA, SHA256 = 27, 22, 1, 8
STRANGER = 1_000_000  # number of the first key that signs for others


def noise(number: int, size: int) -> bytes:
    """Return bytes that nothing compresses, others for each number."""
    return hashlib.shake_128(number.to_bytes(8)).digest(size)


def packet(tag: int, body: bytes, *, old: bool = False) -> bytes:
    """Return a packet with the shortest head of the new format, or of the old."""
    size = len(body)
    if old:
        width, code = next(each for each in ((1, 0), (2, 1), (4, 2)) if size < 1 << 8 * each[0])
        return bytes([0x80 | tag << 2 | code]) + size.to_bytes(width) + body
    if size < 192:
        length = bytes([size])
    elif size < 8384:
        length = bytes([(size - 192 >> 8) + 192, size - 192 & 255])
    else:
        length = b"\xff" + size.to_bytes(4)
    return bytes([0xC0 | tag]) + length + body


class Key(NamedTuple):
    """A public key: the body of its packet."""

    body: bytes

    @property
    def version(self) -> int:
        """3, 4, 5 or 6."""
        return self.body[0]

    @property
    def fingerprint(self) -> bytes:
        """RFC 9580 section 5.5.4."""
        if self.version == 4:
            return hashlib.sha1(b"\x99" + len(self.body).to_bytes(2) + self.body, usedforsecurity=False).digest()
        if self.version > 4:
            head = b"\x9a" if self.version == 5 else b"\x9b"
            return hashlib.sha256(head + len(self.body).to_bytes(4) + self.body).digest()
        return hashlib.md5(b"".join(self._numbers()), usedforsecurity=False).digest()

    @property
    def key_id(self) -> bytes:
        """The eight bytes by which signatures of versions 3 and 4 name it."""
        if self.version < 4:
            return self._numbers()[0][-8:]
        return self.fingerprint[-8:] if self.version == 4 else self.fingerprint[:8]

    @property
    def name(self) -> str:
        """The fingerprint as keyservers write it."""
        return self.fingerprint.hex().upper()

    def _numbers(self) -> list[bytes]:
        rest, numbers = self.body[8:], []
        while rest:
            size = 2 + (int.from_bytes(rest[:2]) + 7) // 8
            numbers.append(rest[2:size])
            rest = rest[size:]
        return numbers


def mpi(number: bytes) -> bytes:
    """Return a number as keys have it: its length in bits, then the number."""
    return (8 * len(number)).to_bytes(2) + number


def key(number: int, *, version: int = 4, created_s: int = CREATED_S) -> Key:
    """Return a key, another one for each number: RSA for version 3, EdDSA for 4 and 5, Ed25519 for 6."""
    made = created_s.to_bytes(4)
    if version == 3:
        return Key(b"\x03" + made + bytes(2) + bytes([RSA]) + mpi(b"\x80" + noise(number, 127)) + mpi(b"\x11"))
    curve = bytes.fromhex("092b06010401da470f01")
    material = noise(number, 32) if version == 6 else curve + b"\x01\x07\x40" + noise(number, 32)
    algorithm = bytes([ED25519 if version == 6 else EDDSA])
    size = b"" if version == 4 else len(material).to_bytes(4)
    return Key(bytes([version]) + made + algorithm + size + material)


def subpacket(kind: int, body: bytes) -> bytes:
    """Return a signature's subpacket, with a length of one byte."""
    return bytes([1 + len(body), kind]) + body


def issued_by(issuer: Key) -> bytes:
    """Return the two subpackets that name an issuer; a version 6 key has no key id there."""
    named = subpacket(33, bytes([issuer.version]) + issuer.fingerprint) if issuer.version > 3 else b""
    return named if issuer.version == 6 else named + subpacket(16, issuer.key_id)


def signature(kind: int, issuer: Key | None, number: int = 0, *, extra: bytes = b"") -> bytes:
    """Return a signature packet of the version that the issuer makes; None: it names nobody.

    Args:
        kind: Its type.
        issuer: Whose it claims to be.
        number: Another noise for each.
        extra: Subpackets besides creation time and issuer.

    """
    version = issuer.version if issuer else 4
    if issuer and version == 3:
        body = b"\x03\x05" + bytes([kind]) + CREATED_S.to_bytes(4) + issuer.key_id + bytes([RSA, SHA256])
        return packet(SIGNATURE, body + noise(number, 2) + mpi(noise(number, 128)))
    width = 4 if version == 6 else 2
    hashed = subpacket(2, CREATED_S.to_bytes(4)) + extra
    unhashed = issued_by(issuer) if issuer else b""
    algorithm = ED25519 if version == 6 else EDDSA
    body = bytes([version, kind, algorithm, SHA256])
    body += len(hashed).to_bytes(width) + hashed + len(unhashed).to_bytes(width) + unhashed + noise(number, 2)
    if version == 6:
        return packet(SIGNATURE, body + b"\x10" + noise(number + 1, 16) + noise(number, 64))
    return packet(SIGNATURE, body + mpi(b"\x80" + noise(number, 31)) + mpi(b"\x80" + noise(number + 1, 31)))


def user_id(text: str) -> bytes:
    """Return a user id's packet."""
    return packet(USER_ID, text.encode())


def certificate(number: int = 0, *, version: int = 4, user_ids: int = 1, signatures: int = 0) -> bytes:
    """Return a certificate in binary form.

    Args:
        number: Another key for each.
        version: 3, 4, 5 or 6.
        user_ids: How many; each is signed by its owner.
        signatures: How many strangers have signed the first user id.

    """
    owner = key(number, version=version)
    parts = [packet(PUBLIC_KEY, owner.body)]
    for each in range(user_ids):
        parts += [user_id(f"Number {number} <{number}.{each}@example.org>"), signature(CERTIFIES_ITSELF, owner, each)]
        if each == 0:
            parts += (signature(CERTIFIES, key(STRANGER + other), other) for other in range(signatures))
    return b"".join(parts)


def flooded(signatures: int, number: int = 0) -> bytes:
    """Return a certificate with so many signatures of strangers: what happened to well-known keys in June 2019."""
    return certificate(number, signatures=signatures)


def fat(user_ids: int, number: int = 0) -> bytes:
    """Return a certificate with so many user ids."""
    return certificate(number, user_ids=user_ids)


def revocation(number: int = 0, *, version: int = 4) -> bytes:
    """Return the bare revocation of a key: one signature."""
    return signature(REVOKES_KEY, key(number, version=version))


def with_secret(number: int = 0) -> bytes:
    """Return a secret key with a user id; the secret is noise."""
    owner = key(number)
    secret = packet(SECRET_KEY, owner.body + b"\0" + mpi(b"\x80" + noise(number, 31)) + bytes(2))
    return secret + user_id("Secret <secret@example.org>") + signature(CERTIFIES_ITSELF, owner)


def armored(data: bytes, kind: str = "PUBLIC KEY BLOCK", *, newline: str = "\n", summed: bool = True) -> bytes:
    """Return an armored block; the checksum is optional, and takes its time."""
    lines = base64.encodebytes(data).decode().splitlines()
    lines += [f"={checksum(data)}"] if summed else []
    return newline.join([f"-----BEGIN PGP {kind}-----", "", *lines, f"-----END PGP {kind}-----", ""]).encode()


def checksum(data: bytes) -> str:
    """Return the CRC-24 of RFC 9580 section 6.1.1, in base64."""
    crc = 0xB704CE
    for byte in data:
        crc = (crc << 8 & 0xFFFFFF) ^ CRC_TABLE[crc >> 16 ^ byte]
    return base64.b64encode(crc.to_bytes(3)).decode()


def _crc_of(byte: int) -> int:
    crc = byte << 16
    for _ in range(8):
        crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


CRC_TABLE = [_crc_of(byte) for byte in range(256)]


def form(text: bytes, **fields: str) -> bytes:
    """Return a form as gpg sends it: everything but letters and digits is escaped."""
    escaped = quote_from_bytes(text, safe="").replace("-", "%2D").replace(".", "%2E").replace("_", "%5F")
    others = (f"&{name}={quote(value, safe='')}" for name, value in fields.items())
    return f"keytext={escaped}{''.join(others)}".encode()


def json_object(text: bytes) -> bytes:
    """Return the object that VKS takes."""
    return json.dumps({"keytext": text.decode()}).encode()


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return `data` cut at the places that are in it."""
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


class Malformed(NamedTuple):
    """Bytes that are no certificate, and the status that they earn."""

    data: bytes
    status: int


def malformed() -> dict[str, Malformed]:
    """Return what is wrong in one way each, in binary form."""
    whole = certificate()
    owner, name = key(0), user_id("A <a@example.org>")
    primary, own = packet(PUBLIC_KEY, owner.body), signature(CERTIFIES_ITSELF, owner)
    own_body = own[2:]
    bad = {
        "nothing": b"",
        "no packet": b"\x7f" + whole,
        "cut in a head": whole[:1],
        "cut in a length": primary + b"\xce\xff\0",
        "cut in a body": whole[:-1],
        "partial length": b"\xc6\xe5" + owner.body,
        "partial length later": primary + b"\xcd\xe1ab" + name,
        "indeterminate length": b"\x9b" + owner.body,
        "a message": packet(1, noise(0, 100)),
        "compressed": packet(8, noise(0, 100)),
        "literal data behind the key": whole + packet(11, b"b\0" + bytes(4) + noise(0, 100)),
        "encrypted data": whole + packet(18, b"\x01" + noise(0, 100)),
        "tag 0": packet(0, b""),
        "tag 60": whole + packet(60, b"private"),
        "secret key": with_secret(),
        "secret subkey": whole + packet(SECRET_SUBKEY, owner.body),
        "subkey first": packet(PUBLIC_SUBKEY, owner.body) + whole,
        "user id first": name + whole,
        "certification first": own + whole,
        "revocation of nobody": signature(REVOKES_KEY, None),
        "only padding": packet(PADDING, noise(0, 20)),
        "key without a body": packet(PUBLIC_KEY, b""),
        "key of six bytes": packet(PUBLIC_KEY, owner.body[:6]),
        "subkey of six bytes": whole + packet(PUBLIC_SUBKEY, owner.body[:6]),
        "key of version 9": packet(PUBLIC_KEY, b"\x09" + owner.body[1:]),
        "key of the future": packet(PUBLIC_KEY, key(0, created_s=NOW_S + 10**7).body) + name + own,
        "subkey of the future": whole + packet(PUBLIC_SUBKEY, key(1, created_s=NOW_S + 10**7).body),
        "v6 key with another length": packet(PUBLIC_KEY, key(0, version=6).body + b"\0"),
        "v3 key with one number": packet(PUBLIC_KEY, key(0, version=3).body[:-3]),
        "v3 key with a long number": packet(PUBLIC_KEY, key(0, version=3).body[:-2] + b"\xff\xff"),
        "user id of control characters": primary + user_id("A\n<a@example.org>"),
        "user id of noise": primary + packet(USER_ID, noise(0, 1000)),
        "signature without a body": primary + packet(SIGNATURE, b""),
        "signature of version 9": primary + packet(SIGNATURE, b"\x09" + own_body),
        "v3 signature with another hashed length": primary + packet(SIGNATURE, b"\x03\x06" + bytes(30)),
        "subpackets beyond the signature": primary + packet(SIGNATURE, b"\x04\x13\x16\x08\xff\xff" + bytes(30)),
        "subpacket beyond its area": primary + packet(SIGNATURE, b"\x04\x13\x16\x08\0\x02\x09\x02" + bytes(30)),
        "subpacket of no length": primary + packet(SIGNATURE, b"\x04\x13\x16\x08\0\x01\0" + bytes(30)),
        "issuer of seven bytes": primary + signature(CERTIFIES, None, extra=subpacket(16, bytes(7))),
        "short fingerprint": primary + signature(CERTIFIES, None, extra=subpacket(33, b"\x04" + bytes(16))),
        "signature that ends early": primary + packet(SIGNATURE, b"\x04\x13\x16\x08" + bytes(6)),
    }
    large = {
        "signatures": flooded(1001),
        "signatures that name nobody": whole + signature(CERTIFIES, None) * 1001,
        "forged signatures of the owner": primary + name + own * 2000,
        "user ids": fat(51),
        "a long user id": primary + packet(USER_ID, b"a" * 1025),
        "a long key": packet(PUBLIC_KEY, owner.body + bytes(8192)),
        "a long signature": primary + packet(SIGNATURE, own_body + bytes(65_536)),
        "an announced gigabyte": b"\xc6\xff\x40\0\0\0",
        "marker with data": packet(MARKER, noise(0, 4)) + whole,
        "photographs": whole + packet(ATTRIBUTE, noise(0, 3000)) * 5,
        "a long photograph": whole + packet(ATTRIBUTE, noise(0, 16_385)),
        "certificates": b"".join(certificate(each) for each in range(11)),
        "bare revocations": b"".join(revocation(each) for each in range(11)),
        "empty packets": primary + packet(USER_ID, b"") + packet(PADDING, b"") * 2000,
        "a megabyte": primary + name + packet(SIGNATURE, own_body + bytes(65_000)) * 17,
    }
    return {name: Malformed(data, 422) for name, data in bad.items()} | {
        name: Malformed(data, 413) for name, data in large.items()
    }
