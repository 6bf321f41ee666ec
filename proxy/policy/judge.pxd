from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastpath.buckets cimport BucketTable, Budget
from fastpath.distinct cimport DistinctTable
from fastpath.sightings cimport Sightings
from fastpath.table cimport ClientTable, LimitSet, Spending
from fastpath.tariff cimport Tariff


cdef class Verdict:
    cdef readonly int action
    cdef readonly int reason
    cdef readonly int status
    cdef readonly int64_t wait_ns
    cdef readonly Spending spending
    cdef readonly int shadow
    cdef readonly str allow
    cdef readonly str text  # for the client; empty: the usual one

    cpdef Verdict because(self, int reason, int status=*)


cdef class Client:
    cdef readonly bytes address
    cdef readonly uint64_t key
    cdef readonly uint64_t network
    cdef readonly int source
    cdef readonly object profile
    cdef readonly LimitSet compiled
    cdef readonly tuple limits
    cdef readonly tuple caps
    cdef readonly tuple budgets
    cdef readonly tuple frugal
    cdef readonly bint shared_exit
    cdef readonly bint anonymous
    cdef readonly uint32_t origin
    cdef readonly uint64_t pool  # 0: none
    cdef readonly Budget of_pool
    cdef readonly Budget frugal_of_pool
    cdef readonly bint exempt
    cdef readonly bint peer


cdef class Facts:
    cdef readonly Client client
    cdef readonly int kind
    cdef readonly int price
    cdef readonly int times  # what it costs in its class; more than 1 for a suspect, and while the site is under attack
    cdef readonly int64_t least_wait_ns
    cdef readonly int refusal
    cdef readonly str allow
    cdef readonly int trap
    cdef readonly uint64_t subject
    cdef readonly uint64_t domain


cdef class Check:
    cpdef Verdict judge(self, Facts facts, int64_t now_ns)


cdef Facts facts_of(
    Client client, int kind, int price, int refusal, str allow, int trap, uint64_t subject, uint64_t domain
)
cpdef Verdict decide(Facts facts, tuple checks, int64_t now_ns)

# Shared verdicts: nobody objects; no limit applies.
cdef Verdict allowed, exempted
