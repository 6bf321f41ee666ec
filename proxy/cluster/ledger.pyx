# cython: language_level=3str, cdivision=True
# cdivision: nothing negative is divided, so C and Python agree
"""
What this node has spent of each bucket and not told the others yet. Plain reckoning: no clock, no socket, no store.

A bucket is a TAT in shared memory, which the workers move (`fastpath._gcra_py`). The ledger looks at it now and then,
and keeps an account:

    spent = TAT now - TAT at the last look        untold += spent
    ask:    tell `untold`, and hear the level of the bucket in the cluster: how long it takes to be full
    answer: TAT in shared memory += (when it was asked + level + what was untold besides) - TAT when it was asked

The last line adds a difference, atomically, so what the workers spend meanwhile stays. Where a bucket was full since
the last look (the TAT lay in the past) the difference has some idle time in it, at most that between two looks. It is
rounded down to whole tokens then: nothing is counted too much where a token takes longer to come back than that.

**What the record will tell.** A look that finds a change in a bucket does not know when that began: between two looks
it may have been idle for most of the time. The record of the request knows, and comes soon after its end. So as long as
a bucket is not hot, nor so much of it is missing that it must be, the looks of a turn leave a change to its record for
`WAIT_NS`. Else clients whose tokens come back quickly were told of for time in which they did nothing.

**What stays untold.** Most clients ask for little. As long as one takes no more than an eighth of this node's share,
of the burst and of the rate (`KEPT`), nobody is told. Beyond it the bucket is hot, and all is told at each turn until
it is full again. So all nodes together keep an eighth of the limit to themselves, and no more, whatever the client
does.

**While the store is away** what is untold fades at the rate of this node's share, as the tokens come back meanwhile;
not before the bucket of the cluster, as it was agreed last, is full again, for until then they come back to that. The
limits are divided then (`Control.SHARE`), so each token moves the TAT by as many times its length as there are nodes,
and counts for one. The workers notice a change within a quarter of a second; for what was spent in that time the side
of the client is taken.

**What an answer can do.** No answer takes the TAT below where it would be if this node were alone (`own`), so whoever
may write to the database, or lose it, gives a client no more than it has from nodes without a store. None takes it
further ahead than all nodes together can have admitted. Tokens that were given back are told too, but never more than
this node itself has taken: else the eviction of a bucket from a full table would look like a gift.

**Accounts** are in sets of eight ways, chosen by a keyed hash: a look at one takes some 0.1 us, and nothing is made for
Python. A newcomer takes a way of which there is nothing to remember, or else of what nothing was heard for longest.
"""

import os
from typing import NamedTuple

from libc.stdint cimport INT64_MAX
from libc.stdlib cimport calloc, free

from fastpath._atomic cimport keyed_hash, read_secret, scale
from fastpath.buckets cimport mix
from fastpath.gcra cimport shifted
from fastpath.slots cimport BUCKETS

from proxy.settings.kinds import MILLISECOND, SECOND

KEPT = 8  # one part in so many of a node's share is spent without a word
MOST_ACCOUNTS = 65_536
MOST_SWEPT = 64  # accounts that are looked through for old ones at each turn
LINGER_NS = 500 * MILLISECOND  # a bucket is looked at so long after anything was heard of it
SETTLE_NS = 500 * MILLISECOND  # until all workers use other limits; they look each quarter of a second
WAIT_NS = 200 * MILLISECOND  # for a record; they are read each tenth of a second
LOOKS_AT_ONCE = 512  # in a step
MICROSECOND = 1_000
MOST_LEVEL_NS = 2**60  # of an answer, and of anything that is reckoned with: 36 years
MOST_MARK = 10**9
RECALLED_AT_ONCE = 4096  # accounts that are looked through for what the store has lost, in a step

cdef enum:
    WAYS = 8

cdef int64_t _KEPT = KEPT
cdef int64_t _MOST_SWEPT = MOST_SWEPT
cdef int64_t _MOST_MARK = MOST_MARK
cdef int64_t _RECALLED_AT_ONCE = RECALLED_AT_ONCE
cdef int64_t _LINGER_NS = LINGER_NS
cdef int64_t _SETTLE_NS = SETTLE_NS
cdef int64_t _WAIT_NS = WAIT_NS
cdef int64_t _LOOKS_AT_ONCE = LOOKS_AT_ONCE
cdef int64_t _MICROSECOND = MICROSECOND
cdef int64_t _MOST_NS = MOST_LEVEL_NS

