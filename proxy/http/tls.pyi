"""TLS on raw descriptors; the theory is in `tls.pyx`."""

from asyncio import AbstractEventLoop
from os import PathLike
from ssl import SSLContext
from typing import Protocol

from proxy.http.standing import Standing
from proxy.http.stream import Stream, StreamProtocol

CIPHERS: str

def make_context(cert_path: str | PathLike[str], key_path: str | PathLike[str]) -> SSLContext:
    """Return what the workers of a node serve TLS with: 1.2 and 1.3, HTTP/1.1. Make it before they are forked.

    Args:
        cert_path: PEM file: the certificate, then those between it and the root.
        key_path: PEM file: its private key, not encrypted.

    Raises:
        OSError: A file cannot be read; or (ssl.SSLError) is not what it should be, or they do not belong together.

    """

class Tls:
    """What the TLS connections of one worker share.

    `handshakes` are running; one begins some time after the last byte of its first record, when its turn comes.
    `completed` ended well. `failed` are connections that ended before that, whether one had begun or not. `standing`
    is that of the clients' networks.
    """

    context: SSLContext
    most_handshakes: int
    standing: Standing
    completed: int
    failed: int

    def __init__(self, context: SSLContext, *, most_handshakes: int) -> None:
        """Count from zero: no handshake is running.

        Args:
            context: The same in all workers.
            most_handshakes: Those that may run at a time; the oldest ends for who comes then. May be changed.

        """

    @property
    def handshakes(self) -> int:
        """How many are running."""

    def reload(self, cert_path: str | PathLike[str], key_path: str | PathLike[str]) -> None:
        """Use another certificate from the next handshake on; connections and tickets of clients stay valid.

        Raises:
            OSError: As `make_context`; the present certificate stays.

        """

class TlsProtocol(StreamProtocol, Protocol):
    """What a TlsStream tells."""

    def handshake_done(self) -> None:
        """Take note that plaintext may come and go; comes before all but connection_lost."""

class TlsStream(Stream):
    """The server's side of a TLS connection; Stream's interface, in plaintext.

    `read_now` has to be called, or reading resumed, for the handshake to go on. The protocol's deadline ends one that
    takes too long. `fingerprint` is the client's (`pack_ja4`): b"" before its first record is there, or where none can
    be told. `backlog_bytes` are of ciphertext. Who detaches the descriptor can say nothing more to the client.
    """

    handshaking: bool
    waiting: bool
    """Whether its first record is there, and its turn to begin has not come."""
    fingerprint: bytes
    def __init__(self, loop: AbstractEventLoop, fd: int, tls: Tls, network: int = 0) -> None: ...
