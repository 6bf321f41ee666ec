"""The PROXY protocol, versions 1 and 2; the theory stands in `proxy_header.pyx`."""

from typing import Final

LOCAL_HEADER: Final[bytes]
"""Header of a connection that we make for ourselves (health checks): the real addresses count."""

class ProxyHeaderError(ValueError):
    """What a connection begins with is no PROXY header, or not one that is taken; the text quotes none of it."""

class ProxyHeader:
    """What a proxy says of the connection that it carries on.

    Attributes:
        size: Bytes of the header; what the client sent begins there.
        version: 1 or 2.
        local: It names no client: the real peer of the socket counts.
        address: The client's, network order, 4 or 16 bytes (IPv4-mapped as 4); None if local.
        port: The client's, 0..65535; 0 if local.

    """

    size: int
    version: int
    local: bool
    address: bytes | None
    port: int

def read_proxy_header(buffer: bytes) -> ProxyHeader | None:
    """Read the header at the start of `buffer`.

    Args:
        buffer: Bytes received so far, in any slices; the header may be followed by anything.

    Returns:
        The header, or None if it is not complete yet.

    Raises:
        ProxyHeaderError: These bytes are no header and will not become one.

    Source: HAProxy, doc/proxy-protocol.txt, sections 2.1 and 2.2.

    """

def proxy_v2_header(source: bytes, source_port: int, destination: bytes, destination_port: int) -> bytes:
    """Return the header that names a client to the server behind us.

    Args:
        source: The client's address, network order, 4 or 16 bytes.
        source_port: 0..65535.
        destination: The address that the client reached, likewise; of another family is allowed.
        destination_port: 0..65535.

    Returns:
        28 bytes, or 52 if one of the addresses is IPv6; the other is IPv4-mapped then.

    Raises:
        ValueError: An address has neither 4 nor 16 bytes, or a port is out of range.

    """
