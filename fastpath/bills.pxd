"""
What one request owes to the two buckets of a client, and how it pays: both or, if one of the limits objects, neither.

`slots.pxd` has the slots; `_table_py.py` is the specification of what a request pays.
"""

from libc.stdint cimport int64_t

from fastpath._atomic cimport load_time, swap_time
from fastpath.gcra cimport ENFORCE, OFF, Outcome, Rate, decide, given_back, retry_after_ns, wait_ns
from fastpath.slots cimport Slot


cdef struct Bill:  # what one request owes to one bucket
    const Rate *rate
    int bucket
    int64_t cost
    Outcome outcome


cdef inline int64_t own_cost(const Rate *rate, int64_t times) noexcept nogil:
    if times == 1 or rate.max_delay_ns == 0:
        return times
    return max(1, min(times, rate.max_delay_ns // rate.interval_ns))


cdef inline bint objects(const Bill *bill) noexcept nogil:
    return bill.rate.mode == ENFORCE and not bill.outcome.allowed


cdef inline void look(Bill *bill, Slot *slot, int64_t now_ns) noexcept nogil:
    bill.outcome = decide(bill.rate, load_time(&slot.tat_ns[bill.bucket]), bill.cost, now_ns)


cdef inline void pay(Bill *bill, Slot *slot, int64_t now_ns) noexcept nogil:
    """Take the tokens unless the limit says no; the outcome says which."""
    cdef int64_t *tat_ns = &slot.tat_ns[bill.bucket]
    cdef int64_t seen_ns
    while bill.rate.mode != OFF:
        seen_ns = load_time(tat_ns)
        bill.outcome = decide(bill.rate, seen_ns, bill.cost, now_ns)
        if not bill.outcome.allowed or swap_time(tat_ns, seen_ns, bill.outcome.tat_ns):
            return


cdef inline void give_back(const Rate *rate, int64_t *tat_ns, int64_t cost, int64_t now_ns) noexcept nogil:
    cdef int64_t seen_ns
    while rate.mode != OFF:
        seen_ns = load_time(tat_ns)
        if swap_time(tat_ns, seen_ns, given_back(rate, seen_ns, cost, now_ns)):
            return


cdef inline void raise_expiry(Slot *slot, int64_t tat_ns) noexcept nogil:
    cdef int64_t seen_ns = load_time(&slot.expiry_ns)
    while seen_ns < tat_ns and not swap_time(&slot.expiry_ns, seen_ns, tat_ns):
        seen_ns = load_time(&slot.expiry_ns)


cdef inline bint settle(Bill *total, Bill *own, Slot *slot, int64_t now_ns) noexcept nogil:
    """Pay both bills or, if an enforced limit objects, neither; returns which.

    In a race the total may be paid and given back; another request may be refused for that moment, never one
    admitted too many. A worker killed in between leaves the total paid: one request too much, not too little.
    """
    look(total, slot, now_ns)
    look(own, slot, now_ns)
    if objects(total) or objects(own):
        return False
    pay(total, slot, now_ns)
    if objects(total):
        return False
    pay(own, slot, now_ns)
    if not objects(own):
        return True
    if total.outcome.allowed:
        give_back(total.rate, &slot.tat_ns[total.bucket], total.cost, now_ns)
    return False


cdef inline int rank(const Bill *bill) noexcept nogil:
    """Order of what is worth telling: refused, delayed, would be refused, would be delayed; 0: nothing."""
    if bill.rate.mode == OFF or bill.outcome.excess_ns <= 0:
        return 0
    return (2 if bill.rate.mode == ENFORCE else 0) + (1 if bill.outcome.allowed else 2)


cdef inline int64_t trouble_ns(const Bill *bill) noexcept nogil:
    return wait_ns(&bill.outcome) + retry_after_ns(bill.rate, &bill.outcome)


cdef inline const Bill *weightier(const Bill *total, const Bill *own) noexcept nogil:
    if rank(total) == rank(own):
        return total if trouble_ns(total) > trouble_ns(own) else own
    return total if rank(total) > rank(own) else own
