# cython: language_level=3, boundscheck=False, wraparound=False
"""
The loop of the open-loop generator: sends by the clock, takes the times of the answers. See `openloop.py`.

In Python it costs 25 us a request, beside an upstream on the same core: too much at half of HAProxy's rate.
It waits with `ppoll` on the epoll descriptor (nanoseconds; `epoll_wait` counts in ms) and never spins.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memcmp
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from "sys/socket.h" nogil:
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t recv(int fd, void *data, size_t size, int flags)

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        int fd
    cdef struct epoll_event:
        unsigned int events
        epoll_data_t data
    int epoll_wait(int epoll, epoll_event *events, int most, int timeout_ms)

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <poll.h>
    """
    cdef struct pollfd:
        int fd
        short events
        short revents
    int ppoll(pollfd *fds, unsigned long count, const timespec *timeout, const void *mask) nogil
    short POLLIN

cdef enum:
    EVENTS = 64
    MOST_FDS = 65536
    ANSWER_BYTES = 65536

cdef char[ANSWER_BYTES] _answer


cdef inline int64_t _now() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef void _sleep(int epoll, int64_t wait_ns) noexcept nogil:
    cdef pollfd watched
    cdef timespec timeout
    watched.fd, watched.events, watched.revents = epoll, POLLIN, 0
    timeout.tv_sec = wait_ns // 1_000_000_000
    timeout.tv_nsec = wait_ns % 1_000_000_000
    ppoll(&watched, 1, &timeout, NULL)


cdef int _complete(int fd, const char *end, Py_ssize_t end_size) noexcept nogil:
    """Read `fd`: 1 the last part of an answer with status 200, 0 a part before it, -1 anything else."""
    cdef ssize_t got = recv(fd, _answer, ANSWER_BYTES, 0)
    if got <= 0:
        return -1
    if got >= 12 and memcmp(_answer, b"HTTP/1.1 ", 9) == 0 and memcmp(_answer + 9, b"200", 3) != 0:
        return -1
    return got >= end_size and memcmp(_answer + got - end_size, end, end_size) == 0


def drive(int epoll, list descriptors, list heads, bytes end, int64_t interval_ns, double[::1] waited_us,
          double[::1] late_us, int64_t patience_ns):
    cdef Py_ssize_t total = waited_us.shape[0], sent = 0, done = 0, idle = 0, size
    cdef Py_ssize_t end_size = PyBytes_GET_SIZE(end)
    cdef const char *end_bytes = PyBytes_AS_STRING(end)
    cdef int64_t start = _now(), due, now, wait_ns, limit = start + total * interval_ns + patience_ns
    cdef int64_t[MOST_FDS] due_of
    cdef int[MOST_FDS] free
    cdef epoll_event[EVENTS] events
    cdef int fd, state, ready, i
    for fd in descriptors:
        free[idle] = fd
        idle += 1
    while done < total:
        now = _now()
        if now > limit:
            raise TimeoutError(f"{total - done} requests without an answer")
        due = start + sent * interval_ns
        if sent < total and idle and due <= now:
            idle -= 1
            fd = free[idle]
            head = heads[sent % len(heads)]
            size = PyBytes_GET_SIZE(head)
            if send(fd, PyBytes_AS_STRING(head), size, 0) != size:
                raise ConnectionError("could not send")
            due_of[fd] = due
            late_us[sent] = (now - due) / 1e3
            sent += 1
            continue
        wait_ns = due - now if sent < total and idle else 1_000_000_000
        with nogil:
            _sleep(epoll, wait_ns)
        ready = epoll_wait(epoll, events, EVENTS, 0)
        now = _now()
        for i in range(ready):
            fd = events[i].data.fd
            state = _complete(fd, end_bytes, end_size)
            if state < 0:
                raise ConnectionError("an answer was not 200, or the server closed")
            if state:
                waited_us[done] = (now - due_of[fd]) / 1e3
                done += 1
                free[idle] = fd
                idle += 1
