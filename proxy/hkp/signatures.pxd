"""
Who made a signature, as far as the packet says so (RFC 9580 section 5.2); nothing is verified.

The issuer stands in subpackets, hashed or not: 16 has a key id, 33 the version and the fingerprint of the key. A
signature is the owner's if it names an issuer, and no other one than the primary key. Versions 2 and 3 have the key id
in a fixed place. Version 5 is LibrePGP's, and laid out like 4.
"""

from libc.string cimport memcmp


cdef enum:
    REVOKES_KEY = 0x20  # type of signature
    KEY_ID_BYTES = 8
    MOST_FINGERPRINT_BYTES = 32
    ISSUER = 16  # types of subpackets
    ISSUER_FINGERPRINT = 33


cdef struct Primary:
    int version  # 0: there is none
    int size  # of the fingerprint
    unsigned char fingerprint[MOST_FINGERPRINT_BYTES]
    unsigned char key_id[KEY_ID_BYTES]


cdef struct Signature:
    int kind
    bint foreign  # names another issuer than the primary key
    const unsigned char *key_id  # named last; NULL: none
    const unsigned char *fingerprint
    Py_ssize_t size  # of the fingerprint


cdef inline Py_ssize_t big_endian(const unsigned char *at, int size) noexcept nogil:
    cdef Py_ssize_t number = 0
    cdef int place
    for place in range(size):
        number = number << 8 | at[place]
    return number


cdef inline void _name_key_id(Signature *found, const unsigned char *at, const Primary *primary) noexcept nogil:
    found.key_id = at
    found.foreign = found.foreign or memcmp(at, primary.key_id, KEY_ID_BYTES) != 0


cdef inline void _name_fingerprint(
    Signature *found, const unsigned char *at, Py_ssize_t size, const Primary *primary
) noexcept nogil:
    found.fingerprint = at
    found.size = size
    found.foreign = found.foreign or size != primary.size or memcmp(at, primary.fingerprint, size) != 0


cdef inline bint _subpackets(
    const unsigned char *at, const unsigned char *end, Signature *found, const Primary *primary
) noexcept nogil:
    """Look for issuers in one area; false if its subpackets are not well-formed."""
    cdef Py_ssize_t size
    while at < end:
        size = at[0]
        at += 1
        if size == 255:
            if end - at < 4:
                return False
            size = big_endian(at, 4)
            at += 4
        elif size >= 192:
            if at == end:
                return False
            size = (size - 192 << 8) + at[0] + 192
            at += 1
        if size == 0 or size > end - at:
            return False
        if at[0] & 127 == ISSUER:
            if size != 1 + KEY_ID_BYTES:
                return False
            _name_key_id(found, at + 1, primary)
        elif at[0] & 127 == ISSUER_FINGERPRINT:
            if size != (22 if at[1] == 4 else 34):
                return False
            _name_fingerprint(found, at + 2, size - 2, primary)
        at += size
    return True


cdef inline bint read_signature(
    const unsigned char *at, Py_ssize_t size, Signature *found, const Primary *primary
) noexcept nogil:
    """Read the body of a signature packet; false if it is malformed or of an unknown version."""
    cdef const unsigned char *end = at + size
    cdef int width = 4 if size and at[0] == 6 else 2
    cdef int area
    cdef Py_ssize_t length
    found.foreign = False
    found.key_id = found.fingerprint = NULL
    if size >= 19 and (at[0] == 2 or at[0] == 3):
        found.kind = at[2]
        _name_key_id(found, at + 7, primary)
        return at[1] == 5
    if size < 4 or not 4 <= at[0] <= 6:
        return False
    found.kind = at[1]
    at += 4
    for area in range(2):
        if end - at < width:
            return False
        length = big_endian(at, width)
        at += width
        if length > end - at or not _subpackets(at, at + length, found, primary):
            return False
        at += length
    return end - at > 2  # the beginning of the digest, and the signature itself
