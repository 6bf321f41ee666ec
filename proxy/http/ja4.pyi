"""JA4: what program a client is, by what it offers in its first message of TLS; the theory is in `ja4.pyx`."""

VERSIONS: tuple[str, ...]

def pack_ja4(message: bytes) -> bytes:
    """Return the fingerprint of a ClientHello, 16 bytes; b"" if it cannot be read.

    Args:
        message: One message of the handshake, with its head and without that of a record.

    """

def ja4_text(packed: bytes) -> str:
    """Return a fingerprint as people write it; of 16 bytes 0, which is none, an empty text.

    Raises:
        ValueError: There are not 16 bytes.

    """
