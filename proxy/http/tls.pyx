# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
TLS on raw descriptors: a Stream whose bytes pass through OpenSSL, by way of Python's ssl module.

    kernel -> recv -> `incoming` -> SSLObject.read  -> protocol
    kernel <- send <- `outgoing` <- SSLObject.write <- protocol

Cost. A record in and a record out are four calls of Python's: BIO.write, read, write, BIO.read. `read` raises when
there is nothing to read, which costs as much as decrypting a request: so it is called only while `incoming` holds
something. What OpenSSL wants to say by itself (tickets, alerts, key updates) leaves with the next write, or at the end
of the turn.

Half-open handshakes. A client that connects and says little is cheap to be, so it is cheap to have: nothing of OpenSSL
exists before the first record is complete. Until then its bytes stay with the kernel, where we look at them (MSG_PEEK),
and the kernel is told how much to wait for (SO_RCVLOWAT), as bytes that are left there would wake the loop again and
again. If it wakes us all the same without more bytes, and they were not the last, it is short of memory: then we take
them.

Turns and places. A handshake takes as long as ten requests, so one begins in each turn of the loop; who is not the first
in a turn waits, the first record still with the kernel and the loop told nothing. Places are bounded as well. Half of
them are for networks that finish what they begin (see standing.pyx): the others wait while it is taken, or nearly all
of 10,000 silent connections would come round again and again, each with a handshake for nothing. Where all places are
taken, the oldest handshake has had its time, and ends for a newcomer's. Who came last is called first.

Bounds. One turn receives at most RECORD_BYTES, and decrypts all of that, so that nothing waits inside but a part of
one record; replies are encrypted record by record, as the buffers of OpenSSL never shrink. Records without content are
legal and free of charge for the sender: `chatter` counts bytes that brought no plaintext, and who sends nothing else is
dropped. It covers the handshake too. OpenSSL remembers sessions of 1.2 clients that take no tickets, and Python cannot
switch that off: at most 20,480 of 1.1 KB in each worker.

Ends. A close_notify is an end, and so is a FIN without one: requests tell their own length. Ours is sent by `close` and
`shutdown_write`, not by `abort` and `reset`; the peer's is not waited for.

Certificates. `Tls.context` is made before the workers are forked: tickets are encrypted with keys that live in it, and
only so can a client come back to another worker with its ticket. Hence it is never replaced. A new certificate lives
in a context of its own, which each handshake switches to while it asks for the server's name (RFC 6066, asked for by
OpenSSL whether the client named one or not); the ticket keys remain those of the first. To load it into the first would
leave the old one beside it wherever their kinds differ (RSA, ECDSA).
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint64_t

from proxy.http.ja4 cimport ja4
from proxy.http.standing cimport Standing
from proxy.http.stream cimport Stream

import ssl
from ssl import MemoryBIO, SSLWantReadError, SSLZeroReturnError

cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/socket.h>
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <poll.h>
    """
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout_ms) nogil
    ssize_t recv(int fd, void *buffer, size_t size, int flags) nogil
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size) nogil
    enum:
        MSG_DONTWAIT
        MSG_PEEK
        POLLERR
        POLLHUP
        POLLRDHUP
        SOL_SOCKET
        SO_RCVLOWAT

cdef enum:
    HEADER_BYTES = 5
    PLAIN_BYTES = 16384  # of a record, at most (RFC 8446 section 5.1)
    RECORD_BYTES = HEADER_BYTES + PLAIN_BYTES + 256
    OPENED_BYTES = 2 * RECORD_BYTES  # a part of a record from before, and what one turn receives
    HANDSHAKE = 0x16  # a kind of record
    CLIENT_HELLO = 1  # a kind of message
    MESSAGE_HEADER_BYTES = 4
    MOST_CHATTER_BYTES = 32768  # more than a record of which the end has not come yet
    WORTH_BYTES = 64  # of chatter for each byte of plaintext: more than the frame around it

# Forward secrecy and authenticated encryption only. GnuPG for Windows (NTBTLS) has no TLS 1.3, and of these AES-GCM.
CIPHERS = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"

cdef char _sealed[RECORD_BYTES]
cdef bytearray _opened = bytearray(OPENED_BYTES)
cdef object _window = memoryview(_opened)


def make_context(cert_path, key_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1
    context.load_cert_chain(cert_path, key_path, password="")  # else OpenSSL would ask the terminal for one
    return context


cdef bint is_over(int fd) noexcept:
    """Whether the peer sends no more, whatever waits to be read."""
    cdef pollfd watched
    watched.fd = fd
    watched.events = POLLRDHUP
    return poll(&watched, 1, 0) > 0 and watched.revents & (POLLRDHUP | POLLHUP | POLLERR)


cdef int _size_of_hello(ssize_t n) noexcept:
    """Return the size of the first record, of which `n` bytes are in `_sealed`; -1 if it is no ClientHello."""
    cdef unsigned char *head = <unsigned char *>_sealed
    cdef int length
    if head[0] != HANDSHAKE or (n > 1 and head[1] != 3) or (n > 2 and head[2] > 4):
        return -1
    if n < HEADER_BYTES:
        return HEADER_BYTES  # and more, which is not known yet
    length = head[3] << 8 | head[4]
    if length < MESSAGE_HEADER_BYTES or length > PLAIN_BYTES:
        return -1
    if n > HEADER_BYTES and head[HEADER_BYTES] != CLIENT_HELLO:
        return -1
    return HEADER_BYTES + length


cdef class Tls:

    def __init__(self, context, *, int most_handshakes):
        self.context = context
        self.most_handshakes = most_handshakes
        self.standing = Standing()
        self.running = {}
        self.newcomers = {}
        self.debtors = {}

    def reload(self, cert_path, key_path):
        self.renewed = make_context(cert_path, key_path)
        self.context.sni_callback = self._switch

    def _switch(self, ssl_object, _name, _context):
        ssl_object.context = self.renewed

    @property
    def handshakes(self):
        """How many are running."""
        return len(self.running)

    cdef object begin(self, TlsStream stream):
        """Return the SSLObject of a new handshake; where there are too many, the oldest has had its time, and ends."""
        begun = self.context.wrap_bio(stream.incoming, stream.outgoing, True)
        if len(self.running) >= self.most_handshakes:
            (<TlsStream>next(iter(self.running))).abort()
        self.running[stream] = None
        return begun

    cdef bint is_turn_of(self, TlsStream stream) except -1:
        """Whether `stream` may begin its handshake now; if not, it is called as soon as it may."""
        cdef bint in_debt
        if stream.called:
            return True
        in_debt = self.standing.in_debt(stream.network)
        if not self.turn_taken and not (in_debt and self._is_short()):
            self._take_turn(stream.loop)
            return True
        (self.debtors if in_debt else self.newcomers)[stream] = None
        return False

    cdef bint _is_short(self) noexcept:
        """Whether the places that are left are for newcomers."""
        return 2 * len(self.running) >= self.most_handshakes

    cdef int _take_turn(self, loop) except -1:
        self.turn_taken = True
        loop.call_soon(self._next_turn)
        return 0

    def _next_turn(self):
        """Call who came last: who has waited long has less time left, and is likelier to have gone."""
        cdef TlsStream stream
        self.turn_taken = False
        queue = self.newcomers or (None if self._is_short() else self.debtors)
        if queue:
            stream = queue.popitem()[0]
            self._take_turn(stream.loop)
            stream.called_up()

    cdef int leave(self, TlsStream stream) except -1:
        """Forget who waited."""
        self.newcomers.pop(stream, None)
        self.debtors.pop(stream, None)
        return 0

    cdef int ended(self, TlsStream stream, bint done) except -1:
        """A place is free again."""
        del self.running[stream]
        self.standing.note(stream.network, done)
        if self.debtors and not self.turn_taken:
            self._take_turn(stream.loop)
        return 0


cdef class TlsStream(Stream):

    def __cinit__(self, loop, int fd, Tls tls not None, uint64_t network=0):
        self.tls = tls
        self.network = network
        self.handshaking = True
        self.fingerprint = b""

    # Reading.

    cpdef bytes read_now(self):
        """As Stream's; None too while the handshake goes on."""
        cdef bytes data
        try:
            data = self._pull()
        finally:
            self._flush()
        if data is not None and PyBytes_GET_SIZE(data) == 0:
            self.at_eof = True
        return data

    cpdef resume_reading(self):
        """As Stream's; not while it waits for its turn, when the first record stays with the kernel."""
        if self.reading or self.waiting:
            return
        Stream.resume_reading(self)
        if self.reading and self.ended:
            self.loop.call_soon(self._readable)  # the end has been read: the kernel will not tell of it

    cdef int _read(self) except -1:
        cdef bytes data
        protocol = self.protocol  # held while it runs: it may close, and so be forgotten
        if self.fd < 0:
            return 0
        try:
            data = self._pull()
        except OSError:
            self._flush()  # an alert says why
            self.abort()
            return 0
        if data:
            protocol.data_received(data)
        if self.ended and self.reading:
            self.at_eof = True
            self.pause_reading()
            protocol.eof_received()
        return self._flush()

    cdef bytes _pull(self):
        """
        Receive once, and decrypt what came.

        Returns:
            Plaintext; b"" at its end; None if there is none yet.

        Raises:
            OSError: The connection is broken, or the peer breaks the rules.
        """
        cdef ssize_t n
        cdef bytes data = None
        if self.ended:
            return b""
        if self.ssl is None and not self._begin():
            return None
        n = recv(self.fd, _sealed, RECORD_BYTES, 0)
        if n < 0:
            if errno == EAGAIN or errno == EINTR:
                return None
            raise OSError(errno, "recv failed")
        if n == 0:
            return self._end()
        self.chatter += n
        self.incoming.write(PyBytes_FromStringAndSize(_sealed, n))
        if not self.handshaking or self._shake():
            data = self._open()
        if self.chatter > MOST_CHATTER_BYTES:
            raise ConnectionAbortedError("too much that says nothing")
        return data

    cdef bytes _end(self):
        """The peer sends no more."""
        if self.handshaking:
            raise ConnectionResetError("ended during the handshake")
        self.ended = True
        return b""

    cdef bytes _open(self):
        """Decrypt `incoming`: what comes out; b"" at the end; None if no record is complete, or none has content."""
        cdef Py_ssize_t filled = 0, n
        try:
            while not self.ended and self.incoming.pending:
                n = self.ssl.read(OPENED_BYTES, _window[filled:] if filled else _window)
                self.ended = n == 0
                filled += n
        except SSLWantReadError:
            pass
        except SSLZeroReturnError:  # the end, after ours
            self.ended = True
        self.chatter = max(0, self.chatter - WORTH_BYTES * filled)
        if filled:
            return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(_opened), filled)
        return b"" if self.ended else None

    # The handshake.

    cdef bint _begin(self) except -1:
        """Begin the handshake, if the first record is there."""
        cdef int size
        cdef ssize_t n = recv(self.fd, _sealed, RECORD_BYTES, MSG_PEEK)
        if n < 0:
            if errno == EAGAIN or errno == EINTR:
                return False
            raise OSError(errno, "recv failed")
        if n == 0:
            raise ConnectionResetError("ended during the handshake")
        size = _size_of_hello(n)
        if size < 0:
            raise ConnectionAbortedError("no TLS")
        if is_over(self.fd):  # it could not be finished; and after a reset nobody would wake us
            raise ConnectionResetError("ended during the handshake")
        if n < size and n > self.peeked:
            self.peeked = n
            self._wait_for(size)
            return False
        if not self.tls.is_turn_of(self):
            self.waiting = True
            self.pause_reading()
            return False
        if n >= size:
            self.fingerprint = ja4(<unsigned char *>_sealed + HEADER_BYTES, size - HEADER_BYTES)
        if self.peeked:
            self._wait_for(1)
        self.incoming = MemoryBIO()
        self.outgoing = MemoryBIO()
        self.ssl = self.tls.begin(self)
        return True

    cdef int called_up(self) except -1:
        """Its turn has come."""
        self.called = True
        self.waiting = False
        self._readable()
        self.resume_reading()
        return 0

    cdef int _wait_for(self, int octets) noexcept:
        """Let the kernel call us only when so many bytes are there."""
        return setsockopt(self.fd, SOL_SOCKET, SO_RCVLOWAT, &octets, sizeof(octets))

    cdef bint _shake(self) except -1:
        """Go on with the handshake; true when it is done, and the protocol wants more."""
        protocol = self.protocol
        try:
            self.ssl.do_handshake()
        except SSLWantReadError:
            return False
        self.chatter = 0
        self._count(True)
        protocol.handshake_done()
        return self.fd >= 0 and not self.closing

    cdef int _count(self, bint done) except -1:
        """Count the end of the handshake, whichever it was."""
        if not self.handshaking:
            return 0
        self.handshaking = False
        if self.ssl is not None:
            self.tls.ended(self, done)
        if done:
            self.tls.completed += 1
        else:
            self.tls.failed += 1
        return 0

    # Writing.

    cpdef write(self, bytes data):
        """As Stream's. Ignored while the handshake goes on."""
        cdef bytes sealed
        if self.fd < 0 or self.closing or self.handshaking or not data:
            return
        try:
            sealed = self._seal(data)
        except OSError:  # also where OpenSSL wants to read the rest of a key update first: no client splits those
            self._drop_soon()
            return
        Stream.write(self, sealed)

    cdef bytes _seal(self, bytes data):
        """Encrypt `data`; what OpenSSL had to say before comes first."""
        cdef Py_ssize_t start
        if PyBytes_GET_SIZE(data) <= PLAIN_BYTES:
            self.ssl.write(data)
            return self.outgoing.read()
        records = []
        for start in range(0, PyBytes_GET_SIZE(data), PLAIN_BYTES):
            self.ssl.write(data[start:start + PLAIN_BYTES])
            records.append(self.outgoing.read())
        return b"".join(records)

    cdef int _flush(self) except -1:
        """Send what OpenSSL has to say by itself."""
        if self.outgoing is not None and self.outgoing.pending:
            Stream.write(self, self.outgoing.read())
        return 0

    # Ends.

    cpdef close(self):
        """As Stream's, with a close_notify."""
        self._say_goodbye()
        Stream.close(self)

    cpdef shutdown_write(self):
        """As Stream's, with a close_notify."""
        self._say_goodbye()
        Stream.shutdown_write(self)

    cdef int _say_goodbye(self) except -1:
        if self.fd < 0 or self.closing or self.handshaking:
            return 0
        try:
            self.ssl.unwrap()
        except OSError:  # it waits for the peer's; we do not
            pass
        return self._flush()

    cdef int _let_go(self) except? -1:
        if self.waiting:
            self.waiting = False
            self.tls.leave(self)
        self._count(False)
        self.ssl = self.incoming = self.outgoing = None
        return Stream._let_go(self)
