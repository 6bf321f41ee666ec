# cython: language_level=3str, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Connections that are held to cost their clients time, at 16 bytes of ours each.

What is held is a raw descriptor in a packed array: no object, no callback, no registration with the event loop. A
sweep over the array (10,000 entries: a few µs) finds those that are due. One poll for each 64 of them tells which
peers are gone, without reading a byte: a FIN counts as gone, for a client that waits for its answer sends none. The
rest get 1 to 3 bytes of a reply that never ends, or nothing, and a new time. The first time is drawn, so that those
who came together are not due together.

Kernel memory. What a client has sent stays unread in the kernel, so it is the kernel's memory that must be bounded.
Both buffers are shrunk to their minimum, but that neither frees what is queued nor takes a granted window back: a
client may still fill one packet of up to 64 KiB (measured: 34 KB). So what counts is what the kernel says is in use
(SO_MEMINFO), if that is more than the buffers' bounds; it is asked again at each look, and who has grown over the
bound of all is dropped.

Everything is closed with RST (SO_LINGER 0, set when it comes in, so that it holds for a killed worker too): no
FIN-WAIT state stays behind.

Bounded turns: at most MOST_WOKEN connections are looked at in one turn (2 ms, most of it in send or close), so that
no number of them stops the event loop. A round that was cut short goes on in the next turn: too many are served late.
"""

from enum import IntEnum

from libc.errno cimport EAGAIN, EINTR, ENOBUFS, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <poll.h>
    #include <sys/types.h>
    #include <sys/socket.h>
    #include <unistd.h>
    """
    ssize_t send(int fd, const void *buffer, size_t size, int flags) nogil
    int close_fd "close"(int fd) nogil
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size) nogil
    int getsockopt(int fd, int level, int name, void *value, unsigned int *size) nogil
    int poll(pollfd *fds, unsigned long count, int timeout) nogil
    cdef struct pollfd:
        int fd
        short events
        short revents
    cdef struct linger:
        int l_onoff
        int l_linger
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        POLLRDHUP
        SOL_SOCKET
        SO_LINGER
        SO_MEMINFO
        SO_RCVBUF
        SO_SNDBUF

cdef enum:
    SILENT = 0xFFFF
    MOST_BYTES = 3  # of one drip
    MOST_HELD = 1 << 20
    FIRST_ROOM = 64
    BATCH = 64
    MOST_WOKEN = 256
    KIB = 1024
    MILLISECOND = 1_000_000
    # tcp_sock (IPv6) 2496, socket and inode 832, file 256, dentry 192 (slabs of Linux 6.18), slots in tables.
    OBJECT_BYTES = 4096
    # linux/sock_diag.h
    RMEM_ALLOC = 0
    RCVBUF = 1
    SNDBUF = 3
    WMEM_QUEUED = 5
    MEMINFO_WORDS = 9

cdef int64_t _LONGEST_NS = 86_400 * 1_000 * <int64_t>MILLISECOND

cdef bytes _OPENING = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    b'<!DOCTYPE html>\n<html lang="en">\n<head><title>Please wait</title></head>\n<body>\n'
)
cdef bytes _REPLY = _OPENING + b"<p>One moment, please.</p>\n"
cdef const char *REPLY = _REPLY
cdef int REPLY_BYTES = len(_REPLY)
cdef int AGAIN_AT = len(_OPENING)  # the reply goes on from here when it has come to its end

KERNEL_OBJECT_BYTES = OBJECT_BYTES
MOST_PER_TURN = MOST_WOKEN


class TarpitMode(IntEnum):
    SLOW = 0
    STICKY = 1
    RANDOM = 2


cdef int _STICKY = TarpitMode.STICKY
cdef int _RANDOM = TarpitMode.RANDOM


cdef struct Batch:
    int count
    int index[BATCH]
    pollfd polled[BATCH]


