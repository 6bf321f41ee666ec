"""The one shared memory of a node: made by the supervisor, inherited by the children that it forks.

It is an anonymous memory file (memfd): nothing is left behind after a crash, and a container's small /dev/shm
does not matter. Nothing is written at the start except the header, so memory becomes resident only where it
is used. Huge pages are not asked for: with them a hundred clients would make the whole table resident.

    header | control | generations | upstreams | leases | bans | verdicts | crowd | buckets | distinct
    | sightings | peers | costs | epochs | tariff | cache | counters x workers | rings x workers | knocks x workers
    | excerpts x workers | payments x workers | origins | table

Each section begins at a cache line, the last two at a page. The sizes follow from the counts in the header, so
whoever attaches can check them.
"""

import fcntl
import mmap
import os
import struct
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Final, NamedTuple, Self

from fastpath.bans import BAN_TABLE_BYTES
from fastpath.buckets import BUCKET_TABLE_BYTES
from fastpath.cache import LEAST_DATA_BYTES, MOST_DATA_BYTES, cache_bytes
from fastpath.costs import COST_MEMORY_BYTES
from fastpath.counters import COUNTER_BYTES
from fastpath.crowd import crowd_bytes
from fastpath.distinct import DISTINCT_BYTES
from fastpath.epochs import EPOCH_BYTES
from fastpath.excerpts import EXCERPT_BYTES
from fastpath.leases import LEASE_BYTES
from fastpath.payments import PAYMENT_BYTES
from fastpath.peer_book import PEER_BOOK_BYTES
from fastpath.prefixes import MOST_PREFIXES, prefix_bytes
from fastpath.ring import KNOCK_BYTES, RING_BYTES
from fastpath.sightings import SIGHTING_BYTES
from fastpath.table import table_bytes
from fastpath.tariff import TARIFF_BYTES

MAGIC: Final = b"hkpguard"
VERSION: Final = 9  # of the layout of all sections; raise it with any change
MAX_CLIENTS: Final = 2**28
MAX_WORKERS: Final = 256  # a lease names its worker in a byte
MAX_UPSTREAMS: Final = 255  # a record names its upstream in a byte, 255 is none
UPSTREAM_WORDS: Final = 4  # down_until_ns, failures, active_ok, checked_ns
CONTROL_WORDS: Final = 16
LINE_BYTES: Final = 64
SECRET_BYTES: Final = 16
USUAL_PREFIXES: Final = 1_000_000
_HEADER: Final = struct.Struct("<8sIxxxxQQIIQQ16s")  # magic, version, size, `Counts`, secret


class Control(IntEnum):
    """Index of a word of `Region.control`; each has one writer."""

    POLICY_GENERATION = 0  # supervisor: one more with each policy that is to be used
    DRAINING = 1  # supervisor: 1 from SIGTERM on
    ANALYST_HEARTBEAT_NS = 2  # analyst: CLOCK_MONOTONIC of its last turn
    RELOAD_OK = 3  # supervisor: 1 if the last reload was accepted
    RELOAD_FAILURES = 4  # supervisor: reloads refused since the start
    ORIGIN_RULES = 5  # analyst: by which rules origins were composed (`proxy.policy.origins`); 0: none, or others soon
    SHARE = 6  # analyst: by what limits are divided while no other node can be asked; 0 or 1: they are whole
    RELEASE = 7  # supervisor: generation of the policy of the cluster that is in force; 0: none
    CLAIMS_UNTIL_NS = 8  # analyst: until when it answers claims, CLOCK_MONOTONIC; 0: the store is out of reach


