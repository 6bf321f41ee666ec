"""The process that forecasts and ends: what goes through its pipes."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from models.forecast import forecast, usual
from models.load_history import BINS, DAY

WITHOUT_STATSMODELS = "import models.forecaster as f; f.holt_winters = f.usual; f.main()"


def run(counts: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> subprocess.CompletedProcess[bytes]:
    """Run it, with the method that needs no library."""
    given = io.BytesIO()
    np.save(given, counts)
    command = [sys.executable, "-c", WITHOUT_STATSMODELS]
    return subprocess.run(command, input=given.getvalue(), capture_output=True, timeout=60, check=False)


def test_counts_in_and_forecasts_out() -> None:
    """Each class is forecast as it would be here; what nothing is known of stays unknown."""
    counts = np.random.default_rng(1).poisson(20, (2, BINS)).astype(np.float32)
    counts[1, : BINS - DAY] = np.nan
    done = run(counts)
    assert done.returncode == 0, done.stderr
    found = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [forecast(each, (usual,)) for each in counts])
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize("shape", [(1, BINS - 1), (BINS,), (65, BINS)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    """It says so, and answers nothing."""
    done = run(np.zeros(shape, np.float32))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"shape" in done.stderr
