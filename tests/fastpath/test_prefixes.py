"""Longest-prefix match: what both twins say, the set in memory, and the book that is swapped while it is read."""

from __future__ import annotations

import ipaddress
import mmap
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from random import Random
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import _prefixes_py
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import MAGIC_WORD, MOST_PREFIXES, NODE_KEYS, PrefixBook, PrefixSet, layout, prefix_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

Prefix = tuple[bytes, int, int]
Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]

# With `--hypothesis-profile=long` it is 100 million.
SETS = settings.default.max_examples if settings.default else 100
QUERIES = 2_000  # for each set
CAPACITY = 1_000


class Matcher(Protocol):
    """The method under test."""

    def look_up(self, address: bytes) -> int: ...  # noqa: D102 - a protocol of the twin


Make = Callable[[list[Prefix]], Matcher]


def built(prefixes: Iterable[Prefix]) -> memoryview:
    """Return the memory of a set."""
    return build(Rows.of(prefixes))


def publish(book: PrefixBook, prefixes: Iterable[Prefix]) -> None:
    """Publish a set at once."""
    for _ in book.publish(built(prefixes)):
        pass


def new_book(capacity: int = CAPACITY) -> PrefixBook:
    """Return an empty book in memory of its own."""
    return PrefixBook(memoryview(mmap.mmap(-1, prefix_bytes(capacity))), capacity)


def published(prefixes: list[Prefix]) -> PrefixBook:
    """Return a book with a set in it, which is not its first."""
    book = new_book()
    publish(book, [(bytes(4), 0, 99), (bytes(16), 0, 99)])
    publish(book, prefixes)
    return book


TWINS: dict[str, Make] = {
    "python": _prefixes_py.PrefixSet,
    "set": lambda prefixes: PrefixSet(built(prefixes)),
    "book": published,
}


@pytest.fixture(params=[*TWINS.values()], ids=[*TWINS])
def make(request: pytest.FixtureRequest) -> Make:
    """Return the maker of the twin under test."""
    maker: Make = request.param
    return maker


def prefix(text: str, value: int) -> Prefix:
    """Return a prefix as text says it."""
    address, _, length = text.partition("/")
    return ipaddress.ip_address(address).packed, int(length), value


def values(matcher: Matcher, *addresses: str) -> list[int]:
    """Return what is found for addresses."""
    return [matcher.look_up(ipaddress.ip_address(address).packed) for address in addresses]


# What is said: both twins.


def test_nothing_in_nothing(make: Make) -> None:
    """Without prefixes there is no value."""
    assert values(make([]), "0.0.0.0", "255.255.255.255", "::", "2001:db8::1") == [0, 0, 0, 0]


def test_the_longest_counts(make: Make) -> None:
    """Of nested prefixes the longest that holds the address answers, in whatever order they come."""
    nested = [prefix("10.1.0.0/16", 2), prefix("10.0.0.0/8", 1), prefix("10.1.2.3/32", 4), prefix("10.1.2.0/24", 3)]
    for order in (nested, nested[::-1]):
        addresses = ("10.0.0.0", "10.1.0.0", "10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.3.0", "10.2.0.0", "11.0.0.0")
        assert values(make(order), *addresses) == [1, 2, 3, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "ffff::"]),
        ("::/0", ["::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["0.0.0.0", "::ffff:192.0.2.1"]),
        ("0.0.0.0/32", ["0.0.0.0", "::ffff:0.0.0.0"], ["0.0.0.1", "::"]),
        ("255.255.255.255/32", ["255.255.255.255"], ["255.255.255.254", "::ffff:ffff"]),
        ("128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255"]),
        ("::/128", ["::"], ["::1", "0.0.0.0"]),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
         ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"]),
        ("2001:db8::/64", ["2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"], ["2001:db7:ffff:ffff::", "2001:db8:0:1::"]),
        ("2001:db8::8000:0:0:0/65", ["2001:db8::8000:0:0:0", "2001:db8::ffff:0:0:1"], ["2001:db8::7fff:0:0:0"]),
        ("2001:db8::/63", ["2001:db8::", "2001:db8:0:1::1"], ["2001:db8:0:2::"]),
        ("2001:db8::1/128", ["2001:db8::1"], ["2001:db8::", "2001:db8::2"]),
    ],
)  # fmt: skip
def test_edges(make: Make, network: str, inside: list[str], outside: list[str]) -> None:
    """A prefix holds its first and its last address and none beside them, also at both ends of its family."""
    matcher = make([prefix(network, 7)])
    assert (values(matcher, *inside), values(matcher, *outside)) == ([7] * len(inside), [0] * len(outside))


