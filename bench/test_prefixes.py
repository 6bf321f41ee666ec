"""A million prefixes: look-ups, building, publishing, and other libraries beside them; `extra_info`: ns of one call.

The others are not installed with the rest: `pip install pytricia py-radix maxminddb mmdb_writer`; what is missing is
skipped. They get the same rows and addresses, as text or bytes. `fill_seconds` tells how long it took to fill one, `mb`
how much this process grew by meanwhile.
"""

import mmap
import socket
import time
from collections.abc import Callable
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastpath.origin import LISTED_PRICED, MOST_ASN, NetworkKind
from fastpath.prefix_build import Rows, assembled, build
from fastpath.prefixes import PrefixBook, prefix_bytes
from proxy.intel.layers import Layers, Rule, overlaid

SECOND = 10**9
MILLION = 1_000_000
FEW = 50_000  # for mmdb_writer, which is slow
CALLS = 100_000  # in one round
MB = 1_000_000
LookUp = Callable[[Any], object]
families = pytest.mark.parametrize("size", [4, 16], ids=["ipv4", "ipv6"])
mixes = pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["ipv6", "mixed", "ipv4"])


def measure(benchmark: BenchmarkFixture, calls: int, run: Callable[[], object], rounds: int = 10) -> None:
    """Measure rounds of `run`, which makes so many calls; `extra_info`: the ns of each in the quickest."""
    benchmark.pedantic(run, rounds=rounds, warmup_rounds=1)  # type: ignore[no-untyped-call]  # theirs
    assert benchmark.stats is not None
    benchmark.extra_info["ns_each"] = round(benchmark.stats.stats.min / calls * SECOND)


@cache
def a_million(share: float, count: int = MILLION) -> Rows:
    """Return random rows, some of IPv4 (/12 to /32) and others of IPv6 (2000::/3, /24 to /128), nested by chance."""
    draw = np.random.default_rng(1)
    networks = draw.integers(0, 256, (count, 16), np.uint8)
    four = np.arange(count) < share * count
    networks[four, :10], networks[four, 10:12] = 0, 255
    networks[~four, 0] = 0x20 | networks[~four, 0] & 0x1F
    lengths = np.where(four, draw.integers(96 + 12, 129, count), draw.integers(24, 129, count))
    return Rows(networks, lengths.astype(np.uint8), draw.integers(1, 2**32, count, np.uint32))


@cache
def book(share: float) -> PrefixBook:
    """Return a book with a million prefixes."""
    made = PrefixBook(memoryview(mmap.mmap(-1, prefix_bytes(MILLION))), MILLION)
    for _ in made.publish(build(a_million(share))):
        pass
    return made


