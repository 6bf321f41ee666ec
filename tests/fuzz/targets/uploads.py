"""Uploads: the walk beside a reference that has all of the data at once; wrappings take nothing and add nothing."""

from __future__ import annotations

import base64
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from proxy.hkp.certs import BadUpload, Cert, Upload, UploadBounds
from proxy.hkp.uploads import UploadKind, UploadReader
from tests.certs_for_tests import (
    ATTRIBUTE,
    MARKER,
    NOW_S,
    PADDING,
    PUBLIC_KEY,
    PUBLIC_SUBKEY,
    REVOKES_KEY,
    SIGNATURE,
    TRUST,
    USER_ID,
    Key,
    armored,
    certificate,
    cut,
    form,
    json_object,
    key,
    malformed,
    packet,
    revocation,
)
from tests.fuzz.target import ACCEPTED, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1500
BOUNDS = UploadBounds(
    certs=3, packets=12, cert_bytes=1000, signature_bytes=300, packet_bytes=250, user_ids=3, user_id_bytes=60,
    attributes=1, attribute_bytes=20, third_party=2,
)  # fmt: skip
KINDS = (UploadKind.BINARY, UploadKind.BINARY, UploadKind.FORM, UploadKind.JSON)
LENGTHS = {
    SIGNATURE: BOUNDS.signature_bytes, PUBLIC_KEY: BOUNDS.packet_bytes, PUBLIC_SUBKEY: BOUNDS.packet_bytes,
    USER_ID: BOUNDS.user_id_bytes, ATTRIBUTE: BOUNDS.attribute_bytes, PADDING: BOUNDS.packet_bytes,
    TRUST: BOUNDS.packet_bytes, MARKER: 3,
}  # fmt: skip
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
ASCII_CONTROLS = re.compile(b"[\x00-\x1f\x7f]")
BLOCK = re.compile(
    rb"\s*-----BEGIN (PGP PUBLIC KEY BLOCK|PGP SIGNATURE)-----[ \t\r]*\n(?:[^\n]*:[^\n]*\n)*[ \t\r]*\n"
    rb"([A-Za-z0-9+/ \t\r\n]*(?:=[ \t\r\n]*){0,2})(?:=[A-Za-z0-9+/ \t\r]*\n\s*)?"
    rb"-----END \1-----[ \t\r]*(?:\n|\Z)\s*"
)


class Wrong(Exception):
    """The reference refuses."""


class Part(NamedTuple):
    """A packet: its tag, its body, and how many bytes it has with its head."""

    tag: int
    body: bytes
    size: int


def check(data: bytes) -> str:
    """Take the first byte for the kind, the rest for the body; compare pieces, and with the reference."""
    kind, body = (KINDS[data[0] % len(KINDS)], data[1:]) if data else (UploadKind.BINARY, b"")
    found = read(kind, body)
    draw = zlib.crc32(data)
    assert read(kind, *cut(body, {(draw >> shift) % (len(body) + 1) for shift in (0, 10, 20)})) == found
    assert read(kind, *cut(body, range(len(body)))) == found
    if kind is UploadKind.BINARY and body[:1] >= b"\x80":
        _check_packets(body, found)
    elif kind is UploadKind.BINARY and isinstance(found, Upload):
        _check_armor(body, found)
    elif kind is UploadKind.FORM and isinstance(found, Upload):
        _check_form(body, found)
    return ACCEPTED if isinstance(found, Upload) else REFUSED


def read(kind: UploadKind, *pieces: bytes) -> Upload | tuple[int, str]:
    """Return what is in an upload, or how it is refused."""
    reader = UploadReader(kind, BOUNDS, NOW_S)
    try:
        for piece in pieces:
            reader.feed(piece)
        return Upload(tuple(cert._replace(foreign=()) for cert in reader.finish().certs))  # the reference has no words
    except BadUpload as bad:
        return bad.status, bad.text


def _check_packets(body: bytes, found: Upload | tuple[int, str]) -> None:
    try:
        expected = reference(body)
    except Wrong:
        assert not isinstance(found, Upload)
        return
    assert found == Upload(tuple(expected))
    for wrapped in (form(armored(body)), form(armored(body), a="b")):
        assert read(UploadKind.FORM, wrapped) == found
    assert read(UploadKind.JSON, json_object(armored(body))) == found


def _check_armor(text: bytes, found: Upload) -> None:
    """Decode accepted armor in one go, and walk over each block."""
    certs: list[Cert] = []
    while text:
        block = BLOCK.match(text)
        assert block
        certs += reference(base64.b64decode(block[2]))
        text = text[block.end() :]
    assert Upload(tuple(certs)) == found


