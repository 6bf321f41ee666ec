from libc.stdint cimport int16_t, int64_t, uint64_t

from fastpath.gcra cimport Rate
from fastpath.ring cimport Entry
from proxy.cluster.ledger cimport Ledger
from proxy.policy.subjects cimport Subjects


cdef enum:
    AT_ONCE = 512  # records that are sorted together, in some 50 us
    PLACES = 1024  # of a table to find them by: a power of two
    MOST_HEARD = 6  # buckets of a request


cdef struct Alike:  # requests that take from the same buckets
    const Entry *one
    int64_t since_ns
    int64_t admitted


cdef struct Heard:  # a bucket that requests may have taken from
    uint64_t key
    int number
    const Rate *rate
    int64_t tokens


cdef class Following:
    cdef Ledger ledger
    cdef Subjects subjects
    cdef Alike groups[AT_ONCE]
    cdef int16_t places[PLACES]

    cdef int gather(self, const Entry *records, int count) noexcept
    cdef Alike *place_of(self, const Entry *record, int *length) noexcept
    cdef int note(self, const Alike *requests, policy, int64_t now_ns) except -1
    cdef int buckets_of(self, const Alike *requests, profile, Heard *found) except -1
    cdef uint64_t domain_of(self, const Entry *record) except? 0
