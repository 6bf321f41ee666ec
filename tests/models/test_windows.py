"""Windows: the same as a plain account of all records, however the stream is cut, and bounded."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.record_array import RECORD_DTYPE
from models import windows
from models.panes import ROW_BYTES
from models.windows import PANE, TURN, Windows
from tests.models.traffic_for_tests import CLIENT, MS, SECOND, fingerprints, records, refresh, visit
from tests.models.windows_for_tests import SlowWindows, everything

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROWS, SMALL_TURN, SMALL_PANE, SMALL_FORGET_NS = 9, 4, 5, 60 * SECOND

SUBJECTS = {
    1: [b"0" * 40, b"0000000000000001" + b"A" * 24, b"F" * 16 + b"0" * 48, b"0" * 15 + b"2", b"DEADBEEF", b"F" * 32],
    2: [b"a@example.org", b"b@example.org", b"b@example.com", b"c@" + b"d" * 62, b"x" * 64, b"'or 1=1@x"],
    3: [b"alice liddell", b"example.org", b"@example.org", b"1) union select", b"", "müller".encode(), b"\xff" * 64],
    4: [b""],
    11: [b"", b"/wp-login.php nikto"],
}  # fmt: skip


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Return the fields of a record, with what makes a difference likely; time is since the one before."""
    kind = draw(st.sampled_from([1, 1, 1, 2, 2, 3, 3, 4, 5, 8, 9, 10, 11]))
    return {
        "time_ns": draw(st.sampled_from([0, 1, 999, 5 * MS, SECOND, 2 * SECOND, 61 * SECOND, -MS])),
        "client": draw(st.integers(1, 12)),
        "subject_hash": draw(st.integers(0, 6) | st.integers(0, 2**64 - 1)),
        "total_us": draw(st.sampled_from([0, 1, 4000, 2_000_000, 2**32 - 1])),
        "received": draw(st.sampled_from([0, 1232, 5000, 2**32 - 1])),
        "status": draw(st.sampled_from([200, 404, 429, 500])),
        "operation": kind,
        "action": draw(st.sampled_from([0, 0, 1, 2, 3, 4, 6, 8])),
        "reason": draw(st.sampled_from([0, 0, 0, 1, 8, 9, 10, 12, 16, 17])),
        "method": draw(st.integers(0, 5)),
        "flags": draw(st.integers(0, 3)),
        "subject": draw(st.sampled_from(SUBJECTS.get(kind, [b"2024-05-01"]))),
    }


@st.composite
def streams(draw: st.DrawFn, most: int = 60) -> NDArray[np.void]:
    """Return records, nearly in the order of time."""
    made = records(*draw(st.lists(rows(), min_size=1, max_size=most)))
    made["time_ns"] = 1000 * SECOND + np.cumsum(made["time_ns"])
    return made


@contextmanager
def low_bounds() -> Iterator[None]:
    """Let panes, turns and clients end within a few records."""
    with mock.patch.multiple(windows, TURN=SMALL_TURN, PANE=SMALL_PANE, FORGET_NS=SMALL_FORGET_NS):
        yield


@given(streams())
def test_equals_a_plain_account(stream: NDArray[np.void]) -> None:
    """Every figure of every window is what one finds by looking at all records one by one."""
    with low_bounds():
        fast, slow = Windows(ROWS), SlowWindows(ROWS, SMALL_FORGET_NS)
        fast.feed(stream)
        slow.feed(stream)
        assert everything(fast) == {client: slow.window(client) for client in slow.visits}
        assert fast.evicted == slow.evicted


@given(streams(), st.lists(st.integers(0, 60)))
def test_cuts_make_no_difference(stream: NDArray[np.void], cuts: list[int]) -> None:
    """A stream gives the same windows, and evicts the same ones, however it is cut into blocks."""
    with low_bounds():
        whole, pieces = Windows(ROWS), Windows(ROWS)
        whole.feed(stream)
        for block in np.split(stream, sorted(cuts)):
            pieces.feed(block)
        assert everything(pieces) == everything(whole)
        assert (pieces.evicted, pieces.due().tolist()) == (whole.evicted, whole.due().tolist())


def test_at_their_real_size() -> None:
    """One client and many others over several panes and turns, as the analyst feeds them."""
    stream = np.concatenate([refresh(fingerprints(1100)), visit(fingerprints(700, seed=2))])
    stream["client"][::3] = np.arange(len(stream[::3])) % 50 + 100
    stream.sort(order="time_ns")
    fast, slow = Windows(2 * TURN), SlowWindows(2 * TURN)
    fast.feed(stream)
    slow.feed(stream)
    assert everything(fast) == {client: slow.window(client) for client in slow.visits}


