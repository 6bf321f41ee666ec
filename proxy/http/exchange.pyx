"""
One request and its reply: gather, decide, act.

    read head > identify > classify > judge > act > relay > settle > record

A body is read whole, and looked at, before the request goes on (intake.py): after `judge`, so that who is refused need
not send it, and before any wait or place among the uploads.

`ClientConnection` reads the head and makes an `Exchange`; `run` takes it as far as it goes at once, callbacks of the
upstream, a timer or the turnstile take it further. It ends in `_finish`, exactly once, whatever happens: reply
relayed, refused, upstream lost, client gone.

A request of a strict class asks the cluster as well (claims.py), as soon as the node has let it through: before its body is
asked for about what it costs by itself, and when that is there about what is in it.

What a refused request has paid: nothing (`judge` takes all or nothing), but for an upload that is refused for what it
holds: we had to read it. What a request that was parked or queued and never sent has paid: nothing, it is refunded.
"""

from cpython.unicode cimport PyUnicode_AsASCIIString
from libc.stdint cimport int64_t, uint64_t

from fastpath.buckets cimport mix
from fastpath.clock cimport monotonic_ns
from fastpath.costs cimport Toll
from fastpath.table cimport elsewhere
from proxy.hkp.common cimport common_get
from proxy.http.client cimport ClientConnection
from proxy.http.guard cimport Guard
from proxy.http.head cimport ReplyHead, RequestHead
from proxy.http.refusal cimport unavailable_status, wants_problem
from proxy.http.text cimport chunk_head, hex16, length_field
from proxy.http.upstream cimport UpstreamConnection
from proxy.policy.judge cimport Client, Facts, Verdict, allowed, decide, exempted, facts_of
from proxy.policy.subjects cimport Subjects

from proxy.hkp.canonical import BadTarget
from proxy.hkp.classes import PRICES, OperationClass
from proxy.hkp.endpoints import LOOKUP
from proxy.hkp.bodies import BadBody
from proxy.http.captive import by_browser, evidence
from proxy.http.chunks import ChunkError
from proxy.http.intake import Intake, NoRoom
from proxy.http.turnstile import Place
from fastpath import BUCKETS, Mode
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import TEXTS
from proxy.policy.claim import Decision, take_of
from proxy.telemetry.numbers import CacheUse

cdef enum:
    FAT = 0  # the turnstile of dear subjects: no request is of class TOTAL
    SERVICE_US = 1000  # a token buys so much of the keyserver's time, or so many bytes
    SIZE_BYTES = 65_536
    DEAR_TOKENS = 5
    MOST_CHARGE = 300
    MOST_OF_GET = 20  # a refresh of 300 keys must survive that every tenth comes late
    USUAL_TIMES = 2  # what takes twice as long as usual is slow, not dear
    # The usual time follows by an eighth when it was more, by a 64th when it was less: nine of ten take no longer.
    UP_PART = 8
    DOWN_PART = 64
    MOST_ATTEMPTS = 2
    LARGE_BODY = 65_536  # bytes
    PIECES_PER_TURN = 2  # of a parcel, so that a large reply does not stop the worker
    UPLOAD_TIMES = 4  # a body may take this many times as long as one pause in it

cdef int _ALLOW = Action.ALLOW
cdef int _DELAY = Action.DELAY
cdef int _LIMIT = Action.LIMIT
cdef int _DENY = Action.DENY
cdef int _TARPIT = Action.TARPIT
cdef int _UNKNOWN = OperationClass.UNKNOWN
cdef int _WORDS = OperationClass.WORDS
cdef int _CERT = OperationClass.CERT
cdef int _UPLOAD = OperationClass.UPLOAD
cdef int _MISS = CacheUse.MISS
cdef int _CERT_PRICE = PRICES[OperationClass.CERT]
cdef int _GONE = Reason.GONE
cdef int _BY_LIMIT = Reason.LIMIT
cdef int _BY_BUDGET = Reason.BUDGET
cdef int _CLASSES = BUCKETS
cdef int _REFUSED = Decision.REFUSED
cdef int _UPSTREAM = Reason.UPSTREAM
cdef int _BUSY = Reason.BUSY
cdef int _TOO_LARGE = Reason.TOO_LARGE
cdef int _UNWANTED = Reason.UNWANTED
cdef int _TIMEOUT = Reason.TIMEOUT
cdef int _BANNED = Reason.BANNED
cdef int _TRAP = Reason.TRAP
cdef int _CANARY = Reason.CANARY
cdef frozenset SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
cdef bytes CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
cdef bytes CRLF = b"\r\n"
cdef bytes LAST_CHUNK = b"0\r\n\r\n"
cdef bytes CLOSE = b"Connection: close\r\n"
cdef bytes KEEP_ALIVE = b"Connection: keep-alive\r\n"
cdef bytes CHUNKED_FIELD = b"Transfer-Encoding: chunked\r\n"
cdef Verdict MALFORMED = Verdict(Action.DENY, Reason.MALFORMED, 400)
cdef Verdict TOO_LARGE = Verdict(Action.DENY, Reason.TOO_LARGE, 413)
cdef Verdict TIMEOUT = Verdict(Action.DENY, Reason.TIMEOUT, 408)
cdef Verdict TRAPPED = Verdict(Action.DENY, Reason.TRAP, 404)
cdef Verdict BUSY = Verdict(Action.LIMIT, Reason.BUSY, 429)
cdef Verdict CROWDED = Verdict(Action.LIMIT, Reason.CROWDED, 429)


