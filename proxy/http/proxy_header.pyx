"""
The PROXY protocol, versions 1 and 2: a proxy says in front of a connection whose it is.

Theory. The reader is strict, because what it returns is believed: a header is exact to the byte or it is an error, and
it is an error as soon as no further byte could make it good. Whether a header is expected, and of whom, is for the
settings to say; nothing here guesses.

- A header that names no client (LOCAL, UNKNOWN, UNSPEC) is skipped by its length, unread: a LOCAL block "must be
  discarded, including the family", and where TLVs would begin in an unspecified one nobody says.
- UNIX is read and names no client either: for valid families that it cannot use a receiver "falls back to the UNSPEC
  mode", where the real peer counts. Datagrams fall back likewise, and in that mode a receiver may refuse; we do: no
  datagram carries HTTP/1.
- Version 1 prints IPv4-mapped addresses as inet_ntop does, dots and all, because that is what HAProxy sends.

A header is read once for each connection, so bounds checks stay on here and bytes are sliced rather than pointed at.

Source: HAProxy, doc/proxy-protocol.txt, sections 2.1 and 2.2. CRC32C: RFC 4960 appendix B, in network order.
"""

from libc.stdint cimport uint32_t

from fastpath import parse_address

cdef enum:
    LINE_MOST = 107  # version 1, with its CRLF
    BLOCK_START = 16  # version 2: what stands before the addresses
    BLOCK_MOST = 2048  # version 2: addresses and TLVs; HAProxy and the load balancers of clouds stay below 536
    PORT_MOST = 65535
    TLV_START = 3
    SSL_START = 5
    UNIQUE_ID_MOST = 128

cdef enum Command:
    LOCAL = 0x20
    PROXY = 0x21

cdef enum Family:
    UNSPEC = 0x00
    TCP4 = 0x11
    TCP6 = 0x21
    UNIX = 0x31

cdef enum Tlv:
    CRC32C = 0x03
    UNIQUE_ID = 0x05
    SSL = 0x20

cdef bytes SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"
cdef dict ADDRESSES_SIZE = {UNSPEC: 0, TCP4: 12, TCP6: 36, UNIX: 216}
cdef bytes TCP4_LINE = b"PROXY TCP4 "
cdef bytes TCP6_LINE = b"PROXY TCP6 "
cdef bytes UNKNOWN_LINE = b"PROXY UNKNOWN"
cdef frozenset LINE_BYTES = frozenset(b"0123456789abcdefABCDEF.: ")
cdef uint32_t CASTAGNOLI = 0x82F63B78  # its bits in reverse, as the table wants them
cdef uint32_t CRC_TABLE[256]

LOCAL_HEADER = SIGNATURE + bytes((LOCAL, UNSPEC, 0, 0))


class ProxyHeaderError(ValueError):
    """What a connection begins with is no PROXY header, or not one that is taken; the text quotes none of it."""


cdef class ProxyHeader:
    """What a proxy says of the connection that it carries on; `local`: it names no client, the real peer counts."""


cpdef ProxyHeader read_proxy_header(bytes buffer):
    """
    Read the header at the start of `buffer`.

    Returns:
        ProxyHeader, or None if it is not complete yet.

    Raises:
        ProxyHeaderError: These bytes are no header and will not become one.

    Source: HAProxy, doc/proxy-protocol.txt, sections 2.1 and 2.2.
    """
    if buffer is None:
        raise TypeError("buffer is None")
    return _read_block(buffer) if _fits(buffer, SIGNATURE) else _read_line(buffer)


cpdef bytes proxy_v2_header(bytes source, int source_port, bytes destination, int destination_port):
    """
    Return the header that names a client to the server behind us: TCP6 if one of the addresses is IPv6.

    Raises:
        ValueError: An address has neither 4 nor 16 bytes, or a port is out of range.
    """
    if source is None or destination is None:
        raise TypeError("an address is None")
    cdef bint narrow = len(source) == len(destination) == 4
    cdef bytes addresses = source + destination if narrow else _widened(source) + _widened(destination)
    cdef bytes ports = _packed_port(source_port) + _packed_port(destination_port)
    return SIGNATURE + bytes((PROXY, TCP4 if narrow else TCP6, 0, len(addresses) + 4)) + addresses + ports


