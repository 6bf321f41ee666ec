"""What load was like: some figures of each class of operations in each five minutes of the last four weeks.

Time is the time of day, in UTC: what people do at nine they do at nine tomorrow, and a restart must not change that.
What was not measured is NaN.
"""

from __future__ import annotations

import io
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BIN_S: Final = 300
HOUR: Final = 3600 // BIN_S  # bins
DAY: Final = 24 * HOUR
WEEK: Final = 7 * DAY
BINS: Final = 4 * WEEK
LATEST: Final = 2**40  # no bin has a greater number


class Figure(IntEnum):
    """What is known of a class in a bin."""

    LOAD = 0  # requests that the keyserver answered
    SLOW_US = 1  # nine of ten answers took no longer
    REFUSED = 2  # share of all requests


class LoadHistory:
    """Four weeks of figures.

    Attributes:
        last: The number of the last bin, BIN_S seconds each since 1970; 0: nothing is known.
        figures: By Figure, class and bin, the last one at the end, float32, shape (3, classes, BINS).

    """

    def __init__(self, classes: int) -> None:
        """Know nothing."""
        self.last = 0
        self.figures = np.full((len(Figure), classes, BINS), np.nan, np.float32)

    def add(self, number: int, figures: NDArray[np.float32]) -> None:
        """Take the figures of a bin that is over, shape (3, classes).

        A bin that is known already stays, so a clock that is set back a little does no harm. If it is set back by more
        than an hour it was wrong before, and all is forgotten.
        """
        if number <= self.last:
            if self.last - number <= HOUR:
                return
            self.figures[:] = np.nan
        passed = number - self.last if 0 < number - self.last < BINS else BINS
        self.figures[:, :, :-passed] = self.figures[:, :, passed:]
        self.figures[:, :, -passed:] = np.nan
        self.figures[:, :, -1] = figures
        self.last = number

    def usual(self, figure: Figure) -> NDArray[np.float32]:
        """Return the median of the last week for each class; NaN with less than an hour of it."""
        weeks = self.figures[figure, :, -WEEK:]
        known = [week[np.isfinite(week)] for week in weeks]
        return np.array([np.median(each) if len(each) >= HOUR else np.nan for each in known], np.float32)

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` reads."""
        file = io.BytesIO()
        np.savez(file, last=np.int64(self.last), figures=self.figures)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, classes: int, now: int) -> LoadHistory:
        """Read a history that was written down.

        Args:
            data: From `to_bytes`; from a file, so it may be anything.
            classes: How many there are.
            now: The number of the present bin.

        Raises:
            ValueError: It is none, of other classes, or from the future.

        """
        history = cls(classes)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                last, figures = int(file["last"]), np.asarray(file["figures"])
        except Exception as error:  # noqa: BLE001 - a damaged archive raises errors of three modules
            raise ValueError(f"no history of load: {type(error).__name__}") from None
        if figures.dtype != np.float32 or figures.shape != history.figures.shape:
            raise ValueError(f"history of load has shape {figures.shape}, not {history.figures.shape}")
        if not 0 <= last <= min(now, LATEST):
            raise ValueError("history of load is from the future")
        history.last = last
        history.figures = np.where(np.isfinite(figures) & (figures >= 0), figures, np.float32(np.nan))
        return history
