from libc.stdint cimport int64_t, uint64_t

from proxy.http.exchange cimport Exchange
from proxy.http.guard cimport Guard
from proxy.http.head cimport RequestHead
from proxy.http.stream cimport Stream
from proxy.policy.judge cimport Client, Verdict


# What a connection does; from LINGERING on it takes no further request.
cdef enum State:
    HANDSHAKING  # of TLS
    IDLE
    READING_HEAD
    BUSY
    LINGERING
    CLOSING
    CLOSED


cdef class ClientConnection:
    cdef readonly Guard guard
    cdef readonly Stream stream
    cdef readonly bytes peer  # of the connection, or the client that its PROXY header names
    cdef int source  # where that address came from
    cdef uint64_t network  # around it, see fastpath.keys
    cdef bint encrypted
    cdef readonly bytes fingerprint  # of the peer's program, see ja4.pyx; b"": not known
    cdef object policy  # by which `client` and `trusted` were found
    cdef bint trusted
    cdef readonly Client client
    cdef bytes fields  # X-Forwarded-For and -Proto of an untrusted peer
    cdef bytes buffer
    cdef Py_ssize_t start  # bytes of `buffer` that have been read, while `_advance` runs
    cdef Exchange exchange
    cdef bint advancing
    cdef State state
    cdef Py_ssize_t lingered
    cdef readonly int64_t deadline_ns

    cdef int begin(self) except -1
    cdef int _leave(self) except -1
    cdef int _advance(self) except -1
    cdef int _trim(self) except -1
    cdef bint _start_next(self) except -1
    cdef int _await_head(self) except -1
    cdef int _refuse_unread(self, Verdict verdict) except -1
    cdef Client identify(self, RequestHead head)
    cdef bytes forwarding(self, Client client, RequestHead head)
    cdef int feed_body(self) except -1
    cdef int watch(self) except -1
    cdef int finished(self, Exchange exchange, bint broken) except -1
    cdef int _close(self) except -1
    cdef int _close_gently(self) except -1
    cdef int expire(self) except -1
    cdef int drain(self) except -1
    cdef bint hold(self) except -1
    cdef bint may_be_shed(self) except -1
    cdef bint _is_trusted(self) except -1