cdef object _refuse(str why):
    raise ProxyHeaderError(why)


cdef bint _fits(bytes data, bytes beginning) except -1:
    """Whether `data` begins so, as far as it goes."""
    return data[:len(beginning)] == beginning[:len(data)]


cdef ProxyHeader _header(int version, Py_ssize_t size, bytes address=None, int port=0):
    cdef ProxyHeader header = ProxyHeader()
    header.version = version
    header.size = size
    header.local = address is None
    header.address = address
    header.port = port
    return header


# Version 1.


cdef ProxyHeader _read_line(bytes buffer):
    cdef bytes line = buffer[:LINE_MOST]
    cdef Py_ssize_t end = line.find(b"\r")
    if end >= 0:
        if line[end + 1:end + 2] not in (b"", b"\n"):
            _refuse("the PROXY line has a bare CR")
        line = line[:end]
    if b"\n" in line:
        _refuse("the PROXY line has a bare LF")
    if len(line) > LINE_MOST - 2:
        _refuse("the PROXY line is longer than 107 bytes")
    cdef bytes start = _start_of_line(line)
    cdef bytes rest = line[len(start):]
    if end >= 0 and len(line) < len(start):
        _refuse("the PROXY line ends too early")
    if start is UNKNOWN_LINE and rest and not rest.startswith(b" "):
        _refuse("the PROXY line names an unknown protocol")
    if start is not UNKNOWN_LINE and not LINE_BYTES.issuperset(rest):
        _refuse("the PROXY line has bytes that no address and no port has")
    if end < 0 or len(buffer) < end + 2:
        return None
    return _header(1, end + 2) if start is UNKNOWN_LINE else _of_fields(rest, start is TCP6_LINE, end + 2)


cdef bytes _start_of_line(bytes line):
    """Return which of the three beginnings it is, or may become."""
    cdef bytes start
    for start in (TCP4_LINE, TCP6_LINE, UNKNOWN_LINE):
        if _fits(line, start):
            return start
    _refuse("the connection does not begin with a PROXY header")


cdef ProxyHeader _of_fields(bytes fields, bint six, Py_ssize_t size):
    """Read `source destination source-port destination-port`, one space between them."""
    cdef list words = fields.decode("ascii").split(" ")
    if len(words) != 4:
        _refuse("the PROXY line has not two addresses and two ports")
    _port_of(words[3])
    _address_of(words[1], six)
    return _header(1, size, _address_of(words[0], six), _port_of(words[2]))


cdef bytes _address_of(str text, bint six):
    if (":" in text) != six:
        _refuse("an address of the PROXY line is of another family")
    try:
        return parse_address(text)
    except ValueError:
        _refuse("an address of the PROXY line is malformed")


cdef int _port_of(str text) except -1:
    if not text.isdecimal() or (text[0] == "0" and text != "0") or int(text) > PORT_MOST:
        _refuse("a port of the PROXY line is malformed")
    return int(text)


# Version 2.


cdef ProxyHeader _read_block(bytes buffer):
    cdef Py_ssize_t seen = len(buffer)
    cdef int command = buffer[12] if seen > 12 else LOCAL
    cdef int family = buffer[13] if seen > 13 else UNSPEC
    cdef Py_ssize_t size = BLOCK_START + int.from_bytes(buffer[14:BLOCK_START].ljust(2, b"\0"), "big")
    if command != LOCAL and command != PROXY:
        _refuse("the PROXY header is of an unknown version, or its command is")
    if command == PROXY and family not in ADDRESSES_SIZE:
        _refuse("the PROXY header is for a family or a transport that is not taken")
    if size > BLOCK_START + BLOCK_MOST:
        _refuse("the PROXY header is longer than 2064 bytes")
    if seen >= BLOCK_START and command == PROXY and family != UNSPEC:
        _check_block(buffer, BLOCK_START + ADDRESSES_SIZE[family], size)
    if seen < BLOCK_START or seen < size:
        return None
    if command == LOCAL or family == UNSPEC or family == UNIX:
        return _header(2, size)
    return _of_block(buffer, 4 if family == TCP4 else 16, size)


