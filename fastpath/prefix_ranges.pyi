"""Nested prefixes flattened to ranges; `prefix_ranges.pyx` tells how. Of use to `prefix_build` alone."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

ROW_BYTES: Final[int]
"""Size of a row: first address (two uint64, high and low), length and value (two uint32)."""
RANGE_BYTES: Final[int]
"""Size of a range: first address (two uint64, high and low), value (uint64)."""

def flatten(rows: NDArray[np.void], ranges: NDArray[np.void]) -> int:
    """Write the ranges of prefixes; return how many they are, at least one: the first begins at address 0.

    Args:
        rows: In the order of their addresses, those of one address in the order of their lengths; no bits beyond
            the prefix. Of equal prefixes the last one counts. Value 0: as if no prefix were there.
        ranges: Room for two for each row, and one.

    Raises:
        ValueError: Too little room, or a prefix longer than 128 bits. Nothing else is checked: rows in another
            order give wrong ranges.

    """