cdef inline uint32_t milliseconds(int64_t now_ns) noexcept nogil:
    return <uint32_t>(now_ns // MILLISECOND)


cdef inline int32_t until(uint32_t time_ms, uint32_t now_ms) noexcept nogil:
    """Time from now to another not more than 24 days away, ms; negative: it has passed."""
    return <int32_t>(time_ms - now_ms)


cdef int weigh(int fd) noexcept nogil:
    """Kernel memory of a connection, KiB, rounded up; -1: the kernel does not say."""
    cdef uint32_t info[MEMINFO_WORDS]
    cdef unsigned int size = sizeof(info)
    cdef uint64_t used
    if getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) or size < sizeof(info[0]) * (WMEM_QUEUED + 1):
        return -1
    used = <uint64_t>max(info[RMEM_ALLOC], info[RCVBUF]) + max(info[WMEM_QUEUED], info[SNDBUF]) + OBJECT_BYTES
    return <int>min((used + KIB - 1) // KIB, <uint64_t>0xFFFF)


cdef void shrink_buffers(int fd) noexcept nogil:
    cdef int least = 1  # the kernel raises it to its minimum, and stops tuning it
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least))
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least))


cdef void reset_on_close(int fd) noexcept nogil:
    cdef linger at_once
    at_once.l_onoff = 1
    at_once.l_linger = 0
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once))


