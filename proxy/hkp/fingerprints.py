"""Fingerprints and key ids of public keys (RFC 9580 section 5.5.4; LibrePGP for version 5)."""

from hashlib import md5, sha1, sha256
from typing import NamedTuple

KEY_ID_BYTES = 8

_NEWEST_OLD_VERSION = 3  # 2 and 3 are the same
_V4 = 4
_NEW_HEADS = {5: b"\x9a", 6: b"\x9b"}  # of what is digested
_OLD_HEAD_BYTES = 8  # version, time, validity, algorithm
_NEW_HEAD_BYTES = 10  # version, time, algorithm, length of the rest


class Name(NamedTuple):
    """How a key is called: 16 (version 3), 20 (4) or 32 bytes (5, 6), and the 8 of its key id."""

    fingerprint: bytes
    key_id: bytes


def key_name(body: bytes) -> Name | None:
    """Return how the key in the body of a packet is called; None if it is malformed.

    Args:
        body: At least 7 bytes, of version 2 to 6.

    """
    version = body[0]
    if version <= _NEWEST_OLD_VERSION:
        return _old_name(body)
    if version == _V4:
        digest = sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False).digest()
        return Name(digest, digest[-KEY_ID_BYTES:])
    if int.from_bytes(body[_NEW_HEAD_BYTES - 4 : _NEW_HEAD_BYTES]) != len(body) - _NEW_HEAD_BYTES:
        return None
    digest = sha256(_NEW_HEADS[version] + len(body).to_bytes(4) + body).digest()
    return Name(digest, digest[:KEY_ID_BYTES])


def _old_name(body: bytes) -> Name | None:
    """Take the two numbers of an RSA key without their lengths; its id is the end of the first."""
    numbers: list[bytes] = []
    rest = body[_OLD_HEAD_BYTES:]
    while rest and len(numbers) <= 2:  # noqa: PLR2004 - the modulus and the exponent
        end = 2 + (int.from_bytes(rest[:2]) + 7) // 8
        if len(rest) < end:
            return None
        numbers.append(rest[2:end])
        rest = rest[end:]
    if len(numbers) != 2 or len(numbers[0]) < KEY_ID_BYTES:  # noqa: PLR2004 - as above
        return None
    return Name(md5(b"".join(numbers), usedforsecurity=False).digest(), numbers[0][-KEY_ID_BYTES:])
