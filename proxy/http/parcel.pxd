from libc.stdint cimport int64_t


cdef class Shelf:
    cdef readonly Py_ssize_t most_bytes
    cdef readonly Py_ssize_t used_bytes


cdef class Parcel:
    cdef object __weakref__
    cdef Shelf shelf
    cdef readonly list pieces
    cdef readonly Py_ssize_t size
    cdef int64_t stored_ns  # the time of the reply in the cache, if it came from there
    cdef Py_ssize_t most_bytes

    cpdef bint add(self, bytes piece) except -1
    cpdef bint fill(self, bytes data, Py_ssize_t start) except -1
    cpdef bytes joined(self, bytes head)
