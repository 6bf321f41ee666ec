"""What is remembered of the load, and for how long."""

from __future__ import annotations

import io

import numpy as np
import pytest

from models.load_history import BINS, HOUR, WEEK, Figure, LoadHistory

NOW = 6_000_000


def figures(
    load: float, slow_us: float = np.nan, refused: float = np.nan
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return the figures of one bin, the same for two classes."""
    return np.repeat(np.array([[load], [slow_us], [refused]], np.float32), 2, axis=1)


def loads(history: LoadHistory, count: int) -> list[float]:
    """Return the last loads of the second class; -1: not known."""
    return [float(each) for each in np.nan_to_num(history.figures[Figure.LOAD, 1, -count:], nan=-1.0)]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([NOW, NOW + 1], [-1, 0, 1]),
        ([NOW, NOW + 2], [0, -1, 1]),
        ([NOW, NOW], [-1, -1, 0]),
        ([NOW, NOW - HOUR], [-1, -1, 0]),
        ([NOW, NOW - HOUR - 1], [-1, -1, 1]),
        ([NOW, NOW + BINS - 1, NOW + BINS], [-1, 1, 2]),
        ([NOW, NOW + 2 * BINS], [-1, -1, 1]),
    ],
)
def test_bins_stand_at_their_time(numbers: list[int], expected: list[float]) -> None:
    """Gaps are not known; a clock that is set back is waited for, or all is forgotten."""
    history = LoadHistory(2)
    for load, number in enumerate(numbers):
        history.add(number, figures(load))
    assert loads(history, 3) == expected


def test_usual_is_the_median_of_the_last_week() -> None:
    """What is older does not count, and less than an hour says nothing."""
    history = LoadHistory(2)
    for number in range(HOUR - 1):
        history.add(NOW + number, figures(1, slow_us=100))
    assert np.isnan(history.usual(Figure.SLOW_US)).all()
    history.add(NOW + HOUR, figures(1, slow_us=900_000))
    assert history.usual(Figure.SLOW_US).tolist() == [100, 100]
    for number in range(HOUR):
        history.add(NOW + WEEK + HOUR + number, figures(1, slow_us=7))
    assert history.usual(Figure.SLOW_US).tolist() == [7, 7]


def test_written_and_read() -> None:
    """A history is the same when it is read again."""
    history = LoadHistory(2)
    history.add(NOW, figures(5, 6, 0.5))
    again = LoadHistory.from_bytes(history.to_bytes(), 2, NOW)
    assert again.last == NOW
    np.testing.assert_array_equal(again.figures, history.figures)


def packed(**arrays: object) -> bytes:
    """Return a file as somebody else may have written it."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # whatever it takes
    return file.getvalue()


GOOD = np.zeros((3, 2, BINS), np.float32)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 is no archive",
        LoadHistory(2).to_bytes()[:-40],
        packed(last=NOW),
        packed(last=NOW + 1, figures=GOOD),
        packed(last=-1, figures=GOOD),
        packed(last=np.array([1, 2]), figures=GOOD),
        packed(last=NOW, figures=GOOD.astype(np.float64)),
        packed(last=NOW, figures=GOOD[:, :1]),
        packed(last=NOW, figures=np.array([object()])),
    ],
)
def test_what_is_no_history_is_refused(data: bytes) -> None:
    """A damaged file, one of others, and one from the future raise ValueError and nothing else."""
    with pytest.raises(ValueError, match="history"):
        LoadHistory.from_bytes(data, 2, NOW)


def test_impossible_figures_are_not_known() -> None:
    """Negative and infinite ones are left out."""
    bad = GOOD.copy()
    bad[:, :, -1], bad[:, :, -2], bad[:, :, -3] = -1, np.inf, 3
    assert loads(LoadHistory.from_bytes(packed(last=NOW, figures=bad), 2, NOW), 3) == [3, -1, -1]
