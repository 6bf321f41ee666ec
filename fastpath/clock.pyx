"""The one clock of all processes of a node: CLOCK_MONOTONIC in nanoseconds."""

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cpdef long long monotonic_ns() noexcept:
    """Return CLOCK_MONOTONIC, ns; the same clock as `time.monotonic_ns`, at a C caller's price."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <long long>now.tv_sec * 1_000_000_000 + now.tv_nsec
