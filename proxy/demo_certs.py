"""The certificates of the demo keyserver: reading, finding and adding them, all in memory and bounded.

`demo_certs.asc` holds the made-up certificates; `bench/make_demo_certs.py` made it.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple
from urllib.parse import quote

from pysequoia import ArmorKind, Cert, armor
from pysequoia.packet import Packet, PacketPile, Tag

HEX_ID: Final = re.compile(r"0x(?:[0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{40}|[0-9a-f]{64})", re.IGNORECASE)
MAIL_IN_USER_ID: Final = re.compile(r"<([^<>]+)>|^([^<>\s]+@[^<>\s]+)$")
EDDSA: Final = 22
RSA: Final = 1


class BadUploadError(ValueError):
    """What was uploaded is no certificate, or not one that belongs on a keyserver: the client's fault."""


class FullError(Exception):
    """There is no room for the certificate."""


class UserId(NamedTuple):
    """A user id and when it was bound to its certificate, in seconds since 1970 (0: unknown)."""

    text: str
    created: int

    @property
    def mail(self) -> str:
        """The address in it, lower case; empty if there is none."""
        match = MAIL_IN_USER_ID.search(self.text)
        return (match[1] or match[2]).lower() if match else ""


class Entry(NamedTuple):
    """A certificate with what the server must know to find and list it."""

    cert: Cert
    ids: tuple[str, ...]  # fingerprints of the primary key (first) and the subkeys, lower-case hex
    user_ids: tuple[UserId, ...]
    key: bytes  # body of the primary key's packet
    expires: int | None

    @property
    def fingerprint(self) -> str:
        """Upper-case hex, as keyservers print it."""
        return self.ids[0].upper()

    def index_lines(self) -> Iterator[str]:
        """Yield its lines of a machine-readable index: `pub:`, then `uid:`, as in HKP.md section 1."""
        created = int.from_bytes(self.key[1:5])
        expires = "" if self.expires is None else str(self.expires)
        flags = "r" if self.cert.is_revoked else ""
        yield f"pub:{self.fingerprint}:{self.key[5]}:{_key_bits(self.key)}:{created}:{expires}:{flags}"
        for user_id in self.user_ids:
            yield f"uid:{quote(user_id.text, safe=' <>@()')}:{user_id.created or ''}::"


class Keyring:
    """The certificates of the demo keyserver by fingerprint; never more than `most_certs`."""

    def __init__(self, certs: Iterable[Cert], *, most_certs: int, most_cert_bytes: int) -> None:
        """Start with some certificates. A certificate may have `most_cert_bytes` in binary form."""
        self._entries = {entry.ids[0]: entry for entry in map(_entry, certs)}
        self._most_certs = most_certs
        self._most_cert_bytes = most_cert_bytes

    def __len__(self) -> int:
        """Return the number of certificates."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        """Yield the certificates in the order in which they came."""
        return iter(self._entries.values())

    def find(self, search: str) -> list[Entry]:
        """Return what matches: 0x and an id in hex, an e-mail address, or words of a user id."""
        text = search.strip().lower()
        if HEX_ID.fullmatch(text):
            return [entry for entry in self if any(_is_id(text[2:], key) for key in entry.ids)]
        if "@" in text:
            mail = text.rpartition("<")[2].rstrip(">")
            return [entry for entry in self if any(user_id.mail == mail for user_id in entry.user_ids)]
        words = text.split()
        return [entry for entry in self if words and any(_has(user_id.text, words) for user_id in entry.user_ids)]

    def add(self, data: bytes) -> list[Entry]:
        """Add or update every certificate in an upload, armored or binary, or none of them.

        Raises:
            BadUploadError: Not OpenPGP, no certificate in it, a secret key, or too large a certificate.
            FullError: There is no room for all of them.

        """
        entries: dict[str, Entry] = {}
        for cert in _certs(data):
            known = entries.get(cert.fingerprint) or self._entries.get(cert.fingerprint)
            entries[cert.fingerprint] = _entry(known.cert.merge(cert) if known else cert)
        if any(len(bytes(entry.cert)) > self._most_cert_bytes for entry in entries.values()):
            problem = f"a certificate may have {self._most_cert_bytes} bytes"
            raise BadUploadError(problem)
        if len(self._entries.keys() | entries) > self._most_certs:
            problem = f"the demo keyserver holds at most {self._most_certs} certificates"
            raise FullError(problem)
        self._entries |= entries
        return list(entries.values())


def armored(entries: Iterable[Entry]) -> str:
    """Return certificates as one armored block, which ends with a newline (RPM wants it)."""
    text = armor(b"".join(bytes(entry.cert) for entry in entries), ArmorKind.PublicKey)
    return text if text.endswith("\n") else f"{text}\n"


def demo_certs() -> list[Cert]:
    """Return the made-up certificates; reading them takes some milliseconds."""
    return Cert.split_bytes(files("proxy").joinpath("demo_certs.asc").read_bytes())


@cache
def demo_fingerprints() -> tuple[str, ...]:
    """Return the fingerprints of the made-up certificates, upper case, always in the same order."""
    return tuple(cert.fingerprint.upper() for cert in demo_certs())


def _certs(data: bytes) -> list[Cert]:
    """Read an upload; the errors of the library, and its advice on secret keys, end here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            certs = Cert.split_bytes(data)
            secret = any(cert.has_secret_keys for cert in certs)
    except RuntimeError as error:
        problem = str(error).partition("\n")[0]  # the rest is a stack trace
        raise BadUploadError(problem) from None
    if not certs:
        problem = "there is no certificate in it"
        raise BadUploadError(problem)
    if secret:
        problem = "there is a secret key in it, which must never be uploaded; make a new one"
        raise BadUploadError(problem)
    return certs


def _entry(cert: Cert) -> Entry:
    packets = list(PacketPile.from_bytes(bytes(cert)))
    keys = [packet for packet in packets if packet.fingerprint]  # no other packets have one
    return Entry(
        cert,
        tuple(packet.fingerprint or "" for packet in keys),
        tuple(_user_ids(packets)),
        keys[0].body,
        int(cert.expiration.timestamp()) if cert.expiration else None,
    )


def _user_ids(packets: list[Packet]) -> Iterator[UserId]:
    """Yield the user ids in the order of the packets; the signature behind one says when it was made."""
    followers = [*packets[1:], None]
    for packet, follower in zip(packets, followers, strict=True):
        if packet.tag == Tag.UserID:
            created = follower.signature_created if follower else None
            text = packet.body.decode("utf-8", errors="replace")
            yield UserId(text, int(created.timestamp()) if created else 0)


def _key_bits(key: bytes) -> str:
    """Return the size of a primary key as an index shows it, for RSA and Ed25519; empty for others."""
    if key[0] == 4 and key[5] == RSA:  # noqa: PLR2004 - as in the standard
        return str(int.from_bytes(key[6:8]))  # the first number in it is the modulus, after its length in bits
    return "256" if key[5] == EDDSA else ""


def _is_id(wanted: str, fingerprint: str) -> bool:
    """Tell whether an id in hex is a fingerprint or the key id in it: its end (v4), its beginning (v6)."""
    is_v4 = len(fingerprint) == 40  # noqa: PLR2004 - as in the standard
    return wanted == fingerprint or (fingerprint.endswith(wanted) if is_v4 else fingerprint.startswith(wanted))


def _has(text: str, words: list[str]) -> bool:
    return set(words) <= set(re.findall(r"[^\W_]+", text.lower()))
