from libc.stdint cimport int64_t, uint64_t

from fastpath.table cimport Spending
from proxy.http.text cimport Text
from proxy.policy.judge cimport Verdict


cdef class Refusals:
    cdef str fields
    cdef dict heads  # constant lines by status and flags
    cdef dict policies  # id(limit) -> (limit, its RateLimit-Policy line)

    cpdef bytes reply(
        self, Verdict verdict, uint64_t request_id, tuple limits=*, bint problem=*, bint close=*, bint keep_alive=*,
        bint head_only=*
    )
    cdef bytes _head(self, int status, bint problem, bint close, bint keep_alive, str allow)
    cdef int _put_state(self, Text *text, Spending spending, limit, int64_t retry) except -1
    cdef bytes _policy(self, object limit)


cpdef int unavailable_status(int minor) noexcept
cpdef bint wants_problem(bytes accept)
cpdef int64_t seconds_up(int64_t duration_ns) noexcept
