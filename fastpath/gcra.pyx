# cython: language_level=3str, cdivision=True
# cdivision: what is divided is never negative (remaining), so C and Python agree
"""GCRA in C with the interface of `_gcra_py.py`, which is its specification."""

from fastpath._gcra_py import (
    MAX_BURST as MAX_BURST,
    MAX_DELAY_NS as MAX_DELAY_NS,
    MAX_OFFSET_NS as MAX_OFFSET_NS,
    MAX_PERIOD_NS as MAX_PERIOD_NS,
    Decision as Decision,
    Limit as Limit,
    Mode as Mode,
    check_cost,
    check_shift,
)


cdef Rate rate_of(limit) except *:
    cdef Rate rate
    rate.interval_ns = limit.emission_interval_ns
    rate.offset_ns = limit.burst_offset_ns
    rate.max_delay_ns = limit.max_delay_ns
    rate.burst = limit.burst
    rate.mode = limit.mode
    return rate


def spend(limit, int64_t tat_ns, int64_t cost, int64_t now_ns):
    check_cost(limit, cost)
    cdef Rate rate = rate_of(limit)
    cdef Outcome outcome = decide(&rate, tat_ns, cost, now_ns)
    return Decision(
        outcome.allowed != 0,
        wait_ns(&outcome),
        remaining(&rate, &outcome, now_ns),
        retry_after_ns(&rate, &outcome),
        outcome.tat_ns - now_ns,
        outcome.tat_ns,
    )


def refund(limit, int64_t tat_ns, int64_t cost, int64_t now_ns):
    check_cost(limit, cost)
    cdef Rate rate = rate_of(limit)
    return given_back(&rate, tat_ns, cost, now_ns)


def shift(int64_t tat_ns, int64_t delta_ns, int64_t most_ns, int64_t now_ns):
    check_shift(1, delta_ns, most_ns, now_ns)
    return shifted(tat_ns, delta_ns, most_ns, now_ns)
