"""What keyservers ask of each other when they reconcile, and the bounds that everybody is held to, peers as well.

    POST /pks/hashquery        u32 count | count x ( u32 16 | 16 bytes of a digest ), big-endian, and nothing more
    GET /pks/lookup?op=hget    32 hexadecimal digits of a digest

The keyserver trusts the numbers in a hashquery, so a tiny one can cost it seconds and hundreds of MB (HKP.md 0.8);
and for each certificate that it gives it may write to its database. Here nothing is made by such a number: the length
of the body says what the count must be, the count says where each length must be 16, and until that is seen to be so
the keyserver gets nothing.

Hockeypuck asks for 1 to 100 digests at a time, and for half as many after an answer that is not 200; its settings
know no more than 100 (hkp/sks/recon.go, maxRequestChunkSize), so nobody needs more.
"""

from typing import Final

from proxy.hkp.bodies import BadBody
from proxy.hkp.terms import hex_digits

COUNT_BYTES: Final = 4
DIGEST_BYTES: Final = 16
ITEM_BYTES: Final = 4 + DIGEST_BYTES
DIGEST_DIGITS: Final = frozenset({2 * DIGEST_BYTES})
_LENGTH: Final = DIGEST_BYTES.to_bytes(4)


class BadQuery(BadBody):
    """Not what a peer asks; see `BadBody`."""


def hashquery_length(count: int) -> int:
    """Return how many bytes a hashquery for `count` digests has."""
    return COUNT_BYTES + ITEM_BYTES * count


def digests_of(length: int, most_digests: int) -> int:
    """Return for how many digests a hashquery of `length` bytes asks.

    Args:
        length: As announced in the head; negative: it was not.
        most_digests: More are refused.

    Raises:
        BadQuery: No hashquery has this length, or it was not announced. Peers announce it.

    """
    if length < 0:
        raise BadQuery(400, "A hashquery needs a Content-Length.")
    if length > hashquery_length(most_digests):
        raise _too_long(most_digests)
    count, rest = divmod(length - COUNT_BYTES, ITEM_BYTES)
    if count < 1 or rest:
        raise BadQuery(400, "No hashquery has this length.")
    return count


def hget_digest(text: str) -> str:
    """Return the digest that `op=hget` asks for, in lower case, as keyservers keep it.

    Raises:
        BadQuery: It is none.

    """
    digits = hex_digits(text, DIGEST_DIGITS)
    if not digits:
        raise BadQuery(400, "A digest has 32 hexadecimal digits.")
    return digits.lower()


class HashqueryReader:
    """Reads the body of one hashquery, in pieces of any size; keeps no more than the largest may have.

    What was refused once is not read on, and never finished.
    """

    def __init__(self, most_digests: int, length: int | None = None) -> None:
        """Begin.

        Args:
            most_digests: More are refused.
            length: Of the body, as in `digests_of`; None if no head announces anything.

        Raises:
            BadQuery: As `digests_of`.

        """
        self._most_digests = most_digests
        self._announced = 0 if length is None else digests_of(length, most_digests)
        self._count = 0  # not known yet
        self._body = bytearray()
        self._refusal: BadQuery | None = None

    def feed(self, data: bytes) -> None:
        """Read on; BadQuery as soon as something is wrong."""
        if self._refusal is None:
            self._refusal = self._read(data)
        if self._refusal is not None:
            raise self._refusal

    def finish(self) -> int:
        """Return how many digests are asked for, once all of the body came; BadQuery if that is not enough."""
        if self._refusal is not None:
            raise self._refusal
        if not self._count or len(self._body) < hashquery_length(self._count):
            raise BadQuery(400, "The hashquery is not complete.")
        return self._count

    def _read(self, data: bytes) -> BadQuery | None:
        """Take a piece; return what is wrong."""
        seen = len(self._body)
        if self._count and seen + len(data) > hashquery_length(self._count):
            return BadQuery(400, "The hashquery is longer than its count says.")
        if seen + len(data) > hashquery_length(self._most_digests):
            return _too_long(self._most_digests)
        self._body += data
        if not self._count and len(self._body) >= COUNT_BYTES:
            return self._read_count() or self._check_lengths(COUNT_BYTES)
        return self._check_lengths(max(seen, COUNT_BYTES))

    def _read_count(self) -> BadQuery | None:
        count = int.from_bytes(self._body[:COUNT_BYTES])
        if self._announced and count != self._announced:
            return BadQuery(400, "The hashquery is not as long as its count says.")
        if not count:
            return BadQuery(400, "The hashquery asks for nothing.")
        if count > self._most_digests:
            return _too_long(self._most_digests)
        self._count = count
        if len(self._body) > hashquery_length(count):
            return BadQuery(400, "The hashquery is longer than its count says.")
        return None

    def _check_lengths(self, begin: int) -> BadQuery | None:
        """Look at the lengths of digests from offset `begin` on, a column of bytes at a time.

        13 us for 1000 digests; one after the other they would take 75.
        """
        for column, byte in enumerate(_LENGTH, COUNT_BYTES):
            found = self._body[begin + (column - begin) % ITEM_BYTES :: ITEM_BYTES]
            if found.strip(bytes((byte,))):
                return BadQuery(400, f"A digest of a hashquery has {DIGEST_BYTES} bytes.")
        return None


def _too_long(most_digests: int) -> BadQuery:
    return BadQuery(413, f"A hashquery may ask for {most_digests} digests at a time, and this one is longer.")
