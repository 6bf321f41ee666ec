from libc.stdint cimport int64_t, uint64_t

from fastpath.buckets cimport BucketTable
from fastpath.table cimport ClientTable


cdef struct Account


cdef class SharedLevels:
    cdef ClientTable clients
    cdef BucketTable buckets

    cdef int64_t tat_of(self, uint64_t key, int number) noexcept


cdef class Question:
    cdef readonly object place
    cdef uint64_t key
    cdef int number
    cdef readonly int64_t told_ns
    cdef readonly int64_t base_ns
    cdef readonly int64_t most_ns
    cdef readonly int mark
    cdef int64_t full_ns
    cdef int64_t agreed_ns
    cdef int64_t alone_ns
    cdef int64_t kept_ns
    cdef int64_t own_ns
    cdef int64_t seen_ns
    cdef int64_t asked_ns
    cdef int64_t first_ns


cdef class Ledger:
    cdef public int64_t hostile
    cdef readonly int64_t dropped
    cdef object levels
    cdef SharedLevels shared
    cdef Account *accounts
    cdef Account **listed  # those that are looked at in each turn
    cdef int64_t length
    cdef int64_t count
    cdef int64_t capacity
    cdef int64_t hand
    cdef int64_t doubted
    cdef uint64_t k0
    cdef uint64_t k1
    cdef bint certain
    cdef int64_t nodes
    cdef bint alone
    cdef int64_t turned_ns
    cdef int64_t was_alone_ns
    cdef int64_t share
    cdef int64_t divided_until_ns

    cdef int heard(
        self, uint64_t key, int number, int64_t token_ns, int64_t full_ns, int64_t since_ns, int64_t tokens,
        int64_t now_ns,
    ) except -1
    cdef void list(self, Account *account) noexcept
    cdef Account *find(self, uint64_t key, int number) noexcept
    cdef Account *first_of(self, uint64_t key, int number) noexcept
    cdef Account *open(self, uint64_t key, int number, int64_t now_ns) noexcept
    cdef int64_t tat(self, uint64_t key, int number) except? -1
    cdef int look(self, Account *account, int64_t since_ns, int64_t most_ns, int64_t now_ns) except -1
    cdef void reckon(
        self, Account *account, int64_t tat_ns, int64_t since_ns, int64_t most_ns, int64_t now_ns
    ) noexcept
    cdef int64_t spent(self, const Account *account, int64_t tat_ns, int64_t since_ns, int64_t now_ns) noexcept
    cdef void fade(self, Account *account, int64_t now_ns) noexcept
    cdef int64_t faded(self, int64_t untold_ns, int64_t lonely_ns, int64_t idle_ns) noexcept
    cdef int64_t alone_ns(self, int64_t now_ns) noexcept
    cdef void tell(self, Question question, Account *account, int64_t ns) noexcept
    cdef bint waits(self, Account *account, int64_t tat_ns, int64_t now_ns) noexcept
    cdef int64_t untold_from(self, const Account *account) noexcept
    cdef int look_at(self, int64_t at, list found, int64_t now_ns) except -1
    cdef void sweep(self, int64_t now_ns) noexcept
