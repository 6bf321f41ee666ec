"""
Answers that are kept for a moment, and single flight: of identical requests one goes to the keyserver.

    ask > hit: answered at once | ticket: this one goes, and keeps its answer | in flight: wait for the one that went

The cache is shared by the workers of a node (`fastpath.cache`). A flight of this worker tells those who wait for it
here at once; one of another worker is noticed within POLL_SECONDS, while somebody waits. When a flight has ended with
nothing to keep, one of those who waited leads the next, and the others wait for that; but nobody waits for more than
MOST_FLIGHTS, lest all queue for what cannot be shared.

A request is kept under its canonical target, its Host and the edition of its certificate, which an upload ends
(`fastpath.epochs`). What may not be shared is not kept: requests with a range, a condition, a cookie, credentials or
an Origin, and replies that say so (RFC 9111 section 3), but for no-cache: clients of keyservers send it with each
request, and mean "no older than you think right" (HKP.md 5.7).

What is kept is what is sent: the head as far as the value of Age, and the body. A large body goes out piece by piece
from a parcel, which all of its readers in this worker share (`parcel.pyx`).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from fastpath.buckets cimport hash_bytes, mix
from fastpath.cache cimport Hit, ReplyCache, Ticket
from fastpath.clock cimport monotonic_ns
from fastpath.epochs cimport Epochs
from proxy.http.exchange cimport WAITING, Exchange
from proxy.http.head cimport ReplyHead
from proxy.http.parcel cimport Parcel, Shelf
from proxy.http.text cimport Text, begin, length_field, put, put_number
from proxy.policy.subjects cimport Subjects

import re
from collections import deque
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from proxy.hkp.classes import OperationClass
from proxy.hkp.uploads import Upload
from proxy.http.parcel import PIECE_BYTES
from proxy.telemetry.numbers import CacheUse

cdef enum:
    MOST_WAITERS = 8192  # in one worker; whoever comes then goes for himself
    MOST_FLIGHTS = 2  # that one request waits for
    # Of the loop, so that a thousand who waited, or who read a large answer, do not stop the worker.
    ANSWERED_PER_TURN = 16
    WRITERS_PER_TURN = 4
    _SHELF_BYTES = 16_777_216
    NAMELESS = 0  # stands for all certificates: it is uploaded when nobody knows what was

POLL_SECONDS = 0.005
SHELF_BYTES = _SHELF_BYTES
cdef int _CERT = OperationClass.CERT
cdef int _UPLOAD = OperationClass.UPLOAD
cdef int _ADMIN = OperationClass.ADMIN
cdef int _STATS = OperationClass.STATS
cdef int _PREFIXLOG = OperationClass.PREFIXLOG
cdef int _HIT = CacheUse.HIT
cdef int _JOINED = CacheUse.JOINED
cdef int _MISS = CacheUse.MISS
cdef Py_ssize_t _PIECE_BYTES = PIECE_BYTES
cdef int64_t GROWING_NS = 60 * <int64_t>1_000_000_000  # a list of what changed on a day that is not over
cdef object _DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
cdef bytes CRLF = b"\r\n"
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
        self.shelf = Shelf(_SHELF_BYTES)
        self.parcels = WeakValueDictionary()
        self.writers = deque()
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
            OperationClass.PREFIXLOG: cache.prefixlog_ns,
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
        cdef Py_ssize_t size = PyBytes_GET_SIZE(exchange.target)
        cdef bytes host = exchange.head.host or b""
        cdef uint64_t k0 = self.subjects.k0, k1 = self.subjects.k1, where
        where = mix(
            hash_bytes(k0, k1, <const unsigned char *>host, len(host)), self._edition(exchange), exchange.kind
        )
        exchange.cache_key = mix(hash_bytes(k0, k1, target, size), where, 0)
        self.replies.approach(exchange.cache_key)
        exchange.cache_check = mix(hash_bytes(k1, k0, target, size), where, 1)
        found = self.replies.look_up(exchange.cache_key, exchange.cache_check, monotonic_ns())
        if isinstance(found, Hit):
            return self._serve(exchange, <Hit>found)
        if not isinstance(found, Ticket):
            return self._wait(exchange, found)
        exchange.ticket = found
        return exchange.fetch()

    cdef uint64_t _edition(self, Exchange exchange) except? 0:
        """Return the word that changes when the certificate that is asked for does, or nobody knows which did."""
        cdef uint64_t edition = self.epochs.of(NAMELESS)
        return mix(0, edition, self.epochs.of(exchange.certificate)) if exchange.certificate else edition

    # Waiting for a flight.

    cdef int _wait(self, Exchange exchange, uint64_t number) except -1:
        """Let a request wait for a flight, if there is room for one more and it has not waited enough."""
        if self.waiters >= MOST_WAITERS or exchange.flights >= MOST_FLIGHTS:
            return exchange.fetch()
        flight = self.waiting.setdefault(exchange.cache_key, [number, []])
        flight[0] = number
        flight[1].append(exchange)
        self.waiters += 1
        exchange.flights += 1
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
        for each in waiting:
            each.in_flight = False
        if isinstance(found, Ticket):
            first.ticket = found
        self._answer_some(waiting, found if isinstance(found, Hit) else None)
        return 0

    def _settle_soon(self, key):
        self._settle(key)

    def _answer_some(self, waiting, Hit hit):
        """Answer those who waited, or let them go on, some in each turn."""
        cdef Exchange each
        for each in waiting[:ANSWERED_PER_TURN]:
            if each.phase != WAITING:  # its client has gone meanwhile
                continue
            try:
                self._go_on_with(each, hit)
            except Exception as error:
                each.crashed(error)
        if len(waiting) > ANSWERED_PER_TURN:
            self.loop.call_soon(self._answer_some, waiting[ANSWERED_PER_TURN:], hit)

    cdef int _go_on_with(self, Exchange exchange, Hit hit) except -1:
        """Answer one that waited. Without an answer it leads the next flight, waits for that, or goes for itself."""
        if hit is not None:
            return self._serve(exchange, hit)
        if exchange.ticket is not None or exchange.flights >= MOST_FLIGHTS:
            return exchange.fetch()
        return self.ask(exchange)

    cdef int leave(self, Exchange exchange) except -1:
        """Forget one that waited: its client has gone."""
        flight = self.waiting[exchange.cache_key]
        flight[1].remove(exchange)
        self.waiters -= 1
        exchange.in_flight = False
        if not flight[1]:
            del self.waiting[exchange.cache_key]
        return 0

    # Leading one.

    cdef Parcel capture(self, Exchange exchange, ReplyHead reply):
        """Return a parcel for the body of a reply that is still coming; None, and the flight is over: it is not kept."""
        cdef Py_ssize_t room = self.replies.largest - PyBytes_GET_SIZE(_kept_head(reply, self.replies.largest))
        if reply.length <= room and self._time_of(exchange, reply):
            return Parcel(self.shelf, room)
        exchange.was_large(reply.length)
        self.give_up(exchange)
        return None

    cdef int keep(self, Exchange exchange, ReplyHead reply, bytes body, Parcel parcel) except -1:
        """Keep the answer for which others may wait, in one piece or in a parcel, if it may be kept."""
        cdef int64_t kept_ns = self._time_of(exchange, reply), now_ns = monotonic_ns()
        cdef bytes head
        if kept_ns == 0:
            return self.give_up(exchange)
        head = _kept_head(reply, len(body) if parcel is None else parcel.size)
        self.replies.put(
            exchange.ticket, head + body if parcel is None else parcel.joined(head), now_ns + kept_ns, now_ns,
            <uint64_t>reply.status << 32 | <uint64_t>len(head),
        )
        return self._land(exchange)

    cdef int give_up(self, Exchange exchange) except -1:
        """There is no answer to keep."""
        self.replies.give_up(exchange.ticket)
        return self._land(exchange)

    cdef int _land(self, Exchange exchange) except -1:
        """Tell those who wait here that the flight is over."""
        exchange.ticket = None
        if exchange.cache_key in self.waiting:
            self.loop.call_soon(self._settle_soon, exchange.cache_key)
        return 0

    cdef int64_t _time_of(self, Exchange exchange, ReplyHead reply) except -1:
        """Return how long a reply may be kept; 0: not at all."""
        cdef int64_t kept_ns = self.kept_ns[exchange.kind]
        if reply.status == 404:
            kept_ns = min(kept_ns, self.missing_ns)
        elif reply.status != 200:
            return 0
        elif exchange.kind == _PREFIXLOG and not is_over(exchange.subject, datetime.now(UTC)):
            kept_ns = min(kept_ns, GROWING_NS)
        return 0 if kept_ns == 0 or _PRIVATE.search(reply.block) is not None else kept_ns

    # What is kept.

    cdef int _serve(self, Exchange exchange, Hit hit) except -1:
        """Answer from what is kept; if a large answer finds no room, the request goes for itself."""
        cdef Py_ssize_t head_bytes = hit.note & 0xFFFFFFFF
        cdef Py_ssize_t body_bytes = PyBytes_GET_SIZE(hit.data) - head_bytes
        cdef Parcel parcel = None
        if body_bytes > _PIECE_BYTES:
            parcel = self._parcel_of(exchange, hit, head_bytes)
            if parcel is None:
                return exchange.fetch()
            body_bytes = 0
        exchange.cache_use = _JOINED if exchange.flights else _HIT
        return exchange.serve(
            hit.note >> 32, _with_age(hit, head_bytes, body_bytes, exchange.connection_field()), parcel
        )

    cdef Parcel _parcel_of(self, Exchange exchange, Hit hit, Py_ssize_t head_bytes):
        """Return the body of a large reply, which others may be reading already; None if there is no room for it."""
        cdef Parcel parcel = self.parcels.get(exchange.cache_key)
        if parcel is None or parcel.stored_ns != hit.stored_ns:
            parcel = Parcel(self.shelf, self.replies.largest)
            parcel.stored_ns = hit.stored_ns
            if not parcel.fill(hit.data, head_bytes):
                return None
            self.parcels[exchange.cache_key] = parcel
        return parcel

    cdef int write_later(self, Exchange exchange) except -1:
        """Let an exchange write more of its parcel when others have had their turn."""
        self.writers.append(exchange)
        if not self.writing:
            self.writing = True
            self.loop.call_soon(self._write_some)
        return 0

    def _write_some(self):
        cdef Exchange exchange
        for _ in range(min(len(self.writers), WRITERS_PER_TURN)):
            exchange = self.writers.popleft()
            try:
                exchange.write_more()
            except Exception as error:
                exchange.crashed(error)
        self.writing = len(self.writers) > 0
        if self.writing:
            self.loop.call_soon(self._write_some)

    cdef int uploaded(self, Exchange exchange) except -1:
        """Forget what is kept of the certificates in an upload that the keyserver was sent; if nobody read it, of all."""
        found = exchange.intake.found
        if isinstance(found, Upload):
            for cert in found.certs:
                self.epochs.advance(self.subjects.certificate(cert.fingerprint))
        elif (exchange.kind == _UPLOAD or exchange.kind == _ADMIN) and not 400 <= exchange.status < 500:
            self.epochs.advance(NAMELESS)
        return 0


cdef bytes _kept_head(ReplyHead reply, Py_ssize_t body_bytes):
    """Return the head of a reply that is to be kept, as far as the value of Age."""
    return b"".join((
        reply.block,
        b"Via: 1.1 hkpguard\r\n" if reply.minor else b"Via: 1.0 hkpguard\r\n",
        length_field(body_bytes),
        b"Age: ",
    ))


cdef bytes _with_age(Hit hit, Py_ssize_t head_bytes, Py_ssize_t body_bytes, bytes connection):
    """Return what is sent of a kept reply: one allocation, whatever its size."""
    cdef Text text
    cdef const char *data = PyBytes_AS_STRING(hit.data)
    cdef bytes out
    cdef char *to
    begin(&text)
    put_number(&text, hit.age_ns // 1_000_000_000)
    put(&text, CRLF)
    put(&text, connection)
    put(&text, CRLF)
    out = PyBytes_FromStringAndSize(NULL, head_bytes + text.size + body_bytes)
    to = PyBytes_AS_STRING(out)
    memcpy(to, data, head_bytes)
    memcpy(to + head_bytes, text.data, text.size)
    memcpy(to + head_bytes + text.size, data + head_bytes, body_bytes)
    return out


cpdef bint is_over(str day, object now) except -1:
    return _DATE.fullmatch(day) is not None and day < now.date().isoformat()