def test_adjacent_prefixes(make: Make) -> None:
    """Where one ends the next begins; that they say the same does not matter."""
    matcher = make([prefix("10.0.0.0/9", 1), prefix("10.128.0.0/9", 1), prefix("11.0.0.0/8", 2)])
    assert values(matcher, "9.255.255.255", "10.127.255.255", "10.128.0.0", "11.0.0.0", "12.0.0.0") == [0, 1, 1, 2, 0]


def test_of_equal_prefixes_the_last_counts(make: Make) -> None:
    """Also if others stand between them, and bits beyond the prefix do not make them differ."""
    rows = [
        prefix("10.0.0.0/8", 1),
        prefix("10.0.0.0/16", 5),
        prefix("10.9.9.9/8", 2),
        prefix("::/0", 3),
        prefix("::/0", 4),
    ]
    assert values(make(rows), "10.0.0.1", "10.3.0.1", "11.0.0.0", "::1") == [5, 2, 0, 4]


def test_a_hole(make: Make) -> None:
    """A prefix with the value 0 takes its addresses out of those around it."""
    rows = [prefix("10.0.0.0/8", 1), prefix("10.1.0.0/16", 0), prefix("10.1.2.0/24", 3)]
    assert values(make(rows), "10.0.0.0", "10.1.0.0", "10.1.2.0", "10.1.3.0", "10.2.0.0") == [1, 0, 3, 0, 1]


def test_largest_value(make: Make) -> None:
    """A value is any 32 bits; the last of them is not taken for an error."""
    assert values(make([prefix("10.0.0.0/8", 2**32 - 1)]), "10.0.0.0", "11.0.0.0") == [2**32 - 1, 0]


def test_mapped_addresses_are_of_ipv4(make: Make) -> None:
    """An IPv4-mapped prefix or address is one of IPv4; a shorter IPv6 prefix around them all holds none of them."""
    matcher = make([prefix("::ffff:10.0.0.0/104", 1), prefix("::/80", 2), prefix("::ffff:10.1.0.0/95", 3)])
    mapped = ("::ffff:10.0.0.1", "::ffff:11.0.0.1", "::fffe:10.0.0.1", "::1:10.0.0.1")
    assert values(matcher, "10.0.0.1", "11.0.0.1", *mapped) == [1, 0, 1, 0, 3, 2]


def test_many_in_one_64(make: Make) -> None:
    """Addresses of one /64 are told apart, however many prefixes lie in it, and so are its neighbours."""
    first = int(ipaddress.ip_address("2001:db8::"))
    rows = [((first + (n << 20)).to_bytes(16), 128, n + 1) for n in range(500)]
    matcher = make([*rows, prefix("2001:db8::/63", 9_999)])
    for network, _, value in rows:
        number = int.from_bytes(network)
        found = [matcher.look_up((number + step).to_bytes(16)) for step in (-1, 0, 1)]
        assert found == [0 if number == first else 9_999, value, 9_999]
    assert values(matcher, "2001:db8::ffff:0:0:0", "2001:db8:0:1::", "2001:db8:0:2::") == [9_999, 9_999, 0]


@pytest.mark.parametrize("address", [b"", b"\x7f", bytes(3), bytes(5), bytes(15), bytes(17)])
def test_what_is_no_address(make: Make, address: bytes) -> None:
    """Another length than 4 or 16 bytes is refused."""
    with pytest.raises(ValueError, match=f"address has {len(address)} bytes, not 4 or 16"):
        make([]).look_up(address)


