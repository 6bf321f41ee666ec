"""
How a key finds, or gets, one of the 8 ways of a set when its state is safe to give up: no locks, no claims.

A set has its keys in one cache line; what belongs to a key stands elsewhere, under the same way. 0 is no key.

Forgive, then rename. Who needs a way that another key holds first makes its state that of a newcomer (a bucket
that owes nothing, a memory that knows nothing) by a compare-and-swap, then writes the key over the other by
another one (`take`). Each step leaves a valid table: after the first the other key has been forgotten, which is
what an eviction is, and after the second the newcomer stands there with nothing. So a process killed anywhere
leaves nothing locked and nothing half done.

Between the two steps the other key may be used once more; what it does in that moment is the newcomer's. A user
looks at the key again after it has written; if it has changed, it starts again in its new place, and what it
wrote stays with the new owner: the price of one request for one eviction, as in `slots.pxd`. A process that is
stopped there for long costs one key its state, or gives it another's, once.

A key in two ways. Who has written a key looks for it in the other ways, and takes its own back if it is there.
Of two that write one key at once, at least one sees the other; both may, and start again (ATTEMPTS bounds it).
Only one killed between writing and looking can leave a key twice: the first of the ways is used, the other ages.
"""

from libc.stdint cimport uint64_t

from fastpath._atomic cimport load, swap


cdef enum:
    WAYS = 8
    ATTEMPTS = 256  # to get a way; in practice 1


cdef inline int seek(const uint64_t *keys, uint64_t key) noexcept nogil:
    """Return the way that holds a key (0: that is free), or -1."""
    cdef int way
    for way in range(WAYS):
        if load(keys + way) == key:
            return way
    return -1


cdef inline bint take(uint64_t *keys, int way, uint64_t seen, uint64_t key) noexcept nogil:
    """Write a key over the one that was seen; false: others were quicker, here or in another way."""
    cdef int other
    if not swap(keys + way, seen, key):
        return False
    for other in range(WAYS):
        if other != way and load(keys + other) == key:
            swap(keys + way, key, 0)
            return False
    return True