cdef class Exchange:

    cdef Exchange begin(self, Guard guard, ClientConnection connection, RequestHead head):
        """Set out with a head that has just been read from `connection`."""
        self.guard = guard
        self.connection = connection
        self.head = head
        self.client = connection.client
        self.verdict = allowed
        self.kind = _UNKNOWN
        self.subject = ""
        self.subject_word = 1  # none yet; 0 would say that no head was read
        self.request_id = guard.next_request_id()
        self.phase = JUDGING
        self.tried = ()
        self.upstream_index = -1
        self.reusable = head.keep_alive
        self.started_ns = self.decided_ns = self.ready_ns = monotonic_ns()
        if head.length != 0 or head.method not in SAFE_METHODS:
            self.intake = Intake(head.length, self.client.key, guard.bodies, most_bytes=guard.body_bytes)
        return self

    # identify > classify > judge > act

    cdef int run(self) except -1:
        """Take the request from its head to the upstream, to a wait or to a refusal."""
        cdef Guard guard = self.guard
        self.client = self.connection.identify(self.head)
        try:
            facts = self._classify()
        except BadTarget:
            self.reusable = False
            if self.head.target.startswith(LOOKUP):
                self.kind = _WORDS  # a slip in a search, which is no offence
            return self._refuse(MALFORMED)
        if self.head.length > guard.body_bytes:
            return self._refuse(TOO_LARGE)
        if self.intake is not None and self.head.method in SAFE_METHODS:
            return self._refuse(MALFORMED)  # no such request has a use for a body, but it would hold a connection
        self.verdict = decide(facts, guard.checks, self.started_ns)
        self.times = facts.times
        self.decided_ns = monotonic_ns()
        self.due_ns = self.decided_ns + self.verdict.wait_ns
        return self._act()

    cdef Facts _classify(self):
        """Find out what is asked for."""
        cdef RequestHead head = self.head
        cdef str digits = common_get(head.method, head.target)
        if digits is not None:
            self.kind, self.price, self.subject = _CERT, _CERT_PRICE, digits
            self.target = PyUnicode_AsASCIIString(head.target)
            return self._facts(0, "", self._canary())
        operation = self.guard.classify(head.method, head.target)
        self.kind, self.subject, self.price, self.target, refused, allow, trap = operation
        if trap and by_browser(head):
            trap = False  # an unknown path like others
        return self._facts(refused, allow, _TRAP if trap else self._canary())

    cdef Facts _facts(self, int refused, str allow, int trap):
        """Gather what the checks look at."""
        cdef Subjects subjects = self.guard.subjects
        cdef Toll toll
        cdef uint64_t counted, domain
        self.subject_word = subjects.word(self.subject)
        self.guard.costs.approach(self.subject_word)
        if self.kind == _CERT:
            self.certificate = subjects.certificate(self.subject)
            self.guard.cache.epochs.approach(self.certificate)
        counted, domain = subjects.counted(self.kind, self.subject), subjects.domain(self.kind, self.subject)
        if _CERT <= self.kind <= _WORDS and self.guard.costs.find(self.subject_word, self.started_ns, &toll):
            self.dear = True
            self.price = max(self.price, min(_most_charge(self.kind), _tokens(toll.service_us, toll.size_bytes)))
        return facts_of(self.client, self.kind, self.price, refused, allow, trap, counted, domain)

    cdef int _canary(self) except -1:
        """Return Reason.CANARY if the operator has set the subject as a trap, else 0."""
        if not self.guard.canaries or self.subject not in self.guard.canaries or by_browser(self.head):
            return 0
        return _CANARY

    cdef int _act(self) except -1:
        if self.verdict.action <= _DELAY:
            return self._claim_own() if self.guard.strict >> self.kind & 1 else self._begin_body()
        if self.verdict.action == _TARPIT:
            return self._hold()
        if self.verdict.reason == _BANNED:
            self.reusable = False
        return self._refuse(self.verdict)

    cdef int _begin_body(self) except -1:
        """The head is good: read the body, if there is one."""
        return self._go_on() if self.intake is None else self._read_body()

    # Of a strict class: judge again, by what the whole cluster says.

    cdef int _claim_own(self) except -1:
        """Ask the cluster for what the request took of the limit of its class."""
        cdef int64_t cost_ns = 0
        limit = self.client.limits[self.kind]
        if limit is not None and limit.mode is Mode.ENFORCE and self.verdict is not exempted:
            cost_ns = self.client.compiled.cost_ns(self.kind, self.times)
        if cost_ns == 0:
            return self._begin_body()
        return self._claim([take_of(limit, self.kind, self.client.key, cost_ns)], self.started_ns)

    cdef int _claim(self, list takes, int64_t since_ns) except -1:
        """Ask for tokens, and go on with the answer; the connection is watched meanwhile, as when it is parked."""
        self.claim = self.guard.claims.ask(takes, since_ns, self._answered) if takes else 0
        if not self.claim:
            return self._granted()
        self.phase = WAITING
        self.connection.watch()
        return 0

    def _answered(self, answer):
        """Go on: the cluster has answered; None: not in time."""
        self.claim = 0
        try:
            if answer is not None and answer.decision == _REFUSED:
                self._refused_elsewhere(answer)
                return
            if answer is not None and answer.after_ns:
                self._wait_elsewhere(answer)
            self._granted()
        except Exception as error:
            self.crashed(error)

    cdef int _granted(self) except -1:
        """Nobody objects, or nobody is there who could."""
        if self.body_taken is None:
            return self._begin_body()
        self.deposit = self.guard.contents.keep(self.body_taken, self.ready_ns)
        self.body_taken = None
        return self._go_on()

    cdef int _refused_elsewhere(self, answer) except -1:
        """Refuse what other nodes have left no tokens for, as if it had been refused here."""
        cdef int bucket = answer.bucket
        spending = elsewhere(bucket, 0, max(1, <int64_t>answer.after_ns), answer.reset_ns)
        if self.body_taken is not None:
            self.guard.contents.turn_away(self.body_taken, monotonic_ns())
            self.body_taken = self.deposit = None
        self._refund()
        return self._refuse(
            Verdict(_LIMIT, _BY_LIMIT if bucket < _CLASSES else _BY_BUDGET, 429, 0, spending, text=TEXTS.get(bucket, ""))
        )

    cdef int _wait_elsewhere(self, answer) except -1:
        """Wait for tokens of the cluster, if they come later than those of the node."""
        cdef int bucket = answer.bucket
        cdef int64_t now_ns = monotonic_ns(), wait_ns = answer.after_ns
        if now_ns + wait_ns > self.due_ns:
            self.due_ns = now_ns + wait_ns
            self.verdict = Verdict(
                _DELAY, _BY_LIMIT if bucket < _CLASSES else _BY_BUDGET, 0, wait_ns,
                elsewhere(bucket, wait_ns, 0, answer.reset_ns),
            )
        return 0

    cdef int _go_on(self) except -1:
        """The request is complete: wait for its tokens, or go on at once."""
        return self._park() if self.verdict.action == _DELAY else self._enter()

    cdef int _hold(self) except -1:
        """Leave the client to the tarpit; if there is no room in it, answer as if there were nothing here."""
        self.subject = evidence(self.head)
        if self.body_unfinished() or not self.connection.hold():
            return self._refuse(TRAPPED)
        self.phase = FINISHED
        self.guard.recorder.exchange(self, monotonic_ns())
        return 0

    cdef int _park(self) except -1:
        """Wait for the tokens that are reserved; the connection is watched, so that a client that leaves is noticed."""
        cdef Guard guard = self.guard
        if guard.parked >= guard.most_parked:
            self._refund()
            return self._refuse(CROWDED)
        guard.parked += 1
        self.phase = WAITING
        self.wait_ns = max(0, self.due_ns - monotonic_ns())  # reading a body took its time
        self.timer = guard.loop.call_later(self.wait_ns / 1e9, self._unpark)
        self.connection.watch()
        return 0

    def _unpark(self):
        self.timer = None
        self.guard.parked -= 1
        try:
            self._enter()
        except Exception as error:
            self.crashed(error)

    def crashed(self, error):
        """A callback raised: that is our bug, and costs this connection, not the worker."""
        self.guard.loop.call_exception_handler({"message": "an exchange was given up", "exception": error})
        self.connection.stream.abort()

    cdef int _enter(self) except -1:
        """Look for an answer in the cache, or go for one."""
        if not self.guard.cache.covers(self):
            return self.fetch()
        self.cache_use = _MISS
        return self.guard.cache.ask(self)

    cdef int serve(self, int status, bytes reply, Parcel rest) except -1:
        """Answer with a reply that was kept, or its head and the rest of it in a parcel."""
        self.status = status
        self.guard.misses.note(self.client, self.kind, self.subject, status, monotonic_ns())
        if self.dear and self.price > PRICES[self.kind]:  # nothing was asked of the keyserver
            self.guard.table.give_back(
                self.client.compiled, self.client.key, self.price - PRICES[self.kind], monotonic_ns()
            )
        self._write(reply)
        if rest is None:
            return self._finish()
        self.phase = RELAYING
        self.parcel = rest
        self.whole = True
        return self.guard.cache.write_later(self)  # reading it from the cache was work enough for one turn

    cdef int fetch(self) except -1:
        """Find a place among the requests of this class, and of this subject if it is dear, where there are caps."""
        cdef Guard guard = self.guard
        cdef Toll toll
        if self.verdict is exempted:
            return self._dispatch()
        if self.flights and not self.dear:  # it may have been found out while this one waited
            self.dear = guard.costs.find(self.subject_word, monotonic_ns(), &toll)
        cap = self.client.caps[self.kind]
        if cap is not None:
            self._want(guard.turnstiles[self.kind], self.client.key, cap)
        if self.dear and guard.fat_caps:
            of_client, of_all = guard.fat_caps
            self._want(guard.turnstiles[FAT], mix(FAT, self.subject_word, self.client.key), of_client)
            self._want(guard.turnstiles[FAT], mix(FAT, self.subject_word, 0), of_all)
        return self._take_places()

    cdef int _want(self, turnstile, uint64_t key, cap) except -1:
        if self.places is None:
            self.places = []
        self.places.append(Place(turnstile, key, cap, self._entered, self._turned_away))
        return 0

    cdef int _take_places(self) except -1:
        """Ask for the next place, or go on with all of them."""
        if self.places is None or self.taken == len(self.places):
            return self._dispatch()
        self.phase = WAITING
        self.connection.watch()
        self.taken += 1
        self.places[self.taken - 1].enter()
        return 0

    def _entered(self):
        """Go on: the turnstile found a place."""
        try:
            self._take_places()
        except Exception as error:
            self.crashed(error)

    def _turned_away(self, cap):
        """Give up, or go on if the cap is only in shadow mode: no place became free in time."""
        if not cap.enforced:
            self.verdict = Verdict(_ALLOW, _BUSY, 0, 0, None, _LIMIT)
            self._entered()
            return
        self._refund()
        self._refuse(BUSY)

    # The body.

    cdef int _read_body(self) except -1:
        """Ask for the body, and read it."""
        cdef bint tolerant = self.kind == _UPLOAD and self.guard.uploads_in_shadow
        self.phase = READING
        self.body_until_ns = monotonic_ns() + UPLOAD_TIMES * self.guard.body_ns
        try:
            reader = self.guard.reader_for(
                self.kind, self.target, self.head.content_type, self.head.length, encoded=self.head.encoded
            )
        except BadBody as objection:
            if not tolerant:
                return self._give_up_body(_unwanted(objection))
            self.intake.objection, reader = objection, None
        self.intake.begin(reader, self._make_room, tolerant=tolerant)
        if self.head.expects_continue:
            self.connection.stream.write(CONTINUE)
        if self.head.length == 0:
            return self.body_received(b"")
        return self.connection.feed_body()

    cdef int body_received(self, bytes data) except -1:
        """Take a piece of the body; what comes after its end goes back to the connection, before anything else."""
        cdef Verdict objection = None
        try:
            self.intake.feed(data)
        except ChunkError:
            objection = MALFORMED
        except BadBody as found:
            objection = _unwanted(found)
        self.received = self.intake.size
        if self.intake.done and data:
            self.connection.buffer = self.intake.rest
        if objection is not None:
            return self._give_up_body(objection)
        if self.intake.done:
            self.ready_ns = monotonic_ns()
            return self._when_others_had_theirs(False) if self.intake.size > LARGE_BODY else self._judge_body()
        return 0

    cdef int _when_others_had_theirs(self, bint judged) except -1:
        """
        Have a turn later: to read the end of a large body, to judge what is in it and to remember that is each enough for
        one.
        """
        loop = self.guard.loop
        self.phase = WAITING
        loop.call_soon(loop.call_soon, self._take_turn, judged)  # what is called soon comes before the loop polls again
        return 0

    def _take_turn(self, bint judged):
        if self.phase != WAITING:  # the client went away
            return
        try:
            if judged:
                self._granted()
            else:
                self._judge_body()
        except Exception as error:
            self.crashed(error)

    cdef int _judge_body(self) except -1:
        """Decide about what was found in the body."""
        cdef Verdict verdict = None
        if self.kind == _UPLOAD and self.intake.found is not None:
            self._name_certificate()
            if self.verdict is not exempted and not self.client.peer:
                self.guard.recorder.user_ids(self.client, self.intake.found.certs)
        if self.intake.objection is not None:
            verdict = Verdict(_ALLOW, _UNWANTED, 0, 0, None, _DENY)
        elif self.intake.found is not None and self.verdict is not exempted:
            self.body_taken = self.guard.contents.take(self.client, self.intake.found, self.ready_ns)
            verdict, self.deposit = self.body_taken.verdict, self.body_taken.paid
        if verdict is None:
            return self._claim_body()
        if verdict.action == _LIMIT:
            self.body_taken = self.deposit = None
            self._refund()
            return self._refuse(verdict)
        if self.ready_ns + verdict.wait_ns >= self.due_ns:  # the longer of the two waits
            self.due_ns = self.ready_ns + verdict.wait_ns
            self.verdict = verdict
        elif verdict.shadow:  # it waits for its own token all the same, and both are told
            self.verdict = Verdict(
                self.verdict.action, verdict.reason, 0, self.verdict.wait_ns, self.verdict.spending, verdict.shadow
            )
        return self._claim_body()

    cdef int _claim_body(self) except -1:
        """Ask the cluster for what the body takes, if its class is strict."""
        if self.body_taken is None:
            return self._go_on()
        if self.guard.strict >> self.kind & 1:
            return self._claim(self.body_taken.takes(), self.ready_ns)
        return self._when_others_had_theirs(True) if self.intake.size > LARGE_BODY else self._granted()

    cdef int _name_certificate(self) except -1:
        """Let the record tell which certificate is uploaded; where there are several, none is what it is about."""
        certs = self.intake.found.certs
        if len(certs) == 1:
            self.subject = certs[0].fingerprint
        return 0

    cdef bint body_unfinished(self):
        """Whether the client has not sent all of its request."""
        return self.intake is not None and not self.intake.done

    cdef bint wants_body(self):
        """Whether more of the request body is to come."""
        return self.phase == READING and not self.intake.done

    cdef int body_timed_out(self) except -1:
        """Give up on a client that stopped sending its body."""
        return self._give_up_body(TIMEOUT)

    def _make_room(self):
        """Give this body up, which has taken longest, for the sake of others."""
        self._give_up_body(_unwanted(NoRoom()))

    cdef int _give_up_body(self, Verdict verdict) except -1:
        """Refuse a request because of its body. An upload that was read and is no good is paid for."""
        if not self.intake.done:
            self.reusable = False
        if self.kind != _UPLOAD or verdict.reason == _BUSY or verdict.reason == _TIMEOUT:
            self._refund()
        return self._refuse(verdict)

    # To the upstream.

    cdef int _dispatch(self) except -1:
        self.phase = SENDING
        self.guard.upstreams.dispatch(self)
        return 0

    cdef bint waits(self):
        """Whether it waits: for its time, or for a connection to the upstream."""
        return self.phase == WAITING or self in self.guard.upstreams.waiting

    cdef bint repeatable(self):
        """Whether it may be sent again after a connection died without a reply (RFC 9110 section 9.2.2)."""
        return self.intake is None and self.head.method in SAFE_METHODS

    cdef int repeat(self, UpstreamConnection lost) except -1:
        """
        Send again what died with `lost`: once more to the same upstream if the connection may just have been old,
        else to another one. Each upstream is asked twice at most.
        """
        self.upstream = None
        if not lost.used or self.attempts >= MOST_ATTEMPTS:
            self.tried += (lost.upstream,)
        return self._dispatch()

    cdef bytes _request_bytes(self, bytes default_host):
        """Return the head as it is sent upstream: canonical target, kept fields, and what we say of the client."""
        cdef RequestHead head = self.head
        cdef bytes framing = b""
        if self.intake is not None:
            framing = length_field(self.intake.size)
        return b"".join((
            b"GET" if head.method == "GET" else PyUnicode_AsASCIIString(head.method), b" ", self.target, b" HTTP/1.1\r\n",
            head.block,
            b"" if head.host is not None else b"Host: " + default_host + CRLF,
            self.connection.forwarding(self.client, head),
            b"X-Forwarded-Host: ", default_host if head.host is None else head.host,
            b"\r\nX-Request-ID: ", hex16(self.request_id),
            b"\r\nVia: 1.1 hkpguard\r\n" if head.minor else b"\r\nVia: 1.0 hkpguard\r\n",
            framing,
            CRLF,
        ))

    cdef int send_to(self, UpstreamConnection upstream) except -1:
        """Send the request over `upstream`, which waits for its reply from now on."""
        self.upstream = upstream
        self.upstream_index = upstream.upstream.index
        self.attempts += 1
        self.sent_ns = monotonic_ns()
        upstream.stream.write(self._request_bytes(upstream.upstream.host))
        if self.intake is not None:
            upstream.stream.write_all(self.intake.pieces)
        return 0

    # From the upstream.

    cdef int reply_whole(self, ReplyHead reply, bytes body, int64_t first_byte_ns) except -1:
        """Relay a reply that came in one piece, which is nearly every one."""
        if self.ticket is not None:
            self.guard.cache.keep(self, reply, body, None)
        self._write(b"".join((
            self._reply_block(reply),
            b"Via: 1.1 hkpguard\r\n" if reply.minor else b"Via: 1.0 hkpguard\r\n",
            self._length_field(reply, len(body)),
            self.connection_field(),
            CRLF,
            body,
        )))
        self.relay_ns = monotonic_ns() - first_byte_ns
        self._settle(first_byte_ns)
        return self._finish()

    cdef int _settle(self, int64_t first_byte_ns) except -1:
        """
        Charge what the keyserver really paid beyond the price, and remember what was dear and what was missed.

        What is slow for everybody is nobody's fault: only what takes much longer than others of its class counts, and
        no answer costs more than `_most_charge`, so that slow ones do not shut out a client for minutes.
        """
        cdef Guard guard = self.guard
        cdef int64_t service_us = (first_byte_ns - self.sent_ns) // 1000, excess_us, tokens
        cdef int64_t *usual_us = &guard.usual_us[self.kind]
        guard.misses.note(self.client, self.kind, self.subject, self.status, first_byte_ns)
        excess_us = max(0, service_us - USUAL_TIMES * usual_us[0])
        if not self.dear:
            if service_us > usual_us[0]:
                usual_us[0] += usual_us[0] // UP_PART + 1
            else:
                usual_us[0] -= usual_us[0] // DOWN_PART
        tokens = _tokens(excess_us, self._reply_bytes())
        if tokens <= 1 and not self.dear:
            return 0
        if tokens > self.price and self.verdict is not exempted:
            guard.table.charge(
                self.client.compiled, self.client.key, min(tokens - self.price, _most_charge(self.kind)), first_byte_ns
            )
        if _CERT <= self.kind <= _WORDS and (tokens >= DEAR_TOKENS or self.dear):
            guard.costs.note(self.subject_word, excess_us, self._reply_bytes(), first_byte_ns)
        return 0

    cdef bytes _reply_block(self, ReplyHead reply):
        """
        Return the status line and the fields to relay.

        A 502 of the upstream's own becomes 500, and to HTTP/1.0 its 503 and 504 as well: dirmngr calls a host dead for
        90 minutes after the one, and asks five times more at once after the others (HKP.md 0, finding 3).
        """
        self.status = reply.status
        if reply.status < 502 or reply.status > 504 or (reply.status != 502 and self.head.minor):
            return reply.block
        self.status = 500
        return b"HTTP/1.1 500 Internal Server Error" + reply.block[reply.block.index(CRLF):]

    cdef bytes _length_field(self, ReplyHead reply, Py_ssize_t body_bytes):
        """Return the Content-Length of a reply that has no body, or all of it."""
        if self.head.method == "HEAD" or reply.status == 304:
            return length_field(reply.length) if reply.length >= 0 else b""
        return b"" if reply.status == 204 else length_field(body_bytes)

    cdef bytes connection_field(self):
        if self.guard.draining:
            self.reusable = False
        if not self.reusable:
            return CLOSE
        return b"" if self.head.minor else KEEP_ALIVE

    cdef int reply_started(self, ReplyHead reply, bytes payload, int64_t first_byte_ns) except -1:
        """Relay the head of a reply whose body is still coming, and what there is of the body."""
        cdef bytes framing = b""
        self.phase = RELAYING
        if self.ticket is not None:
            self.reply = reply
            self.parcel = self.guard.cache.capture(self, reply)
        if reply.length >= 0:
            framing = length_field(reply.length)
        elif self.head.minor:
            self.chunked = True
            framing = CHUNKED_FIELD
        else:
            self.reusable = False  # HTTP/1.0 knows no chunks: the end of the connection ends the body
        self._write(b"".join((
            self._reply_block(reply),
            b"Via: 1.1 hkpguard\r\n" if reply.minor else b"Via: 1.0 hkpguard\r\n",
            framing,
            self.connection_field(),
            CRLF,
        )))
        if payload:
            self.reply_data(payload)
        self.first_byte_ns = first_byte_ns
        self.relay_ns = monotonic_ns() - first_byte_ns
        return 0

    cdef int reply_data(self, bytes payload) except -1:
        """Relay a piece of the body."""
        if self.parcel is None:
            return self._write_payload(payload)
        if self.parcel.add(payload):
            return self._write_pieces()
        return self._unpack(payload)

    cdef int reply_ended(self) except -1:
        """Finish: the body is complete."""
        self.whole = True
        if self.parcel is not None:
            self.guard.cache.keep(self, self.reply, None, self.parcel)
        self._settle(self.first_byte_ns)
        return self._end_reply() if self.parcel is None else self._write_pieces()

    cdef int _end_reply(self) except -1:
        if self.chunked:
            self._write(LAST_CHUNK)
        return self._finish()

    cdef int _write_payload(self, bytes payload) except -1:
        if self.chunked:
            payload = b"".join((chunk_head(len(payload)), payload, CRLF))
        return self._write(payload)

    cdef int64_t _reply_bytes(self) noexcept:
        """Return the size of the reply, also where some of it waits for the client."""
        return self.sent if self.parcel is None else max(self.sent, <int64_t>self.parcel.size)

    # A reply in a parcel. The client takes it at its own pace, and others need not wait for that.

    cdef int _write_pieces(self) except -1:
        """Write what is there, as far as the client takes it."""
        cdef int turn
        for turn in range(PIECES_PER_TURN):
            if self.next_piece == self.parcel.count:
                return self._end_reply() if self.whole else 0
            if self.connection.stream.paused:
                return 0
            self.next_piece += 1
            self._write_payload(self.parcel.piece(self.next_piece - 1))
        return self.guard.cache.write_later(self)

    cdef int write_more(self) except -1:
        """Write some more, if there is anybody and anything left."""
        return self._write_pieces() if self.phase == RELAYING and self.parcel is not None else 0

    cdef int _unpack(self, bytes payload) except -1:
        """Go on without the parcel, for which there is no room: the flight is over."""
        cdef Parcel parcel = self.parcel
        self.parcel = None
        self.was_large(parcel.size + len(payload))
        self.guard.cache.give_up(self)
        for number in range(self.next_piece, parcel.count):
            self._write_payload(parcel.piece(number))
        self._write_payload(payload)
        return self.pause() if self.connection.stream.paused else 0

    cdef int was_large(self, int64_t size) except -1:
        """Remember a dear subject before its answer is complete: those who waited for it are about to go themselves."""
        if _CERT <= self.kind <= _WORDS and _tokens(0, size) >= DEAR_TOKENS:
            self.guard.costs.note(self.subject_word, 0, size, monotonic_ns())
        return 0

    cdef int pause(self) except -1:
        """The client reads slower than the keyserver writes."""
        return 0 if self.upstream is None or self.parcel is not None else self.upstream.pause_reading()

    cdef int resume(self) except -1:
        """The client reads on."""
        if self.parcel is not None:
            return self.guard.cache.write_later(self)
        return 0 if self.upstream is None else self.upstream.resume_reading()

    cdef int upstream_failed(self) except -1:
        """Answer for an upstream that cannot be reached, or broke off."""
        self.upstream = None
        if self.phase == RELAYING:
            self.verdict = self.verdict.because(_UPSTREAM)
            return self._finish(broken=True)
        self._refund()
        return self._refuse(self.verdict.because(_UPSTREAM, unavailable_status(self.head.minor)))

    cdef int _write(self, bytes data) except -1:
        self.sent += len(data)
        self.connection.stream.write(data)
        return 0

    # Ends.

    cdef int _refuse(self, Verdict verdict) except -1:
        """Answer without the upstream."""
        cdef RequestHead head = self.head
        self.verdict = verdict
        self.status = verdict.status
        if self.guard.draining or self.body_unfinished():
            self.reusable = False
        self._write(self.guard.refusals.reply(
            verdict,
            self.request_id,
            self.client.limits,
            wants_problem(head.accept),
            not self.reusable,
            self.reusable and head.minor == 0,
            head.method == "HEAD",
        ))
        return self._finish()

    cdef int client_gone(self) except -1:
        """Let go of everything: there is nobody to answer."""
        cdef UpstreamConnection upstream = self.upstream
        if self.phase == FINISHED:
            return 0
        if self.phase != RELAYING:  # what it has had of an answer from the cache it has paid for
            self._refund()
        if self.timer is not None:
            self.wait_ns = self.wait_ns - (self.due_ns - monotonic_ns())  # it left before its time had come
        self.verdict = self.verdict.because(_GONE)
        self.guard.upstreams.forget(self)
        self.upstream = None
        if upstream is not None:
            upstream.abandon()
        return self._finish(broken=True)

    cdef int _refund(self) except -1:
        """Give back the tokens of a request that was never sent."""
        if self.attempts == 0 and self.verdict is not exempted:
            self.guard.table.refund(
                self.client.compiled, self.client.key, self.kind, self.price, monotonic_ns(), self.times
            )
            if self.deposit is not None:
                self.guard.contents.refund(self.deposit, monotonic_ns())
                self.deposit = None
        return 0

    cdef int _finish(self, bint broken=False) except -1:
        """Settle, record, and hand the connection back."""
        self.phase = FINISHED
        self.upstream = None
        self.parcel = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.guard.parked -= 1
        if self.claim:
            self.guard.claims.cancel(self.claim)
            self.claim = 0
        if self.ticket is not None:
            self.guard.cache.give_up(self)
        if self.in_flight:
            self.guard.cache.leave(self)
        if self.intake is not None and self.attempts:
            self.guard.cache.uploaded(self)
        if self.places is not None:
            for place in self.places[:self.taken]:
                place.leave()
            self.places = None  # they know us
            self.taken = 0
        if self.intake is not None:
            self.intake.release()
        self.guard.recorder.exchange(self, monotonic_ns())
        self.connection.finished(self, broken)
        return 0


cdef Verdict _unwanted(objection):
    """Return the verdict on a body to which its reader, or the lack of room for it, objects."""
    cdef bint busy = isinstance(objection, NoRoom)
    cdef int reason = _BUSY if busy else _TOO_LARGE if objection.status == 413 else _UNWANTED
    return Verdict(_LIMIT if busy else _DENY, reason, objection.status, text=objection.text)


cdef int _most_charge(int kind) noexcept:
    return MOST_OF_GET if kind == _CERT else MOST_CHARGE


cdef int64_t _tokens(int64_t service_us, int64_t size_bytes) noexcept:
    """Return what an answer is worth: by the time that it took, or its size, whichever is more."""
    return max(service_us // SERVICE_US, size_bytes // SIZE_BYTES)
