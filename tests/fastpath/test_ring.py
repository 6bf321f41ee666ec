"""The ring: what is written is read once, in order, or counted as lost."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.record import NO_UPSTREAM, Record
from fastpath.ring import KNOCK_BYTES, KNOCK_RECORDS, RING_BYTES, RING_RECORDS, Ring
from tests.fastpath.conftest import Start

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
HEAD, TAIL = 0, 8
ADDRESS = bytes(range(16))

A_RECORD = Record(
    time_ns=-(2**63), client=2**64 - 1, request_id=2**64 - 2, subject_hash=2**64 - 3,
    upstream_us=2**32 - 1, wait_us=2, total_us=3, received=4, sent=5,
    status=65_535, operation=255, action=254, reason=253, source=252, method=251, flags=250,
    upstream=NO_UPSTREAM,
    address=ADDRESS, subject=b"0x" + b"A" * 62, fingerprint=bytes(range(240, 256)),
)  # fmt: skip


def write(ring: Ring, number: int = 0, **changes: Any) -> bool:
    """Write the example record with a number as its time, and changes."""
    return ring.write(*A_RECORD._replace(time_ns=number, **changes))


def test_a_record_comes_back(shared: Shared) -> None:
    """Every field has its own place, up to its largest value."""
    ring = Ring(shared(RING_BYTES))
    assert ring.write(*A_RECORD)
    assert ring.drain(10) == [A_RECORD]
    assert ring.drain(10) == []


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("sent", 2**32, 2**32 - 1),
        ("received", -1, 0),
        ("upstream_us", 2**62, 2**32 - 1),
        ("wait_us", -5, 0),
        ("total_us", 2**32 + 7, 2**32 - 1),
        ("address", b"\xc0\0\2\1", bytes(10) + b"\xff\xff\xc0\0\2\1"),
        ("subject", b"x" * 65, b"x" * 64),
        ("subject", b"", b""),
        ("fingerprint", b"", bytes(16)),
    ],
)
def test_what_does_not_fit(shared: Shared, field: str, value: Any, kept: object) -> None:
    """Sizes and times saturate, subjects are cut, IPv4 is written as mapped."""
    ring = Ring(shared(RING_BYTES))
    assert write(ring, **{field: value})
    assert getattr(ring.drain(1)[0], field) == kept


def test_a_short_subject_does_not_show_an_older_one(shared: Shared) -> None:
    """What stood in the place of a record before is gone."""
    ring = Ring(shared(RING_BYTES))
    for number in range(RING_RECORDS + 1):
        write(ring, number, subject=b"secret" if number == 0 else b"", address=bytes(4))
        assert len(ring.drain(1)) == 1
    ring = Ring(memory := shared(RING_BYTES))
    memory[128:] = b"x" * (RING_BYTES - 128)
    write(ring, subject=b"", address=bytes(4))
    (record,) = ring.drain(1)
    assert (record.subject, record.address) == (b"", bytes(10) + b"\xff\xff" + bytes(4))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"address": bytes(5)}, ValueError),
        ({"fingerprint": bytes(15)}, ValueError),
        ({"fingerprint": None}, TypeError),
        ({"status": 65_536}, OverflowError),
        ({"operation": 256}, OverflowError),
        ({"upstream": -1}, OverflowError),
        ({"subject": None}, TypeError),
    ],
)
def test_a_wrong_field_writes_nothing(shared: Shared, changes: dict[str, Any], error: type[Exception]) -> None:
    """A field out of range is the caller's bug; the reader never sees half of such a record."""
    ring = Ring(shared(RING_BYTES))
    with pytest.raises(error):
        write(ring, **changes)
    assert ring.drain(1) == []


@pytest.mark.parametrize(("size", "octets"), [(RING_RECORDS, RING_BYTES), (KNOCK_RECORDS, KNOCK_BYTES)])
def test_a_full_ring_loses_the_newest(shared: Shared, size: int, octets: int) -> None:
    """The writer never waits: what finds the ring full is counted, what is in it stays."""
    ring = Ring(shared(octets), size)
    assert all(write(ring, number) for number in range(size))
    assert [write(ring, number) for number in (-1, -2)] == [False, False]
    assert ring.lost == 2
    assert [record.time_ns for record in ring.drain(10_000)] == list(range(size))
    assert write(ring, 5)


def test_drain_takes_no_more_than_asked(shared: Shared) -> None:
    """A reader takes portions, around the end of the ring too."""
    ring, read, written = Ring(shared(RING_BYTES)), [], 0
    for portion in (5_000, 3_000, 5_000, 8_192):
        for _ in range(portion):
            written += write(ring, written)
        read += ring.drain(portion - 1) + ring.drain(1)
    assert [record.time_ns for record in read] == list(range(written)) == list(range(21_192))


