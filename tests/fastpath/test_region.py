"""The region: its sections, and who may attach to it."""

import ctypes
import os
import resource
import struct
from collections.abc import Callable, Iterator

import pytest

from fastpath.bans import BAN_TABLE_BYTES, BanTable
from fastpath.counters import Counters
from fastpath.crowd import Crowd, crowd_bytes
from fastpath.leases import Leases
from fastpath.prefixes import PrefixBook
from fastpath.region import VERSION, Control, Counts, Region
from fastpath.ring import KNOCK_RECORDS, Ring
from fastpath.sightings import Sightings
from fastpath.table import ClientTable

Together = Callable[[Callable[[int], None], int], None]


@pytest.fixture
def region() -> Iterator[Region]:
    """Return a small region."""
    region = Region.create(clients=100, workers=3, upstreams=2, prefixes=100)
    yield region
    region.close()


def sections(region: Region) -> dict[str, memoryview]:
    """Return all sections by name."""
    names = ("control", "generations", "upstreams", "leases", "bans", "verdicts", "crowd", "table", "origins")
    named = {name: getattr(region, name) for name in names}
    for worker in range(region.counts.workers):
        named |= {f"ring {worker}": region.ring(worker), f"counters {worker}": region.counters(worker)}
        named |= {f"payments {worker}": region.payments(worker), f"knocks {worker}": region.knocks(worker)}
    return named


def test_sightings_are_touched_before_they_are_needed(region: Region) -> None:
    """Two thousand of them meet next to no page of memory that is new to the process."""
    region.touch_sightings()
    sightings, whats = Sightings(region.sightings, region.secret), tuple(range(2000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    sightings.add_all(1, whats, 10**15)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 800  # of 1,600; sanitizers have their own


def test_everything_fits_its_section(region: Region) -> None:
    """What is built on a section accepts it."""
    assert ClientTable(region.table, region.secret).capacity == 104
    for worker in range(3):
        assert Ring(region.ring(worker)).lost == Ring(region.knocks(worker), KNOCK_RECORDS).lost == 0
        assert sum(Counters(region.counters(worker)).snapshot().responses) == 0
        assert Crowd(region.crowd, 3, worker, region.secret).count(7) == 0
        assert Leases(region.leases, region.generations, worker, region.secret).acquire(1, 7, 1, 1) == -1 or not worker
    assert BanTable(region.bans, region.secret).used(0) == 0
    assert (len(region.generations), len(region.upstreams), len(region.control)) == (3, 8, 16)
    assert PrefixBook(region.origins, 100).look_up(bytes(4)) == 0
    assert len(region.bans) - BAN_TABLE_BYTES in range(64)
    assert len(region.crowd) - crowd_bytes(3) in range(64)


def test_sections_are_apart_and_all_shared(region: Region) -> None:
    """Each byte of a section is its own, and another mapping of the region sees it."""
    other = Region.attach(region.fd)
    assert (other.secret, other.counts) == (region.secret, region.counts)
    for number, section in enumerate(sections(region).values(), 1):
        bytes_of = section.cast("B")
        bytes_of[:] = bytes([number]) * len(bytes_of)
    for number, section in enumerate(sections(other).values(), 1):
        assert set(section.tobytes()) == {number}
    assert Region.attach(region.fd).secret == region.secret


def test_sections_begin_at_cache_lines(region: Region) -> None:
    """Writers of different sections do not share a line."""
    for name, section in sections(region).items():
        start = ctypes.addressof(ctypes.c_char.from_buffer(section))
        assert start % (4096 if name in {"table", "origins"} else 64) == 0, name


def test_secrets_differ() -> None:
    """Each region has its own secret, which nobody can guess."""
    secrets = set()
    for _ in range(3):
        region = Region.create(clients=8, workers=1, upstreams=0)
        secrets.add(region.secret)
        region.close()
    assert len(secrets) == 3
    assert bytes(16) not in secrets


def test_at_rest_nothing_is_resident() -> None:
    """A region for a million clients takes one page until it is used."""
    region = Region.create(clients=1_048_576, workers=2, upstreams=2)
    ClientTable(region.table, region.secret)
    BanTable(region.bans, region.secret)
    Crowd(region.crowd, 2, 0, region.secret)
    PrefixBook(region.origins, region.counts.prefixes)
    assert os.fstat(region.fd).st_size > 140_000_000
    assert os.fstat(region.fd).st_blocks * 512 <= 8_192
    region.close()


def test_children_share_it(region: Region, together: Together) -> None:
    """A forked child writes where its parent reads."""

    def work(i: int) -> None:
        region.generations[i] += i + 1
        region.control[Control.DRAINING] = 1

    together(work, 3)
    assert (list(region.generations), region.control[Control.DRAINING]) == ([1, 2, 3], 1)


def test_the_size_cannot_change(region: Region) -> None:
    """Nobody can shrink the file under the others, which would kill them."""
    with pytest.raises(PermissionError):
        os.ftruncate(region.fd, 4096)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (Counts(0, 1, 1), "clients 0 not in 1..268435456"),
        (Counts(2**28 + 1, 1, 1), "clients 268435457 not in"),
        (Counts(8, 0, 1), "workers 0 not in 1..256"),
        (Counts(8, 257, 1), "workers 257 not in"),
        (Counts(8, 1, -1), "upstreams -1 not in 0..255"),
        (Counts(8, 1, 256), "upstreams 256 not in"),
        (Counts(8, 1, 1, prefixes=0), "prefixes 0 not in 1..67108864"),
    ],
)
def test_out_of_range(counts: Counts, text: str) -> None:
    """A count out of range is named with its range."""
    with pytest.raises(ValueError, match=text):
        Region.create(
            clients=counts.clients, workers=counts.workers, upstreams=counts.upstreams, prefixes=counts.prefixes
        )


