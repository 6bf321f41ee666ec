# cython: language_level=3str
"""
Searches that find nothing. They are no abuse: keys that were never uploaded are missed in each refresh, and most of the
recipients whom a mail program looks up. But who guesses addresses or key ids misses nearly always.

For each client and class there is a bucket of misses (CUSUM, in the words of statistics). A miss takes a token, a hit
gives `per_hit` back, and time the rest: so a client may miss `per_hit` times for each hit for ever, and `minimum` times
without any. A miss that finds the bucket empty is charged to the limit of its class, as if it had been `factor`
requests. Nothing else follows from it, and the next hit makes up for it.

It is charged when the answer is there, like all that is not known before; so a request that is never answered has
nothing to be given back. Who asks for fingerprints guesses nothing, and is not looked at.
"""

from fastpath.buckets cimport mix

from proxy.hkp.classes import OperationClass
from proxy.policy.budgets import MISSES

cdef enum:
    FOUND = 200
    MISSED = 404
    KEY_ID = 16  # digits, at most

cdef int _KIND = MISSES
cdef int _CERT = OperationClass.CERT
cdef int _WORDS = OperationClass.WORDS


cdef class Misses:

    def __init__(self, ClientTable clients not None, BucketTable buckets not None, limit, *, per_hit, factor):
        self.limit = limit
        self.clients = clients
        self.buckets = buckets
        self.budget = Budget(limit, _KIND)
        self.per_hit = per_hit
        self.surcharge = factor - 1

    cpdef int note(self, Client client, int kind, str subject, int status, int64_t now_ns) except -1:
        cdef Spending spending
        cdef uint64_t key
        if not _CERT <= kind <= _WORDS or (kind == _CERT and len(subject) > KEY_ID) or client.exempt:
            return 0
        key = mix(_KIND, client.key, kind)
        if status == FOUND:
            self.buckets.refund(self.budget, key, self.per_hit, now_ns)
        elif status == MISSED:
            spending = self.buckets.spend(self.budget, key, 1, now_ns)
            if spending is not None and not spending.allowed:
                self.clients.charge(client.compiled, client.key, self.surcharge, now_ns, kind)
        return 0
