# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
JA4: what program a client is, by what it offers in its first message of TLS.

    t13d1516h2_8daaf6152771_e5627efa2ab1
    |||| | |    |            hash of its extensions, sorted, and its signature algorithms
    |||| | |    hash of its ciphers, sorted
    |||| | first and last character of its first ALPN value
    |||| how many ciphers, how many extensions
    |||whether it names the server
    ||version, of t: TLS over TCP

All that a record keeps of it is 16 bytes, and nothing is lost in them: 32 bits of the first part, and of each hash the 6
bytes that are told.

    bits 0-2 version   3 names the server   4-10 ciphers   11-17 extensions   18-24, 25-31 ALPN, as ASCII

The message is read before OpenSSL sees it, as it stands in one record. It is hostile: each length is held against what
is there, and who offers more than MOST of anything, repeats what is to be there once, or sends the message in several
records, has no fingerprint. OpenSSL decides whether it is served.

Source: github.com/FoxIO-LLC/ja4, technical_details/JA4.md (BSD licence; the other fingerprints of that family have
another one, and are not used). GREASE: RFC 8701.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport qsort

from hashlib import sha256

cdef enum:
    MOST = 256  # of ciphers, of extensions, of signature algorithms
    COUNTED = 99
    TEXT_OF_ONE = 5  # "c02b,"
    HASH_BYTES = 6
    PACKED_BYTES = 16
    CLIENT_HELLO = 1
    RANDOM_BYTES = 32
    MOST_SESSION_BYTES = 32
    # Extensions.
    SERVER_NAME = 0
    SIGNATURE_ALGORITHMS = 13
    ALPN = 16
    SUPPORTED_VERSIONS = 43

VERSIONS = ("00", "s2", "s3", "10", "11", "12", "13")  # 00: another
cdef const char *HEX = b"0123456789abcdef"


cdef struct Bytes:
    const uint8_t *at
    Py_ssize_t size


cdef struct List:
    uint16_t values[MOST]
    int count


cdef struct Hello:
    int version
    uint64_t seen  # which extensions below 64, those that are told among them
    int offered  # extensions, with those that are not hashed
    uint8_t alpn[2]
    List ciphers
    List extensions
    List algorithms


# A reader: takes from the front, and says -1 or False when there is not enough.

cdef inline int number(Bytes *rest, int octets) noexcept nogil:
    """Take a number of 1 to 3 bytes."""
    cdef int value = 0, i
    if rest.size < octets:
        return -1
    for i in range(octets):
        value = value << 8 | rest.at[i]
    rest.at += octets
    rest.size -= octets
    return value


cdef inline bint part(Bytes *rest, Py_ssize_t size, Bytes *taken) noexcept nogil:
    """Take so many bytes."""
    if size < 0 or rest.size < size:
        return False
    taken.at, taken.size = rest.at, size
    rest.at += size
    rest.size -= size
    return True


cdef inline bint vector(Bytes *rest, int octets, Bytes *taken) noexcept nogil:
    """Take what comes with its length before it."""
    return part(rest, number(rest, octets), taken)


cdef inline bint whole(Bytes data, int octets, Bytes *taken) noexcept nogil:
    """Take all there is, which has its length before it."""
    return vector(&data, octets, taken) and data.size == 0


cdef inline bint is_grease(int value) noexcept nogil:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


cdef bint put(List *values, int value) noexcept nogil:
    """Add a value; those that mean nothing are left out."""
    if is_grease(value):
        return True
    if values.count == MOST:
        return False
    values.values[values.count] = <uint16_t>value
    values.count += 1
    return True


cdef bint read_list(Bytes data, List *values) noexcept nogil:
    """Read numbers of two bytes."""
    if data.size & 1:
        return False
    while data.size:
        if not put(values, number(&data, 2)):
            return False
    return True


cdef bint read_hello(Bytes data, Hello *hello) noexcept nogil:
    """Read a ClientHello (RFC 8446 section 4.1.2), with the head of its message; false if it is none."""
    cdef Bytes inside
    hello.seen = 0
    hello.offered = hello.ciphers.count = hello.extensions.count = hello.algorithms.count = 0
    hello.alpn[0] = hello.alpn[1] = c"0"
    if number(&data, 1) != CLIENT_HELLO or number(&data, 3) != data.size:
        return False
    hello.version = number(&data, 2)
    if not part(&data, RANDOM_BYTES, &inside):
        return False
    if not vector(&data, 1, &inside) or inside.size > MOST_SESSION_BYTES:
        return False
    if not vector(&data, 2, &inside) or not read_list(inside, &hello.ciphers):
        return False
    if not vector(&data, 1, &inside):  # compression
        return False
    if data.size == 0:  # extensions may be missing altogether
        return True
    return whole(data, 2, &inside) and read_extensions(inside, hello)


cdef bint read_extensions(Bytes data, Hello *hello) noexcept nogil:
    cdef Bytes inside
    cdef int kind
    while data.size:
        kind = number(&data, 2)
        if not vector(&data, 2, &inside) or is_repeated(kind, hello) or not read_extension(kind, inside, hello):
            return False
        if not is_grease(kind):
            hello.offered += 1
        if kind != SERVER_NAME and kind != ALPN and not put(&hello.extensions, kind):
            return False
    return hello.offered <= MOST


