"""
Answers that are kept for a moment, and single flight: of identical requests one goes to the keyserver.

    ask > hit: answered at once | ticket: this one goes, and keeps its answer | in flight: wait for the one that went

The cache is shared by the workers of a node (`fastpath.cache`). A flight of this worker tells those who wait for it
here at once; one of another worker is noticed within POLL_SECONDS, while somebody waits. A flight that ends with
nothing to keep lets all who waited go for themselves, so that they need not queue one behind the other.

A request is kept under its canonical target, its Host and the epoch of its certificate, which an upload ends
(`fastpath.epochs`). What may not be shared is not kept: requests with a range, a condition, a cookie, credentials or
an Origin, and replies that say so (RFC 9111 section 3), but for no-cache: clients of keyservers send it with each
request, and mean "no older than you think right" (HKP.md 5.7).
"""

from libc.stdint cimport int64_t, uint64_t

from fastpath.buckets cimport hash_bytes, mix
from fastpath.cache cimport Hit, ReplyCache, Ticket
from fastpath.clock cimport monotonic_ns
from fastpath.epochs cimport Epochs
from proxy.http.exchange cimport WAITING, Exchange
from proxy.http.head cimport ReplyHead
from proxy.policy.subjects cimport Subjects

import re

from fastpath.cache import LARGEST_REPLY
from proxy.hkp.classes import OperationClass
from proxy.hkp.uploads import Upload

cdef enum:
    MOST_WAITERS = 8192  # in one worker; whoever comes then goes for himself
    HEAD_BYTES = 4  # of a kept reply: status, size of its block

POLL_SECONDS = 0.005
cdef int _CERT = OperationClass.CERT
cdef int _STATS = OperationClass.STATS
cdef Py_ssize_t _LARGEST = LARGEST_REPLY - 65_536  # the head of the reply comes on top
# Fields that make a reply one for its client alone, or one that a cache would have to understand.
cdef object _PRIVATE = re.compile(
    rb"\r\n(?:set-cookie|content-encoding|content-range|age|www-authenticate)\s*:"
    rb"|\r\ncache-control\s*:[^\r]*(?:no-store|private)"
    rb"|\r\nvary\s*:(?!\s*(?:origin|accept-encoding)(?:\s*,\s*(?:origin|accept-encoding))*\s*\r)",
    re.IGNORECASE,
)


