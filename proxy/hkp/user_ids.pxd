"""What of a user id is text: UTF-8 (RFC 3629, as Python reads it), and nothing that steers a terminal."""


cdef inline bint is_printable(const unsigned char *at, Py_ssize_t size, int above) noexcept nogil:
    """Tell whether there is no control character; from 128 to `above` there must be nothing at all."""
    cdef Py_ssize_t place
    for place in range(size):
        if at[place] < 32 or at[place] == 127 or 128 <= at[place] < above:
            return False
    return True


cdef inline int _followers(unsigned char first) noexcept nogil:
    """Return how many bytes follow the first one of a character; -1: no character begins so."""
    if first < 0x80:
        return 0
    if first < 0xC2:
        return -1
    if first < 0xE0:
        return 1
    if first < 0xF0:
        return 2
    return 3 if first < 0xF5 else -1


cdef inline bint is_utf8(const unsigned char *at, Py_ssize_t size) noexcept nogil:
    cdef const unsigned char *end = at + size
    cdef int number, place
    while at < end:
        number = _followers(at[0])
        if number < 0 or end - at <= number:
            return False
        for place in range(1, number + 1):
            if at[place] & 0xC0 != 0x80:
                return False
        # Longer than need be, surrogates, and what is beyond the last character.
        if number == 2 and ((at[0] == 0xE0 and at[1] < 0xA0) or (at[0] == 0xED and at[1] >= 0xA0)):
            return False
        if number == 3 and ((at[0] == 0xF0 and at[1] < 0x90) or (at[0] == 0xF4 and at[1] >= 0x90)):
            return False
        at += number + 1
    return True