def addresses(size: int) -> list[bytes]:
    """Return random addresses: of IPv6 half of them lie in the prefixes, else nearly all would lie in none."""
    draw = np.random.default_rng(2)
    found = [bytes([0x20 | first & 0x1F]) + draw.bytes(size - 1) for first in draw.bytes(CALLS)]
    if size == 4:
        return [draw.bytes(4) for _ in found]
    rows = a_million(0.5).networks[MILLION // 2 :]
    return [bytes(rows[i]) if i % 2 else address for i, address in enumerate(found)]


@families
def test_hot(benchmark: BenchmarkFixture, size: int) -> None:
    """One address again and again. Goal: under 200 ns."""
    matcher, address = book(0.5), addresses(size)[1]

    def run() -> None:
        look_up = matcher.look_up
        for _ in repeat(None, CALLS):
            look_up(address)

    measure(benchmark, CALLS, run)


@families
@pytest.mark.parametrize("count", [1_000, CALLS])
def test_in_turn(benchmark: BenchmarkFixture, size: int, count: int) -> None:
    """A thousand addresses in turn, as a worker meets them, and a hundred thousand: mostly not in its cache."""
    matcher = book(0.5)
    asked = addresses(size)[:count] * (CALLS // count)

    def run() -> None:
        look_up = matcher.look_up
        for address in asked:
            look_up(address)

    measure(benchmark, CALLS, run)


@mixes
def test_build(benchmark: BenchmarkFixture, share: float) -> None:
    """A million rows, seconds and MB of the set. Goals: 10 s, 64 MB."""
    rows = a_million(share)
    measure(benchmark, 1, lambda: build(rows), 3)
    benchmark.extra_info["mb"] = round(len(build(rows)) / MB, 1)


def test_compose(benchmark: BenchmarkFixture) -> None:
    """Holders, kinds and lists, 1.5 million prefixes in all, laid over each other, with two rules; seconds."""
    asns, kinds, lists = (a_million(0.5, count) for count in (700_000, 600_000, 200_000))
    layers = Layers(
        asns=[asns._replace(values=asns.values % (MOST_ASN + 1))],
        kinds=[kinds._replace(values=kinds.values % len(NetworkKind))],
        listed=[lists._replace(values=LISTED_PRICED + lists.values % 2)],
        rules=[Rule(asns=(1, 2, 3)), Rule(kinds=(NetworkKind.HOSTING,))],
    )
    measure(benchmark, 1, lambda: assembled(overlaid(layers), 0), 3)
    benchmark.extra_info["ranges"] = sum(map(len, overlaid(layers)))


@mixes
def test_publish(benchmark: BenchmarkFixture, share: float) -> None:
    """A set put in the place of another; `longest_us`: the step that others wait for the longest."""
    made, target = build(a_million(share)), book(share)
    longest = [0]

    def run() -> None:
        before = time.perf_counter_ns()
        for _ in target.publish(made):
            after = time.perf_counter_ns()
            longest[0], before = max(longest[0], after - before), after

    measure(benchmark, 1, run, 5)
    benchmark.extra_info["longest_us"] = longest[0] // 1_000


class Other(NamedTuple):
    """Another library, filled.

    Attributes:
        look_up: Its look-up.
        form: Makes of an address what it takes.
        seconds: How long it took to fill.
        mb: How much the process grew by.

    """

    look_up: LookUp
    form: Callable[[bytes], object]
    seconds: float
    mb: float


def resident_bytes() -> int:
    """Return the memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def plain(rows: Rows) -> list[tuple[bytes, int, int]]:
    """Return rows as packed networks, lengths in their own families, and values."""
    found = zip(rows.networks, rows.lengths.tolist(), rows.values.tolist(), strict=True)
    mapped = bytes(10) + b"\xff\xff"
    return [
        (packed[12:], length - 96, value) if packed.startswith(mapped) else (packed, length, value)
        for packed, length, value in ((bytes(network), length, value) for network, length, value in found)
    ]


def text(packed: bytes) -> str:
    """Return an address as text."""
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def filled(
    fill: Callable[[list[tuple[bytes, int, int]]], LookUp], form: Callable[[bytes], object], count: int
) -> Other:
    """Fill a library with so many mixed prefixes, and measure it."""
    prefixes, before, start = plain(a_million(0.5, count)), resident_bytes(), time.perf_counter()
    look_up = fill(prefixes)
    return Other(look_up, form, time.perf_counter() - start, (resident_bytes() - before) / MB)


@cache
def pytricia_of(size: int) -> Other:
    """Return a PyTricia with the prefixes of one family; it takes text."""
    library = pytest.importorskip("pytricia")
    family = socket.AF_INET if size == 4 else socket.AF_INET6

    def fill(prefixes: list[tuple[bytes, int, int]]) -> LookUp:
        trie = library.PyTricia(8 * size, family)
        for network, length, value in prefixes:
            if len(network) == size:
                trie.insert(f"{text(network)}/{length}", value)
        trie.freeze()
        look_up: LookUp = trie.get
        return look_up

    return filled(fill, text, MILLION)


@cache
def radix_of(_: int) -> Other:
    """Return a tree of py-radix with those of both; it takes packed addresses."""
    library = pytest.importorskip("radix")

    def fill(prefixes: list[tuple[bytes, int, int]]) -> LookUp:
        tree = library.Radix()
        for network, length, value in prefixes:
            tree.add(packed=network, masklen=length).data["value"] = value
        search = tree.search_best
        return lambda address: search(packed=address)

    return filled(fill, bytes, MILLION)


@cache
def maxminddb_of(_: int) -> Other:
    """Return the reader, in C, of a file with 50,000 prefixes; it takes text."""
    library, writer, netaddr = map(pytest.importorskip, ("maxminddb", "mmdb_writer", "netaddr"))

    def fill(prefixes: list[tuple[bytes, int, int]]) -> LookUp:
        made = writer.MMDBWriter(ip_version=6, ipv4_compatible=True, int_type="u32")
        for network, length, value in prefixes:
            made.insert_network(netaddr.IPSet([f"{text(network)}/{length}"]), value)
        path = Path("/dev/shm/hkpguard-bench.mmdb")  # noqa: S108 - of this bench alone, gone at once
        made.to_db_file(str(path))
        reader = library.open_database(str(path), library.MODE_MMAP_EXT)
        path.unlink()
        look_up: LookUp = reader.get
        return look_up

    return filled(fill, text, FEW)


@families
@pytest.mark.parametrize("other", [pytricia_of, radix_of, maxminddb_of], ids=["pytricia", "py-radix", "maxminddb"])
@pytest.mark.parametrize("count", [1_000, CALLS])
def test_others(benchmark: BenchmarkFixture, other: Callable[[int], Other], size: int, count: int) -> None:
    """What `test_in_turn` asks, of another library."""
    library = other(size)
    asked = [library.form(address) for address in addresses(size)[:count]] * (CALLS // count)

    def run() -> None:
        look_up = library.look_up
        for address in asked:
            look_up(address)

    measure(benchmark, CALLS, run, 3)
    benchmark.extra_info["fill_seconds"], benchmark.extra_info["mb"] = round(library.seconds, 1), round(library.mb, 1)
