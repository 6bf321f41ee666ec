# cython: boundscheck=False, wraparound=False, cdivision=True
"""
Bodies that a worker holds in memory: one that is to be kept, while it comes, and one that is too large to be given to
the kernel at once, until all who get it have it.

A reader takes a parcel piece by piece, as fast as it reads. So a slow one neither stops the flight that others wait
for, nor is a copy made for each reader. All parcels of a worker lie on one shelf, which has room for so many bytes and
not more, however many flights and readers there are; who finds no room does without.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

cdef enum:
    _PIECE_BYTES = 65_536

PIECE_BYTES = _PIECE_BYTES


cdef class Shelf:

    def __init__(self, Py_ssize_t most_bytes):
        self.most_bytes = most_bytes


@cython.no_gc  # it holds bytes alone, and leaves the shelf with its last reader
cdef class Parcel:

    def __init__(self, Shelf shelf not None, Py_ssize_t most_bytes):
        self.shelf = shelf
        self.most_bytes = most_bytes
        self.pieces = []

    def __dealloc__(self):
        if self.shelf is not None:
            self.shelf.used_bytes -= self.size

    cdef bint _take(self, Py_ssize_t size) noexcept:
        """Take so much room, if there is."""
        if self.size + size > self.most_bytes or self.shelf.used_bytes + size > self.shelf.most_bytes:
            return False
        self.size += size
        self.shelf.used_bytes += size
        return True

    cpdef bint add(self, bytes piece) except -1:
        if not self._take(PyBytes_GET_SIZE(piece)):
            return False
        self.pieces.append(piece)
        self.count += 1
        return True

    cpdef bint fill(self, bytes data, Py_ssize_t start) except -1:
        if not self._take(PyBytes_GET_SIZE(data) - start):
            return False
        self.data, self.start = data, start
        self.count = (self.size + _PIECE_BYTES - 1) // _PIECE_BYTES
        return True

    cpdef bytes piece(self, Py_ssize_t number):
        cdef Py_ssize_t at = number * _PIECE_BYTES
        if not 0 <= number < self.count:
            raise IndexError(f"piece {number} not in 0..{self.count - 1}")
        if self.data is None:
            return self.pieces[number]
        return PyBytes_FromStringAndSize(
            PyBytes_AS_STRING(self.data) + self.start + at, min(<Py_ssize_t>_PIECE_BYTES, self.size - at)
        )

    cpdef bytes joined(self, bytes head):
        return b"".join([head, *self.pieces])
