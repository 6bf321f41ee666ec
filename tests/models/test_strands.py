"""How each record finds the one before it, in its block or in an earlier one."""

import numpy as np

from models.strands import FORGET_NS, Strands


def strands(rows: list[int], time_ns: list[int], kept_ns: list[int], alive: list[bool]) -> Strands:
    """Return the strands of a block."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    return Strands(starts, np.array(rows), np.array(time_ns), np.array(kept_ns), np.array(alive))


LATE = FORGET_NS + 20


def test_the_value_before() -> None:
    """It is that of the record before of the same row and strand, or what was kept; the last one is kept."""
    block = strands([0, 0, 1, 1, 2], [5, 6, 7, 8 + FORGET_NS, 9], [1, 1, 1], [True, True, False])
    kept = np.array([10, 11, 12, 13])
    assert block.before(np.array([20, 21, 22, 23, 24]), kept).tolist() == [10, 20, 11, 0, 0]
    assert kept.tolist() == [21, 23, 24, 13]


def test_the_value_before_of_some() -> None:
    """Records that have no such value do not count; what a row had before it was forgotten is forgotten."""
    block = strands([0, 0, 0, 1, 1, 2], [5, 6, 7, 8, LATE, 9], [1, 1, 1], [True, True, True])
    kept = np.array([10, 11, 12])
    assert block.before(np.array([20, 21, 22]), kept, np.array([0, 2, 3])).tolist() == [10, 20, 11]
    assert kept.tolist() == [21, 0, 12]


def test_numbers() -> None:
    """They go on over blocks, begin anew after a long absence and, where there are breaks, there too."""
    block = strands([0, 0, 0, 1, 1], [5, 6, 7, 8, LATE], [1, 1], [True, True])
    kept = np.array([10, 20])
    assert block.count(kept).tolist() == [11, 12, 13, 21, 1]
    assert kept.tolist() == [13, 1]
    breaks = np.array([False, False, True, True, False])
    assert block.count(kept, breaks).tolist() == [14, 15, 1, 1, 1]
    assert block.renewed.tolist() == [1]
