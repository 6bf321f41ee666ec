"""
Where connections come in, and those whose first bytes tell who they are from or how they speak.

A PROXY header, and the first byte of a connection that may be TLS or not, are looked at while they are still with the
kernel (MSG_PEEK): what comes after them belongs to whoever reads the connection then, and nothing has been made for
the connection yet but an `Arrival`. When too little is there, the kernel is told how much to wait for (SO_RCVLOWAT):
bytes that are looked at and left would wake the loop again and again.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint64_t

from fastpath.clock cimport monotonic_ns
from fastpath.keys cimport client_key
from proxy.http.guard cimport Guard
from proxy.http.proxy_header cimport ProxyHeader, read_proxy_header
from proxy.http.tls cimport is_over
from proxy.policy.judge cimport Client

from fastpath.keys import network_key
from proxy.http.address import Source
from proxy.http.proxy_header import ProxyHeaderError
from proxy.policy.actions import TurnedAway

cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/socket.h>
    #include <unistd.h>
    """
    ssize_t recv(int fd, void *buffer, size_t size, int flags) nogil
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size) nogil
    int close_fd "close"(int fd) nogil
    enum:
        MSG_PEEK
        SOL_SOCKET
        SO_RCVLOWAT

cdef enum:
    LOOK_BYTES = 4096  # more than the longest PROXY header that is taken
    HANDSHAKE_RECORD = 0x16  # the first byte of TLS; no method of HTTP begins with it

cdef dict SCHEMES = {"http": PLAIN, "https": TLS, "http+https": EITHER}
cdef int _UNTOLD = TurnedAway.UNTOLD
cdef int _PEER = Source.PEER
cdef int _TRUSTED_PEER = Source.TRUSTED_PEER
cdef int _PROXY_PROTOCOL = Source.PROXY_PROTOCOL
cdef char _scratch[LOOK_BYTES]


cdef class Entrance:

    def __init__(self, str scheme="http", bint proxy_header=False, bint direct=True):
        self.scheme = SCHEMES[scheme]
        self.proxy_header = proxy_header
        self.direct = direct


cdef class Arrival:
    """A connection of which the first bytes have to be seen before it can be served."""

    def __cinit__(self, Guard guard, Entrance entrance, int fd, bytes peer, uint64_t network):
        self.guard = guard
        self.entrance = entrance
        self.fd = fd
        self.peer = peer
        self.network = network
        self.source = _PEER
        self.deadline_ns = monotonic_ns() + guard.proxy_header_ns

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)

    cdef int begin(self) except -1:
        """Look at what is there; the rest follows by itself."""
        self.guard.arrivals[self] = None
        return self._look()

    def _readable(self):
        try:
            self._look()
        except Exception as error:  # our bug: it costs this connection, not the worker
            self.guard.loop.call_exception_handler({"message": "a connection was given up", "exception": error})
            self.drop()

    cdef int _look(self) except -1:
        cdef ssize_t n = recv(self.fd, _scratch, LOOK_BYTES, MSG_PEEK)
        if n < 0 and (errno == EAGAIN or errno == EINTR):
            return self._wait_for(1)
        if n <= self.seen:  # woken for nothing: the other side has closed, which the bytes before hide from us
            return self.drop()
        if self.entrance.proxy_header and not self.named:
            if not self._read_proxy_header(PyBytes_FromStringAndSize(_scratch, n)):
                return 0
            if self.entrance.scheme == EITHER:
                return self._look()
        if self.entrance.scheme == EITHER:
            return self._welcome(<unsigned char>_scratch[0] == HANDSHAKE_RECORD)
        return self._welcome(self.entrance.scheme == TLS)

    cdef bint _read_proxy_header(self, bytes data) except -1:
        """Take the header off the connection; false if it is not complete, or the connection was dropped."""
        cdef ProxyHeader header
        try:
            header = read_proxy_header(data)
        except ProxyHeaderError:
            self.drop()
            return False
        if header is None:
            self.seen = len(data)
            if is_over(self.fd):  # after a reset nobody would wake us
                self.drop()
            else:
                self._wait_for(self.seen + 1)
            return False
        recv(self.fd, _scratch, header.size, 0)
        self.named = True
        self.seen = 0
        if header.local:
            self.source = _TRUSTED_PEER
        else:
            self.peer = header.address
            self.source = _PROXY_PROTOCOL
        return True

    cdef int _wait_for(self, int octets) except -1:
        """Look again as soon as so many bytes are there, or the other side has closed."""
        setsockopt(self.fd, SOL_SOCKET, SO_RCVLOWAT, &octets, sizeof(octets))
        if not self.watched:
            self.watched = True
            self.guard.loop.add_reader(self.fd, self._readable)
        return 0

    cdef int _unwatch(self) except -1:
        cdef int usual = 1
        if self.watched:
            self.watched = False
            self.guard.loop.remove_reader(self.fd)
            setsockopt(self.fd, SOL_SOCKET, SO_RCVLOWAT, &usual, sizeof(usual))
        return 0

    cdef int _welcome(self, bint encrypted) except -1:
        """Hand the connection on: it is known by now who it is from and how it speaks."""
        cdef Guard guard = self.guard
        cdef uint64_t network = self.network
        cdef int fd = self.fd
        self._unwatch()
        self.fd = -1
        self.network = 0
        guard.arrivals.pop(self, None)
        if not network:  # only now it is known whose it is
            network = network_key(self.peer)
            if not guard.enter(fd, self.peer, network, self.source, encrypted):
                return 0
        return guard.serve(fd, self.peer, network, self.source, encrypted)

    cdef bint may_be_shed(self) except -1:
        """Whether it is of a stranger: not of a proxy, who may speak for anybody, nor of a client who is known."""
        cdef Client client = self.guard.client_of(self.peer, _PEER)
        return self.network != 0 and not (client.exempt or client.peer or self.guard.trusts(self.peer))

    cdef int drop(self) except -1:
        """Close the connection: it says nothing, or rubbish."""
        cdef int fd = self.fd
        if fd >= 0:
            self._unwatch()
            self.fd = -1
            self.guard.arrivals.pop(self, None)
            self.guard.turn_away(fd, _UNTOLD, self.peer, self.source, self.entrance.scheme == TLS)
            if self.network:
                self.guard.admission.leave(client_key(self.peer), self.network)
                self.network = 0
        return 0