cdef ProxyHeader _of_block(bytes buffer, Py_ssize_t width, Py_ssize_t size):
    cdef bytes address = buffer[BLOCK_START:BLOCK_START + width]
    cdef Py_ssize_t port_at = BLOCK_START + 2 * width
    if width == 16 and address.startswith(MAPPED):
        address = address[12:]
    return _header(2, size, address, int.from_bytes(buffer[port_at:port_at + 2], "big"))


cdef int _check_block(bytes buffer, Py_ssize_t begin, Py_ssize_t size) except -1:
    """Check what of the TLVs in [begin, size) has arrived; the checksum once all of it has."""
    if begin > size:
        _refuse("the PROXY header is too short for its addresses")
    cdef bytes value
    cdef Py_ssize_t at = begin
    cdef Py_ssize_t checksum_at = 0
    cdef Py_ssize_t length
    while at < size:
        length = _value_length(buffer, at, size)
        if length < 0:
            return 0
        if buffer[at] == CRC32C:
            if checksum_at or length != 4:
                _refuse("the PROXY header has a checksum that is not 4 bytes, or two")
            checksum_at = at + TLV_START
        elif buffer[at] == UNIQUE_ID and length > UNIQUE_ID_MOST:
            _refuse("the PROXY header has an id of more than 128 bytes")
        elif buffer[at] == SSL:
            _check_ssl(buffer, at + TLV_START, at + TLV_START + length)
        at += TLV_START + length
    if checksum_at and len(buffer) >= size:
        _check_sum(buffer[:size], checksum_at)
    return 0


cdef int _check_ssl(bytes buffer, Py_ssize_t begin, Py_ssize_t end) except -1:
    """Check the TLVs inside of one, as far as they have arrived."""
    cdef Py_ssize_t at = begin + SSL_START
    cdef Py_ssize_t length
    if at > end:
        _refuse("the PROXY header has a TLV that is too short")
    while at < end:
        length = _value_length(buffer, at, end)
        if length < 0:
            return 0
        at += TLV_START + length
    return 0


cdef Py_ssize_t _value_length(bytes buffer, Py_ssize_t at, Py_ssize_t end) except? -1:
    """Return the length of the value of the TLV at `at`, which ends in [at, end); -1 if that has not arrived."""
    if at + TLV_START > end:
        _refuse("the PROXY header has a TLV that is too short")
    if at + TLV_START > len(buffer):
        return -1
    cdef Py_ssize_t length = int.from_bytes(buffer[at + 1:at + TLV_START], "big")
    if at + TLV_START + length > end:
        _refuse("the PROXY header has a TLV that is longer than what holds it")
    return length


cdef int _check_sum(bytes header, Py_ssize_t at) except -1:
    if _crc32c(header[:at] + b"\0\0\0\0" + header[at + 4:]) != int.from_bytes(header[at:at + 4], "big"):
        _refuse("the checksum of the PROXY header is wrong")
    return 0


cdef void _fill_crc_table() noexcept:
    cdef uint32_t word
    cdef int byte
    for byte in range(256):
        word = byte
        for _ in range(8):
            word = word >> 1 ^ (CASTAGNOLI if word & 1 else 0)
        CRC_TABLE[byte] = word


_fill_crc_table()


cdef uint32_t _crc32c(bytes data) noexcept:
    cdef uint32_t word = 0xFFFFFFFF
    cdef unsigned char byte
    for byte in data:
        word = word >> 8 ^ CRC_TABLE[(word ^ byte) & 0xFF]
    return word ^ 0xFFFFFFFF


# Writing.


cdef bytes _packed_port(int port):
    if not 0 <= port <= PORT_MOST:
        raise ValueError(f"port {port} not in 0..{PORT_MOST}")
    return port.to_bytes(2, "big")


cdef bytes _widened(bytes address):
    if len(address) not in (4, 16):
        raise ValueError(f"address has {len(address)} bytes, not 4 or 16")
    return MAPPED + address if len(address) == 4 else address