cdef class Tarpit:

    def __init__(self, *, int mode, int most, int64_t most_kernel_bytes, int64_t interval_ns, int64_t hold_ns,
                 uint64_t seed):
        self.random = seed
        self.configure(
            mode=mode, most=most, most_kernel_bytes=most_kernel_bytes, interval_ns=interval_ns, hold_ns=hold_ns
        )

    def __dealloc__(self):
        self.release()

    def configure(self, *, int mode, int most, int64_t most_kernel_bytes, int64_t interval_ns, int64_t hold_ns):
        if not 0 <= most <= MOST_HELD:
            raise ValueError(f"most {most} not in 0..{MOST_HELD}")
        if most_kernel_bytes < 0:
            raise ValueError(f"most_kernel_bytes {most_kernel_bytes} is negative")
        for name, time_ns in (("interval_ns", interval_ns), ("hold_ns", hold_ns)):
            if not MILLISECOND <= time_ns <= _LONGEST_NS:
                raise ValueError(f"{name} {time_ns} not in {MILLISECOND}..{_LONGEST_NS}")
        self.mode = TarpitMode(mode)
        self.most = most
        self.most_kernel_bytes = most_kernel_bytes
        self.interval_ms = interval_ns // MILLISECOND
        self.hold_ms = hold_ns // MILLISECOND

    @property
    def user_bytes(self):
        return self.room * sizeof(Held)

    cpdef bint hold(self, int fd, int64_t now_ns, bint silent=False) noexcept:
        cdef uint32_t now_ms = milliseconds(now_ns)
        cdef Held *entry
        cdef int weight_kib
        if self.held >= self.most or not self.has_room():
            return False
        shrink_buffers(fd)
        weight_kib = weigh(fd)
        if weight_kib < 0 or self.kernel_bytes + <int64_t>weight_kib * KIB > self.most_kernel_bytes:
            return False
        reset_on_close(fd)
        if self.mode == _STICKY or (self.mode == _RANDOM and self.draw(2)):
            silent = True
        entry = self.entries + self.held
        entry.fd = fd
        entry.end_ms = now_ms + self.hold_ms
        entry.due_ms = now_ms + min(1 + self.draw(self.pause_ms()), self.hold_ms)
        entry.weight_kib = weight_kib
        entry.at = SILENT if silent else 0
        self.held += 1
        self.kernel_bytes += <int64_t>weight_kib * KIB
        return True

    cpdef int turn(self, int64_t now_ns) noexcept:
        cdef uint32_t now_ms = milliseconds(now_ns)
        cdef int before = self.held
        cdef int woken = 0
        cdef int at = self.cursor if 0 < self.cursor < self.held else self.held
        cdef Batch batch
        batch.count = 0
        # Downwards: what is dropped is replaced by the last entry, and that has had its turn.
        while at > 0 and woken < MOST_WOKEN:
            at -= 1
            if until(self.entries[at].due_ms, now_ms) <= 0:
                woken += 1
                batch.index[batch.count] = at
                batch.polled[batch.count] = pollfd(self.entries[at].fd, POLLRDHUP, 0)
                batch.count += 1
                if batch.count == BATCH:
                    wake(self, &batch, now_ms)
        wake(self, &batch, now_ms)
        self.cursor = at
        if self.room > FIRST_ROOM and self.held < self.room // 4:
            self.resize(self.room // 2)
        return before - self.held

    def close(self):
        self.release()

    cdef uint32_t draw(self, uint32_t below) noexcept:
        """A number in 0..below-1 that nobody has to trust; splitmix64."""
        cdef uint64_t mixed
        self.random += 0x9E3779B97F4A7C15ULL
        mixed = (self.random ^ (self.random >> 30)) * 0xBF58476D1CE4E5B9ULL
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL
        return <uint32_t>(((mixed >> 32) * below) >> 32)

    cdef uint32_t pause_ms(self) noexcept:
        if self.mode == _RANDOM:
            return max(self.interval_ms // 2 + self.draw(self.interval_ms * 3 // 2), <uint32_t>1)
        return self.interval_ms

    cdef bint has_room(self) noexcept:
        return self.held < self.room or self.resize(min(max(2 * self.room, FIRST_ROOM), self.most))

    cdef bint resize(self, int room) noexcept:
        cdef Held *entries = <Held *>realloc(self.entries, room * sizeof(Held))
        if entries == NULL:
            return False
        self.entries = entries
        self.room = room
        return True

    cdef bint keep(self, Held *entry, uint32_t now_ms) noexcept:
        """Serve a connection whose peer is there; false: it has to go."""
        cdef int32_t left_ms = until(entry.end_ms, now_ms)
        if left_ms <= 0 or not self.drip(entry) or not self.weigh_again(entry):
            return False
        entry.due_ms = now_ms + min(self.pause_ms(), <uint32_t>left_ms)
        return True

    cdef bint drip(self, Held *entry) noexcept:
        cdef ssize_t n
        if entry.at == SILENT:
            return True
        n = min(1 + self.draw(MOST_BYTES), <uint32_t>(REPLY_BYTES - entry.at))
        n = send(entry.fd, REPLY + entry.at, n, MSG_NOSIGNAL | MSG_DONTWAIT)
        if n < 0:
            return errno in (EAGAIN, EINTR, ENOBUFS, ENOMEM)
        entry.at += n
        if entry.at == REPLY_BYTES:
            entry.at = AGAIN_AT
        return True

    cdef bint weigh_again(self, Held *entry) noexcept:
        """Account what has come or gone since; false: it has grown, and all together are too many."""
        cdef int before_kib = entry.weight_kib
        cdef int weight_kib = weigh(entry.fd)
        if weight_kib < 0:
            return False
        entry.weight_kib = weight_kib
        self.kernel_bytes += <int64_t>(weight_kib - before_kib) * KIB
        return weight_kib <= before_kib or self.kernel_bytes <= self.most_kernel_bytes

    cdef void drop(self, int index) noexcept:
        close_fd(self.entries[index].fd)
        self.kernel_bytes -= <int64_t>self.entries[index].weight_kib * KIB
        self.held -= 1
        self.entries[index] = self.entries[self.held]

    cdef void release(self) noexcept:
        while self.held:
            self.drop(self.held - 1)
        free(self.entries)
        self.entries = NULL
        self.room = 0


cdef void wake(Tarpit tarpit, Batch *batch, uint32_t now_ms) noexcept:
    """Look at the entries of a batch, highest index first, and empty it."""
    cdef int i
    if batch.count:
        poll(batch.polled, batch.count, 0)  # if it fails, sending will tell
    for i in range(batch.count):
        if batch.polled[i].revents or not tarpit.keep(tarpit.entries + batch.index[i], now_ms):
            tarpit.drop(batch.index[i])
    batch.count = 0
