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

def parents(key: int) -> tuple[int, ...]:
    """Return the keys of the networks around a client or network, nearest first.

    IPv4 /32: (/24,). IPv6 /64: (/56, /48), /56: (/48,). IPv4 /24 and IPv6 /48: (). They are `site_key` and
    `network_key` of each address of the client, unless that lies in 100::-fff::, where nothing is routed.

    Raises:
        ValueError: Not a key.

    """

def parse_network(text: str) -> int:
    """Return the key of a network that an operator names; `key_text` gives such names.

    Args:
        text: An address (of IPv6: its /64), as `parse_address` reads it; or a network without bits beyond
            its prefix: IPv4 /32 or /24, IPv6 /64, /56 or /48.

    Raises:
        ValueError: Anything else, with what is allowed; the text is not repeated. Also what begins with a
            byte 01 to 0f: it has no key of its own.

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