cdef inline bint is_repeated(int kind, Hello *hello) noexcept nogil:
    """Take note of an extension; whether it was there before, which RFC 8446 section 4.2 forbids."""
    cdef uint64_t bit = 1ULL << kind if kind < 64 else 0
    cdef bint repeated = hello.seen & bit != 0
    hello.seen |= bit
    return repeated


cdef bint read_extension(int kind, Bytes data, Hello *hello) noexcept nogil:
    """Read what is told of an extension; whatever the others hold is good."""
    cdef Bytes inside, first
    if kind == SIGNATURE_ALGORITHMS:
        return whole(data, 2, &inside) and read_list(inside, &hello.algorithms)
    if kind == ALPN:
        if not whole(data, 2, &inside):
            return False
        return inside.size == 0 or (vector(&inside, 1, &first) and read_alpn(first, hello))
    if kind == SUPPORTED_VERSIONS:
        return whole(data, 1, &inside) and read_versions(inside, hello)
    return True


cdef bint read_versions(Bytes data, Hello *hello) noexcept nogil:
    cdef int version
    hello.version = 0
    while data.size:
        version = number(&data, 2)
        if version < 0:
            return False
        if version > hello.version and not is_grease(version):
            hello.version = version
    return True


cdef inline bint is_alphanumeric(uint8_t char) noexcept nogil:
    return c"0" <= char <= c"9" or c"A" <= char <= c"Z" or c"a" <= char <= c"z"


cdef bint read_alpn(Bytes name, Hello *hello) noexcept nogil:
    """Read the first name: its first and last character, or those of its hexadecimal digits."""
    cdef uint8_t first, last
    if name.size == 0:
        return True
    first, last = name.at[0], name.at[name.size - 1]
    if is_alphanumeric(first) and is_alphanumeric(last):
        hello.alpn[0], hello.alpn[1] = first, last
    else:
        hello.alpn[0], hello.alpn[1] = <uint8_t>HEX[first >> 4], <uint8_t>HEX[last & 15]
    return True


# The writer.

cdef int compare(const void *one, const void *other) noexcept nogil:
    return <int>(<const uint16_t *>one)[0] - <int>(<const uint16_t *>other)[0]


cdef char *write_list(char *to, const List *values) noexcept nogil:
    """Write numbers as `002f,c02b`; return where the next character goes."""
    cdef int i, shift
    for i in range(values.count):
        if i:
            to[0] = c","
            to += 1
        for shift in range(12, -1, -4):
            to[0] = HEX[values.values[i] >> shift & 15]
            to += 1
    return to


cdef inline bytes hashed(const char *text, const char *end):
    return sha256(PyBytes_FromStringAndSize(text, end - text)).digest()[:HASH_BYTES] if end > text else bytes(HASH_BYTES)


cdef int version_code(int version) noexcept nogil:
    """Return the place in VERSIONS."""
    if 0x0300 <= version <= 0x0304:
        return 2 + version - 0x0300
    return 1 if version == 0x0002 else 0


cdef bytes ja4(const unsigned char *message, Py_ssize_t size):
    cdef char text[2 * MOST * TEXT_OF_ONE]
    cdef char *end
    cdef uint8_t about[4]
    cdef uint32_t word
    cdef Bytes data
    cdef Hello hello
    data.at, data.size = message, size
    if not read_hello(data, &hello):
        return b""
    word = (
        version_code(hello.version) | (hello.seen & 1) << 3 | min(hello.ciphers.count, COUNTED) << 4
        | min(hello.offered, COUNTED) << 11 | <uint32_t>hello.alpn[0] << 18 | <uint32_t>hello.alpn[1] << 25
    )
    for i in range(4):
        about[i] = word >> 8 * i & 0xFF
    qsort(hello.ciphers.values, hello.ciphers.count, sizeof(uint16_t), compare)
    qsort(hello.extensions.values, hello.extensions.count, sizeof(uint16_t), compare)
    ciphers = hashed(text, write_list(text, &hello.ciphers))
    end = write_list(text, &hello.extensions)
    if end > text and hello.algorithms.count:
        end[0] = c"_"
        end = write_list(end + 1, &hello.algorithms)
    return PyBytes_FromStringAndSize(<char *>about, sizeof(about)) + ciphers + hashed(text, end)


def pack_ja4(bytes message not None):
    return ja4(message, len(message))


def ja4_text(bytes packed not None):
    if len(packed) != PACKED_BYTES:
        raise ValueError(f"{len(packed)} bytes are no fingerprint")
    if not any(packed):
        return ""
    word = int.from_bytes(packed[:4], "little")
    version, named = VERSIONS[min(word & 7, len(VERSIONS) - 1)], "d" if word & 8 else "i"
    ciphers, extensions = word >> 4 & 127, word >> 11 & 127
    alpn = chr(word >> 18 & 127) + chr(word >> 25)
    hashes = f"{packed[4:10].hex()}_{packed[10:].hex()}"
    return f"t{version}{named}{ciphers:02}{extensions:02}{alpn}_{hashes}"
