"""Bodies by length and to the end of the connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.http.body import CloseDecoder, LengthDecoder, decoder_for
from proxy.http.chunks import ChunkDecoder
from proxy.http.head import CHUNKED, NO_LENGTH


def test_decoder_for() -> None:
    """The head says which decoder a body needs."""
    assert isinstance(decoder_for(CHUNKED), ChunkDecoder)
    assert isinstance(decoder_for(NO_LENGTH), CloseDecoder)
    assert isinstance(decoder_for(5), LengthDecoder)


@given(st.binary(max_size=50), st.binary(max_size=10), st.integers(0, 60))
def test_length(body: bytes, rest: bytes, cut: int) -> None:
    """A body of a length ends there, however the bytes arrive."""
    decoder = LengthDecoder(len(body))
    wire = body + rest
    payload = decoder.feed(wire[:cut])
    if not decoder.done:
        payload += decoder.feed(wire[cut:])
        cut = len(wire)
    assert (payload, decoder.done) == (body, True)
    assert decoder.rest == wire[len(body) : cut]


def test_empty_body_is_done_at_once() -> None:
    """Nothing has to come for a body of no bytes."""
    assert LengthDecoder(0).done


def test_body_to_the_end_is_never_done() -> None:
    """Only the end of the connection ends it."""
    decoder = CloseDecoder()
    assert decoder.feed(b"0\r\n\r\n") == b"0\r\n\r\n"
    assert not decoder.done
