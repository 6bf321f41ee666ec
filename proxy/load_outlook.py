"""What load is to be expected: its history, written down in HKPGUARD_STATE_DIR, and the forecast that is made of it.

The forecast is made each hour, for a day. With the extra `forecast` a short-lived process makes it with statsmodels
as well (`models.forecaster`); without it, or if that fails, the median of the same time before has to do.

A load above what was forecast is written down as what was forecast at most. So an attack does not become usual within
a day, and what stays does so step by step. The file holds no addresses; it is read as if anybody had written it.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from fastpath import BUCKETS
from models.forecast import Forecast, forecast, usual
from models.load_history import BIN_S, DAY, Figure, LoadHistory
from proxy.side_process import answer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from proxy.telemetry.reading import Reading

    Figures = NDArray[np.float64]

FILE: Final = "load.npz"
MOST_BYTES: Final = 8 << 20  # of the file
MOST_FORECAST_BYTES: Final = 1 << 20
FORECASTER: Final = "models.forecaster"
FORECASTER_SECONDS: Final = 120.0
WHOLE_S: Final = BIN_S - 2  # of a bin that was measured from its beginning to its end
MIDDLE, LOW, HIGH = range(3)  # of a forecast


class Outlook:
    """The history and the forecast of one node.

    Attributes:
        problem: Why the history is not written down; empty if all is well.
        slow_us: In which time nine of ten answers usually come, by class; NaN: not known.
        refused: Which share is usually refused, likewise.

    """

    def __init__(self, folder: str, now_s: float) -> None:
        """Take up what is written down."""
        self.problem = ""
        self._path = Path(folder) / FILE
        self._log = structlog.get_logger().bind(process="analyst", file=str(self._path))
        self._history = self._loaded(int(now_s) // BIN_S)
        self._bounds = np.full((BUCKETS, len(Forecast._fields), DAY), np.nan)
        self._from = 0
        self.foresee()

    def add(self, number: int, over: Reading) -> None:
        """Take the figures of a bin that is over, if it was measured as a whole."""
        if over.time_ns >= WHOLE_S * 1_000_000_000:
            load = np.fmin(over.load, self._bounds_at(number)[:, HIGH])
            self._history.add(number, np.array([load, over.slow_us, over.refused_share], np.float32))

    def expected(self, now_s: float) -> Figures:
        """Return the requests of the present bin: middle, low and high, shape (12, 3); NaN: nothing is forecast."""
        return self._bounds_at(int(now_s) // BIN_S)

    def _bounds_at(self, number: int) -> Figures:
        ahead = number - self._from
        return self._bounds[:, :, ahead] if 0 <= ahead < DAY else np.full((BUCKETS, len(Forecast._fields)), np.nan)

    # Forecasting.

    def foresee(self) -> None:
        """Make a forecast of the history."""
        history = self._history
        self.slow_us, self.refused = history.usual(Figure.SLOW_US), history.usual(Figure.REFUSED)
        self._from = history.last + 1
        self._bounds = np.array([forecast(counts, (usual,)) for counts in history.figures[Figure.LOAD]])

    async def foresee_better(self) -> None:
        """Have statsmodels make another one, if it is installed, of the classes that anybody asks for."""
        loads = self._history.figures[Figure.LOAD]
        some = np.flatnonzero(np.isfinite(self._bounds).all(axis=(1, 2)) & np.nan_to_num(loads).any(axis=1))
        if not len(some) or find_spec("statsmodels") is None:
            return
        begins, counts = self._from, io.BytesIO()
        np.save(counts, loads[some])
        try:
            bounds = _read(await _run_forecaster(counts.getvalue()), len(some))
        except (OSError, EOFError, ValueError) as error:  # TimeoutError is an OSError
            self._log.warning("statsmodels made no forecast, medians have to do", problem=str(error))
            return
        if begins == self._from:
            self._bounds[some] = bounds

    # Disk.

    def save(self) -> None:
        """Write down what is known."""
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_bytes(self._history.to_bytes())
            fresh.replace(self._path)
        except OSError as error:
            if not self.problem:
                self._log.error("the history of load cannot be written down", problem=str(error))
            self.problem = f"the history of load is not written down: {error.strerror}"
        else:
            self.problem = ""

    def _loaded(self, now: int) -> LoadHistory:
        try:
            with self._path.open("rb") as file:
                return LoadHistory.from_bytes(file.read(MOST_BYTES), BUCKETS, now)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._log.warning("the history of load is begun anew", problem=str(error))
        return LoadHistory(BUCKETS)


async def _run_forecaster(counts: bytes) -> bytes:
    return await answer_of(FORECASTER, given=counts, seconds=FORECASTER_SECONDS)


def _read(answer: bytes, classes: int) -> Figures:
    """Return the forecasts in an answer; ValueError if it is none."""
    if len(answer) > MOST_FORECAST_BYTES:
        raise ValueError(f"{len(answer)} bytes")
    bounds: Figures = np.load(io.BytesIO(answer), allow_pickle=False)
    if bounds.dtype != np.float64 or bounds.shape != (classes, len(Forecast._fields), DAY):
        raise ValueError(f"shape {bounds.shape}")
    if not (bounds[:, LOW] <= bounds[:, MIDDLE]).all() or not (bounds[:, MIDDLE] <= bounds[:, HIGH]).all():
        raise ValueError("no interval")
    return bounds