class Counts(NamedTuple):
    """What the sizes of all sections follow from."""

    clients: int
    workers: int
    upstreams: int
    reply_bytes: int = LEAST_DATA_BYTES  # of the cache
    prefixes: int = USUAL_PREFIXES  # of the book of origins

    def check(self) -> None:
        """Raise ValueError unless all are in range."""
        for name, value, least, most in (
            ("clients", self.clients, 1, MAX_CLIENTS),
            ("workers", self.workers, 1, MAX_WORKERS),
            ("upstreams", self.upstreams, 0, MAX_UPSTREAMS),
            ("reply_bytes", self.reply_bytes, LEAST_DATA_BYTES, MOST_DATA_BYTES),
            ("prefixes", self.prefixes, 1, MOST_PREFIXES),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name} {value} not in {least}..{most}")

    def sizes(self) -> tuple[int, ...]:
        """Return the sizes of the sections before the origins, in their order, bytes."""
        return (
            _HEADER.size,
            8 * CONTROL_WORDS,
            8 * self.workers,
            8 * UPSTREAM_WORDS * self.upstreams,
            LEASE_BYTES,
            BAN_TABLE_BYTES,
            BAN_TABLE_BYTES,
            crowd_bytes(self.workers),
            BUCKET_TABLE_BYTES,
            DISTINCT_BYTES,
            SIGHTING_BYTES,
            PEER_BOOK_BYTES,
            COST_MEMORY_BYTES,
            EPOCH_BYTES,
            TARIFF_BYTES,
            cache_bytes(self.reply_bytes),
            _rounded(COUNTER_BYTES, LINE_BYTES) * self.workers,
            _rounded(RING_BYTES, LINE_BYTES) * self.workers,
            _rounded(KNOCK_BYTES, LINE_BYTES) * self.workers,
            _rounded(EXCERPT_BYTES, LINE_BYTES) * self.workers,
            _rounded(PAYMENT_BYTES, LINE_BYTES) * self.workers,
        )


