"""How long a process works at a stretch while others wait for its core.

Since Linux 6.12 it may ask for short slices. It gets no more of the core by that, but gets it sooner: who wakes up goes
before whoever works there with longer ones. With the usual ones, of 3 ms, it waits until theirs is over.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <sys/syscall.h>
    #include <unistd.h>
    """
    long syscall(long number, ...) nogil
    long SYS_sched_getattr, SYS_sched_setattr

cdef struct Attributes:  # struct sched_attr, as of its first version
    uint32_t size
    uint32_t policy
    uint64_t flags
    int32_t nice
    uint32_t priority
    uint64_t runtime
    uint64_t deadline
    uint64_t period

cdef enum:
    ORDINARY = 0  # SCHED_OTHER


def shorten_slice(int64_t ns):
    cdef Attributes attributes
    if syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0 or attributes.policy != ORDINARY:
        return False
    attributes.size = sizeof(attributes)
    attributes.runtime = ns
    return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0
