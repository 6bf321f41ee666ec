# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
TCP streams on raw descriptors, driven by the event loop's readiness callbacks.

Why not the loop's own transports. gpg opens one connection for each key. A transport costs two epoll_ctl calls, a
handle and four Python objects before the first byte is read. A `Stream` starts as a descriptor and two words: it
reads at once (the request is nearly always there already), writes at once (the socket buffer is nearly always
empty), and registers with the loop only when it must wait. It offers the part of asyncio's transport interface that
we use, so that a protocol can sit on either.

Ownership. A Stream owns its descriptor from construction until it is closed, or detached by its protocol, which is
told nothing then. Else it tells its protocol `connection_lost` exactly once: before `close`, `abort` or `reset` returns
where nothing is left to send, in a fresh turn of the loop where a write found the connection broken. Then it forgets
the protocol, so that no cycle waits for the collector.
"""

from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO, errno
from libc.string cimport memcpy

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/types.h>
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <unistd.h>
    """
    ssize_t recv(int fd, void *buffer, size_t size, int flags) nogil
    ssize_t send(int fd, const void *buffer, size_t size, int flags) nogil
    int close_fd "close"(int fd) nogil
    int shutdown(int fd, int how) nogil
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size) nogil
    int accept4(int fd, sockaddr *address, unsigned int *size, int flags) nogil
    cdef struct sockaddr:
        pass
    cdef struct sockaddr_storage:
        unsigned short ss_family
    cdef struct in_addr:
        unsigned int s_addr
    cdef struct sockaddr_in:
        in_addr sin_addr
    cdef struct in6_addr:
        unsigned char s6_addr[16]
    cdef struct sockaddr_in6:
        in6_addr sin6_addr
    cdef struct linger:
        int l_onoff
        int l_linger
    enum:
        AF_INET
        AF_INET6
        MSG_NOSIGNAL
        SHUT_WR
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_LINGER

cdef enum:
    READ_BYTES = 65536
    # A protocol is told to pause when more than HIGH bytes wait to be sent, and to resume below LOW.
    HIGH_BYTES = 65536
    LOW_BYTES = 16384
    # Connections accepted in one turn of the loop, so that a flood of them cannot starve the open ones.
    ACCEPTS_PER_TURN = 8
    MOST_QUEUED = 65536  # more than any queue of the kernel holds

HIGH_WATER_BYTES = HIGH_BYTES
cdef char _scratch[READ_BYTES]