def _check_form(body: bytes, found: Upload) -> None:
    """Split an accepted form as servers do."""
    fields = [field.partition(b"=") for field in body.split(b"&")]
    texts = [value for name, _, value in fields if unquote_to_bytes(name).lower() == b"keytext" and value]
    assert len(texts) == 1
    _check_armor(unquote_to_bytes(texts[0].replace(b"+", b" ")), found)


def reference(data: bytes) -> list[Cert]:
    """Return the certificates in binary data that is all here; Wrong if they are not within the bounds."""
    parts = list(_parts(data))
    certs: list[Cert] = []
    loose: list[Part] = []
    while parts:
        part = parts.pop(0)
        loose.append(part)
        if part.tag == SIGNATURE:
            certs.append(_revocation(loose))
            loose = []
        elif part.tag == PUBLIC_KEY:
            while parts and parts[0].tag != PUBLIC_KEY:
                loose.append(parts.pop(0))
            certs.append(_certificate(loose))
            loose = []
        else:
            _demand(part.tag in {MARKER, PADDING})
    _demand(sum(part.size for part in loose) <= BOUNDS.cert_bytes)
    _demand(0 < len(certs) <= BOUNDS.certs)
    return certs


def _demand(condition: object) -> None:
    if not condition:
        raise Wrong


def _parts(data: bytes) -> Iterator[Part]:
    count = at = 0
    while at < len(data):
        tag, length_bytes, length = _head(data[at : at + 6])
        body = data[at + 1 + length_bytes :][:length]
        _demand(len(body) == length <= LENGTHS.get(tag, -1))
        count += 1
        _demand(count <= BOUNDS.packets)
        yield Part(tag, body, 1 + length_bytes + length)
        at += 1 + length_bytes + length


def _head(head: bytes) -> tuple[int, int, int]:
    """Return tag, bytes of the length, length."""
    _demand(len(head) > 1 and head[0] & 0x80)
    if not head[0] & 0x40:
        _demand(head[0] & 3 != 3)
        width = 1 << (head[0] & 3)
        return head[0] >> 2 & 15, width, int.from_bytes(head[1 : 1 + width])
    tag, first = head[0] & 63, head[1]
    _demand(not 224 <= first < 255)
    if first < 192:
        return tag, 1, first
    if first < 255:
        _demand(len(head) > 2)
        return tag, 2, (first - 192 << 8) + head[2] + 192
    _demand(len(head) == 6)
    return tag, 5, int.from_bytes(head[2:])


def _certificate(parts: list[Part]) -> Cert:
    first = next(place for place, part in enumerate(parts) if part.tag == PUBLIC_KEY)
    owner = _primary(parts[first].body)
    names = [part.body for part in parts if part.tag == USER_ID]
    issuers = [_issuers(part.body) for part in parts if part.tag == SIGNATURE]
    third_party = sum(not named or not named <= {owner.key_id, owner.fingerprint} for _, named in issuers)
    for part in parts:
        if part.tag == PUBLIC_SUBKEY:
            _public(part.body)
    for name in names:
        _demand(not ASCII_CONTROLS.search(name) and _is_text(name))
    size = sum(part.size for part in parts)
    _demand(len(names) <= BOUNDS.user_ids)
    _demand(third_party <= BOUNDS.third_party)
    _demand(size <= BOUNDS.cert_bytes)
    _demand(sum(part.tag == ATTRIBUTE for part in parts) <= BOUNDS.attributes)
    return Cert(owner.name, tuple(names), len(parts), len(issuers), third_party, size, revocation_only=False)


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return not CONTROLS.search(name.decode("latin-1"))
    return True


def _public(body: bytes) -> None:
    _demand(len(body) > 6 and 2 <= body[0] <= 6)
    _demand(int.from_bytes(body[1:5]) <= NOW_S + BOUNDS.ahead_s)


def _primary(body: bytes) -> Key:
    _public(body)
    if body[0] > 4:
        _demand(len(body) >= 10 and int.from_bytes(body[6:10]) == len(body) - 10)
    elif body[0] < 4:
        sizes = _number_sizes(body[8:])
        _demand(len(body) >= 8 and len(sizes) == 2 and sizes[0] >= 8)
    return Key(body)


