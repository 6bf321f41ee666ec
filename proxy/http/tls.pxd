from libc.stdint cimport uint64_t

from proxy.http.standing cimport Standing
from proxy.http.stream cimport Stream


cdef class TlsStream(Stream)


cdef class Tls:
    cdef readonly object context
    cdef object renewed  # what handshakes use since the last reload; None: `context`
    cdef public int most_handshakes
    cdef dict running  # as keys, the oldest first
    cdef readonly uint64_t completed
    cdef readonly uint64_t failed
    cdef readonly Standing standing
    cdef dict newcomers  # whose first record is there, and who wait for a turn: as keys, the last came last
    cdef dict debtors  # likewise, and for a place
    cdef bint turn_taken  # a handshake has begun in this turn of the loop; `_next_turn` follows

    cdef object begin(self, TlsStream stream)
    cdef bint is_turn_of(self, TlsStream stream) except -1
    cdef bint _is_short(self) noexcept
    cdef int _take_turn(self, loop) except -1
    cdef int leave(self, TlsStream stream) except -1
    cdef int ended(self, TlsStream stream, bint done) except -1


cdef class TlsStream(Stream):
    cdef readonly bint handshaking  # no plaintext has come yet, or could go
    cdef bint ended  # no more will come; the protocol may not know yet
    cdef int peeked  # bytes of the first record that were there when we looked last
    cdef readonly bytes fingerprint  # of the client's program, see ja4.pyx; b"": not known
    cdef Py_ssize_t chatter
    cdef Tls tls
    cdef uint64_t network  # around the client, see fastpath.keys
    cdef readonly bint waiting  # for its turn to begin
    cdef bint called  # its turn has come
    cdef readonly object ssl  # None until the first record is there
    cdef object incoming
    cdef object outgoing

    cdef bytes _pull(self)
    cdef bint _begin(self) except -1
    cdef int called_up(self) except -1
    cdef int _wait_for(self, int octets) noexcept
    cdef bint _shake(self) except -1
    cdef bytes _end(self)
    cdef bytes _open(self)
    cdef bytes _seal(self, bytes data)
    cdef int _flush(self) except -1
    cdef int _say_goodbye(self) except -1
    cdef int _count(self, bint done) except -1

cdef bint is_over(int fd) noexcept
