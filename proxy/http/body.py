"""Bodies: how the incoming ones are taken apart and the outgoing ones put together."""

from typing import Protocol

from proxy.http.chunks import ChunkDecoder
from proxy.http.head import CHUNKED, NO_LENGTH


class Decoder(Protocol):
    """Takes one incoming body off the wire; fed in pieces."""

    @property
    def done(self) -> bool:
        """Whether the body is complete."""

    @property
    def rest(self) -> bytes:
        """Once done: the bytes after the body."""

    def feed(self, data: bytes) -> bytes:
        """Return the payload in `data`; ChunkError where the framing is broken."""


class LengthDecoder:
    """A body of a known length."""

    __slots__ = ("_left", "done", "rest")

    def __init__(self, length: int) -> None:
        """`length`: bytes, may be 0."""
        self._left = length
        self.done = length == 0
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload in `data`."""
        payload = data[: self._left]
        self._left -= len(payload)
        if self._left == 0:
            self.done = True
            self.rest = data[len(payload) :]
        return payload


class CloseDecoder:
    """A body that ends with the connection; never done by itself."""

    __slots__ = ()
    done = False
    rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        return data


def decoder_for(length: int) -> Decoder:
    """Return the decoder of a body whose head said `length` (bytes, CHUNKED or NO_LENGTH)."""
    if length == CHUNKED:
        return ChunkDecoder()
    return CloseDecoder() if length == NO_LENGTH else LengthDecoder(length)
