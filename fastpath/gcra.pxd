"""The C half of `_gcra_py.py`, inlined by `gcra.pyx` (for the tests) and `table.pyx` (for the requests)."""

from libc.stdint cimport int64_t


cdef enum:
    OFF = 0
    SHADOW = 1
    ENFORCE = 2


cdef struct Rate:  # a Limit, ready to reckon with; all zero: there is none
    int64_t interval_ns
    int64_t offset_ns
    int64_t max_delay_ns
    int64_t burst
    int64_t mode


cdef struct Outcome:  # a Decision before it is put into words
    bint allowed
    int64_t excess_ns
    int64_t tat_ns


cdef Rate rate_of(limit) except *


cdef inline int64_t start(int64_t tat_ns, int64_t now_ns) noexcept nogil:
    """Not before `now_ns`, nor so late that a burst more leaves the word: anything may stand in shared memory."""
    return min(max(tat_ns, now_ns), (<int64_t>3 << 61) - 1)


cdef inline Outcome decide(const Rate *rate, int64_t tat_ns, int64_t cost, int64_t now_ns) noexcept nogil:
    cdef Outcome outcome
    cdef int64_t start_ns = start(tat_ns, now_ns)
    cdef int64_t wanted_ns = start_ns + cost * rate.interval_ns
    outcome.excess_ns = wanted_ns - now_ns - rate.offset_ns
    outcome.allowed = outcome.excess_ns <= rate.max_delay_ns
    outcome.tat_ns = wanted_ns if outcome.allowed else start_ns
    return outcome


cdef inline int64_t wait_ns(const Outcome *outcome) noexcept nogil:
    return outcome.excess_ns if outcome.allowed and outcome.excess_ns > 0 else 0


cdef inline int64_t retry_after_ns(const Rate *rate, const Outcome *outcome) noexcept nogil:
    return 0 if outcome.allowed else outcome.excess_ns - rate.max_delay_ns


cdef inline int64_t remaining(const Rate *rate, const Outcome *outcome, int64_t now_ns) noexcept nogil:
    cdef int64_t room_ns = rate.offset_ns - (outcome.tat_ns - now_ns)
    return room_ns // rate.interval_ns if room_ns > 0 else 0


cdef inline int64_t given_back(const Rate *rate, int64_t tat_ns, int64_t cost, int64_t now_ns) noexcept nogil:
    return max(tat_ns - cost * rate.interval_ns, now_ns) if tat_ns > now_ns else tat_ns


cdef inline int64_t charged(const Rate *rate, int64_t tat_ns, int64_t cost, int64_t now_ns) noexcept nogil:
    """`charge` of `_gcra_py.py`; a cost of more than two bursts is two, lest the product leaves its word."""
    cdef int64_t start_ns = start(tat_ns, now_ns)
    cdef int64_t room_ns = now_ns + 2 * rate.offset_ns - start_ns
    return start_ns + max(0, min(min(cost, 2 * rate.burst) * rate.interval_ns, room_ns))


cdef inline int64_t shifted(int64_t tat_ns, int64_t delta_ns, int64_t most_ns, int64_t now_ns) noexcept nogil:
    """`shift` of `_gcra_py.py`."""
    cdef int64_t start_ns = start(tat_ns, now_ns)
    if delta_ns < 0:
        return max(start_ns + delta_ns, now_ns) if tat_ns > now_ns else tat_ns
    return max(start_ns, min(start_ns + delta_ns, now_ns + most_ns))
