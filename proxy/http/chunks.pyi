"""Strict decoder of the chunked coding (RFC 9112 section 7.1)."""

class ChunkError(ValueError):
    """Malformed or unbounded chunked coding."""

class ChunkDecoder:
    """Decodes one message body, fed in pieces.

    Attributes:
        done: The last chunk and its trailer have been read.
        rest: Once done: the bytes after the body.

    """

    done: bool
    rest: bytes
    def feed(self, data: bytes) -> bytes:
        """Return the payload bytes in `data`, maybe none.

        Raises:
            ChunkError: The coding is malformed, or an extension or trailer is too long.

        """
