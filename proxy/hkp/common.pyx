# cython: boundscheck=False, wraparound=False
"""
The request that nine of ten are, recognised at a glance.

The general way decodes, sorts and encodes again, at 8 us; this one compares 39 bytes and looks at 40.
"""

from cpython.unicode cimport PyUnicode_DATA, PyUnicode_KIND
from libc.string cimport memcmp

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    int PyUnicode_1BYTE_KIND

cdef const char *PREFIX = b"/pks/lookup?op=get&options=mr&search=0x"
cdef const char *SUFFIX = b"&exact=on"
cdef enum:
    PREFIX_SIZE = 39
    SUFFIX_SIZE = 9


cdef inline bint _is_upper_hex(char c) noexcept nogil:
    return 48 <= c <= 57 or 65 <= c <= 70


cpdef str common_get(str method, str target):
    cdef Py_ssize_t size = len(target), digits = 0
    if size < PREFIX_SIZE + 16 or size > PREFIX_SIZE + 40 + SUFFIX_SIZE or not PyUnicode_IS_ASCII(target):
        return None
    cdef const char *text = <const char *>PyUnicode_DATA(target)
    if memcmp(text, PREFIX, PREFIX_SIZE) != 0 or method != "GET":
        return None
    while PREFIX_SIZE + digits < size and _is_upper_hex(text[PREFIX_SIZE + digits]):
        digits += 1
    size -= PREFIX_SIZE + digits
    if digits != 40 and digits != 16:
        return None
    if size != 0 and (size != SUFFIX_SIZE or memcmp(text + PREFIX_SIZE + digits, SUFFIX, SUFFIX_SIZE) != 0):
        return None
    return target[PREFIX_SIZE:PREFIX_SIZE + digits]