@pytest.mark.parametrize("worker", [-1, 3])
def test_no_such_worker(region: Region, worker: int) -> None:
    """Only the workers of the region have rings and counters."""
    for part in (region.ring, region.knocks, region.counters):
        with pytest.raises(ValueError, match=f"worker {worker} not in 0..2"):
            part(worker)


def file_with(content: bytes, size: int) -> int:
    """Return a memory file that begins with some bytes."""
    fd = os.memfd_create("test")
    os.ftruncate(fd, size)
    os.pwrite(fd, content, 0)
    return fd


def test_an_empty_file_is_no_region() -> None:
    """A file too short for a header is refused."""
    with pytest.raises(ValueError, match="not a memory region of hkpguard"):
        Region.attach(file_with(b"", 0))


@pytest.mark.parametrize(
    ("offset", "form", "value", "text"),
    [
        (0, "8s", b"otherone", "not a memory region of hkpguard"),
        (8, "I", 1, f"layout version 1, not {VERSION}"),
        (16, "Q", 4096, "bytes, not"),
        (24, "Q", 108, "bytes, not"),
        (24, "Q", 2**60, "clients 1152921504606846976 not in"),
        (32, "I", 0, "workers 0 not in"),
        (32, "I", 4, "bytes, not"),
    ],
)
def test_a_header_that_does_not_fit(region: Region, offset: int, form: str, value: object, text: str) -> None:
    """A region of another magic, version or size is refused, each with its reason."""
    header = bytearray(os.pread(region.fd, 72, 0))
    struct.pack_into(f"<{form}", header, offset, value)
    with pytest.raises(ValueError, match=text):
        Region.attach(file_with(bytes(header), os.fstat(region.fd).st_size))


def test_a_file_of_another_size(region: Region) -> None:
    """A header that was copied without its region is refused."""
    with pytest.raises(ValueError, match="memory region has 72 bytes, not"):
        Region.attach(file_with(os.pread(region.fd, 72, 0), 72))


def test_a_secret_of_a_cluster() -> None:
    """Two nodes that are given the same secret have the same, and one of another length is refused."""
    secret = bytes(range(16))
    regions = [Region.create(clients=8, workers=1, upstreams=0, prefixes=1, secret=secret) for _ in range(2)]
    assert [each.secret for each in regions] == [secret, secret]
    assert Region.attach(regions[0].fd).secret == secret
    for each in regions:
        each.close()
    with pytest.raises(ValueError, match="secret has 15 bytes, not 16"):
        Region.create(clients=8, workers=1, upstreams=0, prefixes=1, secret=secret[1:])
