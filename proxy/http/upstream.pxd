from libc.stdint cimport int64_t

from proxy.http.exchange cimport Exchange
from proxy.http.head cimport ReplyHead
from proxy.http.pool cimport Upstream
from proxy.http.stream cimport Stream


cdef class UpstreamConnection:
    cdef readonly Upstream upstream
    cdef readonly Stream stream
    cdef Exchange exchange
    cdef object decoder
    cdef bint reusable
    cdef int interim
    cdef bytes buffer
    cdef readonly bint used  # served an exchange before the present one
    cdef bint introduced  # it began with a PROXY header
    cdef bint hopeless
    cdef bint paused
    cdef readonly int64_t deadline_ns

    cdef int start(self, Exchange exchange) except -1
    cdef int rest(self, int64_t until_ns) except -1
    cdef ReplyHead _final_head(self, bytes data)
    cdef int _head_received(self, Exchange exchange, ReplyHead head, bytes rest, int64_t first_byte_ns) except -1
    cdef int _body_received(self, Exchange exchange, bytes data) except -1
    cdef int _release(self, Exchange exchange) except -1
    cdef int pause_reading(self) except -1
    cdef int yield_place(self) except -1
    cdef int resume_reading(self) except -1
    cdef int abandon(self) except -1
    cdef int expire(self) except -1
    cdef int _give_up(self) except -1