cdef class Stream:
    """A non-blocking TCP connection; `protocol` gets data_received, eof_received, pause_writing, resume_writing and
    connection_lost."""

    def __cinit__(self, loop, int fd, *_):  # a TlsStream takes more
        self.loop = loop
        self.fd = fd
        self.backlog = b""

    def __dealloc__(self):
        if self.fd >= 0:
            close_fd(self.fd)

    @property
    def closed(self):
        """Whether the descriptor is gone or about to go."""
        return self.closing or self.fd < 0

    @property
    def backlog_bytes(self):
        """Bytes written but not yet accepted by the kernel."""
        return PyBytes_GET_SIZE(self.backlog) - self.sent + (sum(map(len, self.following)) if self.following else 0)

    cpdef bytes read_now(self):
        """
        Read what is there without waiting.

        Returns:
            Bytes; b"" at the end of the stream; None if nothing is there yet.

        Raises:
            OSError: The connection is broken.
        """
        cdef ssize_t n = recv(self.fd, _scratch, READ_BYTES, 0)
        if n >= 0:
            self.at_eof = n == 0
            return PyBytes_FromStringAndSize(_scratch, n)
        if errno == EAGAIN or errno == EINTR:
            return None
        raise OSError(errno, "recv failed")

    cpdef resume_reading(self):
        """Let data_received be called; no effect if it may be already."""
        if not self.reading and self.fd >= 0 and not self.closing and not self.at_eof:
            self.reading = True
            self.loop.add_reader(self.fd, self._readable)

    cpdef pause_reading(self):
        """Leave further bytes with the kernel, so that the peer feels it."""
        if self.reading:
            self.reading = False
            self.loop.remove_reader(self.fd)

    def _readable(self):
        try:
            self._read()
        except Exception as error:
            self._crashed(error)

    cdef int _read(self) except -1:
        cdef ssize_t n
        protocol = self.protocol  # held while it runs: it may close, and so be forgotten
        if self.fd < 0:
            return 0
        n = recv(self.fd, _scratch, READ_BYTES, 0)
        if n > 0:
            protocol.data_received(PyBytes_FromStringAndSize(_scratch, n))
        elif n == 0:
            self.at_eof = True
            self.pause_reading()
            protocol.eof_received()
        elif errno != EAGAIN and errno != EINTR:
            self._drop()
        return 0

    def _crashed(self, error):
        """A callback raised: that is our bug, and costs this connection, not the worker."""
        self.loop.call_exception_handler({"message": "a connection was given up", "exception": error})
        self.abort()

    cpdef write(self, bytes data):
        """Send `data`, now if the kernel takes it, else as soon as it does. Ignored once closing."""
        cdef ssize_t n = 0
        if self.fd < 0 or self.closing:
            return
        if self.following:
            self.following.append(data)
            return
        if self.writing:
            self.backlog = self.backlog[self.sent:] + data
            self.sent = 0
        else:
            n = send(self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_NOSIGNAL)
            if n == PyBytes_GET_SIZE(data):
                return
            if n < 0:
                if errno != EAGAIN and errno != EINTR:
                    self._drop_soon()
                    return
                n = 0
            self.backlog = data
            self.sent = n
            self.writing = True
            self.loop.add_writer(self.fd, self._writable)
        if not self.paused and PyBytes_GET_SIZE(self.backlog) - self.sent > HIGH_BYTES:
            self.paused = True
            self.protocol.pause_writing()

    cpdef write_all(self, pieces):
        """
        Send `pieces`, none of them empty, one in each turn of the loop: a MiB at once takes most of a millisecond. Who
        writes them has them all, and is not told to pause.
        """
        if len(pieces) == 1:
            self.write(pieces[0])
        elif pieces and self.fd >= 0 and not self.closing:
            self.following = self.following or deque()
            self.following.extend(pieces)
            if not self.writing:
                self.backlog, self.sent = self.following.popleft(), 0
                self.writing = True
                self.loop.add_writer(self.fd, self._writable)

    def _writable(self):
        try:
            self._send_backlog()
        except Exception as error:
            self._crashed(error)

    cdef int _send_backlog(self) except -1:
        cdef ssize_t n
        cdef Py_ssize_t left
        protocol = self.protocol
        if self.fd < 0:
            return 0
        n = send(self.fd, PyBytes_AS_STRING(self.backlog) + self.sent, PyBytes_GET_SIZE(self.backlog) - self.sent,
                 MSG_NOSIGNAL)
        if n < 0:
            if errno != EAGAIN and errno != EINTR:
                self._drop()
            return 0
        self.sent += n
        left = PyBytes_GET_SIZE(self.backlog) - self.sent
        if left == 0 and self.following:
            self.backlog, self.sent = self.following.popleft(), 0
            left = PyBytes_GET_SIZE(self.backlog)
        elif left == 0:
            self._flushed()
        if self.paused and left < LOW_BYTES and self.fd >= 0:
            self.paused = False
            protocol.resume_writing()
        return 0

    cdef int _flushed(self) except -1:
        self.backlog = b""
        self.sent = 0
        self.writing = False
        self.loop.remove_writer(self.fd)
        if self.closing:
            self._drop()
        elif self.ending:
            shutdown(self.fd, SHUT_WR)
        return 0

    cpdef close(self):
        """Send what is pending, then close; connection_lost follows."""
        if self.fd < 0 or self.closing:
            return
        self.closing = True
        self.pause_reading()
        if not self.writing:
            self._drop()

    cpdef abort(self):
        """Close now and throw away what is pending; connection_lost follows."""
        if self.fd >= 0:
            self._drop()

    cpdef reset(self):
        """Close with RST, which leaves no state in the kernel; connection_lost follows."""
        cdef linger at_once
        if self.fd >= 0:
            at_once.l_onoff = 1
            at_once.l_linger = 0
            setsockopt(self.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once))
            self._drop()

    cpdef shutdown_write(self):
        """Tell the peer that no more will come (FIN); what it sends is still read."""
        if self.writing:
            self.ending = True
        elif self.fd >= 0:
            shutdown(self.fd, SHUT_WR)

    cpdef int detach(self) except? -1:
        """Give the descriptor to the caller and throw away what is pending; connection_lost does not follow."""
        self.protocol = None
        return self._let_go()

    cdef int _let_go(self) except? -1:
        """Forget the descriptor, and let the loop forget it; return it."""
        cdef int fd = self.fd
        self.pause_reading()
        if self.writing:
            self.writing = False
            self.loop.remove_writer(fd)
        self.fd = -1
        self.backlog = b""
        self.following = None
        self.sent = 0
        return fd

    cdef int _release(self) except -1:
        """Give the descriptor back to the kernel."""
        close_fd(self._let_go())
        return 0

    cdef int _drop(self) except -1:
        self._release()
        self._tell_lost()
        return 0

    cdef int _drop_soon(self) except -1:
        """The protocol is in the middle of a write: tell it in the next turn."""
        self._release()
        self.loop.call_soon(self._tell_lost)
        return 0

    def _tell_lost(self):
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(None)


