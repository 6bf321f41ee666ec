from libc.stdint cimport int64_t


cdef class Shelf:
    cdef readonly Py_ssize_t most_bytes
    cdef readonly Py_ssize_t used_bytes


cdef class Parcel:
    cdef object __weakref__
    cdef Shelf shelf
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t count  # of its pieces
    cdef Py_ssize_t most_bytes
    cdef list pieces  # as they came
    cdef bytes data  # or all of it, from `start` on
    cdef Py_ssize_t start
    cdef int64_t stored_ns  # when the cache got it, if it comes from there

    cdef bint _take(self, Py_ssize_t size) noexcept
    cpdef bint add(self, bytes piece) except -1
    cpdef bint fill(self, bytes data, Py_ssize_t start) except -1
    cpdef bytes piece(self, Py_ssize_t number)
    cpdef bytes joined(self, bytes head)
