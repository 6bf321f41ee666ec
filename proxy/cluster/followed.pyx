# cython: language_level=3str, cdivision=True
"""
Which buckets records tell of: those that may have changed, and are of one client or of all nodes.

    a client's     the total, and the one of the class
    its network's  new certificates, new e-mail addresses, lists of what changed on a day
    its provider's cold certificates; or those of all exits of Tor
    a subject's    searches of a mail domain

What a body was paid for no record says: of uploads, of their certificates and user IDs, of addresses that get mail.
Workers write that down beside (`fastpath.payments`).

Not followed, so every node counts them for itself: how the members of a budget of everybody share it
(`proxy.policy.sharing`), what a client misses (`proxy.policy.misses`), and searches for addresses that are so long that
a record has only a part of them.

What a network has asked for before it knows per node. A certificate that is asked for through two nodes is new to
both, and counts for two in the budget of the network.

Each request is looked at, so all of it is done on the records as they lie in memory. Some are sorted together, by what
they take from; for each group the policy is asked once.
"""

from typing import NamedTuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcmp, memset

from fastpath.buckets cimport Budget, mix
from fastpath.gcra cimport OFF
from fastpath.keys cimport ADDRESS4, kind_of, parents_of
from fastpath.ring cimport SUBJECT
from fastpath.slots cimport BUCKETS
from fastpath.table cimport LimitSet

from fastpath.record import FIRST_ERROR, FLAG_CACHED, NO_UPSTREAM
from proxy.cluster.ledger import Place, Size
from proxy.hkp.classes import PRICES, OperationClass
from proxy.policy.budgets import BudgetKind

GROUPS_AT_ONCE = 64  # in a step of some 0.1 ms

cdef int _GROUPS_AT_ONCE = GROUPS_AT_ONCE
cdef int _CERT = OperationClass.CERT
cdef int _IDENTITY = OperationClass.IDENTITY
cdef int _PREFIXLOG = OperationClass.PREFIXLOG
cdef int _DISTINCT_CERTS = BudgetKind.DISTINCT_CERTS
cdef int _DISTINCT_IDENTITIES = BudgetKind.DISTINCT_IDENTITIES
cdef int _NETWORK_PREFIXLOGS = BudgetKind.NETWORK_PREFIXLOGS
cdef int _DOMAIN = BudgetKind.DOMAIN
cdef int _FIRST_ERROR = FIRST_ERROR
cdef int _FLAG_CACHED = FLAG_CACHED
cdef int _NO_UPSTREAM = NO_UPSTREAM
cdef int[BUCKETS] _PRICES
for kind in range(BUCKETS):
    _PRICES[kind] = PRICES.get(OperationClass(kind), 0)
cdef bytes _MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in 16 bytes


class Seen(NamedTuple):
    place: Place
    size: Size
    since_ns: int
    tokens: int


def size_of(limit):
    return Size(limit.emission_interval_ns, limit.burst_offset_ns + limit.max_delay_ns)


cdef inline uint64_t network_of(uint64_t client) noexcept nogil:
    """Return what `network_key` makes of the address of a client."""
    cdef uint64_t parents[2]
    parents[0] = parents[1] = 0
    parents_of(client, parents)
    return parents[0] if kind_of(client) == ADDRESS4 else parents[1]


cdef inline int add(Heard *found, int length, uint64_t key, int number, const Rate *rate, int64_t tokens) noexcept:
    """Put a bucket behind those that were found, if it has a limit; return how many there are then."""
    if rate.mode == OFF:
        return length
    found[length] = Heard(key, number, rate, tokens)
    return length + 1


cdef inline int add_budget(Heard *found, int length, uint64_t key, int number, tuple budgets) except -1:
    cdef Budget budget = budgets[number - BUCKETS]
    return length if budget is None else add(found, length, key, number, &budget.rate, 1)


