from libc.stdint cimport int64_t, uint64_t

from fastpath.counters cimport Counters
from fastpath.excerpts cimport Excerpts
from fastpath.ring cimport Ring
from proxy.http.exchange cimport Exchange
from proxy.policy.judge cimport Client, Verdict


cdef class Recorder:
    cdef Ring ring
    cdef Ring knocks
    cdef Excerpts excerpts
    cdef Counters counters

    cdef int exchange(self, Exchange exchange, int64_t now_ns) except -1
    cdef int user_ids(self, Client client, tuple certs) except -1
    cdef int turned_away(self, int reason, bytes peer, int source, bint encrypted, bint held) except -1
    cdef int unread(self, Client client, Verdict verdict, uint64_t request_id, int64_t sent, int64_t now_ns) except -1
