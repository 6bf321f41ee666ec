from libc.stdint cimport uint64_t


cdef enum:  # kinds, which are top bytes; LOW is the kind of every /64
    LOW = 0x01
    ADDRESS4 = 0x02
    NET24 = 0x03
    NET48 = 0x04
    NET56 = 0x05
    FIRST = 0x10

cdef enum:
    MOST_PARENTS = 2


cpdef uint64_t client_key(bytes packed) except? 0
cpdef str address_text(bytes packed)


cdef inline uint64_t of_kind(int kind, uint64_t rest) noexcept nogil:
    return <uint64_t>kind << 56 | rest


cdef inline uint64_t rest_of(uint64_t key) noexcept nogil:
    return key << 8 >> 8


cdef inline int kind_of(uint64_t key) noexcept nogil:
    cdef int top = key >> 56
    return LOW if top >= FIRST else top


cdef inline int bits_of(int kind) noexcept nogil:
    """How many of the low 56 bits keys of a kind use; 0: no such kind."""
    if kind == LOW or kind == NET56:
        return 56
    if kind == NET48:
        return 48
    if kind == ADDRESS4:
        return 32
    return 24 if kind == NET24 else 0


cdef inline bint is_key(uint64_t key) noexcept nogil:
    """Whether some address or network has this key."""
    cdef int bits = bits_of(kind_of(key))
    return bits != 0 and rest_of(key) >> bits == 0


cdef inline int parents_of(uint64_t key, uint64_t *parents) noexcept nogil:
    """Write the networks around a client or network, nearest first; returns how many, 0..MOST_PARENTS."""
    cdef int kind = kind_of(key)
    cdef uint64_t rest = key if key >> 56 >= FIRST else rest_of(key)
    if kind == LOW:
        parents[0] = of_kind(NET56, rest >> 8)
        parents[1] = of_kind(NET48, rest >> 16)
        return 2
    if kind == ADDRESS4:
        parents[0] = of_kind(NET24, rest >> 8)
        return 1
    if kind == NET56:
        parents[0] = of_kind(NET48, rest >> 8)
        return 1
    return 0