cdef class Following:

    def __init__(self, Ledger ledger not None, Subjects subjects not None):
        self.ledger, self.subjects = ledger, subjects

    def feed(self, bytes block not None, policy, clock):
        cdef const Entry *records = <const Entry *>PyBytes_AS_STRING(block)
        cdef Py_ssize_t count = len(block) // <Py_ssize_t>sizeof(Entry), start
        cdef int64_t now_ns
        cdef int groups, group
        for start in range(0, count, AT_ONCE):
            groups = self.gather(records + start, min(AT_ONCE, count - start))
            now_ns = clock()
            for group in range(groups):
                self.note(self.groups + group, policy, now_ns)
                if group % _GROUPS_AT_ONCE == _GROUPS_AT_ONCE - 1:
                    yield
                    now_ns = clock()
            yield

    def seen(self, bytes block not None, policy):
        cdef const Entry *records = <const Entry *>PyBytes_AS_STRING(block)
        cdef int groups = self.gather(records, min(AT_ONCE, len(block) // <Py_ssize_t>sizeof(Entry)))
        cdef Heard found[MOST_HEARD]
        cdef const Alike *requests
        cdef int group, i
        result = []
        for group in range(groups):
            requests = self.groups + group
            profile = policy.profile(_address(requests.one))  # has the rates
            for i in range(self.buckets_of(requests, profile, found)):
                size = Size(found[i].rate.interval_ns, found[i].rate.offset_ns + found[i].rate.max_delay_ns)
                place = Place(found[i].key, found[i].number)
                result.append(Seen(place, size, requests.since_ns, found[i].tokens * requests.admitted))
        return result

    cdef int gather(self, const Entry *records, int count) noexcept:
        """Sort records by what they take from, into `groups`; return how many these are."""
        cdef const Entry *record
        cdef Alike *group
        cdef int64_t began_ns
        cdef int i, length = 0
        cdef bint refused
        memset(self.places, 0, sizeof(self.places))
        for i in range(count):
            record = records + i
            if record.operation >= BUCKETS:
                continue
            began_ns = max(0, record.time_ns - 1000 * <int64_t>record.total_us)
            group = self.place_of(record, &length)
            group.since_ns = min(group.since_ns, began_ns)
            refused = record.upstream == _NO_UPSTREAM and record.status >= _FIRST_ERROR
            group.admitted += not refused or record.flags & _FLAG_CACHED != 0
        return length

    cdef Alike *place_of(self, const Entry *record, int *length) noexcept:
        """Return the group of a record, a new one if there is none."""
        cdef uint64_t place = mix(record.operation, record.client, 0)
        cdef Alike *group
        cdef const Entry *one
        while self.places[place % PLACES] != 0:
            group = self.groups + self.places[place % PLACES] - 1
            one = group.one
            if one.client == record.client and one.operation == record.operation and (
                record.operation != _IDENTITY or memcmp(one.subject, record.subject, SUBJECT) == 0
            ):
                return group
            place += 1
        group = self.groups + length[0]
        group[0] = Alike(record, record.time_ns, 0)
        length[0] += 1
        self.places[place % PLACES] = length[0]
        return group

    cdef int note(self, const Alike *requests, policy, int64_t now_ns) except -1:
        """Tell the ledger of the buckets that requests may have taken from."""
        cdef Heard found[MOST_HEARD]
        cdef const Rate *rate
        cdef int i
        profile = policy.profile(_address(requests.one))
        for i in range(self.buckets_of(requests, profile, found)):
            rate = found[i].rate
            self.ledger.heard(
                found[i].key, found[i].number, rate.interval_ns, rate.offset_ns + rate.max_delay_ns,
                requests.since_ns, found[i].tokens * requests.admitted, now_ns,
            )
        return 0

    cdef int buckets_of(self, const Alike *requests, profile, Heard *found) except -1:
        """Write down the buckets that requests may have taken from; return how many these are, at most MOST_HEARD."""
        cdef const Entry *record = requests.one
        cdef LimitSet limits = profile.compiled
        cdef tuple budgets = profile.budgets
        cdef uint64_t client = record.client, network = network_of(client), domain
        cdef int kind = record.operation, length = 0
        cdef Budget of_pool
        if profile.exempt:
            return 0
        length = add(found, length, client, 0, &limits.rates[0], _PRICES[kind])
        if kind != 0:
            length = add(found, length, client, kind, &limits.rates[kind], 1)
        if kind == _CERT:
            length = add_budget(found, length, mix(_CERT, network, 0), _DISTINCT_CERTS, budgets)
            if profile.pool is not None:
                of_pool = profile.pool.budget
                length = add(found, length, profile.pool.key, of_pool.kind, &of_pool.rate, 1)
        elif kind == _IDENTITY:
            length = add_budget(found, length, mix(_IDENTITY, network, 0), _DISTINCT_IDENTITIES, budgets)
            domain = self.domain_of(record)
            if domain != 0:
                length = add_budget(found, length, mix(_DOMAIN, domain, 0), _DOMAIN, budgets)
        elif kind == _PREFIXLOG:
            length = add_budget(found, length, mix(_NETWORK_PREFIXLOGS, network, 0), _NETWORK_PREFIXLOGS, budgets)
        return length

    cdef uint64_t domain_of(self, const Entry *record) except? 0:
        """Return the word of the mail domain that was searched; 0: there is none, or the address may be cut."""
        if record.subject[SUBJECT - 1] != 0:
            return 0
        subject = PyBytes_FromStringAndSize(<const char *>record.subject, SUBJECT).rstrip(b"\0")
        return self.subjects.domain(_IDENTITY, subject.decode("utf-8", "replace"))


cdef bytes _address(const Entry *record):
    """Return the address of a client as the policy takes it: IPv4 in 4 bytes."""
    cdef const char *address = <const char *>record.address
    if memcmp(address, PyBytes_AS_STRING(_MAPPED), 12) == 0:
        return PyBytes_FromStringAndSize(address + 12, 4)
    return PyBytes_FromStringAndSize(address, 16)