cdef class MicroCache:

    def __init__(self, loop, ReplyCache replies not None, Epochs epochs not None, Subjects subjects not None, config):
        self.loop = loop
        self.replies = replies
        self.epochs = epochs
        self.subjects = subjects
        self.waiting = {}
        self.reload(config)

    def reload(self, config):
        cache = config.cache
        self.on = cache.mode == "on"
        times = {
            OperationClass.CERT: cache.cert_ns,
            OperationClass.IDENTITY: cache.search_ns,
            OperationClass.WORDS: cache.search_ns,
            OperationClass.STATS: cache.stats_ns,
        }
        for kind in OperationClass:
            self.kept_ns[kind] = times.get(kind, 0)
        self.missing_ns = cache.missing_ns

    cdef bint covers(self, Exchange exchange) except -1:
        """Whether the answer to a request may come from here, and be kept here."""
        if not self.on or exchange.intake is not None or exchange.head.special or exchange.head.method != "GET":
            return False
        if exchange.kind == _STATS and b"stats" not in exchange.target:  # health checks are there to be done
            return False
        return self.kept_ns[exchange.kind] > 0

    cdef int ask(self, Exchange exchange) except -1:
        """Answer a request that is covered, or let it go to the keyserver, or let it wait for one that went."""
        cdef const unsigned char *target = exchange.target
        cdef bytes host = exchange.head.host or b""
        cdef uint64_t k0 = self.subjects.k0, k1 = self.subjects.k1, where
        where = mix(
            hash_bytes(k0, k1, <const unsigned char *>host, len(host)),
            self.epochs.of(self.subjects.counted(exchange.kind, exchange.subject)), exchange.kind,
        )
        exchange.cache_key = mix(hash_bytes(k0, k1, target, len(exchange.target)), where, 0)
        exchange.cache_check = mix(hash_bytes(k1, k0, target, len(exchange.target)), where, 1)
        found = self.replies.look_up(exchange.cache_key, exchange.cache_check, monotonic_ns())
        if isinstance(found, Hit):
            return _serve(exchange, <Hit>found)
        if isinstance(found, Ticket):
            exchange.ticket = found
            return exchange.fetch()
        if self.waiters >= MOST_WAITERS:
            return exchange.fetch()
        flight = self.waiting.setdefault(exchange.cache_key, [found, []])
        if flight[0] != found:
            flight[0] = found
        flight[1].append(exchange)
        self.waiters += 1
        exchange.phase = WAITING
        exchange.in_flight = True
        exchange.connection.watch()
        return self._arm()

    cdef int _arm(self) except -1:
        if self.waiting and self.timer is None:
            self.timer = self.loop.call_later(POLL_SECONDS, self._poll)
        return 0

    def _poll(self):
        self.timer = None
        for key in list(self.waiting):
            self._settle(key)
        self._arm()

    cdef int _settle(self, uint64_t key) except -1:
        """See what has become of the flight that some wait for."""
        cdef Exchange first, each
        if key not in self.waiting:
            return 0
        number, waiting = self.waiting[key]
        first = waiting[0]
        found = self.replies.look_up(key, first.cache_check, monotonic_ns())
        if not isinstance(found, (Hit, Ticket)) and found == number:
            return 0
        del self.waiting[key]
        self.waiters -= len(waiting)
        if isinstance(found, Ticket):
            first.ticket = found
        for each in waiting:
            each.in_flight = False
        for each in waiting:
            try:
                if isinstance(found, Hit):
                    _serve(each, <Hit>found)
                else:
                    each.fetch()
            except Exception as error:
                each.crashed(error)
        return 0

    def _settle_soon(self, key):
        self._settle(key)

    cdef int keep(self, Exchange exchange, ReplyHead reply, bytes body) except -1:
        """Keep the answer for which others may wait, if it may be kept."""
        cdef int64_t now_ns = monotonic_ns(), kept_ns = self.kept_ns[exchange.kind]
        ticket, exchange.ticket = exchange.ticket, None
        if reply.status == 404:
            kept_ns = min(kept_ns, self.missing_ns)
        elif reply.status != 200:
            kept_ns = 0
        if kept_ns <= 0 or len(body) > _LARGEST or _PRIVATE.search(reply.block) is not None:
            self.replies.give_up(ticket)
        else:
            head = reply.status.to_bytes(2) + len(reply.block).to_bytes(2)
            self.replies.put(ticket, b"".join((head, reply.block, body)), now_ns + kept_ns, now_ns)
        if exchange.cache_key in self.waiting:
            self.loop.call_soon(self._settle_soon, exchange.cache_key)
        return 0

    cdef int give_up(self, Exchange exchange) except -1:
        """There is no answer to keep."""
        ticket, exchange.ticket = exchange.ticket, None
        self.replies.give_up(ticket)
        if exchange.cache_key in self.waiting:
            self.loop.call_soon(self._settle_soon, exchange.cache_key)
        return 0

    cdef int leave(self, Exchange exchange) except -1:
        """Forget one that waited: its client has gone."""
        flight = self.waiting[exchange.cache_key]
        flight[1].remove(exchange)
        self.waiters -= 1
        exchange.in_flight = False
        if not flight[1]:
            del self.waiting[exchange.cache_key]
        return 0

    cdef int uploaded(self, object found) except -1:
        """Forget what is kept of the certificates in an upload."""
        if isinstance(found, Upload):
            for cert in found.certs:
                self.epochs.advance(self.subjects.counted(_CERT, cert.fingerprint))
        return 0


cdef int _serve(Exchange exchange, Hit hit) except -1:
    """Answer from what is kept."""
    cdef bytes data = hit.data
    cdef const unsigned char *numbers = data
    cdef const char *block = <const char *>numbers + HEAD_BYTES
    cdef Py_ssize_t block_bytes = numbers[2] << 8 | numbers[3]
    cdef Py_ssize_t body_bytes = len(data) - HEAD_BYTES - block_bytes
    return exchange.serve(
        numbers[0] << 8 | numbers[1], block[:block_bytes], block[block_bytes:block_bytes + body_bytes],
        hit.age_ns // 1_000_000_000,
    )