def _number_sizes(rest: bytes) -> list[int]:
    sizes = []
    while rest:
        sizes.append((int.from_bytes(rest[:2]) + 7) // 8)
        _demand(len(rest) >= 2 + sizes[-1])
        rest = rest[2 + sizes[-1] :]
    return sizes


def _revocation(parts: list[Part]) -> Cert:
    kind, named = _issuers(parts[-1].body)
    _demand(kind == REVOKES_KEY and named)
    size = sum(part.size for part in parts)
    _demand(size <= BOUNDS.cert_bytes)
    longest = max(len(name) for name in named)
    subject = [name for name in named if len(name) == longest or (longest > 8 and len(name) > 8)]
    last = _last_named(parts[-1].body, subject)
    return Cert(last.hex().upper(), (), len(parts), 1, 0, size, revocation_only=True)


def _last_named(body: bytes, names: list[bytes]) -> bytes:
    return max(names, key=body.rfind)


def _issuers(body: bytes) -> tuple[int, set[bytes]]:
    """Return the type of a signature and the ids that it names."""
    _demand(body)
    if body[0] in {2, 3}:
        _demand(len(body) >= 19 and body[1] == 5)
        return body[2], {body[7:15]}
    _demand(4 <= body[0] <= 6 and len(body) >= 4)
    width, rest, named = 4 if body[0] == 6 else 2, body[4:], set[bytes]()
    for _ in range(2):
        size = int.from_bytes(rest[:width])
        area = rest[width : width + size]
        _demand(len(rest) >= width and len(area) == size)
        named |= set(_named(area))
        rest = rest[width + size :]
    _demand(len(rest) > 2)
    return body[1], named


def _named(area: bytes) -> Iterator[bytes]:
    while area:
        size, width = area[0], 1
        if size == 255:
            _demand(len(area) >= 5)
            size, width = int.from_bytes(area[1:5]), 5
        elif size >= 192:
            _demand(len(area) >= 2)
            size, width = (size - 192 << 8) + area[1] + 192, 2
        part = area[width : width + size]
        _demand(0 < size == len(part))
        if part[0] & 127 == 16:
            _demand(size == 9)
            yield part[1:]
        elif part[0] & 127 == 33:
            _demand(size > 1 and size == (22 if part[1] == 4 else 34))
            yield part[2:]
        area = area[width + size :]


def seeds() -> Iterator[bytes]:
    """Yield uploads of each kind, sound and malformed."""
    certs = [certificate(version=version, signatures=1) for version in (3, 4, 5, 6)]
    certs += [certificate(1, user_ids=2) + certificate(2), revocation() + certificate(version=6), revocation(version=3)]
    certs += [certificate() + packet(PUBLIC_SUBKEY, key(1).body, old=True) + packet(ATTRIBUTE, b"\x05\x01abc")]
    for data in (*certs, *(case.data for case in malformed().values() if len(case.data) < LONGEST)):
        yield b"\0" + data
        yield b"\0" + armored(data)
    for data in certs[:3]:
        text = armored(data)
        yield b"\2" + b"keytext=" + text.replace(b"+", b"%2B") + b"&options=mr"
        yield b"\2" + b"a=b&k%65ytext=" + text.replace(b"+", b"%2b").replace(b"\n", b"%0D%0A")
        yield b"\3" + json_object(text)
        yield b"\3" + b'{"a": 1, "keytext" :' + json_object(text)[11:]


WORDS = (
    b"keytext=", b"keytext", b"&", b"=", b"%", b"%2B", b"%2D", b"+", b";", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n",
    b"-----END PGP PUBLIC KEY BLOCK-----\n", b"-----", b"Comment: x\n", b"\n", b"\r\n", b" ", b"=abcd\n", b"==",
    b"AAAA", b'{"', b'"', b'":"', b'"}', b"\\n", b"\\u002b", b"\\", b",", b"1", b"null", packet(USER_ID, b"A <a@b.c>"),
    packet(MARKER, b"PGP"), packet(PADDING, b"x"), packet(ATTRIBUTE, b"x"), packet(TRUST, b"x"), revocation(),
    packet(PUBLIC_KEY, key(1).body), packet(PUBLIC_KEY, key(1, version=6).body), packet(PUBLIC_SUBKEY, key(1).body),
    b"\xc2", b"\xcd", b"\x88", b"\x99", b"\xff\0\0\0\1", b"\xc0\0", b"\xe1", b"\xc5\0", b"\x09\x10" + key(0).key_id,
    b"\x16\x21\x04" + key(0).fingerprint, b"\0", b"\0\0", b"\x04", b"\x06", b"\x03\x05", b"\x20",
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=6)