def test_a_small_ring_goes_round(shared: Shared) -> None:
    """A ring of knocks begins anew after KNOCK_RECORDS."""
    ring, read = Ring(shared(KNOCK_BYTES), KNOCK_RECORDS), []
    for number in range(3 * KNOCK_RECORDS):
        assert write(ring, number)
        if number % 100 == 99:
            read += ring.drain(KNOCK_RECORDS)
    read += ring.drain(KNOCK_RECORDS)
    assert [record.time_ns for record in read] == list(range(3 * KNOCK_RECORDS))


def test_two_ends_of_one_memory(shared: Shared) -> None:
    """The writer and the reader have a Ring each, and see the same count of lost records."""
    memory = shared(RING_BYTES)
    writer, reader = Ring(memory), Ring(memory)
    for number in range(RING_RECORDS + 3):
        write(writer, number)
    assert (len(reader.drain(10_000)), reader.lost) == (RING_RECORDS, 3)


@given(
    head=st.integers(0, 2**64 - 1),
    tail=st.integers(0, 2**64 - 1),
    most=st.integers(0, 2**64 - 1),
    size=st.sampled_from([RING_RECORDS, KNOCK_RECORDS]),
)
def test_damaged_positions(head: int, tail: int, most: int, size: int) -> None:
    """Whatever stands in the head and the tail, reader and writer stay in the memory and go on."""
    memory = memoryview(bytearray(RING_BYTES if size == RING_RECORDS else KNOCK_BYTES))
    words = memory.cast("Q")
    words[HEAD], words[TAIL] = head, tail
    ring = Ring(memory, size)
    write(ring)
    assert len(ring.drain(most)) <= min(most, size)
    ring.drain(RING_RECORDS)
    assert write(ring, 42)
    assert ring.drain(RING_RECORDS)[-1].time_ns == 42


@pytest.mark.parametrize("size", [0, RING_BYTES - 1])
def test_wrong_memory(size: int) -> None:
    """Too little memory is refused."""
    with pytest.raises(ValueError, match=f"memory of a ring: {size} bytes, not {RING_BYTES}"):
        Ring(memoryview(bytearray(size)))


@pytest.mark.parametrize("size", [0, 1000, 2 * RING_RECORDS, 2**63])
def test_wrong_size(size: int) -> None:
    """A ring has a power of two of records, and not more than that of requests."""
    with pytest.raises(ValueError, match=f"size {size} is no power of two up to {RING_RECORDS}"):
        Ring(memoryview(bytearray(2 * RING_BYTES)), size)


def test_a_reader_in_another_process(shared: Shared, together: Together) -> None:
    """Every record is either read, whole and in order, or counted as lost."""
    memory, seen = shared(RING_BYTES), shared(24).cast("Q")
    count = 30_000

    def work(i: int) -> None:
        ring = Ring(memory)
        for number in range(count if i == 0 else 0):
            write(ring, number, client=number, subject=b"%d" % number)
        last = -1
        while i == 1 and last < count - 1:
            for record in ring.drain(100):
                assert last < record.time_ns == record.client == int(record.subject)
                last, seen[0] = record.time_ns, seen[0] + 1
            if seen[0] + ring.lost == count:
                break

    together(work, 2)
    assert seen[0] + Ring(memory).lost == count


def test_a_killed_writer(shared: Shared, start: Start) -> None:
    """Killed in the midst of writing, it leaves whole records in order; whoever takes its place goes on behind them."""
    memory = shared(RING_BYTES)
    ring = Ring(memory)

    def work(_i: int) -> None:
        mine = Ring(memory)
        for number in itertools.count():
            write(mine, number, client=number, subject=b"%d" % number)

    for _ in range(10):
        [writer] = start(work, 1)
        read: list[Record] = []
        while len(read) < 500:
            read += ring.drain(100)
        writer.kill()
        writer.join()
        read += ring.drain(RING_RECORDS)
        assert [record.time_ns for record in read] == sorted({record.time_ns for record in read})
        assert all(record.time_ns == record.client == int(record.subject) for record in read)
        assert write(ring, -5)
        assert [record.time_ns for record in ring.drain(RING_RECORDS)] == [-5]


def test_a_killed_reader(shared: Shared, start: Start) -> None:
    """Killed in the midst of reading, it stalls no writer; whoever takes its place reads on, whole and in order."""
    memory, seen = shared(RING_BYTES), shared(8).cast("Q")
    ring = Ring(memory)

    def work(_i: int) -> None:
        mine = Ring(memory)
        while True:
            seen[0] += len(mine.drain(7))

    written = 0
    for _ in range(10):
        [reader] = start(work, 1)
        before = seen[0]
        while seen[0] < before + 500:
            write(ring, written, client=written, subject=b"%d" % written)
            written += 1
        reader.kill()
        reader.join()
    for _ in range(RING_RECORDS):
        write(ring, written, client=written, subject=b"%d" % written)
        written += 1
    read = ring.drain(RING_RECORDS)
    assert len(read) == RING_RECORDS
    assert [record.time_ns for record in read] == sorted({record.time_ns for record in read})
    assert all(record.time_ns == record.client == int(record.subject) for record in read)
    assert seen[0] + len(read) + ring.lost <= written
