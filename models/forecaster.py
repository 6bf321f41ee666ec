"""A process that forecasts with statsmodels and ends: `python -m models.forecaster < counts.npy > forecasts.npy`.

statsmodels takes 150 MB and five seconds to load; so it is never part of a process that stays.
"""

import io
import os
import sys
import warnings
from typing import Final

import numpy as np

from models.forecast import forecast, holt_winters, usual
from models.load_history import BINS, DAY

MOST_CLASSES: Final = 64


def main() -> None:
    """Read counts, shape (classes, BINS), and write what is forecast, shape (classes, 3, DAY)."""
    os.nice(10)
    warnings.simplefilter("ignore")  # of fits that do not converge: the better method is taken anyway
    counts = np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False)  # a pipe cannot be sought in
    if counts.dtype != np.float32 or counts.ndim != 2 or counts.shape[0] > MOST_CLASSES or counts.shape[1] != BINS:  # noqa: PLR2004
        raise SystemExit(f"counts have shape {counts.shape}")
    found = np.array([forecast(each, (usual, holt_winters)) for each in counts], np.float64)
    answer = io.BytesIO()
    np.save(answer, found.reshape(len(counts), 3, DAY))
    sys.stdout.buffer.write(answer.getvalue())


if __name__ == "__main__":
    main()
