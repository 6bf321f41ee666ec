"""The loop behind windows: steps of octaves, when rows are due, and what it refuses. What records add: test_windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.record_array import RECORD_DTYPE
from models import panes
from models.panes import Panes, octaves
from models.windows import WINDOW
from tests.models import windows_for_tests

LOOKS = bytes([0, 0, 1, 0])  # after two requests, and after each pane of four
FORGET_NS = 100
NO_ROWS = np.zeros(0, np.int32)


def test_the_extension_is_loaded() -> None:
    """It is compiled."""
    assert panes.__file__.endswith(".so")


@pytest.mark.parametrize(
    ("value", "steps"), [(0, 0), (1, 16), (2, 24), (3, 32), (7, 48), (1023, 160), (2**64 - 1, 1024)]
)
def test_octaves(value: int, steps: int) -> None:
    """One octave is twice as much, in sixteen steps."""
    assert octaves(value) == steps


@given(st.integers(0, 2**64 - 1))
def test_octaves_are_those_of_plain_arithmetic(value: int) -> None:
    """For any number of 64 bits."""
    assert octaves(value) == windows_for_tests.octaves(value)


def fed(times_ns: list[int], rows: list[int]) -> tuple[Panes, list[int]]:
    """Return two rows that were fed, and whether they are due."""
    records, due = np.zeros(len(times_ns), RECORD_DTYPE), np.zeros(2, np.uint8)
    records["time_ns"] = times_ns
    made = Panes(2, LOOKS)
    made.add(records.view(np.uint8), np.array(rows, np.int32), due, FORGET_NS)
    return made, due.tolist()


@pytest.mark.parametrize(
    ("count", "looks"), [(1, 0), (2, 1), (3, 0), (4, 1), (5, 0), (6, 0), (7, 0), (8, 1), (10, 0), (12, 1)]
)
def test_looks(count: int, looks: int) -> None:
    """Looks are those of the first pane, and at the end of each."""
    records, due = np.zeros(count, RECORD_DTYPE), np.zeros(1, np.uint8)
    records["time_ns"] = range(1, count + 1)
    made, rows = Panes(1, LOOKS), np.zeros(count, np.int32)
    made.add(records[:-1].view(np.uint8), rows[:-1], due, FORGET_NS)
    due[:] = 0
    made.add(records[-1:].view(np.uint8), rows[-1:], due, FORGET_NS)
    assert due.tolist() == [looks]


def test_who_begins_anew_is_due_no_more() -> None:
    """What became due before a long absence is forgotten with all else."""
    made, due = fed([1, 2, 102], [0, 0, 0])
    assert (due, requests(made)) == ([1, 0], [3, 0])
    made, due = fed([1, 2, 103], [0, 0, 0])
    assert (due, requests(made)) == ([0, 0], [1, 0])


def requests(made: Panes) -> list[int]:
    """Return how many requests there are in both windows."""
    found: list[int] = np.frombuffer(made.read(np.array([0, 1], np.int32)), WINDOW)["requests"].tolist()
    return found


def test_forgotten() -> None:
    """A row that was forgotten has nothing of before in its next window."""
    made, _ = fed([1, 1, 2, 2], [0, 1, 0, 1])
    made.forget(np.array([1], np.int32))
    record = np.zeros(2, RECORD_DTYPE)
    record["time_ns"] = 3
    made.add(record.view(np.uint8), np.array([0, 1], np.int32), np.zeros(2, np.uint8), FORGET_NS)
    assert requests(made) == [3, 1]


@pytest.mark.parametrize("row", [-1, 2])
def test_no_such_row(row: int) -> None:
    """A row that is not there is refused, wherever it is named."""
    rows, made = np.array([row], np.int32), Panes(2, LOOKS)
    for use in (
        made.read,
        made.forget,
        lambda rows: made.add(np.zeros(1, RECORD_DTYPE).view(np.uint8), rows, np.zeros(2, np.uint8), FORGET_NS),
    ):
        with pytest.raises(IndexError, match=f"row {row} of 2"):
            use(rows)


@pytest.mark.parametrize(("size", "flags"), [(159, 2), (161, 2), (320, 2), (160, 1), (160, 3)])
def test_sizes_that_do_not_fit(size: int, flags: int) -> None:
    """There is a row for each record, and a flag for each row."""
    with pytest.raises(ValueError, match=f"{size} bytes of 1 records, {flags} flags"):
        Panes(2, LOOKS).add(np.zeros(size, np.uint8), np.zeros(1, np.int32), np.zeros(flags, np.uint8), FORGET_NS)


def test_nothing_is_nothing() -> None:
    """No records, no rows, no trouble."""
    made = Panes(2, LOOKS)
    made.add(np.zeros(0, np.uint8), NO_ROWS, np.zeros(2, np.uint8), FORGET_NS)
    assert made.read(NO_ROWS) == b""


def test_panes_of_nothing() -> None:
    """There is no pane without requests."""
    with pytest.raises(ValueError, match="panes of no requests"):
        Panes(2, b"")