cdef class Listener:
    """
    Accepts connections of one listening socket and hands each to `admit(fd, packed_address, entrance)`.

    `admit` owns the descriptor. When descriptors run out, accepting pauses for `RETRY_SECONDS`.
    """

    cdef object loop
    cdef object sock
    cdef object admit
    cdef object entrance
    cdef int fd
    cdef bint listening

    RETRY_SECONDS = 0.1

    def __init__(self, loop, sock, admit, entrance):
        self.loop = loop
        self.sock = sock
        self.admit = admit
        self.entrance = entrance
        self.fd = sock.fileno()
        self._listen()

    def _listen(self):
        if self.sock is not None and not self.listening:
            self.listening = True
            self.loop.add_reader(self.fd, self._accept)

    def _accept(self):
        self._accept_some(ACCEPTS_PER_TURN)

    cdef int _accept_some(self, int most) except -1:
        cdef int turn, fd
        cdef sockaddr_storage address
        cdef unsigned int size
        for turn in range(most):
            if not self.listening:
                return 0
            size = sizeof(address)
            fd = accept4(self.fd, <sockaddr *>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.admit(fd, _packed(&address), self.entrance)
            elif errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                return self._pause()
            elif errno not in (ECONNABORTED, EINTR, EPROTO, EPERM):
                return 0
        return 0

    cdef int _pause(self) except -1:
        self.listening = False
        self.loop.remove_reader(self.fd)
        self.loop.call_later(self.RETRY_SECONDS, self._listen)
        return 0

    def close(self):
        """Take what waits in the queue of the kernel, then stop accepting; the socket is closed."""
        if self.sock is None:
            return
        if self.listening:
            self._accept_some(MOST_QUEUED)
        if self.listening:
            self.listening = False
            self.loop.remove_reader(self.fd)
        self.sock.close()
        self.sock = None


cdef bytes _packed(sockaddr_storage *address):
    """Return the peer's address in network order: 4 or 16 bytes; b"" for another family."""
    if address.ss_family == AF_INET:
        return (<char *>&(<sockaddr_in *>address).sin_addr)[:4]
    if address.ss_family == AF_INET6:
        return (<char *>&(<sockaddr_in6 *>address).sin6_addr)[:16]
    return b""