class Region:
    """The sections of the region as memoryviews; they, and what is built on them, keep the mapping alive.

    Attributes:
        fd: The memory file; closed by `close`.
        counts: Capacity of the table (as asked for), workers, upstreams.
        secret: 16 bytes, the key of the hashes: random, or made of the secret of the cluster.
        control: 'q', indices: `Control`.
        generations: 'Q', one for each worker; the supervisor adds 1 before it starts that worker.
        upstreams: 'q', UPSTREAM_WORDS for each: down_until_ns, failures, active_ok, checked_ns.
        leases: For `Leases`.
        bans: For `BanTable`.
        verdicts: For another one.
        crowd: For `Crowd`, all workers.
        buckets: For `BucketTable`.
        distinct: For `DistinctTable`.
        sightings: For `Sightings`.
        peers: For `PeerBook`.
        costs: For `CostMemory`.
        epochs: For `Epochs`.
        tariff: For `Tariff`.
        cache: For `ReplyCache`.
        origins: For `PrefixBook`.
        table: For `ClientTable`.

    """

    def __init__(self, fd: int, counts: Counts, memory: memoryview) -> None:
        """Cut mapped memory into its sections; use `create` or `attach`."""
        self.fd = fd
        self.counts = counts
        parts = [memory[start:end] for start, end in pairwise(_edges(counts))]
        header, control, generations, upstreams, self.leases, *parts = parts
        self.bans, self.verdicts, self.crowd, *parts = parts
        self.buckets, self.distinct, self.sightings, self.peers, *parts = parts
        self.costs, self.epochs, self.tariff, self.cache, *parts = parts
        self._counters, self._rings, self._knocks, self._excerpts, self._payments, *parts = parts
        self.origins, self.table = parts
        self.secret = bytes(header[_HEADER.size - SECRET_BYTES : _HEADER.size])
        self.control = control.cast("q")
        self.generations = generations[: 8 * counts.workers].cast("Q")
        self.upstreams = upstreams[: 8 * UPSTREAM_WORDS * counts.upstreams].cast("q")

    @classmethod
    def create(  # noqa: PLR0913 - what a region is made of
        cls,
        *,
        clients: int,
        workers: int,
        upstreams: int,
        reply_bytes: int = LEAST_DATA_BYTES,
        prefixes: int = USUAL_PREFIXES,
        secret: bytes | None = None,
    ) -> Self:
        """Make a region.

        Args:
            clients: Least capacity of the client table, 1..2**28; 136 bytes each, once used.
            workers: 1..256.
            upstreams: 0..255.
            reply_bytes: Of replies in the cache, 1 MiB to 64 GiB; memory is taken as they come.
            prefixes: Capacity of the book of origins, 1 to 67,108,864; likewise.
            secret: 16 bytes, the same on all nodes of a cluster, whose words for subjects are equal; None: fresh ones.

        Raises:
            ValueError: A count is out of range, or the secret has another length.
            OSError: The kernel refuses a memory file of that size.

        """
        counts = Counts(clients, workers, upstreams, reply_bytes, prefixes)
        counts.check()
        if secret is None:
            secret = os.urandom(SECRET_BYTES)
        elif len(secret) != SECRET_BYTES:
            raise ValueError(f"secret has {len(secret)} bytes, not {SECRET_BYTES}")
        size = _edges(counts)[-1]
        fd = os.memfd_create("hkpguard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)  # nobody gets a SIGBUS
        memory = memoryview(mmap.mmap(fd, size))
        memory[: _HEADER.size] = _HEADER.pack(MAGIC, VERSION, size, *counts, secret)
        return cls(fd, counts, memory)

    @classmethod
    def attach(cls, fd: int) -> Self:
        """Map the region behind the descriptor of a memory file.

        Raises:
            ValueError: It is not a region, of another version of hkpguard, or its size is not its header's.
            OSError: The descriptor cannot be read or mapped.

        """
        header = os.pread(fd, _HEADER.size, 0)
        if len(header) < _HEADER.size or not header.startswith(MAGIC):
            raise ValueError("not a memory region of hkpguard")
        _, version, size, *given, _ = _HEADER.unpack(header)
        if version != VERSION:
            raise ValueError(f"memory region has layout version {version}, not {VERSION}")
        counts = Counts(*given)
        counts.check()
        if not size == os.fstat(fd).st_size == _edges(counts)[-1]:
            raise ValueError(f"memory region has {os.fstat(fd).st_size} bytes, not {_edges(counts)[-1]}")
        return cls(fd, counts, memoryview(mmap.mmap(fd, size)))

    def ring(self, worker: int) -> memoryview:
        """Return the memory of a worker's ring; ValueError if there is no such worker."""
        return self._part(self._rings, worker, RING_BYTES)

    def knocks(self, worker: int) -> memoryview:
        """Return the memory of a worker's ring of KNOCK_RECORDS; ValueError if there is no such worker."""
        return self._part(self._knocks, worker, KNOCK_BYTES)

    def excerpts(self, worker: int) -> memoryview:
        """Return the memory of a worker's excerpts; ValueError if there is no such worker."""
        return self._part(self._excerpts, worker, EXCERPT_BYTES)

    def payments(self, worker: int) -> memoryview:
        """Return the memory of a worker's payments; ValueError if there is no such worker."""
        return self._part(self._payments, worker, PAYMENT_BYTES)

    def counters(self, worker: int) -> memoryview:
        """Return the memory of a worker's counters; ValueError if there is no such worker."""
        return self._part(self._counters, worker, COUNTER_BYTES)

    def upstream(self, index: int) -> memoryview:
        """Return the words of an upstream; ValueError if there is no such upstream."""
        if not 0 <= index < self.counts.upstreams:
            raise ValueError(f"upstream {index} not in 0..{self.counts.upstreams - 1}")
        return self.upstreams[UPSTREAM_WORDS * index : UPSTREAM_WORDS * (index + 1)]

    def touch_sightings(self) -> None:
        """Have this process meet each page of the sightings now.

        An upload may have two thousand signatures, which lie on as many pages: they would take 6 ms to meet.
        """
        for _ in self.sightings[:: mmap.PAGESIZE]:
            pass

    def close(self) -> None:
        """Close the descriptor. The memory itself goes with the last object that uses it."""
        os.close(self.fd)

    def _part(self, section: memoryview, worker: int, size: int) -> memoryview:
        if not 0 <= worker < self.counts.workers:
            raise ValueError(f"worker {worker} not in 0..{self.counts.workers - 1}")
        start = worker * _rounded(size, LINE_BYTES)
        return section[start : start + size]


def _rounded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _edges(counts: Counts) -> list[int]:
    """Return the offsets at which the sections begin, and the end of the last one, bytes."""
    small = accumulate((_rounded(size, LINE_BYTES) for size in counts.sizes()), initial=0)
    *begins, last = small
    origins = _rounded(last, mmap.PAGESIZE)
    table = origins + prefix_bytes(counts.prefixes)  # whole pages
    return [*begins, origins, table, table + table_bytes(counts.clients)]