octets = st.sampled_from([0, 1, 127, 128, 254, 255])
networks4 = st.tuples(
    st.binary(min_size=4, max_size=4) | st.lists(octets, min_size=4, max_size=4).map(bytes), st.integers(0, 32)
)
networks6 = st.tuples(
    st.binary(min_size=16, max_size=16)
    | st.lists(octets, min_size=2, max_size=2).map(lambda ends: bytes([0x20, *[ends[0]] * 7, *[ends[1]] * 8]))
    | st.binary(min_size=4, max_size=4).map(lambda four: bytes(10) + b"\xff\xff" + four),
    st.integers(0, 128),
)
rows_of_prefixes = st.lists(
    st.tuples(networks4 | networks6, st.integers(0, 3)).map(lambda row: (*row[0], row[1])), max_size=40
)


def edges_of(network: bytes, length: int) -> Iterator[bytes]:
    """Yield the first and the last address of a prefix and those beside them, as far as there are such."""
    bits = 8 * len(network)
    first = int.from_bytes(network) >> (bits - length) << (bits - length)
    last = first | (1 << bits - length) - 1
    for number in (first - 1, first, last, last + 1):
        if 0 <= number < 1 << bits:
            yield number.to_bytes(len(network))


@settings(deadline=None)
@given(rows_of_prefixes, st.lists(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), max_size=20))
def test_the_twins_agree(prefixes: list[Prefix], addresses: list[bytes]) -> None:
    """On any prefixes, at their edges and anywhere else."""
    slow, fast, book = (twin(prefixes) for twin in TWINS.values())
    edges = [edge for network, length, _ in prefixes for edge in edges_of(network, length)]
    for address in (*edges, *addresses):
        assert slow.look_up(address) == fast.look_up(address) == book.look_up(address)