cdef struct Account:  # what is known of one bucket; times ns
    uint64_t key  # 0: there is none
    int number
    bint hot  # others are told
    bint listed  # it is looked at in each turn
    bint recalled  # the store has lost it, perhaps: others are told, though nothing was spent
    int mark  # of the record of the last answer
    int64_t token_ns
    int64_t full_ns
    int64_t seen_ns  # the TAT, as it was at the last look or was made by an answer
    int64_t own_ns  # the TAT as it would be if this node were alone
    int64_t agreed_ns  # the TAT of the last answer, of the cluster as a whole
    int64_t untold_ns  # spent and not told, less what was given back
    int64_t reckoned_ns  # up to when it is reckoned
    int64_t alone_ns  # how long the node had been without a store then, since it started
    int64_t heard_ns  # when something was heard of it
    int64_t found_ns  # when a turn found what no record had told of; 0: there is nothing


class Place(NamedTuple):
    key: int
    number: int


class Size(NamedTuple):
    token_ns: int
    full_ns: int


class Known(NamedTuple):
    seen_ns: int = 0
    own_ns: int = 0
    agreed_ns: int = 0
    untold_ns: int = 0
    hot: bool = False


cdef inline int64_t whole(int64_t ns) noexcept nogil:
    """Cut to whole microseconds, towards nothing."""
    return ns - ns % _MICROSECOND


cdef inline bint over(const Account *account, int64_t now_ns) noexcept nogil:
    """Whether there is nothing to remember."""
    return whole(account.untold_ns) == 0 and max(account.seen_ns, account.own_ns, account.agreed_ns) <= now_ns


cdef class SharedLevels:

    def __init__(self, ClientTable clients not None, BucketTable buckets not None):
        self.clients, self.buckets = clients, buckets

    cdef int64_t tat_of(self, uint64_t key, int number) noexcept:
        return self.buckets.tat(key) if number >= BUCKETS else self.clients.tat(key, number)

    def tat(self, place):
        return max(0, self.tat_of(place.key, place.number))

    def add(self, place, delta_ns, most_ns, now_ns):
        if place.number >= BUCKETS:
            self.buckets.add(place.key, delta_ns, most_ns, now_ns)
        else:
            self.clients.add(place.key, place.number, delta_ns, most_ns, now_ns)


cdef class Question:

    def __init__(self):
        raise TypeError("a ledger makes questions")


