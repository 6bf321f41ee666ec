# cython: language_level=3str
"""Who shares a bucket, in one word: an address or a network, exact and with its kind.

    top byte    rest (56 bits)                      what
    0x01        low 56 bits of the /64              IPv6 /64 that begins with a byte below 0x10
    0x02        32 bits                             IPv4 address
    0x03        24 bits                             IPv4 /24
    0x04        48 bits                             IPv6 /48
    0x05        56 bits                             IPv6 /56
    0x10-0xff   the other 56 bits of the /64        IPv6 /64 itself

0 is no key. Only 0x01 loses bits (the first byte), and nothing below 1000::/4 is routed, except 64:ff9b::/96
and ::ffff:0:0/96, which say an IPv4 address; the latter is read as IPv4.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memset

cdef extern from "<arpa/inet.h>" nogil:
    enum: AF_INET
    enum: AF_INET6
    enum: INET6_ADDRSTRLEN
    int inet_pton(int family, const char *text, void *packed)
    const char *inet_ntop(int family, const void *packed, char *text, unsigned int size)

cdef const unsigned char *MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"


cdef inline uint64_t number(const unsigned char *packed, int size) noexcept nogil:
    cdef uint64_t word = 0
    cdef int i
    for i in range(size):
        word = word << 8 | packed[i]
    return word


cdef const unsigned char *address4(bytes packed) except? NULL:
    """Return the four bytes of an IPv4 or IPv4-mapped address; NULL (no exception) for IPv6."""
    cdef const unsigned char *data = packed
    if len(packed) == 4:
        return data
    if len(packed) != 16:
        raise ValueError(f"address has {len(packed)} bytes, not 4 or 16")
    return data + 12 if memcmp(data, MAPPED, 12) == 0 else NULL


cpdef uint64_t client_key(bytes packed) except? 0:
    if packed is None:
        raise TypeError("packed is None")
    cdef const unsigned char *four = address4(packed)
    cdef uint64_t word
    if four:
        return of_kind(ADDRESS4, number(four, 4))
    word = number(packed, 8)
    return word if word >> 56 >= FIRST else of_kind(LOW, rest_of(word))


def network_key(bytes packed not None):
    cdef const unsigned char *four = address4(packed)
    return of_kind(NET24, number(four, 3)) if four else of_kind(NET48, number(packed, 6))


def site_key(bytes packed not None):
    cdef const unsigned char *four = address4(packed)
    return of_kind(NET24, number(four, 3)) if four else of_kind(NET56, number(packed, 7))


def parse_address(str text not None):
    cdef unsigned char packed[16]
    encoded = _without_zone(text).encode("ascii", "replace")
    if b"\0" not in encoded:
        if inet_pton(AF_INET, encoded, packed) == 1:
            return packed[:4]
        if inet_pton(AF_INET6, encoded, packed) == 1:
            return packed[12:16] if memcmp(packed, MAPPED, 12) == 0 else packed[:16]
    raise ValueError("not an IP address")  # without the text: personal data or an attack


def _without_zone(str text):
    address, percent, zone = text.partition("%")
    return address if zone and ":" in address else text


def parents(uint64_t key):
    cdef uint64_t found[MOST_PARENTS]
    cdef int i
    _check(key)
    return tuple([found[i] for i in range(parents_of(key, found))])


def parse_network(str text not None):
    address, slash, prefix = text.partition("/")
    try:
        packed = parse_address(address)
        place = _place(address, packed, prefix) if slash else 0
    except ValueError:
        raise ValueError(f"not {_ALLOWED}") from None
    if slash and any(packed[int(prefix) // 8:]):
        raise ValueError(f"bits beyond the /{prefix} are set; it must be {_ALLOWED}")
    if len(packed) == 16 and 0 < packed[0] < FIRST:
        raise ValueError("a network from 100:: to fff:: is not routed and has no key of its own")
    key = client_key(packed)
    return (key, *parents(key))[place]


def _place(str address, bytes packed, str prefix):
    """Return the place of a prefix among a client and its parents."""
    if "%" in address or ":" in address and len(packed) == 4:
        raise ValueError("neither a zone nor a mapped address has a prefix here")
    return _PREFIXES[len(packed)].index(prefix)


_PREFIXES = {4: ("32", "24"), 16: ("64", "56", "48")}  # by bytes of the address; the client, then its parents
_ALLOWED = "an address, a.b.c.d/32, a.b.c.0/24, or an IPv6 network /64, /56 or /48"


cdef int _check(uint64_t key) except -1:
    if not is_key(key):
        raise ValueError(f"{key:#x} is not a key")
    return 0


def key_text(uint64_t key):
    cdef int kind = kind_of(key)
    cdef int bits = bits_of(kind)
    _check(key)
    if kind == LOW:
        return _text(AF_INET6, key if key >> 56 >= FIRST else rest_of(key), 8) + "/64"
    if kind == ADDRESS4 or kind == NET24:
        return _text(AF_INET, rest_of(key), bits // 8) + ("" if kind == ADDRESS4 else "/24")
    return _text(AF_INET6, rest_of(key), bits // 8) + f"/{bits}"


cdef str _text(int family, uint64_t word, int size):
    """Write the first `size` bytes of an address, which are the low bytes of `word`."""
    cdef unsigned char packed[16]
    cdef char text[INET6_ADDRSTRLEN]
    cdef int i
    memset(packed, 0, 16)
    for i in range(size):
        packed[i] = <uint8_t>(word >> (8 * (size - 1 - i)))
    inet_ntop(family, packed, text, INET6_ADDRSTRLEN)
    return text.decode("ascii")


cpdef str address_text(bytes packed):
    if packed is None:
        raise TypeError("packed is None")
    cdef const unsigned char *four = address4(packed)
    cdef const unsigned char *data = packed
    cdef char text[INET6_ADDRSTRLEN]
    if four:
        inet_ntop(AF_INET, four, text, INET6_ADDRSTRLEN)
    else:
        inet_ntop(AF_INET6, data, text, INET6_ADDRSTRLEN)
    return text.decode("ascii")
