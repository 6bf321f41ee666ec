"""Who shares a bucket, in one word: an address or a network, exact and with its kind (see `keys.pyx`)."""

def client_key(packed: bytes) -> int:
    """Return the key of a client: its IPv4 address, or the /64 of its IPv6 address.

    Args:
        packed: 4 or 16 bytes in network order; an IPv4-mapped address is its IPv4 address.

    Raises:
        ValueError: Another length.

    """

def network_key(packed: bytes) -> int:
    """Return the key of the network around an address: IPv4 /24, IPv6 /48; otherwise as `client_key`."""

def site_key(packed: bytes) -> int:
    """Return the key of the site around an address: IPv4 /24, IPv6 /56; otherwise as `client_key`."""

def parse_address(text: str) -> bytes:
    """Return the 4 or 16 bytes of an address in network order; an IPv4-mapped address gives 4.

    Strict (inet_pton): no spaces, ports, brackets, leading zeros or short forms of IPv4. A zone (`%eth0`) of
    an IPv6 address is dropped: it says nothing about the client.

    Raises:
        ValueError: Not an address; the text is not repeated.

    """

def key_text(key: int) -> str:
    """Return what a key stands for: `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/48`, `2001:db8:0:1::/64`.

    Raises:
        ValueError: Not a key.

    """

def address_text(packed: bytes) -> str:
    """Return an address as text; an IPv4-mapped one as IPv4.

    Args:
        packed: 4 or 16 bytes in network order.

    Raises:
        ValueError: Another length.

    """
