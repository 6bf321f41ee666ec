"""The book of peers: what is published is read whole or not at all, whoever is killed or stopped meanwhile."""

import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.keys import parse_address
from fastpath.peer_book import MOST_PEER_ADDRESSES, PEER_BOOK_BYTES, Edition, PeerBook

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]

FOUR, SIX = parse_address("192.0.2.7"), parse_address("2001:db8::7")


@pytest.fixture
def memory(shared: Shared) -> memoryview:
    """Return an empty book."""
    return shared(PEER_BOOK_BYTES)


def addresses(*numbers: int) -> tuple[bytes, ...]:
    """Return IPv6 addresses, sorted as numbers are."""
    return tuple((0x2001 << 112 | number).to_bytes(16) for number in numbers)


def edition(number: int) -> Edition:
    """Return what `keep_publishing` says under a number: no two editions have an address in common."""
    return Edition(number, addresses(*range(100 * number, 100 * number + number * 7 % 60)))


def keep_publishing(memory: memoryview, times: int) -> None:
    """Publish edition after edition."""
    book = PeerBook(memory)
    for _ in range(times):
        book.publish(edition(book.edition + 1).addresses)


def test_zeroes_are_the_empty_book(memory: memoryview) -> None:
    """Memory that nobody has written to has no peers."""
    book = PeerBook(memory)
    assert (book.edition, book.read()) == (0, Edition(0, ()))


def test_what_is_published_is_read(memory: memoryview) -> None:
    """By everybody who has the memory; the last edition counts, also if it is empty or shorter."""
    writer, reader = PeerBook(memory), PeerBook(memory)
    for number, published in enumerate(([FOUR], [FOUR, SIX], [SIX], [], [FOUR]), 1):
        assert writer.publish(published) == number == reader.edition
        assert reader.read() == writer.read() == PeerBook(memory).read() == Edition(number, tuple(published))


def test_addresses_have_one_spelling(memory: memoryview) -> None:
    """Each stands there once, sorted, an IPv4-mapped one as IPv4, as everywhere in the house."""
    book = PeerBook(memory)
    book.publish([SIX, bytes(10) + b"\xff\xff" + FOUR, SIX, FOUR, bytes(16)])
    assert book.read().addresses == (bytes(16), FOUR, SIX)


def test_the_book_is_full(memory: memoryview) -> None:
    """As many as there may be are read again, in both pages; one more is refused, and nothing is changed."""
    book = PeerBook(memory)
    most = addresses(*range(MOST_PEER_ADDRESSES))
    for number in (1, 2):
        assert book.publish((*most, most[0])) == number
        assert PeerBook(memory).read() == Edition(number, most)
    before = bytes(memory)
    with pytest.raises(ValueError, match="1025 addresses of peers"):
        book.publish((*most, FOUR))
    assert bytes(memory) == before


@pytest.mark.parametrize("address", [b"", b"\x7f", bytes(5), bytes(17), bytes(32)])
def test_what_is_no_address(memory: memoryview, address: bytes) -> None:
    """Another length is refused, and nothing is changed."""
    book = PeerBook(memory)
    book.publish([FOUR])
    with pytest.raises(ValueError, match=f"address has {len(address)} bytes"):
        book.publish([SIX, address])
    assert PeerBook(memory).read() == Edition(1, (FOUR,))


def test_memory_that_is_too_small(shared: Shared) -> None:
    """One byte less is refused."""
    with pytest.raises(ValueError, match=f"{PEER_BOOK_BYTES - 1} bytes, not {PEER_BOOK_BYTES}"):
        PeerBook(shared(PEER_BOOK_BYTES - 1))


def test_more_memory_is_left_alone(shared: Shared) -> None:
    """Nothing is written beyond the book."""
    memory = shared(PEER_BOOK_BYTES + 64)
    book = PeerBook(memory)
    for _ in range(2):
        book.publish(addresses(*range(MOST_PEER_ADDRESSES)))
    assert bytes(memory[PEER_BOOK_BYTES:]) == bytes(64)