def random_network(draw: Random) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network among few, so that they nest and touch."""
    if draw.random() < 0.5:
        return ipaddress.ip_network((draw.getrandbits(32) & 0x83818181, draw.randint(0, 32)), strict=False)
    spread = draw.getrandbits(128) & 0xE000_0003_0000_0001_8000_0000_0000_0003
    return ipaddress.ip_network((spread, draw.randint(0, 128)), strict=False)


def random_address(draw: Random, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bytes:
    """Return any address, or one at the edge of a network, or in it."""
    if draw.random() < 0.25:
        return draw.randbytes(draw.choice((4, 16)))
    network = draw.choice(networks)
    size, bits = network.num_addresses, network.max_prefixlen
    number = int(network.network_address) + draw.choice((-1, 0, size - 1, size, draw.randrange(size)))
    return (number % (1 << bits)).to_bytes(bits // 8)


def test_against_ipaddress() -> None:
    """What `ipaddress` holds for the longest match is found: 200,000 queries, in sets of forty networks."""
    for seed in range(SETS):
        draw = Random(seed)  # noqa: S311 - the same draw in every run
        networks = [random_network(draw) for _ in range(40)]
        by_length = {network: value for value, network in enumerate(networks, 1)}
        longest_first = sorted(by_length, key=lambda network: -network.prefixlen)
        matcher = PrefixSet(built((n.network_address.packed, n.prefixlen, value) for n, value in by_length.items()))
        for _ in range(QUERIES):
            packed = random_address(draw, networks)
            address = ipaddress.ip_address(packed)
            address = getattr(address, "ipv4_mapped", None) or address
            wanted = next((by_length[network] for network in longest_first if address in network), 0)
            assert matcher.look_up(packed) == wanted, (seed, address)


# The set in memory.


@pytest.mark.parametrize("count", [0, 1, 7, 8, 15, 16, 17, 127, 128, 129, 2_047, 2_048, 2_049, 33_000])
@pytest.mark.parametrize("size", [4, 16])
def test_trees_of_any_height(count: int, size: int) -> None:
    """Each of so many prefixes is found, and not what lies between: nodes that are full, and not, at each level."""
    numbers = [(n + 1) << 10 * size // 5 for n in range(count)]
    matcher = PrefixSet(built((number.to_bytes(size), 8 * size, n + 1) for n, number in enumerate(numbers)))
    assert matcher.prefixes == count
    for n, number in enumerate(numbers):
        assert matcher.look_up(number.to_bytes(size)) == n + 1
        assert matcher.look_up((number + 1).to_bytes(size)) == matcher.look_up((number - 1).to_bytes(size)) == 0
    assert matcher.look_up(b"\xff" * size) == matcher.look_up(bytes(size)) == 0


def test_memory_of_a_million() -> None:
    """A million prefixes take at most 64 MB, even if all are of IPv6 and apart."""
    assert layout(1, 2_000_001).size <= 42_000_000
    assert layout(2_000_001, 1).size <= 18_000_000
    assert prefix_bytes(1_000_000) <= 84_000_000


def test_what_is_no_set() -> None:
    """Memory that is not a whole set is refused; so is one that is not aligned."""
    good = bytes(built([prefix("10.0.0.0/8", 1)]))
    for memory in (b"", bytes(64), good[:-1], good[:64], good[1:] + good[:1], good[:8]):
        with pytest.raises(ValueError, match="not a set of prefixes"):
            PrefixSet(memory)
    with pytest.raises(ValueError, match="multiple of 8"):
        PrefixSet(memoryview(bytes(1) + good)[1:])
    assert values(PrefixSet(good), "10.0.0.0") == [1]


@pytest.mark.parametrize(
    "counts", [(0, 1), (1, 0), (2**64 - 1, 1), (1, 2**63), (2 * MOST_PREFIXES + 2, 1), (1, 17), (17, 1)]
)
def test_counts_that_do_not_fit(counts: tuple[int, int]) -> None:
    """Numbers of ranges that are not 1 or more, or for which the memory is too small, are refused."""
    memory = memoryview(bytearray(built([])))
    memory[:32].cast("Q")[2:4] = memoryview(b"".join(count.to_bytes(8, "little") for count in counts)).cast("Q")
    with pytest.raises(ValueError, match="not a set of prefixes"):
        PrefixSet(memory)


@pytest.mark.parametrize("ranges", [(0, 1), (1, 0), (2 * MOST_PREFIXES + 2, 1)])
def test_layout_out_of_range(ranges: tuple[int, int]) -> None:
    """There is a range of each family, and not more than a set may have."""
    with pytest.raises(ValueError, match="ranges, not 1"):
        layout(*ranges)


@given(
    st.integers(1, 300), st.integers(1, 300), st.binary(min_size=1, max_size=99), st.binary(min_size=16, max_size=16)
)
def test_any_content_is_searched(ranges4: int, ranges6: int, data: bytes, address: bytes) -> None:
    """Whatever stands behind a header that fits, some value of the set is the answer."""
    plan = layout(ranges4, ranges6)
    memory = memoryview(bytearray((data * plan.size)[: plan.size]))
    memory[:32].cast("Q")[:] = memoryview(
        b"".join(n.to_bytes(8, "little") for n in (MAGIC_WORD, 1, ranges4, ranges6))
    ).cast("Q")
    matcher = PrefixSet(memory)
    values4 = memory[plan.values4 : plan.values4 + 4 * ranges4].cast("I").tolist()
    values6 = memory[plan.values6 : plan.values6 + 4 * ranges6].cast("I").tolist()
    for probe in (address[:4], address, bytes(4), bytes(16), b"\xff" * 4, b"\xff" * 16):
        assert matcher.look_up(probe) in (values4 if len(probe) == 4 else values6)
    assert all(offset % 64 == 0 for offset, _ in (*plan.levels4, *plan.levels6))
    assert all(
        above[1] == -(-below[1] // NODE_KEYS) for below, above in zip(plan.levels6, plan.levels6[1:], strict=False)
    )


# The book.


def edition(number: int) -> list[Prefix]:
    """Return what `keep_publishing` says under a number: the number everywhere, in a set of another shape each time."""
    around = [(bytes(4), 0, number), (bytes(16), 0, number)]
    return [*around, *((bytes([10, n % 256, 0, 0]), 16 + n % 2, number + n % 2) for n in range(number * 37 % 600))]


PROBES = (bytes([192, 0, 2, 1]), bytes.fromhex("20010db8000000000000000000000001"), bytes([11, 0, 0, 0]))


def keep_publishing(memory: memoryview, times: int) -> None:
    """Publish edition after edition."""
    book = PrefixBook(memory, CAPACITY)
    for _ in range(times):
        publish(book, edition(book.generation + 1))


def test_zeroes_are_the_empty_book() -> None:
    """Memory that nobody has written to has no prefixes."""
    book = new_book()
    assert (book.generation, book.prefixes) == (0, 0)
    assert [book.look_up(probe) for probe in PROBES] == [0, 0, 0]


def test_what_is_published_is_found(shared: Shared) -> None:
    """By everybody who has the memory, once a publication is gone through; the last one counts, also if it is empty."""
    memory = shared(prefix_bytes(CAPACITY))
    writer, reader = PrefixBook(memory, CAPACITY), PrefixBook(memory, CAPACITY)
    for number, prefixes in enumerate((edition(1), edition(2), [], edition(4)[:1]), 1):
        publish(writer, prefixes)
        assert reader.generation == number
        assert reader.prefixes == writer.prefixes == len(prefixes)
        slow = _prefixes_py.PrefixSet(prefixes)
        assert [reader.look_up(probe) for probe in PROBES] == [slow.look_up(probe) for probe in PROBES]


def test_a_publication_that_is_left(shared: Shared) -> None:
    """Wherever a writer stops before its last piece is copied readers have the set before; its successor goes on."""
    capacity = 60_000
    memory = shared(prefix_bytes(capacity))
    large = built([((n << 80).to_bytes(16), 64, 1 + n % 7) for n in range(capacity)])
    reader = PrefixBook(memory, capacity)
    publish(reader, edition(1))
    pieces = -(-len(large) // 2**19)
    assert pieces > 3
    for stop in range(pieces + 1):
        publication = PrefixBook(memory, capacity).publish(large)
        for _ in range(stop):
            next(publication)
        assert (reader.generation, values(reader, "192.0.2.1", "::1")) == (1, [1, 1])
    next(publication)
    assert (reader.generation, values(reader, "192.0.2.1", "0:0:1::", "0:0:1:1::")) == (2, [0, 2, 0])
    publish(PrefixBook(memory, capacity), edition(3))
    assert (reader.generation, values(reader, "192.0.2.1", "::1")) == (3, [3, 3])


def test_a_set_that_does_not_fit() -> None:
    """One that is larger than a half, or none at all, is refused at once, and nothing is changed."""
    book = published(edition(2))
    large = built([((2 * n << 64).to_bytes(16), 64, n + 1) for n in range(2 * CAPACITY)])
    with pytest.raises(ValueError, match=f"set of {len(large)} bytes, not 0.."):
        book.publish(large)
    with pytest.raises(ValueError, match="not a set"):
        book.publish(bytes(4096))
    assert (book.generation, book.look_up(PROBES[0])) == (2, 2)


@given(st.data(), st.integers(1, 700))
def test_what_the_capacity_promises_fits(data: st.DataObject, capacity: int) -> None:
    """As many prefixes as were said fit, however they are shared out among the families, all of them apart."""
    four = data.draw(st.integers(0, capacity))
    prefixes = [((2 * n + 1).to_bytes(4), 32, n + 1) for n in range(four)]
    prefixes += [((2 * n + 1 << 64).to_bytes(16), 64, n + 1) for n in range(capacity - four)]
    book = new_book(capacity)
    publish(book, prefixes)
    assert book.prefixes == capacity
    assert [book.look_up(network) for network, _, _ in prefixes] == [value for _, _, value in prefixes]


@pytest.mark.parametrize("capacity", [0, MOST_PREFIXES + 1])
def test_capacity_out_of_range(capacity: int) -> None:
    """A book is for one prefix at least."""
    with pytest.raises(ValueError, match="capacity"):
        prefix_bytes(capacity)


def test_memory_that_is_too_small(shared: Shared) -> None:
    """One byte less is refused."""
    size = prefix_bytes(CAPACITY)
    with pytest.raises(ValueError, match=f"{size - 1} bytes, not {size}"):
        PrefixBook(shared(size - 1), CAPACITY)


def test_more_memory_is_left_alone(shared: Shared) -> None:
    """Nothing is written, or given back, beyond the book, also where it does not begin at a page."""
    size = prefix_bytes(CAPACITY)
    memory = shared(size + 64 + mmap.PAGESIZE)
    memory[:64], memory[64 + size :] = b"a" * 64, b"z" * mmap.PAGESIZE
    keep_publishing(memory[64:], 3)
    assert PrefixBook(memory[64:], CAPACITY).look_up(PROBES[0]) == 3
    assert (bytes(memory[:64]), bytes(memory[64 + size :])) == (b"a" * 64, b"z" * mmap.PAGESIZE)


def test_memory_of_the_replaced_set_is_given_back() -> None:
    """A book holds the pages of one set, not of two, once a publication is gone through."""
    capacity = 20_000
    descriptor = os.memfd_create("prefixes")
    os.ftruncate(descriptor, prefix_bytes(capacity))
    book = PrefixBook(memoryview(mmap.mmap(descriptor, prefix_bytes(capacity))), capacity)
    taken = []
    for _ in range(4):
        publish(book, [((n << 80).to_bytes(16), 64, 1 + n % 7) for n in range(capacity)])
        taken.append(512 * os.fstat(descriptor).st_blocks)
    os.close(descriptor)
    assert max(taken) - min(taken) <= mmap.PAGESIZE
    assert max(taken) < 0.6 * prefix_bytes(capacity)


def test_a_book_in_memory_that_cannot_be_given_back() -> None:
    """It works in memory of any kind."""
    book = PrefixBook(memoryview(bytearray(prefix_bytes(CAPACITY))), CAPACITY)
    for number in (1, 2, 3):
        publish(book, edition(number))
        assert book.look_up(PROBES[0]) == number


@pytest.mark.parametrize("number", [1, 2, 3, 2**64 - 1])
def test_a_number_without_its_set(shared: Shared, number: int) -> None:
    """If a wild process writes another number readers know nothing, until the next set is published."""
    memory = shared(prefix_bytes(CAPACITY))
    book = PrefixBook(memory, CAPACITY)
    memory[:8].cast("Q")[0] = number
    assert [book.look_up(probe) for probe in PROBES] == [0, 0, 0]
    publish(book, edition(2))
    assert book.look_up(PROBES[0]) == 2


def test_a_killed_writer_leaves_a_whole_book(shared: Shared, start: Start) -> None:
    """Wherever the writer is killed the book is one whole edition, and the next writer goes on."""
    memory = shared(prefix_bytes(CAPACITY))
    reader = PrefixBook(memory, CAPACITY)
    for _ in range(12):
        (victim,) = start(lambda _: keep_publishing(memory, 10**9), 1)
        before = reader.generation
        while reader.generation < before + 3:
            assert victim.is_alive()
            os.sched_yield()
        os.kill(victim.pid or 0, signal.SIGKILL)
        victim.join()
        number = reader.generation
        assert [reader.look_up(probe) for probe in PROBES] == [number] * 3
        keep_publishing(memory, 1)
        assert [reader.look_up(probe) for probe in PROBES] == [number + 1] * 3


def test_processes_may_read_while_one_writes(shared: Shared, together: Together) -> None:
    """A reader finds what one edition says, none that is older than when it asked, and never nothing."""
    memory, times = shared(prefix_bytes(CAPACITY)), 400
    keep_publishing(memory, 1)

    def work(i: int) -> None:
        book = PrefixBook(memory, CAPACITY)
        if i == 0:
            keep_publishing(memory, times)
        while (before := book.generation) <= times:
            found = [book.look_up(probe) for probe in PROBES]
            assert before <= min(found) <= max(found) <= book.generation

    together(work, 3)
