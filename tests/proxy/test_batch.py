"""Batches: who looks at many records at a time sees each of them once, and none long after it came."""

from proxy.batch import LOOK_BYTES, LOOK_NS, Batch
from tests.proxy.admin.records_for_tests import block, record

ONE = block(record("192.0.2.1", now_ns=7))
NOW = 10**12


def count(batch: Batch, data: bytes, now_ns: int) -> int | None:
    """Add records; return how many are to be looked at, None if it is no time for that."""
    made = batch.add(data, now_ns)
    return None if made is None else len(made)


def test_each_half_second() -> None:
    """What comes within half a second of the last look waits for the rest; nothing is nothing to look at."""
    batch = Batch()
    assert count(batch, b"", NOW) is None
    assert count(batch, ONE, NOW) == 1
    assert count(batch, ONE * 2, NOW + 1) is None
    assert count(batch, ONE, NOW + LOOK_NS - 1) is None
    assert count(batch, b"", NOW + LOOK_NS) == 3
    assert count(batch, b"", NOW + 9 * LOOK_NS) is None


def test_many_are_looked_at_at_once() -> None:
    """As many as fill a batch do not wait."""
    batch, full = Batch(), LOOK_BYTES // len(ONE)
    assert count(batch, ONE, NOW) == 1
    assert count(batch, ONE * (full - 1), NOW + 1) is None
    assert count(batch, ONE, NOW + 2) == full
    assert count(batch, ONE, NOW + 3) is None
