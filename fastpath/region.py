"""
The one shared memory of a node: made by the supervisor, inherited by the children that it forks.

It is an anonymous memory file (memfd): nothing is left behind after a crash, and a container's small /dev/shm does not
matter. Nothing is written at the start except the header, so memory becomes resident only where it is used. Huge pages
are not asked for: with them a hundred clients would make the whole table resident.

    header | control | generations | upstreams | leases | counters x workers | rings x workers | table

Each section begins at a cache line, the table at a page. The sizes follow from three counts in the header, so whoever
attaches can check them.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, Self

from fastpath.counters import COUNTER_BYTES
from fastpath.leases import LEASE_BYTES
from fastpath.ring import RING_BYTES
from fastpath.table import table_bytes

MAGIC: Final = b"hkpguard"
VERSION: Final = 1  # of the layout of all sections; raise it with any change
MAX_CLIENTS: Final = 2**28
MAX_WORKERS: Final = 256  # a lease names its worker in a byte
MAX_UPSTREAMS: Final = 255  # a record names its upstream in a byte, 255 is none
UPSTREAM_WORDS: Final = 4  # down_until_ns, failures, active_ok, checked_ns
_HEADER: Final = struct.Struct("<8sIIQII16s")
_LINE: Final = 64
_CONTROL_WORDS: Final = 16


class Control(IntEnum):
    """Index of a word of `Region.control`; each has one writer."""

    POLICY_GENERATION = 0  # supervisor: one more with each policy that is to be used
    DRAINING = 1  # supervisor: 1 from SIGTERM on
    ANALYST_HEARTBEAT_NS = 2  # analyst: CLOCK_MONOTONIC of its last turn
    RELOAD_FAILED = 3  # supervisor: 1 after a reload that kept the old policy
    WORKER_DEATHS = 4  # supervisor: workers that died and were replaced


class Counts(NamedTuple):
    """What the sizes of all sections follow from."""

    clients: int
    workers: int
    upstreams: int

    def check(self) -> None:
        """Raise ValueError unless all are in range."""
        for name, value, least, most in (
            ("clients", self.clients, 1, MAX_CLIENTS),
            ("workers", self.workers, 1, MAX_WORKERS),
            ("upstreams", self.upstreams, 0, MAX_UPSTREAMS),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} {value} not in {least}..{most}")

    def sizes(self) -> Iterator[int]:
        """Yield the sizes of the sections in their order, bytes, rounded up so that the next one is aligned."""
        yield _rounded(_HEADER.size)
        yield 8 * _CONTROL_WORDS
        yield _rounded(8 * self.workers)
        yield _rounded(8 * UPSTREAM_WORDS * self.upstreams)
        yield _rounded(LEASE_BYTES)
        yield _rounded(COUNTER_BYTES) * self.workers
        yield _rounded(RING_BYTES) * self.workers
        yield table_bytes(self.clients)


class Region:
    """The sections of the region as memoryviews; they, and what is built on them, keep the mapping alive."""

    fd: int
    secret: bytes
    control: memoryview  # 'q', indices: Control
    generations: memoryview  # 'Q', one for each worker; the supervisor adds 1 before it starts that worker
    upstreams: memoryview  # 'q', UPSTREAM_WORDS for each: down_until_ns, failures, active_ok, checked_ns
    leases: memoryview
    table: memoryview

    def __init__(self, fd: int, counts: Counts, secret: bytes) -> None:
        """Map a file of the right size; use `create` or `attach`."""
        self.fd = fd
        self.counts = counts
        self.secret = secret
        memory = memoryview(mmap.mmap(fd, _layout(counts)[-1], mmap.MAP_SHARED))
        _, control, generations, upstreams, leases, counters, rings, table = (
            memory[start:end] for start, end in pairwise(_layout(counts))
        )
        self.control = control.cast("q")
        self.generations = generations[: 8 * counts.workers].cast("Q")
        self.upstreams = upstreams[: 8 * UPSTREAM_WORDS * counts.upstreams].cast("q")
        self.leases, self._counters, self._rings = leases, counters, rings
        self.table = table[-table_bytes(counts.clients) :]
        self._header = memory[: _HEADER.size]

    @classmethod
    def create(cls, *, clients: int, workers: int, upstreams: int) -> Self:
        """
        Make a region with a fresh secret.

        Args:
            clients: Least capacity of the client table, 1..2**28; 142 bytes each once used.
            workers: 1..256.
            upstreams: 0..255.

        Raises:
            ValueError: A count is out of range.
            OSError: The kernel has no memory files or no memory.

        """
        counts = Counts(clients, workers, upstreams)
        counts.check()
        fd = os.memfd_create("hkpguard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, _layout(counts)[-1])
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)  # no SIGBUS for anybody
        region = cls(fd, counts, os.urandom(16))
        header = _HEADER.pack(MAGIC, VERSION, _HEADER.size, _layout(counts)[-1], *_packed(counts), region.secret)
        region._header[:] = header
        return region

    @classmethod
    def attach(cls, fd: int) -> Self:
        """Map the region behind a descriptor, which stays the caller's; ValueError if it is none of this version."""
        raise NotImplementedError
