"""What the records of the last minutes say, and that they are bounded."""

from __future__ import annotations

from fastpath import client_key
from fastpath.record import FLAG_CACHED, NO_UPSTREAM, RECORD_BYTES, Record
from fastpath.record_array import record_array
from models.steps import whole
from proxy.admin import history as module
from proxy.admin.history import MOST_RECORDS, VERDICTS_OF_CLIENT, By, History
from proxy.hkp.classes import OperationClass
from tests.proxy.admin.records_for_tests import NOW, SECOND, block, record, refused

ALICE, BOB = client_key(bytes([192, 0, 2, 1])), client_key(bytes([192, 0, 2, 2]))


def test_empty() -> None:
    """Nothing happened: nobody is busy."""
    history = History()
    history.feed(b"")
    assert history.verdicts(ALICE) == []
    activity = history.top(10, NOW)
    assert (activity.clients, dict(activity.operations)) == ([], {})
    assert activity.seconds >= 1


def test_last_verdicts() -> None:
    """The newest come first, of this client only, and not more than a screen of them."""
    history = History()
    history.feed(block(*(record(request_id=number) for number in range(30)), record("192.0.2.2")))
    history.feed(block(record(request_id=30)))
    found = history.verdicts(ALICE)
    assert [each.request_id for each in found] == list(range(30, 30 - VERDICTS_OF_CLIENT, -1))


def test_busiest_clients() -> None:
    """Who asked most comes first, with how often and how often in vain."""
    history = History()
    history.feed(block(record("192.0.2.2"), *[record()] * 3, refused(), refused()))
    assert history.top(10, NOW).clients == [(ALICE, 5, 2), (BOB, 1, 0)]
    assert history.top(1, NOW).clients == [(ALICE, 5, 2)]


def test_error_of_the_keyserver_is_no_refusal() -> None:
    """A 404 that the keyserver gave is an answer."""
    history = History()
    history.feed(block(record(status=404)))
    assert history.top(10, NOW).clients == [(ALICE, 1, 0)]


def test_error_that_was_kept_is_no_refusal() -> None:
    """Nor is a 404 that the keyserver gave to somebody else."""
    history = History()
    history.feed(block(record(status=404, upstream=NO_UPSTREAM, flags=FLAG_CACHED)))
    assert history.top(10, NOW).clients == [(ALICE, 1, 0)]


def test_operations() -> None:
    """What was done, by operation and action."""
    history = History()
    history.feed(block(record(), record(), refused(), record(operation=OperationClass.WORDS)))
    assert dict(history.top(10, NOW).operations) == {
        (OperationClass.CERT, 0): 2,
        (OperationClass.CERT, 2): 1,
        (OperationClass.WORDS, 0): 1,
    }


def test_only_the_last_minute_counts() -> None:
    """What is older is not shown as present; exactly a minute is still in."""
    history = History()
    history.feed(block(record("192.0.2.2", age_seconds=61), record(age_seconds=60)))
    activity = history.top(10, NOW)
    assert activity.clients == [(ALICE, 1, 0)]
    assert activity.seconds == 60


def test_span_is_what_the_records_cover() -> None:
    """Shortly after the start, or in a flood, a minute is not there; the answer says what it covers."""
    history = History()
    history.feed(block(record(age_seconds=7), record()))
    assert history.top(10, NOW).seconds == 7


def test_records_are_bounded() -> None:
    """However many come, the newest ones are kept, and no more than the bound and a block."""
    history = History()
    piece = block(*[record("192.0.2.2")] * 1024)
    for _ in range(2 * MOST_RECORDS // 1024):
        history.feed(piece)
    history.feed(block(record()))
    activity = history.top(10, NOW)
    assert sum(count for _, count, _ in activity.clients) <= MOST_RECORDS
    assert history.verdicts(ALICE)


def test_one_block_is_never_split() -> None:
    """A block beyond the bound is kept as long as it is the only one."""
    history = History()
    history.feed(block(*[record()] * 10))
    assert len(history.verdicts(ALICE)) == 10


def test_blocks_of_several_workers() -> None:
    """Blocks come ring by ring, so their times overlap; old records hide nothing of the last minute."""
    history = History()
    history.feed(block(record(age_seconds=59), record(age_seconds=1)))
    history.feed(block(record("192.0.2.2", age_seconds=61), record("192.0.2.2", age_seconds=58)))
    assert sorted(history.top(10, NOW).clients) == [(ALICE, 2, 0), (BOB, 1, 0)]


def test_memory_for_a_record() -> None:
    """A record of history is its bytes in the ring and no more."""
    assert module.MOST_RECORDS * RECORD_BYTES < 16 << 20
    assert NOW > SECOND


def _show(history: History, *made: Record) -> None:
    history.feed(block(*made))
    whole(history.show(record_array(block(*made))))


def test_totals_count_each_record_once() -> None:
    """Those that were kept before the first question, and those that are shown after it; of the same time only once."""
    history = History()
    history.feed(block(record(now_ns=NOW)))
    assert [each.requests for each in history.totals(By.NETWORK, NOW + 9).busiest(9, NOW)] == [1]
    whole(history.show(record_array(block(record(now_ns=NOW), record(now_ns=NOW + 1)))))
    assert [each.requests for each in history.totals(By.NETWORK, NOW).busiest(9, NOW)] == [2]


def test_totals_are_kept_while_somebody_looks() -> None:
    """Who asks again too late gets them of what is kept, as if it were for the first time."""
    history = History()
    first = history.totals(By.SUBJECT, NOW)
    _show(history, record(now_ns=NOW + module.WATCHED_NS))
    assert history.totals(By.SUBJECT, NOW + 1) is first
    _show(history, record(now_ns=NOW + module.WATCHED_NS + 2))
    again = history.totals(By.SUBJECT, NOW + module.WATCHED_NS + 2)
    assert again is not first
    assert [each.requests for each in again.busiest(9, NOW + module.WATCHED_NS + 2)] == [2]
