from libc.stdint cimport uint64_t

from proxy.policy.judge cimport Verdict


cpdef bytes refusal(
    Verdict verdict, uint64_t request_id, tuple limits=*, str fields=*, bint problem=*, bint close=*,
    bint keep_alive=*, bint head_only=*
)
cpdef int unavailable_status(int minor) noexcept
cpdef bint wants_problem(bytes accept)
