"""The chunked coding: payload in any slices, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.chunks import ChunkDecoder, ChunkError
from tests.proxy.http.harness import chunked

BODY = b"5;a=b\r\nhello\r\n0A\r\n, wor\r\nld!\r\n0\r\nTrailer: x\r\n\r\n"
PAYLOAD = b"hello, wor\r\nld!"


def decode(*pieces: bytes) -> tuple[bytes, ChunkDecoder]:
    """Feed the pieces; return the payload and the decoder."""
    decoder = ChunkDecoder()
    return b"".join(decoder.feed(piece) for piece in pieces), decoder


def slices(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut `data` at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def test_every_split() -> None:
    """Extensions and trailers are read and dropped, wherever the bytes are cut, and the rest is handed back."""
    for cut in range(len(BODY)):
        payload, decoder = decode(BODY[:cut], BODY[cut:] + b"GET / ")
        assert (payload, decoder.done, decoder.rest) == (PAYLOAD, True, b"GET / ")


def test_byte_by_byte() -> None:
    """The slowest client is understood as well."""
    payload, decoder = decode(*(bytes([byte]) for byte in BODY))
    assert (payload, decoder.done, decoder.rest) == (PAYLOAD, True, b"")


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    st.lists(st.integers(0, 5000), max_size=12),
    st.binary(max_size=20),
)
def test_any_payload_any_slices(chunks: list[bytes], cuts: list[int], rest: bytes) -> None:
    """What was put into chunks comes out, however the bytes arrive; what follows is the rest."""
    wire = chunked(*chunks)
    decoder = ChunkDecoder()
    *before, last = slices(wire, cuts)
    payload = b"".join(decoder.feed(piece) for piece in before)
    assert not decoder.done
    payload += decoder.feed(last + rest)
    assert (payload, decoder.done, decoder.rest) == (b"".join(chunks), True, rest)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    """Rubbish is refused or understood, in any slices alike; it never gives more than came."""
    outcomes: set[object] = set()
    for pieces in ([data], slices(data, cuts)):
        try:
            payload, decoder = decode(*pieces)
        except ChunkError:
            outcomes.add("refused")
        else:
            assert len(payload) + len(decoder.rest) <= len(data)
            outcomes.add((payload, decoder.done) if decoder.done else payload)
    assert len(outcomes) == 1


def test_nothing_after_the_end() -> None:
    """A decoder that is done takes no more."""
    _, decoder = decode(b"0\r\n\r\n")
    assert decoder.feed(b"5\r\nhello\r\n") == b""
    assert decoder.done


MALFORMED = {
    "no size": b"\r\nhello",
    "extension without a size": b";a\r\n",
    "sign": b"+5\r\nhello\r\n",
    "negative": b"-1\r\n",
    "prefix": b"0x5\r\nhello\r\n",
    "space before the size": b" 5\r\nhello\r\n",
    "space after the size": b"5 \r\nhello\r\n",
    "space before an extension": b"5 ;a\r\nhello\r\n",
    "underscore": b"1_0\r\n",
    "sixteen digits": b"0000000000000005\r\nhello\r\n",
    "beyond 64 bits": b"10000000000000005\r\nhello\r\n",
    "bare LF after the size": b"5\nhello\r\n",
    "bare CR after the size": b"5\rhello\r\n",
    "two CRs after the size": b"5\r\r\nhello\r\n",
    "no CRLF after the data": b"5\r\nhello5\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR after the data": b"5\r\nhello\r0\r\n\r\n",
    "one byte more than said": b"5\r\nhello!\r\n",
    "control character in an extension": b"5;a\x01\r\n",
    "bare LF in an extension": b"5;a\n\r\n",
    "bare LF ends the last chunk": b"0\n\r\n",
    "bare LF ends the trailers": b"0\r\n\n",
    "bare LF in a trailer": b"0\r\na: b\n\r\n",
    "bare CR in a trailer": b"0\r\na: b\rc\r\n\r\n",
    "control character in a trailer": b"0\r\na: \0\r\n\r\n",
    "trailer without a colon": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "trailer without a name": b"0\r\n: a\r\n\r\n",
    "space before the colon of a trailer": b"0\r\na : b\r\n\r\n",
    "folded trailer": b"0\r\na: b\r\n c\r\n\r\n",
    "CR and no LF at the end": b"0\r\n\rG",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed(data: bytes) -> None:
    """What frames the data has one form; everything else is refused, in one piece or byte by byte."""
    for pieces in ([data], [bytes([byte]) for byte in data]):
        with pytest.raises(ChunkError):
            decode(*pieces)


def endless(before: bytes, filling: bytes, after: bytes, most: int) -> tuple[bytes, bytes]:
    """Return a body with as much filling as is allowed, and one with a byte more."""
    return before + filling * most + after, before + filling * (most + 1) + after


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        endless(b"1;", b"a", b"\r\nx\r\n0\r\n\r\n", 1024),
        endless(b"0\r\na:", b"a", b"\r\n\r\n", 8192 - 6),
    ],
    ids=["extension", "trailer"],
)
def test_extensions_and_trailers_are_bounded(allowed: bytes, refused: bytes) -> None:
    """What is thrown away cannot be sent for ever."""
    assert decode(allowed)[1].done
    with pytest.raises(ChunkError):
        decode(refused)


def test_all_extensions_of_a_body_are_bounded_together() -> None:
    """Many small extensions are one long one."""
    with pytest.raises(ChunkError):
        decode(b"1;aaaaaaaaa\r\nx\r\n" * 200)


def test_size_in_both_cases_with_leading_zeros() -> None:
    """Hexadecimal digits are read in both cases."""
    assert decode(b"00a\r\n0123456789\r\n0A\r\n0123456789\r\n000\r\n\r\n")[0] == b"0123456789" * 2
