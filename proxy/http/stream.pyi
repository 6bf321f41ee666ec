"""TCP streams on raw descriptors, driven by the event loop's readiness callbacks; the theory is in `stream.pyx`."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from socket import socket
from typing import Generic, Protocol, TypeVar

_Entrance = TypeVar("_Entrance")
HIGH_WATER_BYTES: int

class StreamProtocol(Protocol):
    """What a Stream tells."""

    def data_received(self, data: bytes) -> None:
        """Bytes came; never empty."""

    def eof_received(self) -> None:
        """Take note that the peer will send no more; it may still read."""

    def pause_writing(self) -> None:
        """More than HIGH_WATER_BYTES wait to be sent."""

    def resume_writing(self) -> None:
        """Most of them are gone."""

    def connection_lost(self, error: Exception | None) -> None:
        """Take note that the descriptor is closed; the last call."""

class Stream:
    """A non-blocking TCP connection that owns the descriptor `fd`."""

    fd: int
    protocol: StreamProtocol | None
    closed: bool
    paused: bool
    backlog_bytes: int
    def __init__(self, loop: AbstractEventLoop, fd: int) -> None: ...
    def read_now(self) -> bytes | None:
        """Read what is there without waiting.

        Returns:
            Bytes; b"" at the end of the stream; None if nothing is there yet.

        Raises:
            OSError: The connection is broken.

        """

    def resume_reading(self) -> None:
        """Let data_received be called; no effect if it may be already."""

    def pause_reading(self) -> None:
        """Leave further bytes with the kernel, so that the peer feels it."""

    def write(self, data: bytes) -> None:
        """Send `data`, now if the kernel takes it, else as soon as it does. Ignored once closing."""

    def write_all(self, pieces: Sequence[bytes]) -> None:
        """Send `pieces`, none of them empty, one in each turn of the loop, without `pause_writing`."""

    def close(self) -> None:
        """Send what is pending, then close; connection_lost follows."""

    def abort(self) -> None:
        """Close now and throw away what is pending; connection_lost follows."""

    def reset(self) -> None:
        """Close with RST, which leaves no state in the kernel; connection_lost follows."""

    def shutdown_write(self) -> None:
        """Tell the peer that no more will come (FIN); what it sends is still read."""

    def detach(self) -> int:
        """Give the descriptor to the caller and throw away what is pending; connection_lost does not follow.

        Returns:
            The descriptor, which the caller owns; -1 if it is closed already.

        """

class Listener(Generic[_Entrance]):
    """Accepts connections of one listening socket and hands each to `admit(fd, packed_address, entrance)`.

    `admit` owns the descriptor; `entrance` is what it is to know of this socket. When descriptors run out, accepting
    pauses for `RETRY_SECONDS`.
    """

    RETRY_SECONDS: float
    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket,
        admit: Callable[[int, bytes, _Entrance], None],
        entrance: _Entrance,
    ) -> None: ...
    def close(self) -> None:
        """Take what waits in the queue of the kernel, then stop accepting; the socket is closed."""