cdef class Ledger:

    def __cinit__(self, levels, int64_t now_ns, *, bint successor=False, int64_t most=MOST_ACCOUNTS):
        self.levels = levels
        self.shared = levels if isinstance(levels, SharedLevels) else None
        self.capacity = (most + WAYS - 1) // WAYS * WAYS
        self.accounts = <Account *>calloc(self.capacity, sizeof(Account))
        self.listed = <Account **>calloc(self.capacity, sizeof(Account *))
        if self.accounts is NULL or self.listed is NULL:
            raise MemoryError
        read_secret(os.urandom(16), &self.k0, &self.k1)
        self.certain = not successor  # that a bucket without account holds nothing of others
        self.nodes = self.share = 1
        self.alone = True
        self.turned_ns = now_ns  # when `alone` changed; before that it was `was_alone_ns`, in all

    def __dealloc__(self):
        free(self.accounts)
        free(self.listed)

    def __len__(self):
        return self.count

    @property
    def active(self):
        return self.length

    def account(self, place):
        cdef Account *found = self.find(place.key, place.number)
        if found is NULL:
            return Known()
        return Known(found.seen_ns, found.own_ns, found.agreed_ns, found.untold_ns, found.hot)

    def stand(self, int64_t nodes, *, bint alone, int64_t now_ns):
        if alone != self.alone:
            if self.alone:
                self.was_alone_ns += now_ns - self.turned_ns
                self.recall()
            self.alone, self.turned_ns = alone, now_ns
        self.nodes = max(1, nodes)
        cdef int64_t share = self.nodes if alone else 1
        if share > 1:
            self.share, self.divided_until_ns = share, now_ns + _SETTLE_NS
        return share

    def note(self, place, size, int64_t since_ns, int64_t tokens, int64_t now_ns):
        self.heard(place.key, place.number, size.token_ns, size.full_ns, since_ns, tokens, now_ns)

    cdef int heard(
        self, uint64_t key, int number, int64_t token_ns, int64_t full_ns, int64_t since_ns, int64_t tokens,
        int64_t now_ns,
    ) except -1:
        """Look at a bucket of which something was heard: `note`, without the detour over Python."""
        cdef Account *account = self.find(key, number)
        cdef int64_t most_ns = _MOST_NS
        if account is NULL:
            account = self.open(key, number, now_ns)
            if not self.certain:
                most_ns = min(tokens, _MOST_NS // token_ns) * token_ns
        elif account.found_ns != 0 and since_ns > account.found_ns:  # the record is of something else
            since_ns = account.reckoned_ns
        elif account.listed:
            since_ns = max(since_ns, account.reckoned_ns)
        account.token_ns, account.full_ns = token_ns, full_ns
        self.look(account, since_ns, most_ns, now_ns)
        account.heard_ns = now_ns
        self.list(account)
        return 0

    cdef void list(self, Account *account) noexcept:
        """Have each turn look at an account."""
        if not account.listed:
            account.listed = True
            self.listed[self.length] = account
            self.length += 1

    def questions(self, int64_t most, int64_t now_ns):
        cdef Question question
        cdef Account *account
        cdef list found = []
        cdef int64_t at = 0, looks = 0
        while at < self.length:
            looks += 1
            if looks % _LOOKS_AT_ONCE == 0:
                yield
            at += self.look_at(at, found if most > 0 else None, now_ns)
        self.sweep(now_ns)
        yield
        while self.doubted > 0:
            self.sweep(now_ns)
            yield
        if len(found) > most:
            found.sort(key=lambda each: _fullness(each, now_ns), reverse=True)
            del found[most:]
        for question in found:
            account = self.find(question.key, question.number)
            if account is not NULL:
                self.tell(question, account, account.untold_ns)
        return found

    cdef int look_at(self, int64_t at, list found, int64_t now_ns) except -1:
        """Look at one of those that are looked at in each turn; return 0 if it is not any more: another is in its place."""
        cdef Account *account = self.listed[at]
        cdef int64_t tat_ns = self.tat(account.key, account.number)
        if self.waits(account, tat_ns, now_ns):
            return 1
        self.reckon(account, tat_ns, account.reckoned_ns, _MOST_NS, now_ns)
        if account.hot and (whole(account.untold_ns) != 0 or account.recalled):
            account.heard_ns = now_ns
            if found is not None:
                found.append(question_of(account))
        elif now_ns - account.heard_ns > _LINGER_NS:
            account.listed = False
            self.length -= 1
            self.listed[at] = self.listed[self.length]
            return 0
        return 1

    cdef bint waits(self, Account *account, int64_t tat_ns, int64_t now_ns) noexcept:
        """Whether a change of a bucket is left to its record."""
        if tat_ns == account.seen_ns or account.hot:
            return False
        if account.untold_ns + max(0, tat_ns - now_ns) >= self.untold_from(account):
            return False
        if account.found_ns == 0:
            account.found_ns = now_ns
        return now_ns - account.found_ns < _WAIT_NS

    cdef int64_t untold_from(self, const Account *account) noexcept:
        """Return how much of a bucket is untold when it becomes hot."""
        return (account.full_ns - 1) // (_KEPT * self.nodes) + 1

    def question(self, place, int64_t most_ns):
        cdef Account *account = self.find(place.key, place.number)
        if account is NULL:
            raise KeyError(place)
        cdef Question question = question_of(account)
        account.hot = True
        self.tell(question, account, min(account.untold_ns, most_ns))
        return question

    cdef void tell(self, Question question, Account *account, int64_t ns) noexcept:
        question.told_ns = whole(ns)
        account.untold_ns -= question.told_ns
        question.alone_ns, question.agreed_ns, question.mark = account.alone_ns, account.agreed_ns, account.mark

    def ask(self, Question question not None, int64_t now_ns):
        cdef Account *account = self.find(question.key, question.number)
        cdef int64_t lonely_ns
        if account is not NULL:
            self.look(account, account.reckoned_ns if account.listed else now_ns, _MOST_NS, now_ns)
            question.full_ns, question.agreed_ns, question.mark = account.full_ns, account.agreed_ns, account.mark
            question.kept_ns, question.own_ns, question.seen_ns = account.untold_ns, account.own_ns, account.seen_ns
        else:  # forgotten: nothing is given back
            question.kept_ns, question.seen_ns = 0, self.tat(question.key, question.number)
            question.own_ns = question.seen_ns
        lonely_ns = min(self.alone_ns(now_ns) - question.alone_ns, now_ns - question.agreed_ns)
        question.told_ns = whole(self.faded(question.told_ns, lonely_ns, 0))
        question.alone_ns = self.alone_ns(now_ns)
        if question.first_ns == 0:
            question.first_ns = now_ns
        if question.agreed_ns <= question.first_ns:  # it was full again: its record is over
            question.mark = 0
        question.base_ns = max(question.agreed_ns, question.first_ns) - now_ns
        question.most_ns = (self.nodes + 1) * min(question.full_ns, _MOST_NS // (self.nodes + 1))
        question.seen_ns, question.asked_ns = max(question.seen_ns, now_ns), now_ns

    def answered(self, Question question not None, level_ns, mark, int64_t now_ns):
        if not (0 <= level_ns <= question.most_ns and 0 < mark <= _MOST_MARK):
            self.hostile += 1
            return
        cdef Account *account = self.find(question.key, question.number)
        cdef int64_t agreed_ns = question.asked_ns + <int64_t>level_ns
        cdef int64_t delta_ns = max(agreed_ns + question.kept_ns, question.own_ns, question.asked_ns) - question.seen_ns
        if delta_ns:
            self.levels.add(question.place, delta_ns, question.most_ns, now_ns)
        if account is not NULL:
            account.agreed_ns, account.mark, account.recalled = agreed_ns, mark, False
            if delta_ns:
                account.seen_ns = shifted(account.seen_ns, delta_ns, question.most_ns, now_ns)

    def keep(self, Question question not None, int64_t ns):
        cdef Account *account = self.find(question.key, question.number)
        if account is not NULL:
            account.untold_ns += ns
        question.told_ns -= ns
        question.kept_ns += ns

    def recall(self):
        self.doubted = self.capacity

    def take_back(self, Question question not None):
        self.keep(question, question.told_ns)

    cdef Account *first_of(self, uint64_t key, int number) noexcept:
        """Return the first way of the set of a bucket."""
        return self.accounts + scale(keyed_hash(self.k0, self.k1, mix(number, key, 0)), self.capacity // WAYS) * WAYS

    cdef Account *find(self, uint64_t key, int number) noexcept:
        """Return the account of a bucket; NULL if there is none."""
        cdef Account *account = self.first_of(key, number)
        cdef int way
        for way in range(WAYS):
            if account[way].key == key and account[way].number == number:
                return account + way
        return NULL

    cdef Account *open(self, uint64_t key, int number, int64_t now_ns) noexcept:
        """Make an account, in the place of one that is over, or else of which nothing was heard for longest."""
        cdef Account *ways = self.first_of(key, number)
        cdef Account *account = ways
        cdef int64_t rank, least_ns = INT64_MAX
        cdef bint listed
        cdef int way
        for way in range(WAYS):
            if ways[way].key == 0:
                account = ways + way
                break
            if not ways[way].listed:  # else its next look goes on from the last one
                self.fade(ways + way, now_ns)
            rank = -1 if over(ways + way, now_ns) else ways[way].heard_ns
            if rank < least_ns:
                account, least_ns = ways + way, rank
        if account.key == 0:
            self.count += 1
        elif least_ns >= 0:
            self.dropped += 1
            self.certain = False
        listed = account.listed
        account[0] = Account(
            key, number, False, listed, False, 0, 1, 1, 0, 0, 0, 0, now_ns, self.alone_ns(now_ns), now_ns, 0
        )
        return account

    cdef int64_t tat(self, uint64_t key, int number) except? -1:
        """Return the TAT of a bucket: whatever stands in shared memory, it can be reckoned with."""
        cdef int64_t tat_ns
        if self.shared is not None:
            tat_ns = self.shared.tat_of(key, number)
        else:
            tat_ns = self.levels.tat(Place(key, number))
        return min(max(tat_ns, 0), 4 * _MOST_NS)

    cdef int look(self, Account *account, int64_t since_ns, int64_t most_ns, int64_t now_ns) except -1:
        """Find out what was spent since `since_ns`: since the last look, or since the first request began."""
        self.reckon(account, self.tat(account.key, account.number), since_ns, most_ns, now_ns)
        return 0

    cdef void reckon(
        self, Account *account, int64_t tat_ns, int64_t since_ns, int64_t most_ns, int64_t now_ns
    ) noexcept:
        """Write down how a bucket stands."""
        cdef int64_t spent_ns
        account.found_ns = 0
        if tat_ns == account.seen_ns and account.untold_ns == 0:  # as it is nearly always
            account.reckoned_ns, account.alone_ns = now_ns, self.alone_ns(now_ns)
        else:
            spent_ns = min(self.spent(account, tat_ns, since_ns, now_ns), most_ns)
            self.fade(account, now_ns)
            account.seen_ns = tat_ns
            if spent_ns > 0:
                account.own_ns = max(account.own_ns, since_ns)
            account.own_ns = min(account.own_ns + spent_ns, 4 * _MOST_NS)
            account.untold_ns = min(account.untold_ns + spent_ns, _MOST_NS)
            if account.untold_ns >= self.untold_from(account):
                account.hot = True
            elif not account.hot:
                account.untold_ns = max(0, account.untold_ns)
        if account.hot and over(account, now_ns):
            account.hot = False

    cdef int64_t spent(self, const Account *account, int64_t tat_ns, int64_t since_ns, int64_t now_ns) noexcept:
        cdef int64_t share = self.share if now_ns < self.divided_until_ns else 1
        cdef int64_t moved_ns
        if account.seen_ns < now_ns:
            moved_ns = tat_ns - max(account.seen_ns, since_ns)
            return min(moved_ns // account.token_ns // share * account.token_ns, _MOST_NS) if moved_ns > 0 else 0
        moved_ns = tat_ns - account.seen_ns
        if moved_ns >= 0:
            return min(moved_ns, _MOST_NS) // share
        if tat_ns == 0:  # evicted
            return 0
        moved_ns = account.seen_ns - max(tat_ns, now_ns)
        return -max(0, min(moved_ns // share, account.own_ns - now_ns))

    cdef void fade(self, Account *account, int64_t now_ns) noexcept:
        """Let what is untold become less with time."""
        cdef int64_t alone_ns, lonely_ns, idle_ns
        if now_ns <= account.reckoned_ns:
            return
        alone_ns = self.alone_ns(now_ns)
        lonely_ns = alone_ns - account.alone_ns
        idle_ns = 0 if account.hot else now_ns - account.reckoned_ns - lonely_ns
        account.untold_ns = self.faded(account.untold_ns, min(lonely_ns, now_ns - account.agreed_ns), idle_ns)
        account.reckoned_ns, account.alone_ns = now_ns, alone_ns

    cdef int64_t faded(self, int64_t untold_ns, int64_t lonely_ns, int64_t idle_ns) noexcept:
        """Return what is left after a time without a store, and one with it in which the bucket was not hot."""
        if untold_ns <= 0:
            return untold_ns
        return max(0, untold_ns - max(0, lonely_ns) // self.nodes - max(0, idle_ns) // (_KEPT * self.nodes))

    cdef int64_t alone_ns(self, int64_t now_ns) noexcept:
        return self.was_alone_ns + (now_ns - self.turned_ns if self.alone else 0)

    cdef void sweep(self, int64_t now_ns) noexcept:
        """Close some accounts of buckets that are full and that nobody need be told of; list what was lost, perhaps."""
        cdef Account *account
        cdef int64_t _
        for _ in range(min(max(_MOST_SWEPT, min(self.doubted, _RECALLED_AT_ONCE)), self.capacity)):
            account = self.accounts + self.hand
            self.hand = (self.hand + 1) % self.capacity
            if self.doubted > 0:
                self.doubted -= 1
                if account.key != 0 and account.agreed_ns > now_ns:
                    account.recalled = True
                    self.list(account)
            if account.key != 0 and not account.listed:
                self.fade(account, now_ns)
                if over(account, now_ns):
                    account.key = 0
                    self.count -= 1


cdef Question question_of(const Account *account):
    cdef Question question = Question.__new__(Question)
    question.key, question.number = account.key, account.number
    question.place = Place(account.key, account.number)
    question.full_ns, question.seen_ns = account.full_ns, account.seen_ns
    return question


def _fullness(Question question, int64_t now_ns):
    return <double>(question.seen_ns - now_ns) / question.full_ns
