from libc.stdint cimport int64_t, uint64_t

from fastpath.gcra cimport SHADOW, Outcome, Rate, remaining, retry_after_ns, wait_ns
from fastpath.slots cimport BUCKETS, Table


cdef class LimitSet:
    cdef Rate rates[BUCKETS]


cdef class Spending:
    cdef readonly int bucket
    cdef readonly bint allowed
    cdef readonly bint shadow
    cdef readonly int64_t wait_ns
    cdef readonly int64_t remaining
    cdef readonly int64_t retry_after_ns
    cdef readonly int64_t reset_after_ns


cdef inline Spending report(int bucket, const Rate *rate, const Outcome *outcome, int64_t now_ns):
    """Return what the limit of a bucket says to a request."""
    cdef Spending spending = Spending.__new__(Spending)
    spending.bucket = bucket
    spending.shadow = rate.mode == SHADOW
    spending.allowed = outcome.allowed or spending.shadow
    spending.wait_ns = wait_ns(outcome)
    spending.remaining = remaining(rate, outcome, now_ns)
    spending.retry_after_ns = retry_after_ns(rate, outcome)
    spending.reset_after_ns = outcome.tat_ns - now_ns
    return spending


cdef inline Spending elsewhere(int bucket, int64_t wait_ns, int64_t retry_after_ns, int64_t reset_after_ns):
    """Return what an enforced limit says whose bucket is not in this memory: wait, or come back later."""
    cdef Spending spending = Spending.__new__(Spending)
    spending.bucket = bucket
    spending.allowed = retry_after_ns == 0
    spending.wait_ns = wait_ns
    spending.retry_after_ns = retry_after_ns
    spending.reset_after_ns = reset_after_ns
    return spending


cdef class ClientTable:
    cdef Table table
    cdef Py_buffer memory

    cpdef Spending spend(
        self, LimitSet limits, uint64_t key, int bucket, int64_t price, int64_t now_ns, int times=*
    )
    cdef int64_t tat(self, uint64_t key, int bucket) noexcept
    cpdef int give_back(self, LimitSet limits, uint64_t key, int64_t tokens, int64_t now_ns) except -1
    cpdef int charge(self, LimitSet limits, uint64_t key, int64_t tokens, int64_t now_ns, int bucket=*) except -1
