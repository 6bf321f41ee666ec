"""Databases for tests: small ones of our own, some of them damaged on purpose, and those that MaxMind tests with.

MaxMind's lie outside of the repository (`shared/data/dev.tar.xz` beside it).
"""

from __future__ import annotations

import functools
import struct
import tarfile
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

BUNDLE = Path(__file__).parents[3] / "shared" / "data" / "dev.tar.xz"
MARK = b"\xab\xcd\xefMaxMind.com"
SEPARATOR = bytes(16)
MADE_S = 1_700_000_000
CITY = {
    "country": {"iso_code": "GB"},
    "city": {"names": {"de": "Büchsfurt", "en": "Boxford"}},
    "location": {"latitude": 51.75, "longitude": -1.25, "accuracy_radius": 100},
}
BERLIN = {"country_code": "DE", "city": "Berlin", "latitude": 52.5, "longitude": 13.4}
TELSTRA = {"autonomous_system_number": 1221, "autonomous_system_organization": "Telstra"}


def write(path: Path, networks: dict[str, Any], version: int = 6) -> Path:
    """Write a database; IPv4 in a file of IPv6 stands where MaxMind has it."""
    writer = MMDBWriter(version, "Test", ipv4_compatible=version == 6)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def text(value: str) -> bytes:
    """Return a text of up to 284 bytes, as the data of a database."""
    octets = value.encode()
    if len(octets) < 29:
        return bytes([0x40 | len(octets)]) + octets
    return bytes([0x40 | 29, len(octets) - 29]) + octets


def number(value: int, kind: int) -> bytes:
    """Return a number: of kind 5 (16 bits), 6 (32 bits) or 9 (64 bits)."""
    octets = value.to_bytes(8, "big").lstrip(b"\0")
    return (bytes([kind << 5 | len(octets)]) if kind < 8 else bytes([len(octets), kind - 7])) + octets


def pointer(offset: int) -> bytes:
    """Return a pointer to an offset of the data."""
    return b"\x38" + struct.pack(">I", offset)


def pair(one: bytes, other: bytes) -> bytes:
    """Return an array of two."""
    return b"\x02\x04" + one + other


def assembled(tree: list[tuple[int, int]], data: bytes, version: int = 4) -> bytes:
    """Return a file, sound or not, of nodes of 2 x 24 bits and of data.

    A node's record below the number of nodes is a node; above, it points to data: number + 16 + offset.
    """
    octets = b"".join(left.to_bytes(3, "big") + right.to_bytes(3, "big") for left, right in tree)
    about = {
        "node_count": number(len(tree), 6),
        "record_size": number(24, 5),
        "ip_version": number(version, 5),
        "database_type": text("Test"),
        "languages": b"\x00\x04",
        "binary_format_major_version": number(2, 5),
        "binary_format_minor_version": number(0, 5),
        "build_epoch": number(MADE_S, 9),
        "description": b"\xe0",
    }
    metadata = bytes([0xE0 | len(about)]) + b"".join(text(key) + value for key, value in about.items())
    return octets + SEPARATOR + data + MARK + metadata


def of_one(data: bytes, start: int = 0) -> bytes:
    """Return a file in which all addresses of IPv4 have the record at `start` of the data."""
    return assembled([(17 + start, 17 + start)], data)


@functools.cache
def bundle() -> dict[str, bytes]:
    """Return MaxMind's databases by name; nothing if they are not here."""
    if not BUNDLE.is_file():
        return {}
    with tarfile.open(BUNDLE) as archive:
        return {
            Path(member.name).name: content.read()
            for member in archive
            if member.name.startswith("./geoip/")
            and member.name.endswith((".mmdb", ".raw"))
            and (content := archive.extractfile(member))
        }