@given(st.lists(st.lists(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), max_size=20)))
def test_any_editions(editions: list[list[bytes]]) -> None:
    """The book is what was published last, as a set, after any that came before."""
    memory = memoryview(bytearray(PEER_BOOK_BYTES))
    book, mapped = PeerBook(memory), bytes(10) + b"\xff\xff"
    for published in editions:
        book.publish(published)
        assert set(PeerBook(memory).read().addresses) == {each.removeprefix(mapped) for each in published}


@given(st.integers(0, 63 + 24 + 40 + 64), st.integers(0, 255))
def test_damage_is_not_believed(at: int, value: int) -> None:
    """With any byte changed a reader finds the edition as it was, or none; who had read it before keeps that."""
    memory = memoryview(bytearray(PEER_BOOK_BYTES))
    book = PeerBook(memory)
    book.publish([FOUR])
    book.publish([SIX])
    good, rows = book.read(), {Edition(0, ()), Edition(1, (FOUR,)), Edition(2, (SIX,))}
    memory[at] = value
    assert PeerBook(memory).read() in rows
    assert book.read() in {good, Edition(1, (FOUR,))}


@pytest.mark.parametrize("number", [3, 2**64 - 1])
def test_a_number_without_its_page(memory: memoryview, number: int) -> None:
    """If the page is not of the edition that the book says, what was read before stays, until the next edition."""
    book = PeerBook(memory)
    book.publish([FOUR])
    book.read()
    memory[:8].cast("Q")[0] = number
    assert book.read() == Edition(1, (FOUR,))
    assert PeerBook(memory).read() == Edition(0, ())
    memory[:8].cast("Q")[0] = 1
    book.publish([SIX])
    assert book.read() == Edition(2, (SIX,))


class Hurried(PeerBook):
    """A reader that is overtaken by a writer while it copies, a number of times."""

    overtaken = 0

    def _copy(self, number: int) -> tuple[bytes, ...] | None:
        rows = super()._copy(number)
        if self.overtaken:
            self.overtaken -= 1
            self.publish([SIX])
        return rows


def test_a_reader_that_is_overtaken(memory: memoryview) -> None:
    """It tries again, and gives up after some times rather than read on for ever; then it has what it had before."""
    book = Hurried(memory)
    book.publish([FOUR])
    book.overtaken = 3
    assert book.read() == Edition(4, (SIX,))
    book.overtaken = 1_000_000
    book.publish([FOUR])
    assert book.read() == Edition(4, (SIX,))
    assert book.overtaken > 999_900


def test_a_killed_writer_leaves_a_whole_book(memory: memoryview, start: Start) -> None:
    """Wherever the writer is stopped the book is one whole edition, and when it is killed the next one goes on."""
    for _ in range(3):
        (victim,) = start(lambda _: keep_publishing(memory, 10**9), 1)
        for _ in range(60):
            before = memory[:8].cast("Q")[0]
            while memory[:8].cast("Q")[0] == before:
                assert victim.is_alive()
                os.sched_yield()
            os.kill(victim.pid or 0, signal.SIGSTOP)
            os.waitid(os.P_PID, victim.pid or 0, os.WSTOPPED)
            number = memory[:8].cast("Q")[0]
            assert PeerBook(memory).read() == edition(number)
            os.kill(victim.pid or 0, signal.SIGCONT)
        victim.kill()
        victim.join()
        number = memory[:8].cast("Q")[0]
        assert PeerBook(memory).read() == edition(number)
        keep_publishing(memory, 1)
        assert PeerBook(memory).read() == edition(number + 1)


def test_processes_may_read_while_one_writes(memory: memoryview, together: Together) -> None:
    """A reader finds whole editions only, and never an older one than before."""

    def work(i: int) -> None:
        if i == 0:
            keep_publishing(memory, 3000)
        last, book = 0, PeerBook(memory)
        while last < 3000:
            found = book.read()
            assert found.number >= last
            assert found == edition(found.number) or found.number == 0
            last = found.number

    together(work, 3)