def test_of_a_busy_client_the_last_panes_are_known() -> None:
    """A window holds a whole pane, and what there is of the next; older requests are forgotten."""
    fed = Windows()
    for count, known in [(1, 1), (239, 240), (1, 241), (239, 480), (1, 241), (10_000, 240 + (10_481 - 1) % 240 + 1)]:
        fed.feed(visit(["a"] * count))
        assert everything(fed)[CLIENT]["requests"] == known


def test_who_was_away_for_long_begins_anew() -> None:
    """After more than six hours nothing is known any more, not the pause either; after less all is."""
    six_hours_ns = 6 * 3600 * SECOND
    for away_ns, known in [(six_hours_ns, (2, 1)), (six_hours_ns + 1, (1, 0))]:
        fed = Windows()
        fed.feed(records({"time_ns": SECOND}, {"time_ns": SECOND + away_ns}))
        assert (everything(fed)[CLIENT]["requests"], everything(fed)[CLIENT]["pauses"]) == known


def test_looks_come_early_and_then_seldom() -> None:
    """A window is due at 8, 15, 30, 60, 120 and 240 requests, and at each 240 after that."""
    fed, seen = Windows(), []
    for number in range(1, 1000):
        fed.feed(visit(["a"], start_ns=number * SECOND))
        if len(due := fed.due()):
            seen.append(number)
            assert fed.keys(due).tolist() == [CLIENT]
    assert seen == [8, 15, 30, 60, 120, 240, 480, 720, 960]


def test_who_passed_several_looks_is_due_once() -> None:
    """A block may be longer than the way to the next look."""
    fed = Windows()
    fed.feed(visit(["a"] * 50))
    assert fed.due().tolist() == [0]
    assert fed.due().tolist() == []
    fed.feed(visit(["a"] * 9, start_ns=2 * SECOND))
    assert fed.due().tolist() == []
    fed.feed(visit(["a"], start_ns=3 * SECOND))
    assert fed.due().tolist() == [0]


def test_who_begins_anew_is_looked_at_early() -> None:
    """The appointments of an old visit are forgotten with it, and so are those of an evicted one."""
    fed = Windows()
    fed.feed(visit(["a"] * 100))
    fed.due()
    fed.feed(visit(["a"] * 8, start_ns=10 * 3600 * SECOND))
    assert fed.due().tolist() == [0]


def test_the_least_recently_seen_make_room() -> None:
    """A flood of new clients evicts the idle, not who is active; there are never more windows than rows."""
    fed = Windows(4 * TURN)
    fed.feed(visit(["a"] * 3))
    for turn in range(20):
        flood = visit(["a"] * TURN, start_ns=(2 + turn) * 10 * SECOND)
        flood["client"] = np.arange(TURN) + 1000 * (turn + 1)
        flood["client"][-1] = CLIENT
        fed.feed(flood)
        assert len(everything(fed)) <= 4 * TURN
    assert everything(fed)[CLIENT]["requests"] == 23
    assert fed.evicted == 1 + 20 * (TURN - 1) - len(everything(fed))
    assert 20_000 in everything(fed)
    assert 1_000 not in everything(fed)


def test_what_the_banned_meet_is_not_their_doing() -> None:
    """Records of who is banned change nothing."""
    fed = Windows()
    fed.feed(visit(["a"] * 3))
    before = everything(fed)
    fed.feed(visit(["a"] * 3, start_ns=2 * SECOND, reason=16, status=403, action=3))
    assert everything(fed) == before


def test_too_few_rows_are_refused() -> None:
    """A turn of new clients must find room beside those that are known."""
    with pytest.raises(ValueError, match="rows 1023"):
        Windows(2 * TURN - 1)


def test_memory_is_bounded() -> None:
    """All that there is of 65,536 rows takes 25 MB, and nothing grows but the index, to 12 bytes a row."""
    fed = Windows()
    columns = [*(each for each in vars(fed).values() if isinstance(each, np.ndarray)), fed._index._free]
    assert round((sum(column.nbytes for column in columns) + 65_536 * (ROW_BYTES + 12)) / 1e6) == 25
    assert PANE * 2 < 2**15
    assert RECORD_DTYPE.itemsize == 160


def test_nothing_is_nothing() -> None:
    """An empty block is no trouble."""
    fed = Windows()
    fed.feed(np.zeros(0, RECORD_DTYPE))
    assert fed.due().tolist() == []
    assert fed.columns(fed.due()).shape == (0,)
