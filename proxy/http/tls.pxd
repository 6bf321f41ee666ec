from libc.stdint cimport uint64_t

from proxy.http.stream cimport Stream


cdef class Tls:
    cdef readonly object context
    cdef object renewed  # what handshakes use since the last reload; None: `context`
    cdef public int most_handshakes
    cdef public object make_room  # called when there is none for another handshake; None: nobody can
    cdef readonly int handshakes  # that are running
    cdef readonly uint64_t completed
    cdef readonly uint64_t failed
    cdef readonly uint64_t refused

    cdef object begin(self, incoming, outgoing)


cdef class TlsStream(Stream):
    cdef readonly bint handshaking  # no plaintext has come yet, or could go
    cdef bint ended  # no more will come; the protocol may not know yet
    cdef int peeked  # bytes of the first record that were there when we looked last
    cdef readonly bytes fingerprint  # of the client's program, see ja4.pyx; b"": not known
    cdef Py_ssize_t chatter
    cdef Tls tls
    cdef readonly object ssl  # None until the first record is there
    cdef object incoming
    cdef object outgoing

    cdef bytes _pull(self)
    cdef bint _begin(self) except -1
    cdef int _wait_for(self, int octets) noexcept
    cdef bint _shake(self) except -1
    cdef bytes _end(self)
    cdef bytes _open(self)
    cdef bytes _seal(self, bytes data)
    cdef int _flush(self) except -1
    cdef int _say_goodbye(self) except -1
    cdef int _count(self, bint done) noexcept

cdef bint is_over(int fd) noexcept
